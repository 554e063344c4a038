//! A job as its pool sees it: the shared block, and what only the pool's process knows of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use super::account::Attempt;
use super::admission::Demand;
use super::bell;
use super::claim::{self, Chunk};
use super::errand::{Ending, Errand};
use super::layout::{self, JobShape, JobView, Seat, Told, attention, want};
use super::{run, window};
use crate::arena::{self, Arena, Block, BlockId, Owner};
use crate::process::Death;
use crate::seeing::RunEnd;
use crate::seeing::output::Key;
use crate::sys::clock;
use crate::task::{Grain, TaskContext, TaskError, TaskFault, TaskId, TaskOutput};

/// A doorbell that all jobs of a batch share, so that a caller can wait for any of them; and their count of failures.
#[derive(Debug)]
pub(super) struct Bell(Block);

impl Bell {
    /// Allocates one.
    pub(super) fn new(arena: &'static Arena) -> Result<Arc<Bell>, arena::ArenaError> {
        Ok(Arc::new(Bell(layout::new_batch(arena)?)))
    }

    /// Where it lies in the arena.
    pub(super) fn pos(&self) -> u64 {
        self.0.pos()
    }

    /// The futex word.
    pub(super) fn word(&self) -> &AtomicU32 {
        &layout::batch_of(&self.0).bell
    }

    /// How many failed items workers have counted.
    pub(super) fn failures(&self) -> usize {
        layout::batch_of(&self.0).failures.load(Acquire) as usize
    }
}

/// One published window of a batch, or one submitted call.
#[derive(Debug)]
pub(super) struct Job {
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

/// What is to be done after the death of a worker.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// There are free chunks for others.
    pub(super) more: bool,
    /// A chunk is to be tried again, but not before.
    pub(super) due: Option<Instant>,
    /// The whole errand is to be given up.
    pub(super) ending: Option<Ending>,
}

/// Doublings of the delay between tries.
const MOST_DOUBLINGS: u32 = 10;
/// The longest delay. What is longer is no different to anybody, and must not overflow.
const LONGEST_DELAY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl Job {
    /// Wraps a job block that is complete but not yet published.
    pub(super) fn new(errand: &Arc<Errand>, block: Block, shape: JobShape, first: Option<usize>) -> Arc<Job> {
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
    pub(super) fn errand(&self) -> &Arc<Errand> {
        &self.errand
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
        match &self.errand.bell {
            Some(bell) => bell.word(),
            None => &self.view().header.own_bell,
        }
    }

    fn losses(&self) -> MutexGuard<'_, Losses> {
        self.losses.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// What errors about `item` (counted in this job) say of where they belong.
    pub(super) fn context(&self, item: usize) -> TaskContext {
        self.errand.context(self.first.map(|first| first + item))
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

    /// How many chunks are done.
    pub(super) fn done_chunks(&self) -> usize {
        self.view().words.iter().filter(|word| matches!(Chunk::load(word, SeqCst), Chunk::Done { .. })).count()
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

    /// Gives up all chunks that no worker has claimed, and asks those who have to stop after their current item. With `by_force`, the
    /// caller then kills them.
    pub(super) fn cancel(&self, why: Ending, by_force: bool) {
        let mut losses = self.losses();
        losses.why.get_or_insert(why);
        losses.by_force |= by_force;
        self.cancelled.store(true, SeqCst);
        let delayed = std::mem::take(&mut losses.delayed);
        drop(losses);
        let view = self.view();
        for Delayed { chunk, dead, after, .. } in delayed {
            claim::release(&view, chunk, dead, after);
        }
        view.header.attention.fetch_or(attention::STOP, SeqCst);
        (0..view.words.len()).for_each(|chunk| claim::cancel(&view, chunk));
    }

    /// Notes that the worker of `item` is about to be killed because it ran longer than `limit`; or that it was not, after all.
    pub(super) fn note_overrun(&self, item: usize, limit: Option<Duration>) {
        let mut losses = self.losses();
        match limit {
            Some(limit) => drop(losses.overrun.insert(item, limit)),
            None => drop(losses.overrun.remove(&item)),
        }
    }

    /// Frees the chunks whose next try is due. `true` when there are some.
    pub(super) fn release_due(&self, now: Instant) -> bool {
        let due: Vec<Delayed> = self.losses().delayed.extract_if(.., |delayed| delayed.due <= now).collect();
        let view = self.view();
        for Delayed { chunk, dead, after, .. } in &due {
            claim::release(&view, *chunk, *dead, *after);
            if self.cancelled.load(SeqCst) {
                claim::cancel(&view, *chunk);
            }
        }
        !due.is_empty() && claim::rewind(&view)
    }

    /// Are there chunks whose next try is not due yet?
    pub(super) fn is_delayed(&self) -> bool {
        self.crashed.load(SeqCst) && !self.losses().delayed.is_empty()
    }

    /// Makes a waiting caller look again.
    pub(super) fn ring(&self) {
        bell::ring(self.arena(), &self.view());
    }

    /// How many chunks no worker has claimed, and some may.
    pub(super) fn unclaimed(&self) -> u64 {
        if self.cancelled.load(SeqCst) {
            return 0;
        }
        let view = self.view();
        (view.words.len() as u64).saturating_sub(view.header.cursor.0.load(SeqCst))
    }

    /// Is the worker of `seat`, which names this job, free for more: as it has done the last that it will do here, or as it is about to
    /// claim the first chunk of all, which [`unclaimed`](Self::unclaimed) counts?
    pub(super) fn is_open_to(&self, seat: &Seat) -> bool {
        let view = self.view();
        if view.header.cursor.0.load(SeqCst) == 0 {
            return true;
        }
        let last = usize::try_from(seat.chunk.load(SeqCst)).ok();
        let word = last.and_then(|chunk| view.words.get(chunk).map(|word| Chunk::load(word, SeqCst)));
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

    /// What its tasks need, where that is something.
    pub(super) fn demand(&self) -> Option<&Demand> {
        self.errand.demand.get()
    }

    /// Its place among those that go by lanes: lower is first. Stays, once it was asked for.
    pub(super) fn rank(&self, new: impl FnOnce() -> u64) -> u64 {
        *self.rank.get_or_init(new)
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

    /// Settles what the dead worker of `seat` had in hand here. `note` gets what is known of the item that it was running, before
    /// anybody else can run it or the batch can be over.
    pub(super) fn settle(&self, seat: &Seat, dead: Owner, death: &Death, note: &mut dyn FnMut(Attempt)) -> Settled {
        let view = self.view();
        let mut settled = Settled::default();
        // First: a caller that sees a word below changed sees this, and checks what it reads.
        self.crashed.store(true, SeqCst);
        if let Some(remains) = claim::remains(&view, seat, dead) {
            let len = view.range(remains.chunk).len();
            let (mut next, mut tries) = (remains.next, 0);
            if let Some(running) = remains.running {
                let item = view.range(remains.chunk).start + running;
                let again = self.lose(item, death);
                self.attempt(item, again).into_iter().for_each(note);
                if again {
                    (next, tries) = (running, self.losses().tries.get(&item).copied().unwrap_or(0));
                } else {
                    self.losses().stages.insert(item, remains.stage);
                    view.skip(item);
                }
                settled.ending = self.judge(running > remains.start, death);
                if let Some(ending) = &settled.ending {
                    // Now: the pool's process ends the rest of the batch, but this chunk must not kill another one before.
                    self.cancel(ending.clone(), false);
                }
            }
            if let (None, Some(last)) = (remains.running, next.checked_sub(1)) {
                self.close_record(view.range(remains.chunk).start + last);
            }
            let by_chunk = matches!(self.shape.grain, Grain::Chunk { .. });
            if by_chunk {
                // Nothing of it stands until all of it does.
                next = remains.start;
            }
            let cancelled = self.cancelled.load(SeqCst);
            let after = match next {
                _ if next >= len && !by_chunk => Chunk::Done { end: len },
                _ if cancelled => Chunk::Done { end: next },
                _ => Chunk::Free { start: next, tries },
            };
            if matches!(after, Chunk::Done { .. }) {
                self.losses().ended += 1;
            }
            match self.next_try(tries).filter(|_| !cancelled) {
                Some(due) => {
                    settled.due = Some(due);
                    let mut losses = self.losses();
                    losses.delayed.push(Delayed { chunk: remains.chunk, dead, after, due });
                }
                None => claim::release(&view, remains.chunk, dead, after),
            }
            if self.cancelled.load(SeqCst) {
                // Cancelled meanwhile: what was just released has no taker.
                self.release_due(settled.due.unwrap_or_else(Instant::now));
                claim::cancel(&view, remains.chunk);
            }
        }
        settled.more = claim::rewind(&view);
        run::give_back(self.arena(), &view);
        bell::ring(self.arena(), &view);
        settled
    }

    /// Tells the errand that not all items of this finished job have killed their workers.
    pub(super) fn tell_progress(&self) {
        if !self.crashed.load(SeqCst) || self.losses().lost.len() < self.view().items() {
            self.errand.note_progress();
        }
    }

    /// When an item that was begun so often is tried again, if not at once.
    fn next_try(&self, tries: u32) -> Option<Instant> {
        let delay = self.errand.policy.retry_delay;
        if tries == 0 || delay.is_zero() {
            return None;
        }
        let delay = delay.saturating_mul(1 << (tries - 1).min(MOST_DOUBLINGS)).min(LONGEST_DELAY);
        Instant::now().checked_add(delay)
    }

    /// Is the errand to be given up, as worker after worker dies of it?
    fn judge(&self, finished_some: bool, death: &Death) -> Option<Ending> {
        let progress = {
            let mut losses = self.losses();
            let done = self.done_chunks().saturating_sub(losses.ended);
            done > std::mem::replace(&mut losses.done, done) || finished_some
        };
        let deaths = self.errand.note_death(progress)?;
        let last = match &death.note {
            Some(note) => format!("{}: {note}", death.status),
            None => death.status.to_string(),
        };
        Some(Ending::CrashLimit { deaths, last: last.into() })
    }

    /// Decides about the item that a dead worker was running. `true`: it is to be tried again.
    fn lose(&self, item: usize, death: &Death) -> bool {
        let mut losses = self.losses();
        if losses.lost.contains_key(&item)
            || layout::faults(self.arena(), &self.view()).iter().any(|fault| fault.item == item)
        {
            return false;
        }
        let tries = losses.tries.entry(item).or_insert(0);
        *tries += 1;
        let (tries, context) = (*tries, self.context(item));
        let cancelled = self.cancelled.load(SeqCst);
        let overrun = losses.overrun.remove(&item);
        let error = match (&losses.why, overrun) {
            (_, Some(limit)) => TaskError::TimedOut { context, limit, worker: death.pid, tries },
            (Some(why), None) if losses.by_force => why.error(context),
            _ if tries <= self.errand.policy.retries && !cancelled => {
                self.errand.retried.fetch_add(1, Relaxed);
                return true;
            }
            _ => death.as_error(context, tries),
        };
        if !error.is_cancelled() {
            self.errand.note_failures(1);
        }
        losses.lost.insert(item, error);
        false
    }

    /// What is known of the run that ended with its worker, if it is not over all the same.
    fn attempt(&self, item: usize, again: bool) -> Option<Attempt> {
        let losses = self.losses();
        let tries = losses.tries.get(&item).copied().unwrap_or(1);
        let end = match losses.lost.get(&item) {
            None if again => RunEnd::Died,
            Some(error) if error.is_timed_out() => RunEnd::TimedOut,
            Some(error) if error.is_cancelled() || error.is_pool_closed() => RunEnd::Cancelled,
            Some(_) => RunEnd::Died,
            None => {
                drop(losses);
                self.close_record(item);
                return None;
            }
        };
        let began = self.view().records.get(item).map_or(0, |record| record.read().began);
        let waited = began.saturating_sub(self.published());
        Some(Attempt { item: self.context(item).item, began, waited, tries, end, again })
    }

    /// Says when an item was over whose worker died before it could.
    fn close_record(&self, item: usize) {
        if let Some(record) = self.view().records.get(item) {
            record.close(clock::monotonic_nanos());
        }
    }

    /// Notes that it is published now.
    pub(super) fn note_published(&self) {
        self.published.store(clock::monotonic_nanos(), Relaxed);
    }

    /// When it was published, where that was noted.
    pub(super) fn published(&self) -> u64 {
        self.published.load(Relaxed)
    }

    /// Was what was measured of it entered?
    pub(super) fn is_gathered(&self) -> bool {
        self.gathered.load(Acquire)
    }

    /// It is entered now. `false`: it was before.
    pub(super) fn mark_gathered(&self) -> bool {
        !self.gathered.swap(true, AcqRel)
    }

    /// How often items were begun by workers that died.
    pub(super) fn tries(&self) -> HashMap<usize, u32> {
        self.losses().tries.clone()
    }

    /// How many items are over without a value.
    pub(super) fn count_lost(&self) -> usize {
        if self.view().header.faults.load(Acquire) == 0 {
            return self.losses().lost.len();
        }
        let mut items: HashSet<usize> =
            layout::faults(self.arena(), &self.view()).iter().map(|fault| fault.item).collect();
        items.extend(self.losses().lost.keys());
        items.len()
    }

    /// The input of an item in short.
    pub(super) fn show_input(&self, item: usize) -> Option<String> {
        // A worker that died may have written anywhere; and objects that an input refers to may be gone.
        let is_sound = !self.is_suspect() && self.view().header.lent.load(Relaxed) == 0;
        is_sound.then(|| window::show_input(self.errand.entry, &self.view(), item)).flatten()
    }

    /// The items that have no value, with the reasons and with what is known of them beside. Complete for chunks that are done.
    pub(super) fn failures(&self) -> BTreeMap<usize, TaskError> {
        let mut failures = self.bare_failures();
        if failures.is_empty() {
            return failures;
        }
        let mut notes = self.notes();
        let output = self.errand.output.get();
        output.iter().for_each(|output| output.sync());
        for (item, error) in &mut failures {
            let output = output.and_then(|output| output.output(self.key(*item)));
            if notes.contains_key(item) || output.is_some() {
                error.change_context(|context| {
                    context.having(|seen| {
                        seen.notes = notes.remove(item).unwrap_or_default();
                        seen.output = output.map(Arc::new);
                    })
                });
            }
        }
        failures
    }

    /// Under which the output of an item is kept.
    fn key(&self, item: usize) -> Key {
        self.first.map_or(Key::MAX, |first| (first + item) as Key)
    }

    /// What is known of the output of an item that is over.
    pub(super) fn output(&self, item: usize) -> Option<TaskOutput> {
        let store = self.errand.output.get()?;
        store.sync();
        store.output(self.key(item))
    }

    /// Results of this job are about to be handed out: their output is complete from here on.
    pub(super) fn read_output(&self) {
        self.errand.output.get().iter().for_each(|output| output.sync());
    }

    /// The results of these items are about to be handed out: so is their output.
    pub(super) fn hand_over(&self, items: std::ops::Range<usize>) {
        let Some(store) = self.errand.output.get().filter(|_| !items.is_empty()) else { return };
        let last = self.key(items.end - 1);
        let mut written = store.written(self.key(items.start)..last);
        written.push(last);
        written.into_iter().for_each(|key| store.hand_over(key));
    }

    fn bare_failures(&self) -> BTreeMap<usize, TaskError> {
        let view = self.view();
        let losses = self.losses();
        let mut failures: BTreeMap<usize, TaskError> = layout::faults(self.arena(), &view)
            .into_iter()
            .map(|fault| {
                let context = self.context(fault.item);
                let before = losses.tries.get(&fault.item).copied().unwrap_or(0);
                (fault.item, TaskFault::decode(&fault.bytes).into_error(context, fault.worker, before + 1))
            })
            .collect();
        for (item, error) in &losses.lost {
            failures.entry(*item).or_insert_with(|| error.clone());
        }
        for (chunk, word) in view.words.iter().enumerate() {
            let Chunk::Done { end } = Chunk::load(word, SeqCst) else { continue };
            let range = view.range(chunk);
            for item in range.start + end..range.end {
                let why = || match &losses.why {
                    Some(why) => why.clone(),
                    // Its worker stopped it, and this process has not seen that yet.
                    None => self.errand.ending_by_failures().unwrap_or(Ending::Cancelled),
                };
                failures.entry(item).or_insert_with(|| why().error(self.context(item)));
            }
        }
        failures
    }

    /// The items of a range that were lost with their workers, the task of a program that each was at, and why.
    pub(super) fn lost_in(&self, items: std::ops::Range<usize>) -> Vec<(usize, u32, TaskError)> {
        if self.losses().lost.range(items.clone()).next().is_none() {
            return Vec::new();
        }
        let failures = self.failures();
        let losses = self.losses();
        let stage = |item: &usize| losses.stages.get(item).copied().unwrap_or(0);
        let lost =
            losses.lost.range(items).filter_map(|(item, _)| Some((*item, stage(item), failures.get(item)?.clone())));
        lost.collect()
    }

    /// Why chunks of this job were given up.
    pub(super) fn why_given_up(&self) -> Ending {
        // Its worker stopped it, and this process may not have seen that yet.
        let why = self.losses().why.clone();
        why.or_else(|| self.errand.ending_by_failures()).unwrap_or(Ending::Cancelled)
    }

    /// What the runs of these items noted, oldest first.
    pub(super) fn notes(&self) -> BTreeMap<usize, Vec<String>> {
        let mut notes: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        let (view, arena) = (self.view(), self.arena());
        layout::told(arena, &view, layout::newest(&view), 0, |item, told| {
            if let Told::Note(text) = told {
                notes.entry(item).or_default().push(text);
            }
        });
        notes.values_mut().for_each(|notes| notes.reverse());
        notes
    }

    /// The first item's error that is not for the sake of another's.
    pub(super) fn first_cause(&self) -> Option<TaskError> {
        self.failures().into_values().find(|error| !error.is_stopped())
    }

    /// The arena it lies in.
    pub(super) fn arena(&self) -> &'static Arena {
        self.errand.arena
    }

    /// Did every item so far get its value?
    pub(super) fn is_clean(&self) -> bool {
        let header = self.view().header;
        // A worker may have stopped it without this process knowing yet.
        let stopped = self.cancelled.load(SeqCst) || header.attention.load(SeqCst) & attention::STOP != 0;
        !stopped && header.faults.load(Acquire) == 0 && self.losses().lost.is_empty()
    }

    /// Did a worker die in here? Then what it wrote is checked before it is read.
    pub(super) fn is_suspect(&self) -> bool {
        self.crashed.load(SeqCst)
    }
}
