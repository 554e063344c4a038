//! What a pool consists of in its own process: the control block, the jobs that are not finished, and its phase.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::bell;
use super::builder::Options;
use super::crew::Crew;
use super::errand::Ending;
use super::estimate::Estimates;
use super::hook::{Hook, Left};
use super::interrupt;
use super::job::Job;
use super::layout::{self, Control, ControlView, state as phase};
use super::state::StateInput;
use super::timeout::Clock;
use super::watch::Watched;
use crate::ErrorKind;
use crate::arena::{Arena, ArenaError, Block, BlockId};
use crate::sync::permits::{self, Permits};
use crate::sys::signal::{self, Mask};
use crate::task::{TaskContext, TaskError};

/// What workers begin and end with.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    /// What they make their state of.
    pub(super) state: Option<StateInput>,
    pub(super) initializer: Option<Hook>,
    pub(super) finalizer: Option<Hook>,
}

/// What the last worker of a pool needs to find, even after the pool itself is gone: everything a worker may still touch.
#[derive(Debug)]
pub(super) struct Estate {
    pub(super) arena: &'static Arena,
    control: Block,
    /// Seats that were ever in use.
    pub(super) seats: AtomicUsize,
    /// The permits to run of this pool's tree, where it is the first in it.
    permits: Option<Block>,
    /// What workers begin and end with.
    pub(super) inputs: Inputs,
    /// What the seats' workers can make a result part of, by seat; see `hook.rs`.
    pub(super) anchors: Mutex<Vec<Option<Block>>>,
    /// Finished jobs that a worker still named when they were finished.
    retired: Mutex<Vec<Arc<Job>>>,
}

impl Estate {
    /// The shared side.
    pub(super) fn control(&self) -> ControlView<'_> {
        layout::control_of(&self.control, self.seats.load(Acquire))
    }

    /// Where the bell for watched jobs lies in the arena.
    pub(super) fn watch_bell(&self) -> u64 {
        self.control.pos() + std::mem::offset_of!(Control, watch_bell) as u64
    }

    /// The permits to run of the tree that this pool is in.
    pub(super) fn permits(&self) -> Option<&'static Permits> {
        permits::at(self.arena, BlockId::from_raw(self.control().control.permits.load(Acquire))?)
    }

    /// Does it share the permits of another pool, in a worker of which it was made?
    pub(super) fn is_nested(&self) -> bool {
        self.permits.is_none()
    }

    /// Says how many workers of the tree may run at once, if that is this pool's to say.
    pub(super) fn set_permits(&self, count: usize) {
        if let (false, Some(permits)) = (self.is_nested(), self.permits()) {
            permits.resize(count);
        }
    }

    pub(super) fn control_id(&self) -> BlockId {
        self.control.id()
    }

    /// Frees a job's memory as soon as no worker looks at it any more. Looks at all seats, so small jobs are gathered first.
    pub(super) fn retire(&self, job: Arc<Job>) {
        if !self.arena.is_here() {
            return;
        }
        let large = job.size() >= 1 << 16;
        let due = {
            let mut retired = self.retired.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            retired.push(job);
            large || retired.len() > 16 + 2 * self.seats.load(Relaxed)
        };
        if due {
            self.sweep();
        }
    }

    /// A finished job that a worker may still name.
    pub(super) fn retired(&self, id: BlockId) -> Option<Arc<Job>> {
        let retired = self.retired.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        retired.iter().find(|job| job.id() == id).cloned()
    }

    /// Frees finished jobs that no worker looks at any more.
    pub(super) fn sweep(&self) {
        if !self.arena.is_here() {
            return;
        }
        let named = self.control().named();
        let mut retired = self.retired.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        retired.retain(|job| named.contains(&job.id().raw()));
    }
}

/// Whether a pool takes work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// It does.
    #[default]
    Open,
    /// It finishes what it has.
    Closed,
    /// Ctrl-C: it finishes what runs.
    Interrupted,
    /// It has given up everything.
    Terminated,
    /// It could not start workers.
    Broken { reason: String, kind: ErrorKind },
}

impl Phase {
    /// Has it given up what is not done?
    pub(super) fn is_hopeless(&self) -> bool {
        matches!(self, Phase::Terminated | Phase::Broken { .. })
    }

    /// The error of an item that was given up in this phase.
    pub(super) fn error(&self, context: TaskContext) -> TaskError {
        match self {
            Phase::Open | Phase::Closed | Phase::Interrupted => TaskError::Cancelled { context },
            Phase::Terminated => TaskError::PoolClosed { context },
            Phase::Broken { reason, kind } => TaskError::NoWorker { context, reason: reason.clone(), kind: *kind },
        }
    }
}

/// A pool.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) estate: Arc<Estate>,
    pub(super) options: Options,
    pub(super) estimates: Estimates,
    pub(super) watched: Watched,
    pub(super) clock: Clock,
    pub(super) inner: Mutex<Inner>,
    /// Signalled when a worker has ended.
    pub(super) ended: Condvar,
    /// No value will come any more for what is not done: terminated or broken.
    hopeless: AtomicBool,
    /// The signal mask of the thread that made the pool: workers get it, whichever thread starts them.
    pub(super) mask: Mask,
    /// The most workers now.
    pub(super) limit: AtomicUsize,
}

/// What changes, under the pool's private lock.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) phase: Phase,
    pub(super) crew: Crew,
    /// Published and not finished.
    pub(super) jobs: HashMap<BlockId, Arc<Job>>,
    /// Jobs that found the ring full.
    overflow: VecDeque<Arc<Job>>,
    /// Jobs that found no lane, and how many were ever put into one.
    without_lane: VecDeque<Arc<Job>>,
    laned: u64,
    /// Jobs whose handle was dropped before they were done.
    detached: VecDeque<Arc<Job>>,
    /// Batches that may publish more windows.
    batches: usize,
    /// A thread is replacing dead workers.
    pub(super) hiring: bool,
    /// What finalizers returned, oldest first.
    pub(super) left: Vec<Left>,
}

impl Core {
    /// Makes the shared side of a pool. Starts no process.
    pub(super) fn new(arena: &'static Arena, options: Options, inputs: Inputs) -> Result<Arc<Core>, ArenaError> {
        let workers = options.workers;
        let control = layout::new_control(arena, workers)?;
        let seats = AtomicUsize::new(workers);
        // A pool in a worker shares those of the tree that this is a worker of.
        let inherited = permits::of_this_tree();
        let permits = match inherited {
            Some(_) => None,
            None => Some(arena.alloc_zeroed(size_of::<Permits>())?),
        };
        let (anchors, retired) = (Mutex::default(), Mutex::default());
        let estate = Estate { arena, control, seats, permits, inputs, anchors, retired };
        {
            let (control, inputs) = (estate.control(), &estate.inputs);
            inputs.state.iter().for_each(|state| state.announce(&control));
            inputs.initializer.iter().for_each(|hook| hook.announce(&control.control.initializer));
            inputs.finalizer.iter().for_each(|hook| hook.announce(&control.control.finalizer));
            options.limits.announce(&control);
            options.limits.resources.announce(&control);
            let block = estate.permits.as_ref().map(Block::id).or(inherited.map(|(_, block)| block));
            control.control.permits.store(block.map_or(0, BlockId::raw), Release);
        }
        estate.set_permits(options.limits.budget.unwrap_or(workers));
        estate.anchor_seats()?;
        let core = Arc::new(Core {
            estate: Arc::new(estate),
            options,
            estimates: Estimates::default(),
            watched: Watched::default(),
            clock: Clock::default(),
            inner: Mutex::new(Inner {
                phase: Phase::Open,
                crew: Crew::new(),
                jobs: HashMap::new(),
                overflow: VecDeque::new(),
                without_lane: VecDeque::new(),
                laned: 0,
                detached: VecDeque::new(),
                batches: 0,
                hiring: false,
                left: Vec::new(),
            }),
            ended: Condvar::new(),
            hopeless: AtomicBool::new(false),
            mask: signal::mask(),
            limit: AtomicUsize::new(workers),
        });
        interrupt::enter(&core);
        Ok(core)
    }

    /// The most workers now.
    pub(super) fn workers(&self) -> usize {
        self.limit.load(Relaxed)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Is this the process that made the pool? In a `fork` of it that the program made itself, the shared memory is absent.
    pub(super) fn is_here(&self) -> bool {
        self.estate.arena.is_here()
    }

    /// Is there no hope for what is not done yet?
    pub(super) fn is_hopeless(&self) -> bool {
        self.hopeless.load(SeqCst)
    }

    /// Why an item that is not done will never be.
    pub(super) fn hopeless_error(&self, context: TaskContext) -> TaskError {
        if let Err(error) = self.estate.arena.check() {
            return TaskError::NoWorker { context, reason: error.to_string(), kind: error.kind() };
        }
        self.lock().phase.error(context)
    }

    /// Refuses new work unless the pool takes some.
    pub(super) fn check_open(&self, context: impl FnOnce() -> TaskContext) -> Result<(), TaskError> {
        self.check_phase(&self.lock(), context)
    }

    fn check_phase(&self, inner: &Inner, context: impl FnOnce() -> TaskContext) -> Result<(), TaskError> {
        if let Err(error) = self.estate.arena.check() {
            return Err(TaskError::NoWorker { context: context(), reason: error.to_string(), kind: error.kind() });
        }
        match &inner.phase {
            Phase::Open if interrupt::interrupted() => Err(Phase::Interrupted.error(context())),
            Phase::Open => Ok(()),
            Phase::Closed => Err(TaskError::PoolClosed { context: context() }),
            over => Err(over.error(context())),
        }
    }

    /// Lets workers have a job, wakes them, and starts more where that helps.
    pub(super) fn publish(self: &Arc<Self>, job: &Arc<Job>) {
        self.time(job);
        let control = self.estate.control();
        {
            let mut inner = self.lock();
            inner.jobs.insert(job.id(), job.clone());
            inner.enter(&control, job.clone());
            if !inner.overflow.is_empty() || !inner.without_lane.is_empty() {
                drop(inner);
                self.wait_for_room();
            }
        }
        if interrupt::interrupted() {
            // Too late for `interrupt` to see it.
            job.cancel(Ending::Pool(Phase::Interrupted), false);
            job.ring();
        }
        let wanted = job.view().words.len();
        let woken = control.wake(wanted);
        if woken < wanted {
            self.hire();
        }
    }

    /// Is there a chunk that no worker has claimed, or one that is to be tried again later?
    pub(super) fn has_work(&self, inner: &Inner) -> bool {
        self.unclaimed(inner) > 0 || inner.jobs.values().any(|job| job.is_delayed())
    }

    /// How many chunks no worker has claimed.
    pub(super) fn unclaimed(&self, inner: &Inner) -> u64 {
        let control = self.estate.control();
        let entered = control.entries().chain(control.jobs_in_lanes()).filter_map(|id| inner.jobs.get(&id));
        entered.chain(&inner.overflow).chain(&inner.without_lane).map(|job| job.unclaimed()).sum()
    }

    /// Ends a job: its memory goes back as soon as no worker looks at it.
    pub(super) fn finish(&self, job: &Arc<Job>) {
        self.strike(job);
        self.estate.retire(job.clone());
    }

    /// Takes a finished job off the books, without giving its memory back.
    pub(super) fn strike(&self, job: &Arc<Job>) {
        self.estimates.learn(job);
        job.tell_progress();
        let control = self.estate.control();
        {
            let mut inner = self.lock();
            inner.jobs.remove(&job.id());
            if !inner.overflow.is_empty() && !job.is_entered() {
                inner.overflow.retain(|waiting| !Arc::ptr_eq(waiting, job));
            }
            inner.without_lane.retain(|waiting| !Arc::ptr_eq(waiting, job));
            job.unpublish(&control);
            inner.refill(&control);
        }
        self.throw_away(2);
    }

    /// Frees what is done of the oldest few jobs that nobody waits for.
    pub(super) fn throw_away(&self, few: usize) {
        let mut done = Vec::new();
        {
            let mut inner = self.lock();
            for _ in 0..few.min(inner.detached.len()) {
                match inner.detached.pop_front() {
                    Some(old) if old.all_done(&mut 0) => done.push(old),
                    Some(old) => inner.detached.push_back(old),
                    None => break,
                }
            }
            for job in &done {
                inner.jobs.remove(&job.id());
                job.unpublish(&self.estate.control());
            }
        }
        done.into_iter().for_each(|job| self.estate.retire(job));
    }

    /// Ends a job nobody waits for: now if it is done, else when a later one is detached or the pool ends.
    pub(super) fn detach(&self, job: &Arc<Job>) {
        if !self.is_here() {
            return;
        }
        if job.all_done(&mut 0) {
            return self.finish(job);
        }
        self.lock().detached.push_back(job.clone());
        // A few of the oldest each time keep pace with those that are added.
        self.throw_away(4);
    }

    /// Begins a batch: until [`end_batch`](Self::end_batch), workers stay although the pool is closed.
    pub(super) fn begin_batch(&self, context: impl FnOnce() -> TaskContext) -> Result<(), TaskError> {
        let mut inner = self.lock();
        self.check_phase(&inner, context)?;
        inner.batches += 1;
        Ok(())
    }

    /// Ends a batch.
    pub(super) fn end_batch(&self) {
        if !self.is_here() {
            return;
        }
        let mut inner = self.lock();
        inner.batches -= 1;
        self.drain_if_over(&inner);
        drop(inner);
        self.throw_away(16);
        self.estate.sweep();
    }

    /// Takes no more work.
    pub(super) fn close(&self) {
        if !self.is_here() {
            return;
        }
        let mut inner = self.lock();
        if inner.phase == Phase::Open {
            inner.phase = Phase::Closed;
        }
        self.drain_if_over(&inner);
    }

    fn drain_if_over(&self, inner: &Inner) {
        let is_over = match inner.phase {
            Phase::Open => false,
            Phase::Closed | Phase::Interrupted => inner.batches == 0,
            Phase::Terminated | Phase::Broken { .. } => true,
        };
        if is_over {
            let control = self.estate.control();
            control.control.state.store(phase::DRAIN, SeqCst);
            control.wake(usize::MAX);
        }
    }

    /// Finishes what runs and takes no more: for Ctrl-C.
    pub(super) fn interrupt(&self) {
        let jobs: Vec<Arc<Job>> = {
            let mut inner = self.lock();
            if inner.phase.is_hopeless() {
                return;
            }
            inner.phase = Phase::Interrupted;
            self.drain_if_over(&inner);
            inner.jobs.values().cloned().collect()
        };
        for job in jobs {
            job.cancel(Ending::Pool(Phase::Interrupted), false);
            job.ring();
        }
        self.look_at_watched();
    }

    /// Gives up: callers that wait get an error.
    pub(super) fn give_up(&self, phase: Phase) {
        if !self.estate.arena.is_here() {
            return;
        }
        let jobs: Vec<Arc<Job>> = {
            let mut inner = self.lock();
            if inner.phase.is_hopeless() {
                return;
            }
            inner.phase = phase.clone();
            inner.overflow.clear();
            inner.without_lane.clear();
            self.hopeless.store(true, SeqCst);
            self.drain_if_over(&inner);
            inner.jobs.values().cloned().collect()
        };
        for job in jobs {
            job.cancel(Ending::Pool(phase.clone()), true);
            job.ring();
        }
        self.look_at_watched();
    }
}

impl Core {
    /// The ring is full: the watching thread goes on publishing as workers make room.
    fn wait_for_room(self: &Arc<Self>) {
        let control = self.estate.control();
        control.control.room_bell.store(1, SeqCst);
        if !self.start_watching() {
            // No thread is to be had, so this one waits. There is room when a worker has passed an entry.
            while !self.is_hopeless() && !self.refill() {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            return;
        }
        // Workers that passed an entry before they could see the flag.
        bell::ring_word(&control.control.watch_bell);
    }

    /// Publishes jobs that found the ring full, as far as there is room now. `true` when none is left.
    pub(super) fn refill(&self) -> bool {
        let control = self.estate.control();
        let mut inner = self.lock();
        let waiting = |inner: &Inner| inner.overflow.len() + inner.without_lane.len();
        let before = waiting(&inner);
        inner.refill(&control);
        let left = waiting(&inner);
        let published = before - left;
        if left == 0 {
            control.control.room_bell.store(0, SeqCst);
        }
        drop(inner);
        if published > 0 {
            control.wake(published);
        }
        left == 0
    }
}

impl Inner {
    fn enter(&mut self, control: &ControlView<'_>, job: Arc<Job>) {
        if let Some(demand) = job.demand() {
            let entry = match self.without_lane.is_empty() {
                true => control.publish_in_lane(job.id(), demand, self.next_age()),
                false => None,
            };
            match entry {
                Some(entry) => job.note_entry(entry),
                None => self.without_lane.push_back(job),
            }
            return;
        }
        if self.overflow.is_empty()
            && let Some(seq) = control.publish(job.id())
        {
            job.note_entry(seq);
        } else {
            self.overflow.push_back(job);
        }
    }

    /// Publishes a job again that has free chunks which its old place in the ring may have been passed with.
    pub(super) fn enter_again(&mut self, control: &ControlView<'_>, job: &Arc<Job>) {
        self.enter(control, job.clone());
    }

    fn next_age(&mut self) -> u64 {
        self.laned += 1;
        self.laned
    }

    pub(super) fn refill(&mut self, control: &ControlView<'_>) {
        while let Some(job) = self.without_lane.front().cloned() {
            if !self.jobs.contains_key(&job.id()) {
                // Over before there was room: its memory may go with this.
                self.without_lane.pop_front();
                continue;
            }
            let age = self.next_age();
            let demand = job.demand();
            let Some(entry) = demand.and_then(|demand| control.publish_in_lane(job.id(), demand, age)) else { break };
            job.note_entry(entry);
            self.without_lane.pop_front();
        }
        while let Some(job) = self.overflow.front() {
            if !self.jobs.contains_key(&job.id()) {
                self.overflow.pop_front();
                continue;
            }
            let Some(seq) = control.publish(job.id()) else { break };
            job.note_entry(seq);
            self.overflow.pop_front();
        }
    }
}

impl Drop for Core {
    /// Nobody can ask for a result any more: running work is ended, and what workers still look at outlives them.
    fn drop(&mut self) {
        let inner = self.inner.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !self.estate.arena.is_here() {
            return;
        }
        let control = self.estate.control();
        control.control.state.store(phase::DRAIN, SeqCst);
        inner.crew.kill_all();
        // The watching thread sees that there is nothing left to watch.
        bell::ring_word(&control.control.watch_bell);
        for job in std::mem::take(&mut inner.jobs).into_values() {
            job.unpublish(&control);
            self.estate.retire(job);
        }
    }
}
