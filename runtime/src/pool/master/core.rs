//! What a pool consists of in its own process: the control block, the jobs that are not finished, and its phase.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::crew::Crew;
use super::estate::{Estate, Inputs};
use super::phase::Phase;
use super::waiting::Waiting;
use crate::arena::{Arena, ArenaError, Block, BlockId};
use crate::pool::ending::interrupt;
use crate::pool::ending::timeout::Clock;
use crate::pool::job::Job;
use crate::pool::job::errand::Ending;
use crate::pool::job::estimate::Estimates;
use crate::pool::layout::{self, state as phase};
use crate::pool::options::builder::Options;
use crate::pool::options::hook::Left;
use crate::pool::protocol::bell;
use crate::pool::watching::watch::Watched;
use crate::seeing::ledger::Ledger;
use crate::seeing::output::{Nonce, Sources};
use crate::seeing::records::Relay;
use crate::sync::permits::{self, Permits};
use crate::sys::clock::monotonic_nanos;
use crate::sys::signal::{self, Mask};
use crate::task::{TaskContext, TaskError};

/// A pool.
#[derive(Debug)]
pub(in crate::pool) struct Core {
    pub(in crate::pool) estate: Arc<Estate>,
    pub(in crate::pool) options: Options,
    pub(in crate::pool) estimates: Estimates,
    pub(in crate::pool) watched: Watched,
    pub(in crate::pool) clock: Clock,
    pub(in crate::pool) ledger: Ledger,
    pub(in crate::pool) inner: Mutex<Inner>,
    /// Signalled when a worker has ended.
    pub(in crate::pool) ended: Condvar,
    /// No value will come any more for what is not done: terminated or broken.
    hopeless: AtomicBool,
    /// The signal mask of the thread that made the pool: workers get it, whichever thread starts them.
    pub(in crate::pool) mask: Mask,
    /// The most workers now.
    pub(in crate::pool) limit: AtomicUsize,
    /// The workers' standard streams, where they are pipes.
    pub(in crate::pool) outputs: Option<(Nonce, Arc<Sources>)>,
}

/// What changes, under the pool's private lock.
#[derive(Debug)]
pub(in crate::pool) struct Inner {
    pub(in crate::pool) phase: Phase,
    pub(in crate::pool) crew: Crew,
    /// Published and not finished.
    pub(in crate::pool) jobs: HashMap<BlockId, Arc<Job>>,
    /// Jobs that found the ring full.
    pub(in crate::pool) overflow: VecDeque<Arc<Job>>,
    /// Jobs that found no lane; and how many ranks and entries of lanes there were.
    pub(in crate::pool) waiting: Waiting,
    pub(in crate::pool) laned: u64,
    /// Jobs whose handle was dropped before they were done.
    pub(in crate::pool) detached: VecDeque<Arc<Job>>,
    /// Batches that may publish more windows.
    batches: usize,
    /// A thread is replacing dead workers.
    pub(in crate::pool) hiring: bool,
    /// What finalizers returned, oldest first.
    pub(in crate::pool) left: Vec<Left>,
}

impl Core {
    /// Makes the shared side of a pool. Starts no process.
    pub(in crate::pool) fn new(
        arena: &'static Arena,
        options: Options,
        inputs: Inputs,
    ) -> Result<Arc<Core>, ArenaError> {
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
        let records = if options.limits.records.unwrap_or(true) { Relay::start(arena)? } else { None };
        let estate = Estate { arena, control, seats, permits, inputs, anchors, records, retired };
        {
            let (control, inputs) = (estate.control(), &estate.inputs);
            inputs.state.iter().for_each(|state| state.announce(&control));
            inputs.initializer.iter().for_each(|hook| hook.announce(&control.control.initializer));
            inputs.finalizer.iter().for_each(|hook| hook.announce(&control.control.finalizer));
            control.control.records.store(estate.records.as_ref().map_or(0, |relay| relay.setup()), Release);
            options.limits.announce(&control);
            options.limits.resources.announce(&control);
            let block = estate.permits.as_ref().map(Block::id).or(inherited.map(|(_, block)| block));
            control.control.permits.store(block.map_or(0, BlockId::raw), Release);
        }
        let outputs = options.limits.pipes.then(|| (Nonce::new(), Arc::new(Sources::default())));
        if let Some((nonce, _)) = &outputs {
            let words = &estate.control().control.nonce;
            words.iter().zip(nonce.words()).for_each(|(to, from)| to.store(from, Release));
        }
        estate.set_permits(options.limits.budget.unwrap_or(workers));
        estate.anchor_seats()?;
        let core = Arc::new(Core {
            estate: Arc::new(estate),
            options,
            estimates: Estimates::default(),
            watched: Watched::default(),
            clock: Clock::default(),
            ledger: Ledger::default(),
            inner: Mutex::new(Inner {
                phase: Phase::Open,
                crew: Crew::new(),
                jobs: HashMap::new(),
                overflow: VecDeque::new(),
                waiting: Waiting::default(),
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
            outputs,
        });
        if core.options.policy.account {
            core.ledger.begin(monotonic_nanos());
        }
        interrupt::enter(&core);
        Ok(core)
    }

    /// The most workers now.
    pub(in crate::pool) fn workers(&self) -> usize {
        self.limit.load(Relaxed)
    }

    pub(in crate::pool) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Is this the process that made the pool? In a `fork` of it that the program made itself, the shared memory is absent.
    pub(in crate::pool) fn is_here(&self) -> bool {
        self.estate.arena.is_here()
    }

    /// Is there no hope for what is not done yet?
    pub(in crate::pool) fn is_hopeless(&self) -> bool {
        self.hopeless.load(SeqCst)
    }

    /// Why an item that is not done will never be.
    pub(in crate::pool) fn hopeless_error(&self, context: TaskContext) -> TaskError {
        if let Err(error) = self.estate.arena.check() {
            return TaskError::NoWorker { context, reason: error.to_string(), kind: error.kind() };
        }
        self.lock().phase.error(context)
    }

    /// Refuses new work unless the pool takes some.
    pub(in crate::pool) fn check_open(&self, context: impl FnOnce() -> TaskContext) -> Result<(), TaskError> {
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

    /// Begins a batch: until [`end_batch`](Self::end_batch), workers stay although the pool is closed.
    pub(in crate::pool) fn begin_batch(&self, context: impl FnOnce() -> TaskContext) -> Result<(), TaskError> {
        let mut inner = self.lock();
        self.check_phase(&inner, context)?;
        inner.batches += 1;
        Ok(())
    }

    /// Ends a batch.
    pub(in crate::pool) fn end_batch(&self) {
        if !self.is_here() {
            return;
        }
        let mut inner = self.lock();
        inner.batches -= 1;
        self.drain_if_over(&inner);
        drop(inner);
        self.throw_away(16);
        self.estate.sweep();
        self.hand_on_records();
    }

    /// Takes no more work.
    pub(in crate::pool) fn close(&self) {
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
    pub(in crate::pool) fn interrupt(&self) {
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
    pub(in crate::pool) fn give_up(&self, phase: Phase) {
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
            inner.waiting.clear();
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
        self.estate.records.iter().for_each(|records| records.end());
        // The watching thread sees that there is nothing left to watch.
        bell::ring_word(&control.control.watch_bell);
        for job in std::mem::take(&mut inner.jobs).into_values() {
            job.unpublish(&control);
            self.estate.retire(job);
        }
    }
}
