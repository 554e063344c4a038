//! A job as its pool sees it: the shared block, and what only the pool's process knows of it.
//!
//! `window` is a job with its types, `errand` the batch or call that it is part of, `estimate` how large its chunks are.

mod chunks;
pub(in crate::pool) mod errand;
pub(crate) mod estimate;
mod outcome;
mod settle;
pub(in crate::pool) mod window;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use crate::arena::{self, Arena, Block, BlockId, Owner};
use crate::pool::layout::{self, JobShape, JobView};
use crate::pool::protocol::admission::Demand;
use crate::pool::protocol::claim::Chunk;
use crate::sys::clock;
use crate::task::{TaskContext, TaskError, TaskId};
use errand::{Ending, Errand};
pub(in crate::pool) use settle::Settled;

/// A doorbell that all jobs of a batch share, so that a caller can wait for any of them; and their count of failures.
#[derive(Debug)]
pub(in crate::pool) struct Bell(Block);

impl Bell {
    /// Allocates one.
    pub(in crate::pool) fn new(arena: &'static Arena) -> Result<Arc<Bell>, arena::ArenaError> {
        Ok(Arc::new(Bell(layout::new_batch(arena)?)))
    }

    /// Where it lies in the arena.
    pub(in crate::pool) fn pos(&self) -> u64 {
        self.0.pos()
    }

    /// The futex word.
    pub(in crate::pool) fn word(&self) -> &AtomicU32 {
        &layout::batch_of(&self.0).bell
    }

    /// How many failed items workers have counted.
    pub(in crate::pool) fn failures(&self) -> usize {
        layout::batch_of(&self.0).failures.load(Acquire) as usize
    }
}

/// One published window of a batch, or one submitted call.
#[derive(Debug)]
pub(in crate::pool) struct Job {
    block: Block,
    shape: JobShape,
    errand: Arc<Errand>,
    /// The first item's index in the batch; `None` for a single call.
    first: Option<usize>,
    /// A worker died in here: `inside` is no longer to be trusted.
    crashed: AtomicBool,
    /// Nothing more of it is to be begun.
    cancelled: AtomicBool,
    /// Its place among those that go by lanes; see `waiting.rs`.
    rank: OnceLock<u64>,
    /// When it was published, in nanoseconds of the monotonic clock; 0 where nobody measures.
    published: AtomicU64,
    /// What was measured of it was entered.
    gathered: AtomicBool,
    losses: Mutex<Losses>,
}

#[derive(Debug, Default)]
struct Losses {
    /// Items without a value, for reasons that only this process knows.
    lost: BTreeMap<usize, TaskError>,
    /// How often an item was begun by a worker that died.
    tries: HashMap<usize, u32>,
    /// At which task of a program an item without a value was lost.
    stages: HashMap<usize, u32>,
    /// Items whose workers are killed because they ran longer than this.
    overrun: HashMap<usize, Duration>,
    /// Chunks whose next try is not due yet.
    delayed: Vec<Delayed>,
    /// Chunks that were done at the last death, and those that a settling had ended.
    done: usize,
    ended: usize,
    /// Where the job stands in the ring.
    entries: Vec<u64>,
    /// Why the job was cancelled, if it was.
    why: Option<Ending>,
    /// Are its workers killed for that?
    by_force: bool,
}

/// A chunk whose claim still names its dead worker, until its next try is due.
#[derive(Debug)]
struct Delayed {
    chunk: usize,
    dead: Owner,
    after: Chunk,
    due: Instant,
}

impl Job {
    /// Wraps a job block that is complete but not yet published.
    pub(in crate::pool) fn new(errand: &Arc<Errand>, block: Block, shape: JobShape, first: Option<usize>) -> Arc<Job> {
        Arc::new(Job {
            block,
            shape,
            errand: errand.clone(),
            first,
            crashed: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            rank: OnceLock::new(),
            published: AtomicU64::new(0),
            gathered: AtomicBool::new(false),
            losses: Mutex::default(),
        })
    }

    /// The batch or call that it is part of.
    pub(in crate::pool) fn errand(&self) -> &Arc<Errand> {
        &self.errand
    }

    pub(in crate::pool) fn id(&self) -> BlockId {
        self.block.id()
    }

    /// Bytes of the block and of the outputs outside of it.
    pub(in crate::pool) fn size(&self) -> usize {
        let spilled = self.view().header.spilled.load(Relaxed);
        self.block.capacity().saturating_add(usize::try_from(spilled).unwrap_or(usize::MAX))
    }

    pub(in crate::pool) fn task(&self) -> TaskId {
        self.shape.task
    }

    /// The shared side.
    pub(in crate::pool) fn view(&self) -> JobView<'_> {
        JobView::of(&self.block, &self.shape)
    }

    /// The doorbell of this job's caller.
    pub(in crate::pool) fn bell(&self) -> &AtomicU32 {
        match &self.errand.bell {
            Some(bell) => bell.word(),
            None => &self.view().header.own_bell,
        }
    }

    fn losses(&self) -> MutexGuard<'_, Losses> {
        self.losses.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// What errors about `item` (counted in this job) say of where they belong.
    pub(in crate::pool) fn context(&self, item: usize) -> TaskContext {
        self.errand.context(self.first.map(|first| first + item))
    }

    /// Nanoseconds spent, and on how many items, if that was measured.
    pub(in crate::pool) fn measured(&self) -> Option<(u64, u64)> {
        let header = self.view().header;
        let items = header.busy_items.load(Acquire);
        (items > 0).then(|| (header.busy.load(Acquire), items))
    }

    /// What its tasks need, where that is something.
    pub(in crate::pool) fn demand(&self) -> Option<&Demand> {
        self.errand.demand.get()
    }

    /// Its place among those that go by lanes: lower is first. Stays, once it was asked for.
    pub(in crate::pool) fn rank(&self, new: impl FnOnce() -> u64) -> u64 {
        *self.rank.get_or_init(new)
    }

    /// Remembers where the job stands in the ring.
    pub(in crate::pool) fn note_entry(&self, seq: u64) {
        self.losses().entries.push(seq);
    }

    /// Is the job in the ring?
    pub(in crate::pool) fn is_entered(&self) -> bool {
        !self.losses().entries.is_empty()
    }

    /// Takes the job out of the ring.
    pub(in crate::pool) fn unpublish(&self, control: &layout::ControlView<'_>) {
        for seq in std::mem::take(&mut self.losses().entries) {
            control.clear(seq, self.id());
        }
    }

    /// Notes that it is published now.
    pub(in crate::pool) fn note_published(&self) {
        self.published.store(clock::monotonic_nanos(), Relaxed);
    }

    /// When it was published, where that was noted.
    pub(in crate::pool) fn published(&self) -> u64 {
        self.published.load(Relaxed)
    }

    /// Was what was measured of it entered?
    pub(in crate::pool) fn is_gathered(&self) -> bool {
        self.gathered.load(Acquire)
    }

    /// It is entered now. `false`: it was before.
    pub(in crate::pool) fn mark_gathered(&self) -> bool {
        !self.gathered.swap(true, AcqRel)
    }

    /// The arena it lies in.
    pub(in crate::pool) fn arena(&self) -> &'static Arena {
        self.errand.arena
    }
}
