//! The workers of a pool: started when there is work for them, replaced when they die, ended with the pool.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering::*;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::core::{Core, Inner};
use super::estate::Estate;
use super::phase::Phase;
use crate::arena::{BlockId, Owner};
use crate::pool::job::errand::Ending;
use crate::pool::job::{Job, Settled};
use crate::pool::layout::Seat;
use crate::pool::options::hook;
use crate::pool::options::policy::CancelLevel;
use crate::pool::watching::account::Attempt;
use crate::pool::worker;
use crate::process::{ChildHandle, ChildSpec, Death, Role, SpawnError, supervisor};
use crate::sync::permits;
use crate::sys::signal;
use crate::{ErrorKind, Signal};

/// So many workers in a row that end before they look for work mean that none ever will.
const MAX_FALSE_STARTS: u32 = 3;
/// The same where it was SIGKILL that ended them: it comes from outside, and the next one may be spared.
const MAX_KILLED_STARTS: u32 = 100;

/// Who works.
#[derive(Debug)]
pub(in crate::pool) struct Crew {
    members: HashMap<Owner, Arc<ChildHandle>>,
    /// Workers that ended before [`Core::hire`] could enter them.
    gone: HashSet<Owner>,
    starting: usize,
    false_starts: u32,
    killed_starts: u32,
    started: u64,
}

impl Crew {
    pub(in crate::pool) fn new() -> Crew {
        Crew {
            members: HashMap::new(),
            gone: HashSet::new(),
            starting: 0,
            false_starts: 0,
            killed_starts: 0,
            started: 0,
        }
    }

    /// Are all workers gone?
    pub(in crate::pool) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.starting == 0
    }

    /// Are there as many as there may be?
    pub(in crate::pool) fn is_full(&self, limit: usize) -> bool {
        self.members.len() + self.starting >= limit
    }

    /// Those that are alive.
    pub(in crate::pool) fn members(&self) -> impl Iterator<Item = &Arc<ChildHandle>> {
        self.members.values()
    }

    /// How many were ever started.
    pub(in crate::pool) fn started(&self) -> u64 {
        self.started
    }

    pub(in crate::pool) fn kill_all(&self) {
        self.members.values().for_each(|worker| kill(worker));
    }

    /// The worker that this raw owner names.
    pub(in crate::pool) fn member(&self, owner: u32) -> Option<Arc<ChildHandle>> {
        self.members.iter().find(|(member, _)| member.raw() == owner).map(|(_, worker)| worker.clone())
    }
}

fn kill(worker: &ChildHandle) {
    // SIGKILL to a child of ours by its pidfd fails only if it has ended, which is what was wanted.
    let _ = worker.kill();
}

impl Core {
    /// Starts workers, one after the other, as long as there is a vacant seat and more unclaimed work than the workers
    /// that are starting or look for work will take.
    pub(in crate::pool) fn hire(self: &Arc<Self>) {
        loop {
            let number = {
                let mut inner = self.lock();
                if inner.phase.is_hopeless()
                    || inner.crew.is_full(self.workers())
                    || !self.may_run_more(&inner)
                    || self.unclaimed(&inner) <= self.at_hand(&inner)
                {
                    return;
                }
                inner.crew.starting += 1;
                inner.crew.started += 1;
                inner.crew.started
            };
            let (core, estate) = (Arc::downgrade(self), self.estate.clone());
            let mut spec = ChildSpec::new(Role::Worker, self.estate.control_id(), self.options.start_method);
            spec.name = format!("{}-{number}", self.options.name);
            spec.daemon = true;
            self.options.limits.dress(&mut spec, self.workers());
            let source = match &self.outputs {
                None => Ok(None),
                Some((nonce, sources)) => sources.open(&spec.name, *nonce).map(|(source, [output, errors])| {
                    (spec.streams[1], spec.streams[2]) = (Some(output), Some(errors));
                    Some((sources.clone(), source))
                }),
            };
            let started = match source {
                Err(error) => Err(SpawnError::io("making a worker's pipes")(error)),
                Ok(source) => {
                    let unstarted = source.clone();
                    spec.on_death = Some(Box::new(move |death: &Death| {
                        // First: who is told of the death finds what the worker wrote before.
                        source.iter().for_each(|(sources, source)| sources.close(source));
                        worker_died(&core, &estate, death);
                    }));
                    let started = supervisor::start(spec);
                    if let (Err(_), Some((sources, source))) = (&started, &unstarted) {
                        sources.close(source);
                    }
                    started
                }
            };
            let mut inner = self.lock();
            inner.crew.starting -= 1;
            match started {
                Ok(worker) => {
                    self.note_start(worker.pid(), worker.name());
                    if inner.phase.is_hopeless() {
                        kill(&worker);
                    }
                    if !inner.crew.gone.remove(&worker.owner()) {
                        inner.crew.members.insert(worker.owner(), worker);
                    }
                    // Whoever waits for the crew's end may have looked while this one was starting and gone already.
                    self.ended.notify_all();
                }
                Err(error) => {
                    let alone = inner.crew.is_empty();
                    drop(inner);
                    // With others at work this is a worker less; alone it is the end.
                    if alone {
                        self.give_up(Phase::Broken { reason: error.to_string(), kind: error.kind() });
                    }
                    self.ended.notify_all();
                    return;
                }
            }
        }
    }

    /// Could another worker run? Where a tree of pools shares its permits, each has a few workers anyway, and more while permits are free.
    fn may_run_more(&self, inner: &Inner) -> bool {
        const ANYWAY: usize = 4;
        let count = inner.crew.members.len() + inner.crew.starting;
        // The caller may be about to wait, and to lend its own.
        count < ANYWAY
            || !self.estate.is_nested()
            || self.estate.permits().is_none_or(|permits| self.at_hand(inner) <= permits.free() as u64)
    }

    /// Hires in the place of the dead, on a thread of its own: one at a time for a pool.
    fn replace(self: &Arc<Self>) {
        // This thread was started by one that blocks all signals, and children have the mask of the thread that starts them.
        signal::set_mask(self.mask);
        loop {
            self.hire();
            let mut inner = self.lock();
            // Deaths that came meanwhile left it to this thread.
            let more = !self.is_hopeless() && inner.crew.is_empty() && self.has_work(&inner);
            if !more {
                inner.hiring = false;
                return;
            }
        }
    }

    /// How many workers are about to take a chunk: those still starting, those that look at no job, those that look at one in which
    /// nothing is left for them, or nothing was claimed yet. Another may be about to begin a long item, so it does not count.
    fn at_hand(&self, inner: &Inner) -> u64 {
        let control = self.estate.control();
        let is_busy = |seat: &&Seat| match BlockId::from_raw(seat.job.load(SeqCst)) {
            None => false,
            Some(id) => !inner
                .jobs
                .get(&id)
                .cloned()
                .or_else(|| self.estate.retired(id))
                .is_some_and(|job| job.is_open_to(seat)),
        };
        let busy = control.seats.iter().filter(is_busy).count();
        ((inner.crew.members.len() + inner.crew.starting) as u64).saturating_sub(busy as u64)
    }

    /// Waits until all workers have ended and nothing is left for them. `false` when the deadline passed before.
    pub(in crate::pool) fn wait_for_crew(&self, deadline: Option<Instant>) -> bool {
        // Before the lock, so that it ends after it.
        let mut _paused = None;
        let mut inner = self.lock();
        while !(inner.crew.is_empty() && (self.is_hopeless() || !self.has_work(&inner))) {
            _paused = _paused.or_else(permits::pause);
            inner = match deadline {
                None => self.ended.wait(inner).unwrap_or_else(|poisoned| poisoned.into_inner()),
                Some(deadline) => {
                    let Some(rest) = deadline.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero())
                    else {
                        return false;
                    };
                    self.ended.wait_timeout(inner, rest).unwrap_or_else(|poisoned| poisoned.into_inner()).0
                }
            };
        }
        true
    }

    /// Kills the workers that run chunks of `job`, and no others: each is stopped, looked at again, and killed if it is still
    /// at it.
    pub(in crate::pool) fn kill_runners(&self, job: &Job) {
        for runner in job.runners() {
            let Some(worker) = self.lock().crew.member(runner) else { continue };
            // It fails only if the worker has ended, which is what was wanted.
            let _ = worker.kill_if(|| job.is_run_by(runner));
        }
    }

    /// Ends the workers of a pool that nobody can ask for anything any more.
    pub(in crate::pool) fn dismiss(&self) {
        if !self.is_here() {
            return;
        }
        const GRACE: Duration = Duration::from_secs(2);
        let jobs: Vec<Arc<Job>> = self.lock().jobs.values().cloned().collect();
        for job in &jobs {
            job.cancel(Ending::Pool(Phase::Terminated), true);
            self.kill_runners(job);
        }
        if !self.wait_for_crew(Some(Instant::now() + GRACE)) {
            self.lock().crew.kill_all();
            self.wait_for_crew(None);
        }
    }
}

/// Runs on the supervisor's thread, after the arena's audit of the dead.
fn worker_died(core: &Weak<Core>, estate: &Estate, death: &Death) {
    let control = estate.control();
    estate.records.iter().for_each(|records| records.forget(death.pid));
    let seat = control.seats.iter().position(|seat| seat.owner.load(SeqCst) == death.owner.raw());
    let core = core.upgrade();
    let (mut settled, mut noted) = (None, false);
    if let Some(core) = &core {
        let mut inner = core.lock();
        #[cfg(feature = "testing")]
        if death.status.signal() == Some(Signal::KILL) {
            let seat = seat.map(|at| &control.seats[at]);
            let job = seat.and_then(|seat| inner.jobs.get(&BlockId::from_raw(seat.job.load(SeqCst))?));
            crate::pool::testing::phases::note(seat, job.map(|job| &**job), death.owner);
        }
        let (mut ready, mut running, mut left) = (false, false, None);
        if let Some(at) = seat {
            let seat = &control.seats[at];
            ready = seat.ready.load(SeqCst) == 1;
            running = seat.progress.load(SeqCst) & 1 == 1;
            let mut note = |job: &Job, attempt| {
                noted = true;
                core.note_end(death, Some((job, &attempt)));
            };
            settled = settle(&mut inner, estate, seat, death, &mut note);
            left = estate.take_left(at, death.pid);
        }
        if inner.crew.members.remove(&death.owner).is_none() {
            inner.crew.gone.insert(death.owner);
        }
        #[cfg(feature = "testing")]
        if inner.crew.members().any(|worker| worker.has_ended_unseen()) {
            crate::pool::testing::phases::PHASES.audit.fetch_add(1, Relaxed);
        }
        let crew = &mut inner.crew;
        match death.status.signal() {
            _ if ready => (crew.false_starts, crew.killed_starts) = (0, 0),
            // Its seat went away with a `resize` while it started.
            _ if death.status.code() == Some(worker::NO_SEAT) => {}
            // One that takes too much memory before its first task will do so again.
            Some(Signal::KILL) if death.oom_killed != Some(true) => crew.killed_starts += 1,
            _ => crew.false_starts += 1,
        }
        // A task may leave by `exit` with any code.
        if death.status.code() == Some(worker::NO_JOB) && !running {
            crew.false_starts = MAX_FALSE_STARTS;
        }
        let hopeless = crew.false_starts >= MAX_FALSE_STARTS || crew.killed_starts >= MAX_KILLED_STARTS;
        let false_starts = crew.false_starts + crew.killed_starts;
        // Whose initializer failed is not ready.
        let failed = left.as_ref().filter(|_| !ready).and_then(|left| left.fault(estate.arena));
        if ready && estate.inputs.finalizer.is_some() {
            inner.left.extend(left);
        }
        drop(inner);
        if let (Some(fault), Some(hook)) = (&failed, &estate.inputs.initializer) {
            let (reason, kind) = hook::explain(fault);
            let reason = format!("the initializer `{}` failed in worker {}: {reason}", hook.name, death.pid);
            core.give_up(Phase::Broken { reason, kind });
        } else if hopeless {
            let last = death.start_failure().unwrap_or_else(|| match &death.note {
                Some(note) => format!("{}: {note}", death.status),
                None => death.status.to_string(),
            });
            let reason =
                format!("{false_starts} workers in a row ended before they could take work; the last one: {last}");
            core.give_up(Phase::Broken { reason, kind: ErrorKind::Spawn });
        }
    }
    if let Some(at) = seat {
        // First: as soon as the seat is vacant, the bit may be another worker's.
        control.set_idle(at, false);
        control.clear_grant(at);
        vacate(&control.seats[at]);
    }
    // A seat without an anchor costs its next worker's result, and nothing else.
    _ = estate.anchor_seats();
    estate.sweep();
    let Some(core) = core else { return };
    if !noted {
        core.note_end(death, None);
    }
    if let Some((job, settled)) = settled {
        core.see_to(&job, settled);
    }
    // The dead one may have been chosen to be woken for work that others can do.
    control.wake(usize::MAX);
    core.ended.notify_all();
    core.look_at_watched();
    core.throw_away(16);
    core.lock().refill(&control);
    // Not on this thread: starting a child is its own work.
    core.hire_elsewhere();
    // If this is the last handle of the pool, its end must not wait for this very thread: `Core::drop` does not wait.
}

fn settle(
    inner: &mut Inner,
    estate: &Estate,
    seat: &Seat,
    death: &Death,
    note: &mut dyn FnMut(&Job, Attempt),
) -> Option<(Arc<Job>, Settled)> {
    let job = BlockId::from_raw(seat.job.load(SeqCst)).and_then(|id| inner.jobs.get(&id).cloned())?;
    let settled = job.settle(seat, death.owner, death, &mut |attempt| note(&job, attempt));
    if settled.more {
        inner.enter_again(&estate.control(), &job);
    }
    Some((job, settled))
}

impl Core {
    /// Does about a death what can wait until the pool's lock is free.
    fn see_to(self: &Arc<Self>, job: &Arc<Job>, settled: Settled) {
        if let Some(due) = settled.due {
            let (pause, again) = (due.saturating_duration_since(Instant::now()), job.clone());
            if !self.after(pause, Box::new(move |core| core.try_again(&again, Instant::now()))) {
                // Too early is better than never.
                self.try_again(job, due);
            }
        }
        if let Some(ending) = settled.ending {
            self.cancel_errand(job.errand(), ending, CancelLevel::Cooperative);
        }
        self.look_at_failures(job.errand());
    }

    /// The next try of some items of `job` is due.
    fn try_again(self: &Arc<Self>, job: &Arc<Job>, now: Instant) {
        if !job.release_due(now) {
            return;
        }
        let control = self.estate.control();
        self.lock().enter_again(&control, job);
        if control.wake(1) == 0 {
            self.hire_elsewhere();
        }
    }

    /// Hires on a thread of its own, if workers are wanted and no thread does that now.
    fn hire_elsewhere(self: &Arc<Self>) {
        let mut inner = self.lock();
        let hire = !inner.hiring && !inner.crew.is_full(self.workers()) && self.has_work(&inner) && !self.is_hopeless();
        inner.hiring |= hire;
        drop(inner);
        if !hire {
            return;
        }
        let keeper = self.clone();
        let started = std::thread::Builder::new().name("offspring-hire".into()).spawn(move || keeper.replace());
        if let Err(error) = started {
            let reason = format!("a dead worker could not be replaced: {error}");
            self.give_up(Phase::Broken { reason, kind: ErrorKind::Limit });
        }
    }
}

fn vacate(seat: &Seat) {
    seat.job.store(0, SeqCst);
    seat.chunk.store(0, Relaxed);
    seat.progress.store(0, Relaxed);
    seat.ready.store(0, Relaxed);
    seat.sleeps.store(0, Relaxed);
    seat.claims.store(0, Relaxed);
    seat.items.store(0, Relaxed);
    seat.since.store(0, Relaxed);
    seat.orders.store(0, Relaxed);
    seat.result.store(0, Relaxed);
    seat.began.store(0, Relaxed);
    seat.interrupt.store(0, Relaxed);
    seat.claimed_from.store(0, Relaxed);
    seat.said.job.store(0, Relaxed);
    // Last: from here on the seat can be taken.
    seat.owner.store(0, SeqCst);
}
