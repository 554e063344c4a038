//! What a batch or a call is in the pool's own process: what is to be run, how, and whether it was given up.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use crate::arena::{Arena, ArenaError};
use crate::message::EncodeError;
use crate::pool::ending::cancel;
use crate::pool::job::{Bell, Job};
use crate::pool::layout::{ItemRecord, JobTerms, NO_INDEX, attention, recording};
use crate::pool::master::phase::Phase;
use crate::pool::options::policy::Policy;
use crate::pool::protocol::admission::Demand;
use crate::pool::watching::gauge::Gauge;
use crate::seeing::output::Store;
use crate::task::{Grain, TaskContext, TaskEntry, TaskError, TaskId};

/// Why what is not done of an errand never will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::pool) enum Ending {
    /// Somebody cancelled it, or nobody wants it any more.
    Cancelled,
    /// The pool has given up.
    Pool(Phase),
    /// So many items had failed.
    Stopped { failures: usize },
    /// So many workers had died in a row, the last one in this way.
    CrashLimit { deaths: u32, last: Arc<str> },
}

impl Ending {
    /// The error of an item that was given up for this reason.
    pub(in crate::pool) fn error(&self, context: TaskContext) -> TaskError {
        match self {
            Ending::Cancelled => TaskError::Cancelled { context },
            Ending::Pool(phase) => phase.error(context),
            Ending::Stopped { failures } => TaskError::Stopped { context, failures: *failures },
            Ending::CrashLimit { deaths, last } => {
                TaskError::CrashLimit { context, deaths: *deaths, last: last.to_string() }
            }
        }
    }
}

/// A batch, or a call: shared by all its windows.
#[derive(Debug)]
pub(in crate::pool) struct Errand {
    pub(in crate::pool) arena: &'static Arena,
    pub(in crate::pool) task: TaskId,
    pub(in crate::pool) entry: &'static TaskEntry,
    pub(in crate::pool) name: Arc<str>,
    pub(in crate::pool) policy: Policy,
    /// Pull from the input only what workers need.
    pub(in crate::pool) lazy: bool,
    /// Shared by all windows; `None` for a single call, which gets a doorbell of its own.
    pub(in crate::pool) bell: Option<Arc<Bell>>,
    /// What each of its tasks needs, where that is something; set before the first job.
    pub(in crate::pool) demand: OnceLock<Demand>,
    /// Tells it apart from all others of this process.
    pub(in crate::pool) number: u64,
    /// Where the level of its token lies, once that is listened to.
    heard_at: OnceLock<u64>,
    /// Where it is counted how far it is, if somebody wants to know.
    pub(in crate::pool) gauge: OnceLock<Arc<Gauge>>,
    /// Runs that were lost with their worker and are tried again.
    pub(in crate::pool) retried: AtomicU64,
    /// What is kept of its tasks' output, where something is to become of it; set before the first job.
    pub(in crate::pool) output: OnceLock<Arc<Store>>,
    is_over: AtomicBool,
    /// Workers that died in a row, with no item finished in between.
    deaths: AtomicU32,
    course: Mutex<Course>,
}

/// How it is going.
#[derive(Debug, Default)]
struct Course {
    ending: Option<Ending>,
    /// Failures that this process saw itself.
    failures: usize,
    /// Its windows, or its one call, as far as they were published; and how many there are before the finished ones are left out.
    jobs: Vec<Weak<Job>>,
    prune_at: usize,
}

impl Errand {
    pub(in crate::pool) fn new(
        arena: &'static Arena,
        (task, entry): (TaskId, &'static TaskEntry),
        policy: Policy,
        lazy: bool,
        bell: Option<Arc<Bell>>,
    ) -> Errand {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let (name, is_over, deaths, course) = (entry.name().into(), false.into(), 0.into(), Mutex::default());
        let (number, heard_at, demand) = (MADE.fetch_add(1, Relaxed), OnceLock::new(), OnceLock::new());
        let (gauge, retried) = (OnceLock::new(), AtomicU64::new(0));
        Errand {
            arena,
            task,
            entry,
            name,
            policy,
            lazy,
            bell,
            demand,
            number,
            heard_at,
            gauge,
            retried,
            output: OnceLock::new(),
            is_over,
            deaths,
            course,
        }
    }

    fn course(&self) -> MutexGuard<'_, Course> {
        // Nothing panics while it holds the lock; the course is whole at any time.
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that its token, whose level lies at `pos`, is listened to for it.
    pub(in crate::pool) fn note_heard(&self, pos: u64) {
        _ = self.heard_at.set(pos);
    }

    /// Notes a window, or the one call, that is about to be published.
    pub(in crate::pool) fn note_job(&self, job: &Arc<Job>) {
        let mut course = self.course();
        if course.jobs.len() >= course.prune_at {
            course.jobs.retain(|job| job.strong_count() > 0);
            course.prune_at = 2 * course.jobs.len() + 16;
        }
        course.jobs.push(Arc::downgrade(job));
    }

    /// Those that are still there; some may be finished.
    pub(in crate::pool) fn jobs(&self) -> Vec<Arc<Job>> {
        self.course().jobs.iter().filter_map(Weak::upgrade).collect()
    }

    /// Bytes of the two slots of an item, and of its record.
    pub(in crate::pool) fn stride(&self) -> usize {
        let record = if self.recording() == recording::NOTHING { 0 } else { size_of::<ItemRecord>() };
        self.entry.input().size + self.entry.output().size + record
    }

    /// What an error about item `item` of the batch says of where it belongs.
    pub(in crate::pool) fn context(&self, item: Option<usize>) -> TaskContext {
        TaskContext::new(self.name.clone(), item)
    }

    /// What the header of a job of it says; `first` is its first item's index.
    pub(in crate::pool) fn terms(&self, first: Option<usize>) -> JobTerms {
        let Policy { timeout, on_error, token, .. } = &self.policy;
        // Of a single call there is no rest to be given up.
        let most = self.bell.as_ref().and(on_error.most());
        let limit = timeout.map_or(0, |limit| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX).max(1));
        let timed = if limit > 0 { attention::TIMED } else { 0 };
        let judged = if most.is_some() { attention::JUDGED } else { 0 };
        let marked = if self.output.get().is_some() { attention::MARKED } else { 0 };
        JobTerms {
            bell: self.bell.as_ref().map_or(0, |bell| bell.pos()),
            first: first.map_or(NO_INDEX, |first| first as u64),
            limit,
            token: token.as_ref().map_or(0, |token| token.pos()),
            most_failures: most.unwrap_or(0) as u64,
            recording: self.recording(),
            output: self.output.get().map_or(0, |output| output.number()),
            attention: timed | judged | marked | if self.is_attended() { attention::RECORDED } else { 0 },
        }
    }

    /// The result of this item is about to be handed out: so is its output.
    pub(in crate::pool) fn hand_over(&self, item: usize) {
        if let Some(output) = self.output.get() {
            output.hand_over(item as u64);
        }
    }

    /// What workers write down of each item.
    pub(in crate::pool) fn recording(&self) -> u32 {
        match &self.policy {
            Policy { account: true, .. } => recording::ALL,
            Policy { timed: true, .. } | Policy { journal: Some(_), .. } => recording::TIMES,
            Policy { progress: Some(_), .. } if self.entry.can_fail() || self.is_program() => recording::OUTCOMES,
            _ => recording::NOTHING,
        }
    }

    /// Do workers look at a job of it before each item, for the sake of its records? A program tells of outcomes by itself.
    fn is_attended(&self) -> bool {
        match self.recording() {
            recording::ALL | recording::TIMES => true,
            recording::OUTCOMES => !self.is_program(),
            _ => false,
        }
    }

    fn is_program(&self) -> bool {
        matches!(self.entry.grain(), Grain::Chunk { .. })
    }

    /// The error for shared memory that was not to be had.
    pub(in crate::pool) fn no_memory(&self, item: Option<usize>, error: &ArenaError) -> TaskError {
        TaskError::NotSendable { context: self.context(item), reason: error.to_string(), kind: error.kind() }
    }

    /// The error for an input that cannot be sent.
    pub(in crate::pool) fn not_encoded(&self, item: Option<usize>, error: &EncodeError) -> TaskError {
        TaskError::NotSendable { context: self.context(item), reason: error.to_string(), kind: error.kind() }
    }

    /// Was it given up?
    pub(in crate::pool) fn is_over(&self) -> bool {
        self.is_over.load(Acquire)
    }

    /// Why it was given up, if it was.
    pub(in crate::pool) fn ending(&self) -> Option<Ending> {
        if !self.is_over() {
            return None;
        }
        self.course().ending.clone()
    }

    /// Gives it up: no window is made any more. `false` if it was before; the first reason stands.
    pub(in crate::pool) fn end(&self, ending: Ending) -> bool {
        let mut course = self.course();
        let first = course.ending.is_none();
        course.ending.get_or_insert(ending);
        self.is_over.store(true, Release);
        first
    }

    /// Notes that a worker died in it. With `progress`, something was finished since the last one did. How many died in a row,
    /// once they are too many.
    pub(in crate::pool) fn note_death(&self, progress: bool) -> Option<u32> {
        let deaths = if progress { 1 } else { self.deaths.load(Relaxed).saturating_add(1) };
        self.deaths.store(deaths, Relaxed);
        (deaths >= self.policy.crash_limit).then_some(deaths)
    }

    /// Notes that something was finished.
    pub(in crate::pool) fn note_progress(&self) {
        if self.deaths.load(Relaxed) != 0 {
            self.deaths.store(0, Relaxed);
        }
    }

    /// Counts items that this process knows to have failed; those whose workers saw it are counted in shared memory.
    pub(in crate::pool) fn note_failures(&self, failures: usize) {
        self.course().failures += failures;
    }

    /// The ending that is due because too many items have failed.
    pub(in crate::pool) fn ending_by_failures(&self) -> Option<Ending> {
        let most = self.policy.on_error.most()?;
        let seen = self.bell.as_ref().map_or(0, |bell| bell.failures());
        let failures = self.course().failures + seen;
        (failures >= most).then_some(Ending::Stopped { failures })
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        if let Some(&pos) = self.heard_at.get() {
            cancel::forget(self.arena, pos, self.number);
        }
    }
}
