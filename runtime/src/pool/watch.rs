//! What happens when a call is done although nobody waits for it: wakers, callbacks, and those who wait for any of several.
//!
//! A watched job names a second bell in its header, the pool's. A worker that is done with a chunk of such a job rings it (one
//! futex wake), and a thread of the pool's process, which exists once something was watched, looks through the watched jobs. As with
//! `want` (see `bell.rs`), the bell is named before the words are looked at and read after a word was changed, all sequentially
//! consistent, so no end is missed; after the death of a worker the supervisor looks as well.
//!
//! Callbacks of users run on another thread, one for the process: wakers must never wait for them.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak, mpsc};

use super::core::Core;
use super::job::Job;
use crate::sys::futex;

/// Called once, when the job is done or never will be.
pub(super) type OnDone = Box<dyn FnOnce() + Send>;

/// What of a job somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// All of it is done.
    Done,
    /// This chunk is done.
    Chunk(usize),
    /// More chunks than these are done.
    More(usize),
}

impl Until {
    fn is_over(self, job: &Job) -> bool {
        match self {
            Until::Done => job.all_done(&mut 0),
            Until::Chunk(chunk) => job.is_done(chunk),
            Until::More(done) => job.done_chunks() > done,
        }
    }
}

/// The watched jobs of a pool.
#[derive(Default)]
pub(super) struct Watched(Mutex<List>);

#[derive(Default)]
struct List {
    entries: Vec<Entry>,
    /// Is there a thread that looks when the bell rings?
    is_watching: bool,
    /// When it is this long, those that nobody waits for any more are thrown out.
    prune_at: usize,
}

struct Entry {
    job: Arc<Job>,
    until: Until,
    on_done: OnDone,
    /// Whoever waits has gone away when this has.
    waiter: Option<Weak<dyn Send + Sync>>,
}

impl Watched {
    fn lock(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watched")
    }
}

impl Core {
    /// Has `on_done` called when `job` is as far as `until` says, or never will be: on any thread, and at once if that is so now.
    ///
    /// Unless `waiter` is gone by then, if one is given.
    pub(super) fn watch(
        self: &Arc<Self>,
        job: &Arc<Job>,
        until: Until,
        waiter: Option<Weak<dyn Send + Sync>>,
        on_done: OnDone,
    ) {
        if !self.is_here() {
            return on_done();
        }
        if !self.start_watching() {
            // No thread is to be had. Late, and here, is better than never.
            job.wait_all(None, || self.is_hopeless());
            return on_done();
        }
        {
            let mut list = self.watched.lock();
            if list.entries.len() >= list.prune_at {
                let waits = |entry: &Entry| entry.waiter.as_ref().is_none_or(|waiter| waiter.strong_count() > 0);
                list.entries.retain(waits);
                list.prune_at = 2 * list.entries.len() + 16;
            }
            list.entries.push(Entry { job: job.clone(), until, on_done, waiter });
        }
        job.view().header.notify.store(self.estate.watch_bell(), SeqCst);
        self.look_at_watched();
    }

    /// Starts the thread that looks when the pool's second bell rings. `false` when no thread is to be had.
    pub(super) fn start_watching(self: &Arc<Self>) -> bool {
        let mut list = self.watched.lock();
        if list.is_watching {
            return true;
        }
        let (core, estate) = (Arc::downgrade(self), self.estate.clone());
        let watch = move || {
            let bell = &estate.control().control.watch_bell;
            loop {
                let seen = bell.load(SeqCst);
                // If this is the last handle of the pool, its end does not wait for this thread.
                let Some(core) = core.upgrade() else { return };
                core.refill();
                core.look_at_watched();
                let next = core.look_at_clock();
                drop(core);
                futex::wait(bell, seen, next);
            }
        };
        let started = std::thread::Builder::new().name("offspring-watch".into()).spawn(watch);
        list.is_watching = started.is_ok();
        list.is_watching
    }

    /// Calls for the watched jobs that are done.
    pub(super) fn look_at_watched(&self) {
        let hopeless = self.is_hopeless();
        let is_over = |entry: &mut Entry| hopeless || entry.until.is_over(&entry.job);
        let done: Vec<Entry> = self.watched.lock().entries.extract_if(.., is_over).collect();
        done.into_iter().for_each(|entry| (entry.on_done)());
    }
}

/// Runs a user's callback on the thread for callbacks. A panic in it is reported as any thread's is, and ends nothing else.
pub(super) fn call_back(callback: OnDone) {
    static THREAD: OnceLock<Option<mpsc::Sender<OnDone>>> = OnceLock::new();
    let sender = THREAD.get_or_init(|| {
        let (sender, receiver) = mpsc::channel::<OnDone>();
        let run = move || {
            for callback in receiver {
                // Unwind safety: the callback is gone afterwards, and it owned all it used.
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(callback));
            }
        };
        std::thread::Builder::new().name("offspring-calls".into()).spawn(run).is_ok().then_some(sender)
    });
    match sender {
        Some(sender) => drop(sender.send(callback)),
        // No thread was to be had. Late is worse than here.
        None => callback(),
    }
}
