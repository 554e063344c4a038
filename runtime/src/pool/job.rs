//! A job as its pool sees it: the shared block, and what only the pool's process knows of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use super::bell;
use super::claim::{self, Chunk};
use super::core::Phase;
use super::layout::{self, JobShape, JobView, Seat, want};
use crate::arena::{self, Arena, Block, BlockId, Owner};
use crate::process::{Death, Note};
use crate::task::{Grain, TaskContext, TaskError, TaskFault, TaskId};

/// A doorbell that all jobs of a batch share, so that a caller can wait for any of them.
#[derive(Debug)]
pub(super) struct Bell(Block);

impl Bell {
    /// Allocates one.
    pub(super) fn new(arena: &'static Arena) -> Result<Arc<Bell>, arena::ArenaError> {
        Ok(Arc::new(Bell(arena.alloc_zeroed(64)?)))
    }

    /// Where it lies in the arena.
    pub(super) fn pos(&self) -> u64 {
        self.0.pos()
    }

    /// The futex word.
    pub(super) fn word(&self) -> &AtomicU32 {
        layout::bell_of(&self.0)
    }
}

/// One published window of a batch, or one submitted call.
#[derive(Debug)]
pub(super) struct Job {
    arena: &'static Arena,
    block: Block,
    shape: JobShape,
    name: Arc<str>,
    /// The first item's index in the batch; `None` for a single call.
    first: Option<usize>,
    retries: u32,
    /// Kept until the last worker that may ring it has left.
    bell: Option<Arc<Bell>>,
    /// A worker died in here: `inside` is no longer to be trusted.
    crashed: AtomicBool,
    /// The caller cancelled it: a worker that is killed in here was killed for that.
    cancelled: AtomicBool,
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
    /// Where the job stands in the ring.
    entries: Vec<u64>,
    /// The state of the pool in which the job was cancelled, if it was.
    why: Phase,
}

/// What a new job is made of.
#[derive(Debug)]
pub(super) struct NewJob {
    pub(super) arena: &'static Arena,
    pub(super) block: Block,
    pub(super) shape: JobShape,
    pub(super) name: Arc<str>,
    pub(super) first: Option<usize>,
    pub(super) retries: u32,
    pub(super) bell: Option<Arc<Bell>>,
}

impl Job {
    /// Wraps a job block that is complete but not yet published.
    pub(super) fn new(new: NewJob) -> Arc<Job> {
        Arc::new(Job {
            arena: new.arena,
            block: new.block,
            shape: new.shape,
            name: new.name,
            first: new.first,
            retries: new.retries,
            bell: new.bell,
            crashed: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            losses: Mutex::default(),
        })
    }

    pub(super) fn id(&self) -> BlockId {
        self.block.id()
    }

    /// Bytes of the block and of the outputs outside of it.
    pub(super) fn size(&self) -> usize {
        let spilled = self.view().header.spilled.load(Relaxed);
        self.block.capacity().saturating_add(usize::try_from(spilled).unwrap_or(usize::MAX))
    }

    pub(super) fn task(&self) -> TaskId {
        self.shape.task
    }

    /// The shared side.
    pub(super) fn view(&self) -> JobView<'_> {
        JobView::of(&self.block, &self.shape)
    }

    /// The doorbell of this job's caller.
    pub(super) fn bell(&self) -> &AtomicU32 {
        match &self.bell {
            Some(bell) => bell.word(),
            None => &self.view().header.own_bell,
        }
    }

    fn losses(&self) -> MutexGuard<'_, Losses> {
        self.losses.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// What errors about `item` (counted in this job) say of where they belong.
    pub(super) fn context(&self, item: usize) -> TaskContext {
        TaskContext { task: self.name.clone(), item: self.first.map(|first| first + item) }
    }

    /// Nanoseconds spent, and on how many items, if that was measured.
    pub(super) fn measured(&self) -> Option<(u64, u64)> {
        let header = self.view().header;
        let items = header.busy_items.load(Acquire);
        (items > 0).then(|| (header.busy.load(Acquire), items))
    }

    /// How many chunks there are.
    pub(super) fn chunks(&self) -> usize {
        self.view().words.len()
    }

    /// Chunks from here on were never claimed.
    pub(super) fn claimed(&self) -> usize {
        // A cancelled or rewound job has its cursor anywhere.
        if self.cancelled.load(SeqCst) || self.crashed.load(SeqCst) {
            return self.chunks();
        }
        (self.view().header.cursor.0.load(SeqCst) as usize).min(self.chunks())
    }

    /// Are all chunks done? Remembers in `from` how far that was true.
    pub(super) fn all_done(&self, from: &mut usize) -> bool {
        claim::all_done(&self.view(), from)
    }

    /// Is this chunk done?
    pub(super) fn is_done(&self, chunk: usize) -> bool {
        matches!(Chunk::load(&self.view().words[chunk], SeqCst), Chunk::Done { .. })
    }

    /// Was this chunk, which is done, given up before its end?
    pub(super) fn is_given_up(&self, chunk: usize) -> bool {
        let view = self.view();
        !matches!(Chunk::load(&view.words[chunk], SeqCst), Chunk::Done { end } if end == view.range(chunk).len())
    }

    /// Says that the caller waits for all chunks, or for one.
    pub(super) fn say_wanted(&self, chunk: Option<usize>) {
        let wanted = match chunk {
            Some(chunk) => chunk as u64 + 1,
            None if self.crashed.load(SeqCst) => want::ANY,
            None => want::ALL,
        };
        self.view().header.want.0.store(wanted, SeqCst);
    }

    /// Says that the caller waits for any chunk.
    pub(super) fn say_any_wanted(&self) {
        self.view().header.want.0.store(want::ANY, SeqCst);
    }

    /// Says that the caller no longer waits.
    pub(super) fn say_nothing_wanted(&self) {
        self.view().header.want.0.store(want::NOTHING, Relaxed);
    }

    /// Waits until all chunks are done. `false` when the deadline passed before, or `give_up` said so.
    pub(super) fn wait_all(&self, deadline: Option<Instant>, give_up: impl Fn() -> bool) -> bool {
        let mut from = 0;
        let done = bell::wait_until(
            self.bell(),
            deadline,
            || self.say_wanted(None),
            || match self.all_done(&mut from) {
                true => Some(true),
                false => give_up().then_some(false),
            },
        );
        // What is wanted stays: another thread may wait for the same job.
        done.unwrap_or(false)
    }

    /// Gives up all chunks that no worker has claimed, and asks those who have to stop after their current item.
    pub(super) fn cancel(&self, why: Phase) {
        let mut losses = self.losses();
        if !self.cancelled.swap(true, SeqCst) {
            losses.why = why;
        }
        drop(losses);
        let view = self.view();
        view.header.stop.store(1, SeqCst);
        (0..view.words.len()).for_each(|chunk| claim::cancel(&view, chunk));
    }

    /// Makes a waiting caller look again.
    pub(super) fn ring(&self) {
        bell::ring(self.arena, &self.view());
    }

    /// How many chunks no worker has claimed, and some may.
    pub(super) fn unclaimed(&self) -> u64 {
        if self.cancelled.load(SeqCst) {
            return 0;
        }
        let view = self.view();
        (view.words.len() as u64).saturating_sub(view.header.cursor.0.load(SeqCst))
    }

    /// Has the worker of `seat`, which names this job, done the last that it will do here?
    pub(super) fn is_left_by(&self, seat: &Seat) -> bool {
        let last = usize::try_from(seat.chunk.load(SeqCst)).ok();
        let word = last.and_then(|chunk| self.view().words.get(chunk).map(|word| Chunk::load(word, SeqCst)));
        // The seat names a chunk before it is claimed.
        matches!(word, Some(Chunk::Done { .. })) && self.unclaimed() == 0
    }

    /// Does this process run a chunk of this job now?
    pub(super) fn is_run_by(&self, runner: u32) -> bool {
        self.runners().contains(&runner)
    }

    /// Which processes run chunks of this job now.
    pub(super) fn runners(&self) -> Vec<u32> {
        let claimed = |word| match Chunk::load(word, SeqCst) {
            Chunk::Claimed { by, .. } => Some(by),
            _ => None,
        };
        self.view().words.iter().filter_map(claimed).collect()
    }

    /// Remembers where the job stands in the ring.
    pub(super) fn note_entry(&self, seq: u64) {
        self.losses().entries.push(seq);
    }

    /// Is the job in the ring?
    pub(super) fn is_entered(&self) -> bool {
        !self.losses().entries.is_empty()
    }

    /// Takes the job out of the ring.
    pub(super) fn unpublish(&self, control: &layout::ControlView<'_>) {
        for seq in std::mem::take(&mut self.losses().entries) {
            control.clear(seq, self.id());
        }
    }

    /// Settles what the dead worker of `seat` had in hand here. `true` when there are free chunks for others.
    pub(super) fn settle(&self, seat: &Seat, dead: Owner, death: &Death) -> bool {
        let view = self.view();
        // First: a caller that sees a word below changed sees this, and checks what it reads.
        self.crashed.store(true, SeqCst);
        if let Some(remains) = claim::remains(&view, seat, dead) {
            let mut next = remains.next;
            if let Some(running) = remains.running {
                let item = view.range(remains.chunk).start + running;
                if self.lose(item, death) {
                    next = running;
                } else {
                    self.losses().stages.insert(item, remains.stage);
                    view.skip(item);
                }
            }
            let by_chunk = matches!(self.shape.grain, Grain::Chunk { .. });
            if by_chunk {
                // Nothing of it stands until all of it does.
                next = remains.start;
            }
            let len = view.range(remains.chunk).len();
            let after = match next {
                _ if next >= len && !by_chunk => Chunk::Done { end: len },
                _ if self.cancelled.load(SeqCst) => Chunk::Done { end: next },
                _ => Chunk::Free { start: next },
            };
            claim::release(&view, remains.chunk, dead, after);
            if self.cancelled.load(SeqCst) {
                // Cancelled meanwhile: what was just released has no taker.
                claim::cancel(&view, remains.chunk);
            }
        }
        let more = claim::rewind(&view);
        bell::ring(self.arena, &view);
        more
    }

    /// Decides about the item that a dead worker was running. `true`: it is to be tried again.
    fn lose(&self, item: usize, death: &Death) -> bool {
        let mut losses = self.losses();
        if losses.lost.contains_key(&item)
            || layout::faults(self.arena, &self.view()).iter().any(|fault| fault.item == item)
        {
            return false;
        }
        let tries = losses.tries.entry(item).or_insert(0);
        *tries += 1;
        let (tries, context) = (*tries, self.context(item));
        if self.cancelled.load(SeqCst) {
            let error = losses.why.error(context);
            losses.lost.insert(item, error);
            return false;
        }
        if tries <= self.retries {
            return true;
        }
        losses.lost.insert(item, lost(context, death, tries));
        false
    }

    /// The items that have no value, with the reasons. Complete for chunks that are done.
    pub(super) fn failures(&self) -> BTreeMap<usize, TaskError> {
        let view = self.view();
        let mut failures: BTreeMap<usize, TaskError> = layout::faults(self.arena, &view)
            .into_iter()
            .map(|fault| {
                let context = self.context(fault.item);
                (fault.item, TaskFault::decode(&fault.bytes).into_error(context, fault.worker))
            })
            .collect();
        let losses = self.losses();
        for (item, error) in &losses.lost {
            failures.entry(*item).or_insert_with(|| error.clone());
        }
        for (chunk, word) in view.words.iter().enumerate() {
            let Chunk::Done { end } = Chunk::load(word, SeqCst) else { continue };
            let range = view.range(chunk);
            for item in range.start + end..range.end {
                failures.entry(item).or_insert_with(|| losses.why.error(self.context(item)));
            }
        }
        failures
    }

    /// The task of a program at which `item` was lost; 0 if that is not known.
    pub(super) fn stage_of(&self, item: usize) -> u32 {
        self.losses().stages.get(&item).copied().unwrap_or(0)
    }

    /// The arena it lies in.
    pub(super) fn arena(&self) -> &'static Arena {
        self.arena
    }

    /// Did every item so far get its value?
    pub(super) fn is_clean(&self) -> bool {
        !self.cancelled.load(SeqCst) && self.view().header.faults.load(Acquire) == 0 && self.losses().lost.is_empty()
    }

    /// Did a worker die in here? Then what it wrote is checked before it is read.
    pub(super) fn is_suspect(&self) -> bool {
        self.crashed.load(SeqCst)
    }
}

/// The error for an item whose worker died while it ran it.
fn lost(context: TaskContext, death: &Death, tries: u32) -> TaskError {
    match &death.note {
        // Built with `panic = "abort"`: the panic was the end of the process, and the note it left is all there is.
        Some(Note::Panic(panic)) => TaskError::Panicked {
            context,
            message: panic.message.clone(),
            location: panic.location.clone(),
            worker: death.pid,
            backtrace: panic.backtrace.clone(),
        },
        note => {
            let note = note.as_ref().map(|note| note.to_string());
            TaskError::WorkerDied { context, status: death.status, worker: death.pid, tries, note }
        }
    }
}
