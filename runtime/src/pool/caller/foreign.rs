//! Work that came as bytes, from a pool on another machine: one chunk as a job of one chunk, so that one worker runs it and errors, retries and
//! time limits are those of any job.
#![allow(unsafe_code)]

use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

use crate::ErrorKind;
use crate::message::DecodeError;
use crate::pool::Pool;
use crate::pool::job::errand::{Ending, Errand};
use crate::pool::job::{Bell, Job};
use crate::pool::layout::{self, JobShape};
use crate::pool::master::core::Core;
use crate::pool::options::policy::{CancelLevel, Policy};
use crate::pool::protocol::admission::Needs;
use crate::task::{Grain, TaskEntry, TaskError, TaskId};

/// A chunk as it arrived.
#[derive(Debug)]
pub(crate) struct Foreign<'a> {
    pub(crate) task: (TaskId, &'static TaskEntry),
    /// Slots and data.
    pub(crate) bytes: &'a [u8],
    /// The slots that are to be run. Not empty.
    pub(crate) range: Range<usize>,
    /// Index of the first slot's item in its batch.
    pub(crate) first: Option<usize>,
    pub(crate) policy: Policy,
}

/// Such a chunk in a pool.
#[derive(Debug)]
pub(crate) struct ForeignJob {
    core: Arc<Core>,
    job: Arc<Job>,
    entry: &'static TaskEntry,
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct ForeignDone<'a> {
    job: &'a Job,
    /// Items without a result, which task of a program each was at, and why.
    pub(crate) failed: Vec<(usize, u32, TaskError)>,
    /// Nanoseconds spent, and on how many items.
    pub(crate) busy: (u64, u64),
    /// Runs that were lost with their worker and tried again.
    pub(crate) retried: u64,
}

impl ForeignDone<'_> {
    /// Where result number `slot` lies, valid: of an item that is not among the failed, or of a chunk that gave one.
    pub(crate) fn output(&self, slot: usize) -> *const u8 {
        self.job.view().output(slot).cast_const()
    }
}

/// Hands a chunk to the workers of `pool`.
///
/// # Errors
/// The bytes are no valid inputs of the task, there is no memory, or the pool is closed.
pub(crate) fn begin(pool: &Pool, chunk: Foreign<'_>) -> Result<ForeignJob, TaskError> {
    let Foreign { task: (task, entry), bytes, range, first, mut policy } = chunk;
    let core = pool.core().clone();
    let own = &core.options.policy;
    policy.needs = Needs { memory: policy.needs.memory, ..own.needs.clone() };
    let first = first.map(|first| first + range.start);
    let arena = core.estate.arena;
    let counts = policy.on_error.most().is_some();
    let (bell, failed) = match counts.then(|| Bell::new(arena)).transpose() {
        Ok(bell) => (bell, None),
        Err(error) => (None, Some(error)),
    };
    let errand = Arc::new(Errand::new(arena, (task, entry), policy, false, bell));
    if let Some(error) = failed {
        return Err(errand.no_memory(first, &error));
    }
    core.check_open(|| errand.context(first))?;
    core.attend(&errand)?;
    let (items, stride) = (range.len(), entry.input().size);
    let mut shape = JobShape::new((task, entry), items, items.max(1), true);
    shape.piece = Some((bytes.len(), range.start));
    let block =
        layout::new_job(arena, &shape, &errand.terms(first)).map_err(|error| errand.no_memory(first, &error))?;
    let slots = layout::JobView::of(&block, &shape).inputs();
    // SAFETY: the shape has room for the bytes from so many slots before the first item's on; nobody else knows the block yet.
    let start = unsafe {
        let start = slots.sub(range.start * stride);
        start.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        start.cast_const()
    };
    check_inputs(entry, start, bytes.len(), range).map_err(|error| TaskError::NotSendable {
        context: errand.context(first),
        reason: format!("what has arrived are no valid inputs of this task: {error}"),
        kind: ErrorKind::InvalidData,
    })?;
    let job = Job::new(&errand, block, shape, first);
    core.publish(&job);
    Ok(ForeignJob { core, job, entry })
}

/// Finds the input slots of a range valid, given where the slots begin and how long they are with their data.
///
/// The bytes are readable and initialised; nobody changes them during the call, or later while the slots are in use.
pub(crate) fn check_inputs(
    entry: &TaskEntry,
    start: *const u8,
    len: usize,
    range: Range<usize>,
) -> Result<(), DecodeError> {
    let stride = entry.input().size;
    if range.end.checked_mul(stride).is_none_or(|end| end > len) {
        return Err(DecodeError::new("it is shorter than its slots"));
    }
    let all = start as usize..start as usize + len;
    range.into_iter().try_for_each(|slot| {
        // SAFETY: the range is readable and unchanged: see above.
        unsafe { entry.wire().check_input(start.add(slot * stride), std::slice::from_ref(&all)) }
    })
}

impl ForeignJob {
    /// For somebody who may end it.
    pub(crate) fn ender(&self) -> ForeignEnder {
        ForeignEnder { core: self.core.clone(), job: Arc::downgrade(&self.job) }
    }

    /// Waits until it is done, and gives what it came to to `take`.
    pub(crate) fn finish<T>(self, take: impl FnOnce(ForeignDone<'_>) -> T) -> Result<T, TaskError> {
        let ForeignJob { core, job, entry } = self;
        if !job.wait_all(None, || core.is_hopeless()) {
            return Err(core.hopeless_error(job.context(0)));
        }
        let by_chunk = matches!(entry.grain(), Grain::Chunk { .. });
        let items = 0..job.view().items();
        let mut failed: Vec<(usize, u32, TaskError)> = if by_chunk {
            job.lost_in(items.clone())
        } else {
            job.failures().into_iter().map(|(item, error)| (item, 0, error)).collect()
        };
        if by_chunk && job.is_given_up(0) {
            let why = job.why_given_up();
            failed = items.map(|item| (item, 0, why.error(job.context(item)))).collect();
        } else if job.is_suspect() {
            let invalid = |error: DecodeError, item: usize| TaskError::NotSendable {
                context: job.context(item),
                reason: format!("a worker died in this chunk and left bytes that are no valid result: {error}"),
                kind: ErrorKind::InvalidData,
            };
            let slots = if by_chunk { 0..1 } else { items.clone() };
            for slot in
                slots.filter(|slot| by_chunk || failed.iter().all(|(item, ..)| item != slot)).collect::<Vec<_>>()
            {
                // SAFETY: the whole arena is readable.
                let checked = unsafe {
                    entry.wire().check_output(job.view().output(slot).cast_const(), &[job.arena().readable()])
                };
                match checked {
                    Ok(()) => {}
                    Err(error) if by_chunk => {
                        failed = items.clone().map(|item| (item, 0, invalid(error.clone(), item))).collect();
                    }
                    Err(error) => failed.push((slot, 0, invalid(error, slot))),
                }
            }
        }
        let busy = (job.view().header.busy.load(Relaxed), job.view().header.busy_items.load(Relaxed));
        let retried = job.errand().retried.load(Relaxed);
        let taken = take(ForeignDone { job: &job, failed, busy, retried });
        core.finish(&job);
        Ok(taken)
    }
}

/// Ends a chunk that may be under way.
#[derive(Debug, Clone)]
pub(crate) struct ForeignEnder {
    core: Arc<Core>,
    job: Weak<Job>,
}

impl ForeignEnder {
    pub(crate) fn end(&self, level: CancelLevel) {
        if let Some(job) = self.job.upgrade() {
            self.core.cancel_job(&job, Ending::Cancelled, level);
        }
    }
}
