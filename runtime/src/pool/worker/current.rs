//! What a task in a worker can ask about itself.
//!
//! Kept up to date once a job, not once an item: the item follows from the seat, which the worker writes anyway. All of it are words, so a
//! thread that the task has left behind may ask too; it may then be told of the task that runs by now.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::ErrorKind;
use crate::arena::{Arena, BlockId};
use crate::pool::layout::{self, JobView, LastNote, NO_INDEX, NotTold, Seat, attention};
use crate::pool::protocol::bell;
use crate::pool::protocol::claim::{Chunk, Progress};
use crate::sys::clock;
use crate::sys::futex;
use crate::task::{CurrentTask, Emission, EmitError, MOST_NOTES, Runner, TaskId, install_runner, registry, shortened};

/// The job that this worker is in.
#[derive(Debug)]
pub(in crate::pool) struct Now {
    arena: &'static Arena,
    seat: &'static Seat,
    /// The task plus 1; 0: none.
    task: AtomicU32,
    here: AtomicU64,
    first: AtomicU64,
    chunk: AtomicU64,
    limit: AtomicU64,
    token: AtomicU64,
    notes: Mutex<Notes>,
}

static NOW: OnceLock<Now> = OnceLock::new();

/// Says that this process is the worker of `seat`.
pub(in crate::pool) fn install(arena: &'static Arena, seat: &'static Seat) -> &'static Now {
    let zero = AtomicU64::default;
    let (task, here, first, chunk, limit, token) = (AtomicU32::new(0), zero(), zero(), zero(), zero(), zero());
    install_runner(Box::new(Worker));
    NOW.get_or_init(|| Now { arena, seat, task, here, first, chunk, limit, token, notes: Mutex::default() })
}

impl Now {
    /// The worker has begun with `job`.
    pub(in crate::pool) fn enter(&self, job: &JobView<'_>) {
        let header = job.header;
        self.here.store(header.here, Relaxed);
        self.first.store(header.first, Relaxed);
        self.chunk.store(job.chunk() as u64, Relaxed);
        self.limit.store(header.limit, Relaxed);
        self.token.store(header.token, Relaxed);
        self.task.store(header.task + 1, Release);
    }

    /// The worker is done with it.
    pub(in crate::pool) fn leave(&self) {
        self.task.store(0, Release);
    }

    /// The job that the running item belongs to, and its number in it.
    fn item(&self) -> Option<(JobView<'_>, usize)> {
        self.is_at_work().then_some(())?;
        let id = BlockId::from_raw(self.seat.job.load(Relaxed))?;
        let block = self.arena.resolve(id)?;
        // SAFETY: the seat names the job, and an item of it runs; so it is kept.
        let job = unsafe { JobView::new(id, block.ptr, block.capacity) }?;
        let item = self.seat.chunk.load(Relaxed) as usize * job.chunk();
        let item = item + Progress::of(self.seat.progress.load(Relaxed)).item;
        (item < job.items()).then_some((job, item))
    }

    fn is_at_work(&self) -> bool {
        self.task.load(Acquire) != 0 && self.seat.progress.load(Relaxed) & 1 == 1
    }

    fn word(&self, pos: u64) -> u32 {
        match pos {
            0 => 0,
            pos => layout::word_at(self.arena, pos).map_or(0, |word| word.load(Acquire)),
        }
    }
}

/// This process, as one that runs tasks.
struct Worker;

impl Runner for Worker {
    fn current(&self) -> Option<CurrentTask> {
        let now = NOW.get().filter(|now| now.is_at_work())?;
        let task = TaskId::from_raw(now.task.load(Acquire).checked_sub(1)?);
        let (seat, first) = (now.seat, now.first.load(Relaxed));
        let in_chunk = Progress::of(seat.progress.load(Relaxed)).item as u64;
        let item = seat.chunk.load(Relaxed) * now.chunk.load(Relaxed) + in_chunk;
        let before = match Chunk::from_raw(seat.claimed_from.load(Relaxed)) {
            Chunk::Free { start, tries } if start as u64 == in_chunk => tries,
            _ => 0,
        };
        let (limit, since) = (now.limit.load(Relaxed), seat.began.load(Relaxed));
        let deadline = (limit != 0 && since != 0).then(|| {
            let left = since.saturating_add(limit).saturating_sub(clock::monotonic_nanos());
            Instant::now().checked_add(Duration::from_nanos(left))
        });
        Some(CurrentTask {
            task: registry::get(task).ok()?.name(),
            item: (first != NO_INDEX).then_some((first + item) as usize),
            tries: before + 1,
            worker: std::process::id(),
            deadline: deadline.flatten(),
            cancelled: self.is_cancelled(),
        })
    }

    fn is_cancelled(&self) -> bool {
        let Some(now) = NOW.get().filter(|now| now.is_at_work()) else { return false };
        let interrupted = now.seat.interrupt.load(Acquire);
        now.word(layout::attention_of(now.here.load(Relaxed))) & attention::STOP != 0
            || now.word(now.token.load(Relaxed)) != 0
            || interrupted != 0 && interrupted == now.seat.began.load(Relaxed)
    }

    /// On the word that the worker sleeps on when it has nothing to do: whoever cancels rings it.
    fn sleep(&self, deadline: Option<Instant>) {
        let Some(now) = NOW.get() else { return };
        let seen = now.seat.bell.load(SeqCst);
        if !self.is_cancelled() {
            futex::wait(&now.seat.bell, seen, deadline);
        }
    }

    fn emit(&self, value: Box<dyn Emission>) -> Result<(), EmitError> {
        let at_work = NOW.get().and_then(|now| Some((now, now.item()?)));
        let Some((now, (job, item))) = at_work else {
            return Err(EmitError::new("no task runs in this worker", ErrorKind::Unsupported));
        };
        layout::push_value(now.arena, &job, item, &*value).map_err(|error| match error {
            NotTold::Memory(error) => EmitError::new(error.to_string(), error.kind()),
            NotTold::Encode(error) => EmitError::new(error.to_string(), error.kind()),
            NotTold::Foreign => EmitError::new(
                "its type is of a shared library, which lies elsewhere in each process",
                ErrorKind::Unsupported,
            ),
        })?;
        // Nobody waits for what an item of a batch emits.
        if job.header.first == NO_INDEX {
            bell::ring(now.arena, &job);
        }
        Ok(())
    }

    fn progress(&self, done: u64, total: u64) {
        let Some(now) = NOW.get().filter(|now| now.is_at_work()) else { return };
        let (seat, said) = (now.seat, &now.seat.said);
        said.done.store(done, Relaxed);
        said.total.store(total, Relaxed);
        said.chunk.store(seat.chunk.load(Relaxed), Relaxed);
        said.progress.store(seat.progress.load(Relaxed), Relaxed);
        // Last: whoever sees this sees the rest.
        said.job.store(seat.job.load(Relaxed), Release);
    }

    fn note(&self, text: &str) {
        let Some(now) = NOW.get() else { return };
        let Some((job, item)) = now.item() else { return };
        now.notes.lock().unwrap_or_else(PoisonError::into_inner).add(now.arena, &job, item, shortened(text));
    }
}

/// Which run of a task is under way in this worker.
#[cfg(any(feature = "tracing", feature = "log"))]
pub(crate) fn current_run() -> Option<crate::seeing::records::Run> {
    let now = NOW.get().filter(|now| now.is_at_work())?;
    let run = Worker.current()?;
    Some(crate::seeing::records::Run {
        task: now.task.load(Acquire).checked_sub(1)?,
        item: run.item.map(|item| item as u64),
        tries: run.tries,
        job: now.seat.job.load(Relaxed),
    })
}

/// The notes of the current run so far.
#[derive(Debug, Default)]
struct Notes {
    /// Job and item.
    run: (u64, usize),
    count: u32,
    last: Option<&'static LastNote>,
}

impl Notes {
    /// Where there is no memory for it, a note is lost.
    fn add(&mut self, arena: &'static Arena, job: &JobView<'_>, item: usize, text: &str) {
        let run = (job.id.raw(), item);
        if self.run != run {
            *self = Notes { run, ..Notes::default() };
        }
        self.count = self.count.saturating_add(1);
        if self.count < MOST_NOTES {
            _ = layout::push_note(arena, job, item, text);
            return;
        }
        self.last = self.last.or_else(|| layout::push_last(arena, job, item).ok());
        self.last.iter().for_each(|last| last.write(text));
    }
}
