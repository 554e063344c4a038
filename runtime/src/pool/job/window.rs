//! A job with its types: inputs go in as messages, outputs come out as values.
//!
//! The only place where the type of a task meets the bytes of a job: [`build`] makes the slots by the layouts that the task's
//! own entry states, and hands out a [`Window`] of that task's output type.
#![allow(unsafe_code)]

use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::errand::Errand;
use super::estimate::{Outlook, WINDOW_BYTES};
use crate::ErrorKind;
use crate::message::{self, DecodeError, Decoder, Encoder, Message, Written};
use crate::object::Spill;
use crate::pool::job::Job;
use crate::pool::layout::{self, JobShape, JobView, recording};
use crate::task::{Accept, TaskEntry, TaskError, TaskFn};

/// A lazy window is published unfilled when the caller's iterator takes longer than this.
const PATIENCE: Duration = Duration::from_millis(1);

/// A job whose outputs have type `R`.
#[derive(Debug)]
pub(in crate::pool) struct Window<R> {
    job: Arc<Job>,
    output: PhantomData<fn() -> R>,
}

/// What [`build`] made of some items.
#[derive(Debug)]
pub(in crate::pool) struct Built<R> {
    /// The items that could be encoded; `None` if there was none.
    pub(in crate::pool) window: Option<Window<R>>,
    /// How many they are.
    pub(in crate::pool) items: usize,
    /// The item after them could not be encoded.
    pub(in crate::pool) failed: Option<TaskError>,
    /// The input has no more items.
    pub(in crate::pool) ended: bool,
    /// The input panicked after them.
    pub(in crate::pool) panic: Option<Payload>,
}

/// What a panic was thrown with.
pub(in crate::pool) type Payload = Box<dyn Any + Send>;

/// A count that is told wherever the counting ends, by a panic, too.
struct Count<'a> {
    so_far: usize,
    told: &'a Cell<usize>,
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.told.set(self.so_far);
    }
}

/// What is looked to after each item, where something is.
struct Besides {
    /// When a lazy window was begun.
    begun: Option<Instant>,
    /// How far the encoder was before the item, whose bytes are counted.
    written: Written,
}

/// Encodes the next items into a new job that is not yet published. `first` is the first item's index in the batch.
pub(in crate::pool) fn build<F, M, I>(
    errand: &Arc<Errand>,
    outlook: &Outlook,
    items: &mut I,
    first: Option<usize>,
) -> Result<Built<F::Output>, TaskError>
where
    F: TaskFn<M>,
    I: Iterator,
    I::Item: Accept<M>,
{
    let capacity = outlook.window();
    let task = (errand.task, errand.entry);
    let recorded = errand.recording() != recording::NOTHING;
    let mut shape =
        JobShape::new(task, capacity, outlook.chunk(capacity), outlook.chunk.is_none()).with_records(recorded);
    let arena = errand.arena;
    let mut block =
        layout::new_job(arena, &shape, &errand.terms(first)).map_err(|error| errand.no_memory(first, &error))?;
    let spilled = Rc::new(Cell::new(0));
    let lent = Rc::new(Cell::new(false));
    let mut encoder = Encoder::new(Box::new(Spill::lending(arena, block.id(), spilled.clone(), lent.clone())));
    // One question an item for all that is rarely wanted.
    let begun = outlook.lazy.then(Instant::now);
    let mut besides = (outlook.lazy || recorded).then(|| Besides { begun, written: encoder.written() });
    let (encoded, mut failed, mut ended) = (Cell::new(0), None, false);
    let mut encode = || {
        let view = JobView::of(&block, &shape);
        let slots = view.inputs();
        let mut count = Count { so_far: 0, told: &encoded };
        while count.so_far < capacity {
            let Some(item) = items.next() else {
                ended = true;
                break;
            };
            // SAFETY: the job has `capacity` input slots of the layout that this task's entry states, in a block that nobody
            // else reads before it is published; whatever the encoder spills lies in children of that block.
            if let Err(error) = unsafe { item.write(&mut encoder, slots.add(count.so_far * shape.input.size)) } {
                failed = Some(errand.not_encoded(first.map(|first| first + count.so_far), &error));
                break;
            }
            count.so_far += 1;
            if let Some(besides) = &mut besides {
                if let Some(record) = view.records.get(count.so_far - 1) {
                    record.bytes_in.store(shape.input.size as u64 + encoder.written_since(besides.written), Relaxed);
                    besides.written = encoder.written();
                }
                if let Some(begun) = besides.begun
                    && (count.so_far < 16 || count.so_far.is_multiple_of(16))
                    && begun.elapsed() >= PATIENCE
                {
                    break;
                }
            }
            if spilled.get() >= WINDOW_BYTES {
                break;
            }
        }
    };
    // Unwind safety: the items before the panic are complete; the iterator is not asked again; the encoder is not used again.
    let panic = catch_unwind(AssertUnwindSafe(&mut encode)).err();
    let encoded = encoded.get();
    drop(encoder);
    let header = JobView::of(&block, &shape).header;
    header.spilled.store(spilled.get() as u64, Relaxed);
    header.lent.store(u32::from(lent.get()), Relaxed);
    if encoded == 0 {
        return Ok(Built { window: None, items: 0, failed, ended, panic });
    }
    if encoded < capacity {
        layout::shorten_job(&mut block, &mut shape, encoded, outlook.chunk(encoded));
    }
    let job = Job::new(errand, block, shape, first);
    Ok(Built { window: Some(Window { job, output: PhantomData }), items: encoded, failed, ended, panic })
}

/// The input of an item in short, where its task can show it. The job is over, and its inputs are as they were written; with `check`, that is
/// looked at first.
pub(in crate::pool) fn show_input(entry: &TaskEntry, job: &Job, item: usize, check: bool) -> Option<String> {
    let view = job.view();
    if check {
        // SAFETY: the whole arena is readable; the worker that may have spoiled it is dead.
        unsafe { entry.wire().check_input(view.input(item), &[job.arena().readable()]) }.ok()?;
    }
    // Unwind safety: it reads, and what it makes is thrown away.
    // SAFETY: the slot was filled by this task's own type (see `build`), what it refers to lies in children of the job, and nobody writes to
    // either any more; or that was just found valid.
    let shown = catch_unwind(AssertUnwindSafe(|| unsafe { entry.show_input(view.input(item)) }));
    shown.ok().flatten()
}

impl<R> Window<R> {
    /// The same window, for somebody else who reads it.
    pub(in crate::pool) fn share(&self) -> Window<R> {
        Window { job: self.job.clone(), output: PhantomData }
    }

    pub(in crate::pool) fn job(&self) -> &Arc<Job> {
        &self.job
    }
}

impl<R: Message> Window<R> {
    /// Where the result of `chunk` lies, which is done and was not given up: of a program, that is committed by the chunk.
    ///
    /// # Errors
    /// A worker died and left bytes that are no result.
    pub(in crate::pool) fn output_of_chunk(&self, chunk: usize) -> Result<*const u8, TaskError> {
        let view = self.job.view();
        self.job.read_output();
        self.job.hand_over(view.range(chunk));
        let slot = view.output(chunk).cast_const();
        if self.job.is_suspect() {
            check::<R>(&self.job, view.range(chunk).start, slot)?;
        }
        Ok(slot)
    }

    /// What `chunk` gave, which is done and was not given up.
    #[cfg(feature = "testing")]
    pub(in crate::pool) fn value_of_chunk(&self, chunk: usize) -> Result<R, TaskError> {
        let slot = self.output_of_chunk(chunk)?;
        // SAFETY: the chunk's worker left what the program gives there.
        unsafe { message::decode::<R>(slot) }.map_err(|error| TaskError::NotSendable {
            context: self.job.context(0),
            reason: error.to_string(),
            kind: ErrorKind::InvalidData,
        })
    }

    /// The outputs of items whose chunks are done, as far as they have one.
    pub(in crate::pool) fn reader(&self) -> Reader<'_, R> {
        self.job.read_output();
        let failures = if self.job.is_clean() { BTreeMap::new() } else { self.job.failures() };
        Reader { view: self.job.view(), job: &self.job, failures, suspect: self.job.is_suspect(), output: PhantomData }
    }
}

/// Reads the outputs of a window.
#[derive(Debug)]
pub(in crate::pool) struct Reader<'a, R> {
    view: JobView<'a>,
    job: &'a Job,
    failures: BTreeMap<usize, TaskError>,
    suspect: bool,
    output: PhantomData<fn() -> R>,
}

impl<R: Message> Reader<'_, R> {
    /// The output of `item`, whose chunk must be done.
    pub(in crate::pool) fn read(&self, item: usize) -> Result<R, TaskError> {
        if !self.failures.is_empty()
            && let Some(error) = self.failures.get(&item)
        {
            return Err(error.clone());
        }
        let slot = self.view.output(item);
        if self.suspect {
            self.check(item, slot)?;
        }
        // SAFETY: the chunk is done and the item is no failure, so its worker wrote a value of the task's output type (the
        // type of this window, see `build`) here, and all it refers to lies in the arena; after a worker's death the bytes
        // were validated just now.
        unsafe { message::decode::<R>(slot) }.map_err(|error| self.not_decoded(item, &error))
    }

    #[cold]
    fn not_decoded(&self, item: usize, error: &DecodeError) -> TaskError {
        let (context, reason) = (self.job.context(item), error.to_string());
        TaskError::NotSendable { context, reason, kind: ErrorKind::InvalidData }
    }

    /// How many items there are.
    pub(in crate::pool) fn items(&self) -> usize {
        self.view.items()
    }

    /// All outputs of a finished window, in order; the first failure ends it.
    pub(in crate::pool) fn read_all(&self, out: &mut Vec<R>) -> Result<(), TaskError> {
        let items = self.view.items();
        out.reserve(items);
        if !self.failures.is_empty() || self.suspect {
            return (0..items).try_for_each(|item| {
                out.push(self.read(item)?);
                Ok(())
            });
        }
        // SAFETY: as in `read`, for all items at once: the chunks are done and none is a failure.
        let slots = unsafe { std::slice::from_raw_parts(self.view.outputs().cast::<R::Archived>(), items) };
        let room = &mut out.spare_capacity_mut()[..items];
        let mut read = 0;
        let mut failed = None;
        for (slot, place) in slots.iter().zip(room) {
            match R::read(slot, &mut Decoder::new()) {
                Ok(value) => place.write(value),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            };
            read += 1;
        }
        // SAFETY: that many places were written, in order.
        unsafe { out.set_len(out.len() + read) };
        failed.map_or(Ok(()), |error| Err(self.not_decoded(read, &error)))
    }

    /// Does every item of a finished window have a result that can be read in place? The first failure if not.
    pub(in crate::pool) fn check_all(&self) -> Result<(), TaskError> {
        if let Some(error) = self.failures.values().next() {
            return Err(error.clone());
        }
        if self.suspect {
            (0..self.view.items()).try_for_each(|item| self.check(item, self.view.output(item)))?;
        }
        Ok(())
    }

    fn check(&self, item: usize, slot: *const u8) -> Result<(), TaskError> {
        check::<R>(self.job, item, slot)
    }
}

#[cold]
fn check<R: Message>(job: &Job, item: usize, slot: *const u8) -> Result<(), TaskError> {
    // SAFETY: the slot has the layout of `R`'s archived form (see `build`), and the whole arena is readable.
    unsafe { message::validate::<R>(slot, &[job.arena().readable()]) }.map_err(|error| TaskError::NotSendable {
        context: job.context(item),
        reason: format!("a worker died in this batch and left bytes that are no valid result: {error}"),
        kind: ErrorKind::InvalidData,
    })
}
