//! The worker's side: runs chunks that came as bytes, and makes replies.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::wire::{BadMessage, ChunkHead, ChunkId, ErrorAt, ReplyHead};
use super::{Buffer, build_id, error};
use crate::message::{EncodeError, Space};
use crate::pool::foreign::{self, Foreign, ForeignDone, ForeignEnder};
use crate::task::{
    CurrentTask, Emission, EmitError, Grain, Role, RunCtx, Runner as TaskRunner, STAGE_SHIFT, TaskContext, TaskEntry,
    TaskError, TaskFault, install_panic_hook, keep_note, registry, within,
};
use crate::{CancelLevel, Inline, Pool};

/// Runs chunks: in the processes of a pool, or in the calling thread.
///
/// Any number of threads may run chunks at the same time. Whatever arrives, it never panics.
#[derive(Debug)]
pub struct Runner {
    how: How,
    build: u64,
    under_way: Mutex<UnderWay>,
    spaces: Arc<Spaces>,
}

#[derive(Debug)]
enum How {
    Pooled(Pool),
    Inline(Box<Inline>),
}

/// What can be ended.
#[derive(Debug, Default)]
struct UnderWay {
    jobs: HashMap<ChunkId, Ender>,
    /// Chunks that were ended before they came, the oldest first.
    ended: VecDeque<ChunkId>,
}

#[derive(Debug)]
enum Ender {
    Pooled(ForeignEnder),
    Inline(Arc<AtomicBool>),
}

/// So many chunks that never came are remembered.
const MOST_ENDED: usize = 4096;

/// Called now and then by the thread that runs a chunk, between its items and when a task asks whether it is to end: so that a transport which
/// is bound to that thread hears of what was [cancelled](Runner::cancel).
pub type Poll = Rc<dyn Fn()>;

/// Between two calls of it.
const POLL_EVERY: Duration = Duration::from_micros(200);

impl Runner {
    /// Runs chunks in the processes of this pool, one a worker at a time. A task that crashes costs its item.
    pub fn pooled(pool: Pool) -> Runner {
        Runner::new(How::Pooled(pool))
    }

    /// Runs chunks in the thread that asks for it. A task that crashes takes the process along; nothing can be ended by force.
    pub fn inline(inline: Inline) -> Runner {
        Runner::new(How::Inline(Box::new(inline)))
    }

    fn new(how: How) -> Runner {
        Runner { how, build: build_id(), under_way: Mutex::default(), spaces: Arc::default() }
    }

    /// How many chunks run at a time.
    pub fn workers(&self) -> usize {
        match &self.how {
            How::Pooled(pool) => pool.places(),
            How::Inline(_) => 1,
        }
    }

    /// Can it end tasks that run?
    pub fn kills(&self) -> bool {
        matches!(self.how, How::Pooled(_))
    }

    /// The pool in whose processes it runs chunks, if there is one.
    pub fn pool(&self) -> Option<&Pool> {
        match &self.how {
            How::Pooled(pool) => Some(pool),
            How::Inline(_) => None,
        }
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        // Nothing panics while it holds the lock.
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a chunk that is being run, or that may come; at the levels that end running tasks by force, if there is a pool.
    pub fn cancel(&self, id: ChunkId, level: CancelLevel) {
        let mut under_way = self.under_way();
        match under_way.jobs.get(&id) {
            Some(Ender::Pooled(job)) => {
                let job = job.clone();
                drop(under_way);
                job.end(level);
            }
            Some(Ender::Inline(flag)) => flag.store(true, SeqCst),
            None => {
                under_way.ended.truncate(MOST_ENDED - 1);
                under_way.ended.push_front(id);
            }
        }
    }

    /// Runs a chunk, and gives the reply. Blocks until it is done.
    ///
    /// # Errors
    ///
    /// The bytes are no chunk, or one of another build.
    pub fn run(&self, chunk: &[u8]) -> Result<Reply, BadMessage> {
        self.run_polling(chunk, None)
    }

    /// As [`run`](Self::run), calling `poll` now and then, if tasks run in this thread.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn run_polling(&self, chunk: &[u8], poll: Option<Poll>) -> Result<Reply, BadMessage> {
        let head = ChunkHead::read(chunk, self.build)?;
        let bytes = &chunk[..head.len];
        let context = |item: usize| {
            let task = registry::get(head.task).map_or("?", TaskEntry::name);
            TaskContext::new(task, head.first.map(|first| first + head.range.start + item))
        };
        let entry = match registry::get(head.task) {
            Ok(entry) if entry.role() == Role::Task => entry,
            // Of this build, so it was damaged.
            Ok(_) => return Err(BadMessage::Foreign),
            Err(error) => {
                let (reason, kind) = (error.to_string(), error.kind());
                return self.refusal(&head, &TaskError::NoWorker { context: context(0), reason, kind });
            }
        };
        if self.was_ended(head.id) {
            return self.refusal(&head, &TaskError::Cancelled { context: context(0) });
        }
        let mut space = self.spaces.take()?;
        let made = match &self.how {
            How::Pooled(pool) => self.in_pool(pool, entry, bytes, &head, &mut space),
            How::Inline(inline) => self.in_thread(inline, entry, bytes, &head, poll, &mut space),
        };
        self.under_way().jobs.remove(&head.id);
        match made {
            Ok(outcome) => self.reply(&head, outcome, space),
            Err(error) => {
                self.spaces.put(space, 0);
                self.refusal(&head, &error)
            }
        }
    }

    fn was_ended(&self, id: ChunkId) -> bool {
        let mut under_way = self.under_way();
        let at = under_way.ended.iter().position(|ended| *ended == id);
        at.and_then(|at| under_way.ended.remove(at)).is_some()
    }

    fn in_pool(
        &self,
        pool: &Pool,
        entry: &'static TaskEntry,
        bytes: &[u8],
        head: &ChunkHead,
        space: &mut Space,
    ) -> Result<Outcome, TaskError> {
        let work = Foreign {
            task: (head.task, entry),
            bytes,
            range: head.range.clone(),
            first: head.first,
            policy: head.policy.clone(),
        };
        let job = foreign::begin(pool, work)?;
        self.under_way().jobs.insert(head.id, Ender::Pooled(job.ender()));
        // Ended in between.
        if self.was_ended(head.id) {
            job.ender().end(CancelLevel::Cooperative);
        }
        job.finish(|done| collect(entry, head, done, space))
    }

    fn in_thread(
        &self,
        inline: &Inline,
        entry: &'static TaskEntry,
        bytes: &[u8],
        head: &ChunkHead,
        poll: Option<Poll>,
        space: &mut Space,
    ) -> Result<Outcome, TaskError> {
        let flag = Arc::new(AtomicBool::new(false));
        self.under_way().jobs.insert(head.id, Ender::Inline(flag.clone()));
        run_here(inline, entry, bytes, head, Asked { flag, poll, last: Cell::new(None) }, space)
    }

    /// A reply in which no item has a result.
    fn refusal(&self, head: &ChunkHead, why: &TaskError) -> Result<Reply, BadMessage> {
        let bytes = error::encode(why);
        let mut errors = Vec::new();
        (head.range.clone()).for_each(|item| ErrorAt { item, stage: 0, bytes: &bytes }.write(&mut errors));
        let items = head.range.len();
        let given_up = if is_given_up(why) { items } else { 0 };
        let failures = items - given_up;
        let outcome = Outcome { slots: 0, len: 0, errors, count: items, failures, given_up, retried: 0, busy: (0, 0) };
        self.reply(head, outcome, self.spaces.take()?)
    }

    fn reply(&self, head: &ChunkHead, outcome: Outcome, mut space: Space) -> Result<Reply, BadMessage> {
        let Outcome { slots, len, errors, count, failures, given_up, retried, busy } = outcome;
        let process = std::process::id();
        let head = ReplyHead { id: head.id, slots, len, errors: count, failures, given_up, retried, busy, process };
        let trailer = head.write(self.build);
        let total = len.saturating_add(errors.len()).saturating_add(trailer.len());
        let no_room = || BadMessage::NoMemory(format!("{total} bytes"));
        let rest = space.bytes_mut(total).ok_or_else(no_room)?.split_at_mut(len).1;
        let (for_errors, for_trailer) = rest.split_at_mut(errors.len());
        for_errors.copy_from_slice(&errors);
        for_trailer.copy_from_slice(&trailer);
        Ok(Reply { space: Some(space), len: total, home: self.spaces.clone() })
    }
}

/// What became of a chunk, its results in a space.
struct Outcome {
    slots: usize,
    len: usize,
    errors: Vec<u8>,
    count: usize,
    failures: usize,
    given_up: usize,
    retried: u64,
    busy: (u64, u64),
}

/// Was the item not run, as its batch has ended?
fn is_given_up(error: &TaskError) -> bool {
    error.is_cancelled() || error.is_stopped()
}

fn no_space(entry: &TaskEntry, error: &EncodeError) -> TaskError {
    let context = TaskContext::new(entry.name(), None);
    TaskError::NotSendable { context, reason: error.to_string(), kind: error.kind() }
}

/// How many result slots a chunk has, and their bytes; the space has them zeroed.
fn result_slots(entry: &TaskEntry, head: &ChunkHead, space: &mut Space) -> Result<(usize, usize), TaskError> {
    let slots = if matches!(entry.grain(), Grain::Chunk { .. }) { 1 } else { head.range.len() };
    let bytes = slots.saturating_mul(entry.output().size);
    match space.bytes_mut(bytes) {
        Some(room) => room.fill(0),
        None => {
            let error = EncodeError::new(crate::ErrorKind::OutOfMemory, "more results than address space");
            return Err(no_space(entry, &error));
        }
    }
    Ok((slots, bytes))
}

/// Writes what a pool's workers made into one piece.
fn collect(entry: &TaskEntry, head: &ChunkHead, done: ForeignDone<'_>, space: &mut Space) -> Outcome {
    let by_chunk = matches!(entry.grain(), Grain::Chunk { .. });
    let judged = head.counts || head.policy.on_error.most().is_some();
    let mut failed: HashMap<usize, (u32, TaskError)> =
        done.failed.iter().map(|(item, stage, error)| (*item, (*stage, error.clone()))).collect();
    let items = head.range.len();
    let mut written = 0;
    let (mut end, mut own) = (0, 0);
    match result_slots(entry, head, space) {
        Err(error) => failed.extend((0..items).map(|item| (item, (0, error.clone())))),
        Ok((slots, bytes)) => {
            let there = if by_chunk { usize::from(failed.len() < items) } else { slots };
            let start = space.as_ptr();
            // SAFETY: the encoder is dropped before the space is used again.
            match unsafe { space.encoder(bytes) } {
                Err(error) => failed.extend((0..items).map(|item| (item, (0, no_space(entry, &error))))),
                Ok(mut encoder) => {
                    for slot in (0..there).filter(|slot| by_chunk || !failed.contains_key(slot)).collect::<Vec<_>>() {
                        let from = done.output(slot);
                        // SAFETY: a valid result; and a slot of the space, in which there are so many.
                        let recoded = unsafe {
                            own += usize::from(judged && entry.failure(from).is_some());
                            entry.wire().recode(from, &mut encoder, start.add(slot * entry.output().size))
                        };
                        if let Err(error) = recoded {
                            let fault = |item| {
                                let first = head.first.map(|first| first + head.range.start + item);
                                let context = TaskContext::new(entry.name(), first);
                                (item, (0, TaskFault::from(error.clone()).into_error(context, std::process::id(), 1)))
                            };
                            if by_chunk {
                                failed.extend((0..items).map(fault));
                            } else {
                                failed.extend([fault(slot)]);
                            }
                        }
                    }
                    written = there;
                    end = space.end(bytes, &encoder);
                }
            }
        }
    }
    let mut errors = Vec::new();
    for (item, (stage, error)) in &failed {
        let bytes = error::encode(error);
        ErrorAt { item: head.range.start + item, stage: *stage, bytes: &bytes }.write(&mut errors);
    }
    let given_up = failed.values().filter(|(_, error)| is_given_up(error)).count();
    let (count, failures) = (failed.len(), own + failed.len() - given_up);
    Outcome { slots: written, len: end, errors, count, failures, given_up, retried: done.retried, busy: done.busy }
}

/// Whether the chunk that runs in this thread is to end.
struct Asked {
    flag: Arc<AtomicBool>,
    poll: Option<Poll>,
    last: Cell<Option<Instant>>,
}

impl Asked {
    fn is_ended(&self) -> bool {
        if let Some(poll) = &self.poll
            && self.last.get().is_none_or(|last| last.elapsed() >= POLL_EVERY)
        {
            poll();
            self.last.set(Some(Instant::now()));
        }
        self.flag.load(SeqCst)
    }
}

/// What a task that runs in this thread can ask about itself.
struct Here {
    entry: &'static TaskEntry,
    first: Option<usize>,
    progress: AtomicU64,
    limit: Option<Duration>,
    began: Cell<Option<Instant>>,
    /// The last item that has noted something, and what.
    notes: RefCell<(usize, Vec<String>)>,
    asked: Asked,
}

impl Here {
    /// The item that runs, counted from the first of the chunk.
    fn item(&self) -> usize {
        ((self.progress.load(Relaxed) & ((1 << STAGE_SHIFT) - 1)) >> 1) as usize
    }

    fn deadline(&self) -> Option<Instant> {
        self.began.get()?.checked_add(self.limit?)
    }
}

impl TaskRunner for Here {
    fn current(&self) -> Option<CurrentTask> {
        let item = self.first.map(|first| first + self.item());
        let (task, worker) = (self.entry.name(), std::process::id());
        Some(CurrentTask { task, item, tries: 1, worker, deadline: self.deadline(), cancelled: self.is_cancelled() })
    }

    fn is_cancelled(&self) -> bool {
        self.asked.is_ended() || self.deadline().is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn sleep(&self, deadline: Option<Instant>) {
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        let most = if self.asked.poll.is_some() { POLL_EVERY } else { Duration::from_millis(5) };
        let deadline = deadline.into_iter().chain(self.deadline()).min();
        std::thread::sleep(deadline.map_or(most, |deadline| left(deadline).min(most)));
    }

    /// Nobody over there can take it.
    fn emit(&self, _: Box<dyn Emission>) -> Result<(), EmitError> {
        Ok(())
    }

    fn progress(&self, _: u64, _: u64) {}

    fn note(&self, text: &str) {
        let item = self.item();
        let mut notes = self.notes.borrow_mut();
        if notes.0 != item {
            *notes = (item, Vec::new());
        }
        keep_note(&mut notes.1, text);
    }
}

/// Runs a chunk in this thread.
fn run_here(
    inline: &Inline,
    entry: &'static TaskEntry,
    bytes: &[u8],
    head: &ChunkHead,
    asked: Asked,
    space: &mut Space,
) -> Result<Outcome, TaskError> {
    let context = |item: Option<usize>| {
        let item = item.and_then(|item| Some(head.first? + head.range.start + item));
        TaskContext::new(entry.name(), item)
    };
    let invalid = |reason: String, kind| TaskError::NotSendable { context: context(None), reason, kind };
    // Slots want to be aligned.
    let mut copy = None;
    let start = if bytes.as_ptr().addr().is_multiple_of(64) {
        bytes.as_ptr()
    } else {
        let buffer = Buffer::copy_of(bytes).map_err(|error| invalid(error.to_string(), error.kind()))?;
        copy.insert(buffer).bytes().as_ptr()
    };
    foreign::check_inputs(entry, start, bytes.len(), head.range.clone()).map_err(|error| {
        invalid(format!("what has arrived are no valid inputs of this task: {error}"), crate::ErrorKind::InvalidData)
    })?;
    let (slots, slot_bytes) = result_slots(entry, head, space)?;
    let by_chunk = matches!(entry.grain(), Grain::Chunk { .. });
    let outputs = space.as_ptr();
    // SAFETY: the encoder is dropped before the space is used again, but for its slots, which are the run's.
    let mut encoder = unsafe { space.encoder(slot_bytes) }.map_err(|error| no_space(entry, &error))?;
    let items = head.range.len();
    let (limit, most) = (head.policy.timeout, head.policy.on_error.most());
    let judged = head.counts || most.is_some();
    let first = head.first.map(|first| first + head.range.start);
    let here = Rc::new(Here {
        entry,
        first,
        progress: AtomicU64::new(0),
        limit,
        began: Cell::new(None),
        notes: RefCell::default(),
        asked,
    });
    let needs_attention = limit.is_some() || judged || (items > 1 && !head.short);
    let attention = AtomicU32::new(needs_attention.into());
    let failed: RefCell<HashMap<usize, TaskError>> = RefCell::default();
    let own_failures = Cell::new(0);
    let running: Cell<Option<usize>> = Cell::new(None);
    // SAFETY: called for an item that was run; without a fault its slot holds a result.
    let judge = || {
        let Some(item) = running.take() else { return };
        // What a program made of an item cannot be taken back.
        if let Some((limit, began)) = limit.filter(|_| !by_chunk).zip(here.began.get())
            && began.elapsed() > limit
        {
            let error =
                TaskError::TimedOut { context: context(Some(item)), limit, worker: std::process::id(), tries: 1 };
            failed.borrow_mut().insert(item, error);
        }
        if judged && !by_chunk && !failed.borrow().contains_key(&item) {
            // SAFETY: the item was run and reported no fault, so its slot, one of the space's, holds a result.
            let is_failure = unsafe { entry.failure(outputs.add(item * entry.output().size)) }.is_some();
            own_failures.set(own_failures.get() + usize::from(is_failure));
        }
    };
    let mut attend = |item: usize, _: &crate::message::Encoder| {
        judge();
        let failures = own_failures.get() + failed.borrow().len();
        if here.asked.is_ended() || most.is_some_and(|most| failures >= most) {
            return false;
        }
        here.began.set(Some(Instant::now()));
        running.set(Some(item));
        true
    };
    let mut fault = |item: usize, fault: TaskFault| {
        let (noted, notes) = here.notes.take();
        let context = context(Some(item)).having(|seen| seen.notes = if noted == item { notes } else { Vec::new() });
        let error = fault.into_error(context, std::process::id(), 1);
        failed.borrow_mut().insert(item, error);
    };
    install_panic_hook(|_| ());
    let mut state = inline.borrow_state();
    let begun = Instant::now();
    let mut run = RunCtx {
        // SAFETY: within the bytes, as was looked at.
        inputs: unsafe { start.add(head.range.start * entry.input().size) },
        outputs,
        lo: 0,
        hi: items,
        progress: &here.progress,
        encoder: &mut encoder,
        state: &mut state,
        fault: &mut fault,
        attention: &attention,
        attend: &mut attend,
        mishap: &mut |_| (),
        skips: &[],
        most_mishaps: usize::MAX,
        caught: || (),
    };
    // SAFETY: so many input slots, found valid just now, and output slots in the space of the encoder.
    within(here.clone(), || unsafe { entry.run(&mut run) });
    judge();
    inline.return_state(state);
    let busy = (begun.elapsed().as_nanos() as u64, items as u64);
    let done = here.item();
    let end = space.end(slot_bytes, &encoder);
    drop(encoder);
    drop(copy);
    let mut failed = failed.into_inner();
    let failures = failed.len() + own_failures.get();
    // A program that was told to stop has left nothing.
    let not_begun = if by_chunk && done < items { 0..items } else { done..items };
    let there = if by_chunk && !not_begun.is_empty() { 0 } else { slots };
    let given_up = not_begun.len();
    failed.extend(not_begun.map(|item| (item, TaskError::Cancelled { context: context(Some(item)) })));
    let mut errors = Vec::new();
    for (item, error) in &failed {
        let bytes = error::encode(error);
        ErrorAt { item: head.range.start + item, stage: 0, bytes: &bytes }.write(&mut errors);
    }
    Ok(Outcome { slots: there, len: end, errors, count: failed.len(), failures, given_up, retried: 0, busy })
}

/// Spaces that nobody uses right now.
#[derive(Debug, Default)]
struct Spaces(Mutex<Vec<Space>>);

/// So many are kept.
const MOST_SPACES: usize = 16;

impl Spaces {
    fn lock(&self) -> MutexGuard<'_, Vec<Space>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Result<Space, BadMessage> {
        let free = self.lock().pop();
        free.map_or_else(Space::new, Ok).map_err(|error| BadMessage::NoMemory(error.to_string()))
    }

    /// Takes one back of which so many bytes were used.
    fn put(&self, mut space: Space, used: usize) {
        space.trim(used);
        let mut free = self.lock();
        if free.len() < MOST_SPACES {
            free.push(space);
        }
    }
}

/// A reply, ready to be carried; its memory is used again when it is dropped.
pub struct Reply {
    space: Option<Space>,
    len: usize,
    home: Arc<Spaces>,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("len", &self.len).finish_non_exhaustive()
    }
}

impl Deref for Reply {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.space.as_ref().map_or(&[], |space| space.bytes(self.len))
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(space) = self.space.take() {
            self.home.put(space, self.len);
        }
    }
}
