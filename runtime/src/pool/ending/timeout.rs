//! The pool's clock: items that may run only so long, and what is to be done later.
//!
//! The watching thread (`watch.rs`) sleeps until the next of these is due. A worker notes in its seat when a timed item began, and
//! tells nobody; so while there are timed jobs the thread looks at the seats at the latest when an item that began right after its last
//! look could be due. That is exact, and one look per limit; without timed jobs there is none.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::cancel::{FIRST_PAUSE, INTERRUPT, LONGEST_PAUSE};
use crate::pool::job::Job;
use crate::pool::job::errand::Errand;
use crate::pool::layout::Seat;
use crate::pool::master::core::Core;
use crate::pool::options::policy::CancelLevel;
use crate::pool::protocol::bell;
use crate::sys::clock;
use crate::task::STAGE_SHIFT;

/// What is done later, on the watching thread: it must not wait.
pub(in crate::pool) type Later = Box<dyn FnOnce(&Arc<Core>) + Send>;

/// Deadlines, all in nanoseconds of the monotonic clock.
pub(in crate::pool) struct Clock {
    timers: Mutex<Timers>,
    timed: Mutex<Timed>,
    /// Batches that end after some failures.
    judged: Mutex<Vec<Weak<Errand>>>,
    /// When the watching thread will look by itself; `u64::MAX`: never.
    next_look: AtomicU64,
}

/// Jobs whose items may run only so long: found by what a seat names, so a look is at the seats and not at all that waits.
#[derive(Default)]
struct Timed {
    /// With their limits.
    jobs: HashMap<u64, (u64, Weak<Job>)>,
    /// How many there are with each limit.
    limits: BTreeMap<u64, usize>,
    /// When those that are over were last left out, for those who were not told of their ends.
    pruned: u64,
}

impl Timed {
    fn enter(&mut self, job: &Arc<Job>, limit: u64) {
        self.leave(job.id().raw());
        self.jobs.insert(job.id().raw(), (limit, Arc::downgrade(job)));
        *self.limits.entry(limit).or_default() += 1;
    }

    fn leave(&mut self, job: u64) {
        if let Some((limit, _)) = self.jobs.remove(&job)
            && let Some(count) = self.limits.get_mut(&limit)
        {
            *count -= 1;
            if *count == 0 {
                self.limits.remove(&limit);
            }
        }
    }

    fn prune(&mut self) {
        let is_over = |job: &Weak<Job>| job.upgrade().is_none_or(|job| job.all_done(&mut 0));
        let over: Vec<u64> = self.jobs.iter().filter(|(_, (_, job))| is_over(job)).map(|(id, _)| *id).collect();
        over.into_iter().for_each(|job| self.leave(job));
    }
}

/// Seats are looked at no more often than this, however short a limit is.
const LEAST_PAUSE: u64 = 1_000_000;
/// While no timed item runs, jobs that are over are looked for this often at most.
const PRUNE_EVERY: u64 = 100_000_000;

#[derive(Default)]
struct Timers {
    /// When, and which: earliest first.
    due: BinaryHeap<Reverse<(u64, u64)>>,
    what: HashMap<u64, Later>,
    made: u64,
}

impl Default for Clock {
    fn default() -> Self {
        let (timers, timed, judged) = (Mutex::default(), Mutex::default(), Mutex::default());
        Clock { timers, timed, judged, next_look: AtomicU64::new(u64::MAX) }
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clock").field("next_look", &self.next_look).finish_non_exhaustive()
    }
}

/// Nothing panics while it holds one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Clock {
    pub(in crate::pool) fn judged(&self) -> MutexGuard<'_, Vec<Weak<Errand>>> {
        lock(&self.judged)
    }
}

/// One run of one item, as a seat told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    owner: u32,
    job: u64,
    chunk: u64,
    progress: u64,
    began: u64,
}

impl Run {
    /// The timed item that the worker of `seat` runs, if it does.
    fn of(seat: &Seat) -> Option<Run> {
        let look = || Run {
            owner: seat.owner.load(SeqCst),
            job: seat.job.load(SeqCst),
            chunk: seat.chunk.load(SeqCst),
            // Without the stage of a program, which changes while the item runs.
            progress: seat.progress.load(SeqCst) & ((1 << STAGE_SHIFT) - 1),
            began: seat.began.load(SeqCst),
        };
        let run = look();
        // Seen twice, it is one run and not half of two: its `began` is like no other's.
        (run.owner != 0 && run.progress & 1 == 1 && run.began != 0 && run == look()).then_some(run)
    }
}

impl Core {
    /// Has `later` done after `pause`, on the watching thread. `false` where no thread is to be had: then never.
    pub(in crate::pool) fn after(self: &Arc<Self>, pause: Duration, later: Later) -> bool {
        if !self.start_watching() {
            return false;
        }
        let at = clock::monotonic_nanos().saturating_add(nanos(pause));
        {
            let mut timers = lock(&self.clock.timers);
            timers.made += 1;
            let id = timers.made;
            timers.due.push(Reverse((at, id)));
            timers.what.insert(id, later);
        }
        self.look_by(at);
        true
    }

    /// Makes sure that the watching thread looks at `at` or before.
    fn look_by(&self, at: u64) {
        if self.clock.next_look.load(SeqCst) > at {
            bell::ring_word(&self.estate.control().control.watch_bell);
        }
    }

    /// From now on the items of this job may run only so long. Before it is published.
    pub(in crate::pool) fn time(&self, job: &Arc<Job>) {
        if let Some(limit) = job.errand().policy.timeout {
            lock(&self.clock.timed).enter(job, nanos(limit));
            self.look_by(clock::monotonic_nanos().saturating_add(nanos(limit).max(LEAST_PAUSE)));
        }
    }

    /// A job is finished: nothing of it runs any more.
    pub(in crate::pool) fn untime(&self, job: &Job) {
        if job.errand().policy.timeout.is_some() {
            lock(&self.clock.timed).leave(job.id().raw());
        }
    }

    /// Does what is due. When the next is, if there is one.
    pub(in crate::pool) fn look_at_clock(self: &Arc<Self>) -> Option<Instant> {
        // Whoever adds something from here on rings; what was added before is seen below.
        self.clock.next_look.store(u64::MAX, SeqCst);
        self.look_at_judged();
        let begun = clock::monotonic_nanos();
        loop {
            let later = {
                let mut timers = lock(&self.clock.timers);
                match timers.due.peek() {
                    Some(Reverse((at, _))) if *at <= begun => {
                        timers.due.pop().and_then(|Reverse((_, id))| timers.what.remove(&id))
                    }
                    _ => break,
                }
            };
            if let Some(later) = later {
                later(self);
            }
        }
        let look = self.look_at_seats();
        let timer = lock(&self.clock.timers).due.peek().map(|Reverse((at, _))| *at);
        let next = look.into_iter().chain(timer).min();
        self.clock.next_look.store(next.unwrap_or(u64::MAX), SeqCst);
        let left = next?.saturating_sub(clock::monotonic_nanos());
        Instant::now().checked_add(Duration::from_nanos(left))
    }

    /// Ends items that have run too long. When to look again, if there are timed jobs.
    fn look_at_seats(self: &Arc<Self>) -> Option<u64> {
        let limit_of = |job: &Arc<Job>| job.errand().policy.timeout.map_or(u64::MAX, nanos);
        let now = clock::monotonic_nanos();
        let (running, shortest): (Vec<(usize, Run, Arc<Job>)>, u64) = {
            let mut timed = lock(&self.clock.timed);
            if timed.jobs.is_empty() {
                return None;
            }
            let seats = self.estate.control().seats.iter().enumerate();
            let find = |(at, seat)| {
                let run = Run::of(seat)?;
                let (_, job) = timed.jobs.get(&run.job)?;
                Some((at, run, job.upgrade()?))
            };
            let running: Vec<_> = seats.filter_map(find).collect();
            if running.is_empty() && now.saturating_sub(timed.pruned) >= PRUNE_EVERY {
                timed.pruned = now;
                timed.prune();
            }
            (running, *timed.limits.keys().next()?)
        };
        let mut next = now.saturating_add(shortest.max(LEAST_PAUSE));
        for (at, run, job) in &running {
            let (at, run) = (*at, *run);
            let seat = &self.estate.control().seats[at];
            let (due, grace) = (run.began.saturating_add(limit_of(job)), job.errand().policy.grace);
            let last = due.saturating_add(grace.map_or(0, nanos));
            if now >= last {
                self.end_run(job, run, seat);
            } else if now >= due {
                if seat.interrupt.swap(run.began, SeqCst) != run.began {
                    self.interrupt_run(at, run, FIRST_PAUSE);
                }
                next = next.min(last);
            } else {
                next = next.min(due);
            }
        }
        Some(next)
    }

    /// Asks a run to end, again and again as long as it is under way.
    fn interrupt_run(self: &Arc<Self>, at: usize, run: Run, pause: Duration) {
        let seat = &self.estate.control().seats[at];
        if Run::of(seat) != Some(run) {
            return;
        }
        bell::ring_word(&seat.bell);
        let worker = self.lock().crew.member(run.owner);
        if let Some(worker) = worker {
            // It fails only if the worker has ended, which is what was wanted.
            let _ = worker.signal_if(INTERRUPT, || Run::of(seat) == Some(run));
        }
        let again = move |core: &Arc<Core>| core.interrupt_run(at, run, (pause * 2).min(LONGEST_PAUSE));
        self.after(pause, Box::new(again));
    }

    /// Kills the worker of a run that has taken too long.
    fn end_run(&self, job: &Arc<Job>, run: Run, seat: &Seat) {
        let Some(worker) = self.lock().crew.member(run.owner) else { return };
        let Some(limit) = job.errand().policy.timeout else { return };
        let Ok(chunk) = usize::try_from(run.chunk) else { return };
        if chunk >= job.chunks() {
            return;
        }
        let item = job.view().range(chunk).start + (run.progress >> 1) as usize;
        // Noted first: the death may be settled before this thread goes on.
        job.note_overrun(item, Some(limit));
        let killed = worker.kill_if(|| Run::of(seat) == Some(run)).unwrap_or(false);
        // As long as the seat says the same, the run is over by this death, or by one that is not settled yet.
        if !killed && Run::of(seat) != Some(run) {
            job.note_overrun(item, None);
        }
    }

    /// Ends batches of which too many items have failed.
    fn look_at_judged(self: &Arc<Self>) {
        let mut errands = Vec::new();
        self.clock.judged().retain(|errand| {
            let Some(errand) = errand.upgrade().filter(|errand| !errand.is_over()) else { return false };
            errands.push(errand);
            true
        });
        for errand in errands {
            self.look_at_failures(&errand);
        }
    }

    /// Ends a batch of which too many items have failed.
    pub(in crate::pool) fn look_at_failures(self: &Arc<Self>, errand: &Arc<Errand>) {
        if !errand.is_over()
            && let Some(ending) = errand.ending_by_failures()
        {
            self.cancel_errand(errand, ending, CancelLevel::Cooperative);
        }
    }
}
