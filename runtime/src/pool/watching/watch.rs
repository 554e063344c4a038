//! What happens when a call is done although nobody waits for it: wakers, callbacks, and those who wait for any of several.
//!
//! A watched job has a number in its header. A worker that is done with a chunk of such a job sets the bit of that number in the control
//! block and rings the pool's bell (one futex wake), and a thread of the pool's process, which exists once something was watched, looks at the
//! jobs of these numbers: so the end of one of thousands of calls costs no look at the others. As with `want` (see `bell.rs`), the number is
//! stored before the words are looked at and read after a word was changed, all sequentially consistent, so no end is missed; a bit is
//! cleared before the words are looked at. A worker that is killed before it sets the bit is covered by the supervisor, which has all
//! watched jobs looked at after a death.
//!
//! Callbacks of users run on another thread, one for the process: wakers must never wait for them.

use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak, mpsc};

use crate::pool::job::Job;
use crate::pool::layout::NEWS;
use crate::pool::master::core::Core;
use crate::sys::futex;

/// Called once, when the job is done or never will be.
pub(in crate::pool) type OnDone = Box<dyn FnOnce() + Send>;

/// What of a job somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) enum Until {
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
pub(in crate::pool) struct Watched(Mutex<List>);

#[derive(Default)]
struct List {
    /// By the number of the job; some jobs may share one.
    entries: HashMap<u32, Vec<Entry>>,
    /// How many there are, and how many jobs ever got a number.
    len: usize,
    numbered: u32,
    /// How many jobs were looked at.
    #[cfg(feature = "testing")]
    looks: u64,
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

    /// How many jobs were looked at so far.
    #[cfg(feature = "testing")]
    pub(in crate::pool) fn looks(&self) -> u64 {
        self.lock().looks
    }
}

impl List {
    /// Throws out those that nobody waits for any more, when there are twice as many as the last time.
    fn prune(&mut self) {
        if self.len >= self.prune_at {
            let waits = |entry: &mut Entry| entry.waiter.as_ref().is_none_or(|waiter| waiter.strong_count() > 0);
            self.entries.retain(|_, entries| {
                entries.retain_mut(waits);
                !entries.is_empty()
            });
            self.len = self.entries.values().map(Vec::len).sum();
            self.prune_at = 2 * self.len + 16;
        }
    }

    /// Takes out those with this number that have come as far as they were to come.
    fn take(&mut self, number: u32, hopeless: bool, done: &mut Vec<Entry>) {
        let Some(entries) = self.entries.get_mut(&number) else { return };
        #[cfg(feature = "testing")]
        {
            self.looks += entries.len() as u64;
        }
        let before = done.len();
        done.extend(entries.extract_if(.., |entry| hopeless || entry.until.is_over(&entry.job)));
        self.len -= done.len() - before;
        if entries.is_empty() {
            self.entries.remove(&number);
        }
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
    pub(in crate::pool) fn watch(
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
        let number = {
            let mut list = self.watched.lock();
            list.prune();
            // A job that is watched already has its number for good.
            let notify = &job.view().header.notify;
            if notify.load(SeqCst) == 0 {
                list.numbered = list.numbered % NEWS as u32 + 1;
                notify.store(list.numbered, SeqCst);
            }
            let number = notify.load(SeqCst);
            list.entries.entry(number).or_default().push(Entry { job: job.clone(), until, on_done, waiter });
            list.len += 1;
            number
        };
        self.look_at_number(number);
    }

    /// Starts the thread that looks when the pool's second bell rings. `false` when no thread is to be had.
    pub(in crate::pool) fn start_watching(self: &Arc<Self>) -> bool {
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
                core.look_at_news();
                let next = core.look_at_clock();
                drop(core);
                futex::wait(bell, seen, next);
            }
        };
        let started = std::thread::Builder::new().name("offspring-watch".into()).spawn(watch);
        list.is_watching = started.is_ok();
        list.is_watching
    }

    /// Calls for watched jobs of which workers have told.
    fn look_at_news(&self) {
        let control = self.estate.control();
        for (at, word) in control.control.news.0.iter().enumerate() {
            // Mostly none: read before it is changed.
            let mut bits = if word.load(SeqCst) == 0 { 0 } else { word.swap(0, SeqCst) };
            while bits != 0 {
                self.look_at_number((at * 64) as u32 + bits.trailing_zeros() + 1);
                bits &= bits - 1;
            }
        }
    }

    /// Calls for this job, if it is watched and done.
    pub(in crate::pool) fn look_at_job(&self, job: &Job) {
        match job.view().header.notify.load(SeqCst) {
            0 => {}
            number => self.look_at_number(number),
        }
    }

    fn look_at_number(&self, number: u32) {
        let (hopeless, mut done) = (self.is_hopeless(), Vec::new());
        self.watched.lock().take(number, hopeless, &mut done);
        done.into_iter().for_each(|entry| (entry.on_done)());
    }

    /// Calls for all watched jobs that are done.
    pub(in crate::pool) fn look_at_watched(&self) {
        let (hopeless, mut done) = (self.is_hopeless(), Vec::new());
        {
            let mut list = self.watched.lock();
            let numbers: Vec<u32> = list.entries.keys().copied().collect();
            numbers.into_iter().for_each(|number| list.take(number, hopeless, &mut done));
        }
        done.into_iter().for_each(|entry| (entry.on_done)());
    }
}

/// Runs a user's callback on the thread for callbacks. A panic in it is reported as any thread's is, and ends nothing else.
pub(in crate::pool) fn call_back(callback: OnDone) {
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
