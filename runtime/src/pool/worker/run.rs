//! One chunk, in the worker: from the claim through the task's own loop to the commit.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use super::current::Now;
use super::record::Recorder;
use super::recycle::{Rules, Verdict};
use crate::arena::{Arena, BlockId, Owner, mutant};
use crate::message::Encoder;
use crate::object::Spill;
use crate::pool::layout::{self, ControlView, Fault, JobView, NO_INDEX, Seat, attention, orders};
use crate::pool::protocol::admission::IN_LANE;
use crate::pool::protocol::bell;
use crate::pool::protocol::claim::{self, Claim, Progress};
use crate::pool::protocol::mutants;
use crate::process::forget_panic;
use crate::seeing::output::Marks;
use crate::sync::permits::Permits;
use crate::sys::clock::{self, ThreadTime};
use crate::task::{Grain, RunCtx, TaskEntry, TaskFault, TaskId, WorkerState, registry};

/// A chunk that took so many nanoseconds is worth a note of when the next began.
const LONG: u64 = 1_000_000;
/// So many nanoseconds a worker keeps its permit to run although others wait for one: long against the cost of handing it over.
const TIME_SLICE: u64 = 10_000_000;

/// What a worker process is.
#[derive(Debug)]
pub(in crate::pool) struct Worker<'a> {
    pub(in crate::pool) arena: &'static Arena,
    pub(in crate::pool) me: Owner,
    pub(in crate::pool) seat: &'a Seat,
    /// The seat's number.
    pub(in crate::pool) at: usize,
    pub(in crate::pool) state: WorkerState,
    pub(in crate::pool) rules: Rules,
    /// Takes no more chunks: it was asked to leave, or a rule says so.
    pub(in crate::pool) leaving: bool,
    /// Takes no more chunks of this job for now.
    pub(in crate::pool) aside: bool,
    /// Takes one chunk of this job at a time.
    pub(in crate::pool) single: bool,
    /// Others wait for its permit to run.
    pub(in crate::pool) crowded: bool,
    /// The permits to run of its tree, and since when it has had one.
    pub(in crate::pool) permits: Option<&'static Permits>,
    pub(in crate::pool) permitted: u64,
    /// What tasks can ask about themselves; `None` where this is no worker process.
    pub(in crate::pool) now: Option<&'static Now>,
    /// Tells the output of items apart, where that is wanted.
    pub(in crate::pool) marks: Option<&'static Marks>,
}

/// Lets go of what the inputs of a job refer to, if no item will be run again. By whoever finished it: a worker, or the pool's
/// process for one that died; the job's block lives meanwhile.
pub(in crate::pool) fn give_back(arena: &'static Arena, job: &JobView<'_>) {
    use std::sync::atomic::Ordering::Relaxed;
    if job.header.lent.load(Relaxed) != 0 && claim::all_done(job, &mut 0) {
        // Refused, it is kept as long as the job.
        let _ = arena.give_back(job.id);
    }
}

impl Worker<'_> {
    /// Runs chunks of the job published under `seq` until there are no free ones. `None` if the job makes no sense.
    pub(in crate::pool) fn work_on(&mut self, control: &ControlView<'_>, seq: u64, id: BlockId) -> Option<()> {
        use std::sync::atomic::Ordering::{Relaxed, SeqCst};
        (self.aside, self.crowded) = (false, false);
        self.seat.job.store(id.raw(), SeqCst);
        if control.still_published(seq, id) {
            self.single = seq & IN_LANE != 0 && control.takes_single_chunks(seq);
            let (job, entry) = self.attach(id)?;
            self.seat.since.store(clock::coarse_nanos(), Relaxed);
            self.rules.begin();
            bell::enter(&job);
            self.run_chunks(control, &job, entry);
            give_back(self.arena, &job);
            bell::leave(self.arena, &job);
        }
        // The job has no free chunk now, or is gone. One who leaves does not know.
        if !self.leaving && !self.aside {
            control.pass(seq);
        }
        self.seat.job.store(0, SeqCst);
        self.seat.progress.store(0, Relaxed);
        Some(())
    }

    fn attach<'j>(&self, id: BlockId) -> Option<(JobView<'j>, &'static TaskEntry)> {
        let block = self.arena.resolve(id)?;
        // SAFETY: the id stands in the ring, so it names a block that `new_job` made; the pool keeps it while this seat
        // names it, which the caller stored before it saw the ring entry (see `ring.rs`), and clears after the last use.
        let job = unsafe { JobView::new(id, block.ptr, block.capacity) }?;
        let entry = registry::get(TaskId::from_raw(job.header.task)).ok()?;
        // The pool made the slots by the layouts of the same entry of the same build.
        let strides = (job.header.input_stride as usize, job.header.output_stride as usize);
        (strides == (entry.input().size, entry.output().size)).then_some((job, entry))
    }

    fn run_chunks(&mut self, control: &ControlView<'_>, job: &JobView<'_>, entry: &TaskEntry) {
        use std::sync::atomic::Ordering::Relaxed;
        let Some(mut claimed) = self.first_chunk(control, job) else { return };
        if let Some(now) = self.now {
            now.enter(job);
        }
        // The seat may still say when an item of an earlier job began.
        if self.seat.began.load(Relaxed) != 0 {
            self.seat.began.store(0, Relaxed);
        }
        let measure = job.header.measure != 0;
        let by_chunk = matches!(entry.grain(), Grain::Chunk { .. });
        let spilled = Rc::new(Cell::new(0));
        let mut encoder = Encoder::new(Box::new(Spill::counted(self.arena, job.id, spilled.clone())));
        let (arena, seat) = (self.arena, self.seat);
        // The first item of the current chunk.
        let first = Cell::new(0);
        let recorder = Recorder::of(job, self.at);
        // The item whose result is to be judged before the next one begins.
        let unjudged = Cell::new(None);
        let marks = self.marks.filter(|_| job.header.output != 0);
        let is_seen = recorder.is_some() || marks.is_some();
        // What is written from now on belongs to no item.
        let end_output = || marks.iter().for_each(|marks| marks.set(0, 0));
        let mut fault = |item: usize, fault: TaskFault| {
            if matches!(fault, TaskFault::Panicked(_)) {
                forget_panic();
            }
            let record = |fault: &TaskFault| {
                let (item, worker, bytes) = (first.get() + item, std::process::id(), fault.encode());
                layout::push_fault(arena, job, &Fault { item, worker, bytes })
            };
            if let Err(error) = record(&fault) {
                // Not even the reason fits in shared memory. Dying is the one message left, and it costs this item only.
                let _ = error;
                std::process::abort();
            }
            unjudged.set(None);
            if let Some(recorder) = &recorder {
                recorder.fault();
            }
            end_output();
            if job.header.most_failures != 0 {
                count_failure(arena, control, job);
            }
        };
        let judge = |encoder: &Encoder| {
            let failed = match unjudged.take() {
                // SAFETY: the item was run by this task and reported no fault, so its slot holds a result.
                Some(item) => unsafe { entry.failure(job.output(first.get() + item)) }.is_some(),
                None => false,
            };
            if let Some(recorder) = &recorder {
                recorder.end(failed, encoder);
            }
            if failed && job.header.most_failures != 0 {
                count_failure(arena, control, job);
            }
        };
        let mut attend = |item: usize, encoder: &Encoder| {
            use std::sync::atomic::Ordering::{Acquire, Release};
            judge(encoder);
            let attention = job.header.attention.load(Acquire);
            if attention & attention::STOP != 0 {
                return false;
            }
            if attention & attention::TIMED != 0 {
                // Before the progress says that it runs: a run is named by the time at which it began.
                seat.began.store(clock::monotonic_nanos(), Release);
            }
            if attention & attention::JUDGED != 0 {
                // Of any worker, in any window of the batch.
                if has_failed_enough(arena, job) {
                    job.header.attention.fetch_or(attention::STOP, Release);
                    return false;
                }
            }
            if attention & (attention::JUDGED | attention::RECORDED) != 0 {
                // What a program gives lies in one slot a chunk, and tells of failures itself.
                unjudged.set(Some(item).filter(|_| entry.grain() == Grain::Item));
            }
            if let Some(marks) = marks {
                let index = match job.header.first {
                    NO_INDEX => NO_INDEX,
                    start => start + (first.get() + item) as u64,
                };
                marks.set(job.header.output, index);
            }
            if let Some(recorder) = &recorder {
                recorder.begin(first.get() + item, encoder);
            }
            true
        };
        let mut mishap = |item: usize| {
            if let Some(recorder) = &recorder {
                recorder.mishap(first.get() + item);
            }
        };
        loop {
            let begun = measure.then(|| (Instant::now(), by_chunk.then(ThreadTime::now)));
            if mutant(mutants::COMMIT_FIRST) {
                claim::commit(job, claimed, job.range(claimed.chunk).len());
            }
            first.set(job.range(claimed.chunk).start);
            let (fault, attend, mishap) = (&mut fault, &mut attend, &mut mishap);
            let mut hooks = Hooks { encoder: &mut encoder, fault, attend, mishap };
            let end = self.run_chunk(job, entry, claimed, &mut hooks);
            judge(&encoder);
            if is_seen {
                recorder.iter().for_each(Recorder::pause);
                end_output();
            }
            let items = end.saturating_sub(claimed.start);
            if let Some((begun, then)) = begun {
                let took = begun.elapsed().as_nanos() as u64;
                // What a chunk gives costs by the chunk: it is not to be shorter because the machine is busy with something else.
                let own = then.map_or(took, |then| ThreadTime::now().own_since(then, took));
                job.header.busy.fetch_add(own, Relaxed);
                if took >= LONG {
                    self.seat.since.store(clock::coarse_nanos(), Relaxed);
                }
                job.header.busy_items.fetch_add(items as u64, Relaxed);
            }
            if spilled.get() > 0 {
                job.header.spilled.fetch_add(spilled.take() as u64, Relaxed);
            }
            claim::commit(job, claimed, end);
            bell::chunk_done(self.arena, control, job, claimed.chunk);
            // Plain adds: nobody else writes this line.
            self.seat.claims.store(self.seat.claims.load(Relaxed) + 1, Relaxed);
            self.seat.items.store(self.seat.items.load(Relaxed) + items as u64, Relaxed);
            if self.single {
                self.aside = true;
                break;
            }
            match self.next_chunk(control, job) {
                Some(next) => claimed = next,
                None => break,
            }
        }
        if let Some(now) = self.now {
            now.leave();
        }
    }

    /// As [`next_chunk`](Self::next_chunk), once a job.
    #[inline(never)]
    fn first_chunk(&mut self, control: &ControlView<'_>, job: &JobView<'_>) -> Option<Claim> {
        self.next_chunk(control, job)
    }

    /// Claims the next chunk, unless this worker is to do something else. Inlined between two chunks, where each instruction is one a chunk.
    #[inline(always)]
    fn next_chunk(&mut self, control: &ControlView<'_>, job: &JobView<'_>) -> Option<Claim> {
        if self.seat.orders.load(std::sync::atomic::Ordering::Relaxed) != 0 {
            self.follow_orders();
            return None;
        }
        match self.rules.say(control, self.at, job.header.chunk) {
            Verdict::Go => {}
            Verdict::Wait => {
                self.aside = true;
                return None;
            }
            Verdict::Leave => {
                self.leaving = true;
                return None;
            }
        }
        if self.permits.is_some_and(Permits::are_wanted) && self.has_run_its_time() {
            (self.aside, self.crowded) = (true, true);
            return None;
        }
        claim::claim(job, self.seat, self.me)
    }

    #[cold]
    fn follow_orders(&mut self) {
        use std::sync::atomic::Ordering::SeqCst;
        let orders = self.seat.orders.fetch_and(!orders::LOOK, SeqCst);
        self.leaving |= orders & orders::LEAVE != 0;
        self.aside = true;
    }

    /// Others wait for a permit to run: has this worker had its own for long enough?
    #[cold]
    fn has_run_its_time(&self) -> bool {
        clock::coarse_nanos().saturating_sub(self.permitted) >= TIME_SLICE
    }

    /// Runs the items of a claimed chunk; returns the first that was not run, counted from the chunk's start.
    fn run_chunk(&mut self, job: &JobView<'_>, entry: &TaskEntry, claimed: Claim, hooks: &mut Hooks<'_>) -> usize {
        let range = job.range(claimed.chunk);
        let by_chunk = matches!(entry.grain(), Grain::Chunk { .. });
        // The bits of this chunk's items; there are none where items are committed one by one.
        let skips = if by_chunk { job.skips_of(range.clone()) } else { Vec::new() };
        let first = range.start;
        let mut context = RunCtx {
            inputs: job.input(first),
            outputs: job.output(if by_chunk { claimed.chunk } else { first }),
            lo: claimed.start,
            hi: range.len(),
            progress: &self.seat.progress,
            encoder: hooks.encoder,
            state: &mut self.state,
            fault: hooks.fault,
            attention: &job.header.attention,
            attend: hooks.attend,
            mishap: hooks.mishap,
            skips: &skips,
            most_mishaps: match job.header.most_failures {
                0 => usize::MAX,
                most => most as usize,
            },
            caught: forget_panic,
        };
        // SAFETY: `inputs` and `outputs` are the slots of this chunk's items (or its one output slot), of the layouts the entry
        // states (checked in `attach`); the inputs were encoded by the same entry's task before publication; this process
        // holds the claim, so nobody else touches the outputs.
        unsafe { entry.run(&mut context) };
        // Less than all of them only if the job was cancelled meanwhile.
        Progress::of(self.seat.progress.load(std::sync::atomic::Ordering::Relaxed)).item
    }
}

/// What all chunks of a job are run with.
struct Hooks<'a> {
    encoder: &'a mut Encoder,
    fault: &'a mut dyn FnMut(usize, TaskFault),
    attend: &'a mut dyn FnMut(usize, &Encoder) -> bool,
    mishap: &'a mut dyn FnMut(usize),
}

/// Have so many items of the batch failed that it ends?
fn has_failed_enough(arena: &Arena, job: &JobView<'_>) -> bool {
    use std::sync::atomic::Ordering::SeqCst;
    layout::batch_at(arena, job.header.bell)
        .is_some_and(|batch| batch.failures.load(SeqCst) >= job.header.most_failures)
}

/// Counts a failed item of a batch that ends after some, and ends this job of it if they are too many. The pool's process ends the others.
#[cold]
fn count_failure(arena: &Arena, control: &ControlView<'_>, job: &JobView<'_>) {
    use std::sync::atomic::Ordering::SeqCst;
    let Some(batch) = layout::batch_at(arena, job.header.bell) else { return };
    let failures = batch.failures.fetch_add(1, SeqCst) + 1;
    if failures >= job.header.most_failures {
        job.header.attention.fetch_or(attention::STOP, SeqCst);
        bell::ring_word(&control.control.watch_bell);
    }
}
