//! The thread that takes records out of the queue and hands them to this process's subscriber and logger.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use super::Setup;
use super::wire::{Head, Kind, Reader, Writer};
use crate::arena::{Arena, ArenaError, Block};
use crate::message::{Archived, Encoder};
use crate::object::Spill;
use crate::{ErrorKind, Queue};

/// Records under way.
const CAPACITY: usize = 4096;
/// So long somebody waits for the records before theirs to be handed on.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where the records of a pool's workers come to.
#[derive(Debug)]
pub(crate) struct Relay {
    arena: &'static Arena,
    queue: Queue<Vec<u8>>,
    setup: Block,
    thread: OnceLock<ThreadId>,
    /// Tokens of those who wait.
    next: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The newest token that was met.
    met: u64,
    /// Workers that have ended, whose spans end when their records are through.
    dead: Vec<u32>,
}

/// All of this process, for its end.
static RELAYS: Mutex<Vec<Weak<Relay>>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until all records so far were handed on. At the end of the program.
pub(crate) fn flush() {
    let relays: Vec<Arc<Relay>> = lock(&RELAYS).iter().filter_map(Weak::upgrade).collect();
    relays.iter().filter(|relay| relay.arena.is_here()).for_each(|relay| relay.sync());
}

impl Relay {
    /// Starts one, if anybody in this process wants records.
    pub(crate) fn start(arena: &'static Arena) -> Result<Option<Arc<Relay>>, ArenaError> {
        #[cfg(feature = "tracing")]
        let (target, spans) = match super::replay::Replay::new() {
            Some((replay, level)) => (Target { replay: Some(replay) }, level),
            None => (Target::default(), 0),
        };
        #[cfg(not(feature = "tracing"))]
        let (target, spans) = (Target::default(), 0);
        #[cfg(feature = "log")]
        let log = super::logger::level();
        #[cfg(not(feature = "log"))]
        let log = 0;
        if spans == 0 && log == 0 {
            return Ok(None);
        }
        let refused = |_| ArenaError::Foreign { what: "a queue for log records" };
        let queue = Queue::bounded(CAPACITY).map_err(refused)?;
        let block = arena.alloc(size_of::<Archived<Setup>>())?;
        let mut encoder = Encoder::new(Box::new(Spill::new(arena, block.id())));
        let setup: Setup = (queue.clone(), spans, log);
        // SAFETY: the block is large enough, aligned to 64 and ours alone; what is spilled lies in the same mapping.
        unsafe { encoder.put(&setup, block.as_ptr()) }
            .map_err(|_| ArenaError::Foreign { what: "a queue for log records" })?;
        drop(encoder);
        let (thread, next, state, changed) = Default::default();
        let relay = Arc::new(Relay { arena, queue: queue.clone(), setup: block, thread, next, state, changed });
        let on_thread = Arc::downgrade(&relay);
        let started = thread::Builder::new().name("offspring-log".into()).spawn(move || {
            std::mem::forget(crate::sys::signal::block_all());
            let mut target = target;
            run(&on_thread, &queue, &mut target);
        });
        let Ok(started) = started else { return Ok(None) };
        _ = relay.thread.set(started.thread().id());
        let mut relays = lock(&RELAYS);
        relays.retain(|relay| relay.strong_count() > 0);
        relays.push(Arc::downgrade(&relay));
        Ok(Some(relay))
    }

    /// Where workers find what they are to know.
    pub(crate) fn setup(&self) -> u64 {
        self.setup.pos()
    }

    /// Waits until all records so far were handed on; two seconds at most, as whoever takes them may wait for this thread.
    pub(crate) fn sync(&self) {
        if self.thread.get() == Some(&thread::current().id()) {
            return;
        }
        let token = self.next.fetch_add(1, Relaxed) + 1;
        let head = Head { kind: Kind::Sync, pid: 0, worker: 0, lost: 0, run: None };
        let mut record = Writer::new(&head);
        record.u64(token);
        let until = Instant::now() + PATIENCE;
        if self.queue.put_timeout(&record.0, PATIENCE).is_err() {
            return;
        }
        let mut state = lock(&self.state);
        while state.met < token {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A worker has ended.
    pub(crate) fn forget(&self, pid: u32) {
        lock(&self.state).dead.push(pid);
    }

    /// No worker is left, and none will be: the thread ends when all was handed on.
    pub(crate) fn end(&self) {
        // Refused, it ends with the process.
        _ = self.queue.close();
    }

    fn meet(&self, token: u64) {
        let mut state = lock(&self.state);
        state.met = state.met.max(token);
        self.changed.notify_all();
    }
}

/// Who gets the records.
#[derive(Debug, Default)]
struct Target {
    #[cfg(feature = "tracing")]
    replay: Option<super::replay::Replay>,
}

fn run(relay: &Weak<Relay>, queue: &Queue<Vec<u8>>, target: &mut Target) {
    loop {
        match queue.get() {
            // A subscriber that panics is reported as any thread's panic, and costs the record.
            Ok(record) => {
                let hand = || target.take(&record, relay);
                _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(hand));
            }
            Err(error) if error.kind() == ErrorKind::InvalidData => {}
            Err(_) => return,
        }
    }
}

impl Target {
    fn take(&mut self, record: &[u8], relay: &Weak<Relay>) {
        let mut input = Reader(record);
        let Some(head) = input.head() else { return };
        let relay = relay.upgrade();
        #[cfg(feature = "tracing")]
        {
            // Asked before their records may have come, so seen to only when nothing is left.
            let dead = relay
                .as_ref()
                .filter(|relay| relay.queue.is_empty())
                .map(|relay| std::mem::take(&mut lock(&relay.state).dead));
            if let Some(replay) = &mut self.replay {
                replay.take(&head, &mut input);
                dead.into_iter().flatten().for_each(|pid| replay.forget(pid));
            }
        }
        #[cfg(feature = "log")]
        if head.kind == Kind::Log {
            self.hand_on_log(&head, &mut input);
        }
        if head.kind == Kind::Sync
            && let (Some(relay), Some(token)) = (relay, input.u64())
        {
            relay.meet(token);
        }
    }
}

#[cfg(feature = "log")]
impl Target {
    /// A logger may itself be one that makes `tracing` events of records: those are to lie in the task's spans.
    #[cfg(feature = "tracing")]
    fn hand_on_log(&mut self, head: &Head, input: &mut Reader<'_>) {
        let Some(within) = input.u64() else { return };
        match &mut self.replay {
            Some(replay) => replay.within(head, within, || super::logger::hand_on(head, input)),
            None => super::logger::hand_on(head, input),
        }
    }

    #[cfg(not(feature = "tracing"))]
    fn hand_on_log(&mut self, head: &Head, input: &mut Reader<'_>) {
        super::logger::hand_on(head, input);
    }
}

/// The texts that tell of a record's worker.
#[cfg(feature = "log")]
pub(super) fn task_of(head: &Head) -> Option<&'static str> {
    let task = crate::task::TaskId::from_raw(head.run?.task);
    crate::task::registry::get(task).ok().map(|entry| entry.name())
}
