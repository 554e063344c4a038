//! What the callers of a pool and its driver share: orders to the driver, and what is known of the workers.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::course::{Course, Ending, Flight, Lost};
use super::transport::{Parcel, Transport};
use crate::CancelLevel;
use crate::task::TaskId;

/// What callers want of the driver.
#[derive(Debug)]
pub(super) enum Order {
    /// Have a chunk run.
    Start(Arc<Flight>, Arc<Parcel>),
    /// End all chunks of a course, which has an ending.
    End(Arc<Course>, CancelLevel),
    /// End when all is done.
    Close,
    /// End now.
    Terminate,
}

/// The state of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    Closed,
    Broken(Arc<str>),
}

struct State {
    orders: Vec<Order>,
    phase: Phase,
}

/// What callers and the driver share.
pub(super) struct Hub {
    /// Names this pool among all.
    pub(super) pool: u64,
    pub(super) build: u64,
    pub(super) max_chunk_bytes: usize,
    /// Chunks that a worker should have before it.
    pub(super) ahead: usize,
    waker: Arc<dyn Fn() + Send + Sync>,
    state: Mutex<State>,
    chunks: AtomicU64,
    runs: AtomicU64,
    /// Chunks that run at a time, on all peers.
    workers: AtomicUsize,
    /// All peers can end running tasks.
    kills: AtomicBool,
    /// Mean nanoseconds of an item.
    estimates: Mutex<HashMap<TaskId, f64>>,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("pool", &self.pool).field("workers", &self.workers).finish_non_exhaustive()
    }
}

impl Hub {
    pub(super) fn new(pool: u64, build: u64, transport: &impl Transport) -> Hub {
        Hub {
            pool,
            build,
            max_chunk_bytes: transport.max_chunk_bytes(),
            ahead: transport.ahead().max(4),
            waker: transport.waker(),
            state: Mutex::new(State { orders: Vec::new(), phase: Phase::Open }),
            chunks: AtomicU64::new(1),
            runs: AtomicU64::new(1),
            workers: AtomicUsize::new(0),
            kills: AtomicBool::new(true),
            estimates: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn phase(&self) -> Phase {
        self.state().phase.clone()
    }

    /// The ending of what is begun in this phase, if nothing can be.
    pub(super) fn refusal(&self) -> Option<Ending> {
        match self.phase() {
            Phase::Open => None,
            Phase::Closed => Some(Ending::Closed),
            Phase::Broken(why) => Some(Ending::Broken(why)),
        }
    }

    pub(super) fn next_chunk(&self) -> u64 {
        self.chunks.fetch_add(1, Relaxed)
    }

    pub(super) fn next_run(&self) -> u64 {
        self.runs.fetch_add(1, Relaxed)
    }

    /// Has a chunk run; where that cannot be any more, it is given up.
    pub(super) fn start(&self, flight: Arc<Flight>, parcel: Arc<Parcel>) {
        let mut state = self.state();
        if let Phase::Broken(why) = &state.phase {
            let ending = Ending::Broken(why.clone());
            drop(state);
            return flight.give_up(Lost::Ended(ending));
        }
        state.orders.push(Order::Start(flight, parcel));
        drop(state);
        (self.waker)();
    }

    /// Ends a course.
    pub(super) fn end(&self, course: &Arc<Course>, ending: Ending, level: CancelLevel) {
        course.end(ending);
        self.order(Order::End(course.clone(), level));
    }

    fn order(&self, order: Order) {
        self.state().orders.push(order);
        (self.waker)();
    }

    /// Takes no more work.
    pub(super) fn close(&self) {
        let mut state = self.state();
        if state.phase == Phase::Open {
            state.phase = Phase::Closed;
        }
        state.orders.push(Order::Close);
        drop(state);
        (self.waker)();
    }

    /// Gives up all work.
    pub(super) fn terminate(&self) {
        self.close();
        self.order(Order::Terminate);
    }

    /// Nothing works any more.
    pub(super) fn break_down(&self, why: &Arc<str>) {
        self.state().phase = Phase::Broken(why.clone());
    }

    /// Takes the orders that have come.
    pub(super) fn take_orders(&self, into: &mut Vec<Order>) {
        std::mem::swap(&mut self.state().orders, into);
    }

    pub(super) fn set_workers(&self, workers: usize, all_kill: bool) {
        self.workers.store(workers, Relaxed);
        self.kills.store(all_kill, Relaxed);
    }

    /// Chunks that run at a time.
    pub(super) fn workers(&self) -> usize {
        self.workers.load(Relaxed)
    }

    /// Can all peers end running tasks?
    pub(super) fn all_kill(&self) -> bool {
        self.kills.load(Relaxed)
    }

    /// Mean nanoseconds of an item, if known.
    pub(super) fn estimate(&self, task: TaskId) -> Option<f64> {
        self.estimates.lock().unwrap_or_else(PoisonError::into_inner).get(&task).copied()
    }

    pub(super) fn learn(&self, task: TaskId, (nanos, items): (u64, u64)) {
        if items == 0 {
            return;
        }
        let mean = nanos as f64 / items as f64;
        let mut known = self.estimates.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(task).and_modify(|old| *old = *old * 0.5 + mean * 0.5).or_insert(mean);
    }
}
