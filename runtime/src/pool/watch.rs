//! What happens when a call is done although nobody waits for it: wakers, callbacks, and those who wait for any of several.
//!
//! A watched job has `notify` set in its header. A worker that is done with a chunk of such a job tells its parent's
//! supervisor (one `write` on an eventfd), which looks through the watched jobs. As with `want` (see `bell.rs`), the flag is set
//! before the words are looked at and read after a word was changed, all sequentially consistent, so none is missed; the end of a
//! worker makes the supervisor look as well.
//!
//! Callbacks of users run on a thread of their own, one for the process: the supervisor must never wait for them.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak, mpsc};

use super::core::Core;
use super::job::Job;
use crate::process::supervisor;

/// Called once, when the job is done or never will be.
pub(super) type OnDone = Box<dyn FnOnce() + Send>;

/// The watched jobs of a pool.
#[derive(Default)]
pub(super) struct Watched(Mutex<List>);

#[derive(Default)]
struct List {
    entries: Vec<Entry>,
    /// When it is this long, those that nobody waits for any more are thrown out.
    prune_at: usize,
}

struct Entry {
    job: Arc<Job>,
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

/// The pools that have watched jobs, or had.
static POOLS: Mutex<Vec<Weak<Core>>> = Mutex::new(Vec::new());

fn pools() -> MutexGuard<'static, Vec<Weak<Core>>> {
    POOLS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// On the supervisor's thread: some worker of some pool was done with something that is watched.
fn look_at_all() {
    let live: Vec<Arc<Core>> = pools().iter().filter_map(Weak::upgrade).collect();
    live.iter().for_each(|core| core.look_at_watched());
    // The last handle may be this one: `Core::drop` does not wait for anything.
}

impl Core {
    /// Has `on_done` called when `job` is done, or never will be: on any thread, and at once if that is so now.
    ///
    /// Unless `waiter` is gone by then, if one is given.
    pub(super) fn watch(self: &Arc<Self>, job: &Arc<Job>, waiter: Option<Weak<dyn Send + Sync>>, on_done: OnDone) {
        static HOOKED: OnceLock<bool> = OnceLock::new();
        // Fails only where no child could be started either, and then no job is ever done but by the pool giving up.
        HOOKED.get_or_init(|| supervisor::on_notify(Box::new(look_at_all)).is_ok());
        {
            let mut pools = pools();
            pools.retain(|pool| pool.strong_count() > 0);
            if !pools.iter().any(|pool| std::ptr::eq(pool.as_ptr(), Arc::as_ptr(self))) {
                pools.push(Arc::downgrade(self));
            }
        }
        {
            let mut list = self.watched.lock();
            if list.entries.len() >= list.prune_at {
                let waits = |entry: &Entry| entry.waiter.as_ref().is_none_or(|waiter| waiter.strong_count() > 0);
                list.entries.retain(waits);
                list.prune_at = 2 * list.entries.len() + 16;
            }
            list.entries.push(Entry { job: job.clone(), on_done, waiter });
        }
        job.view().header.notify.store(1, SeqCst);
        self.look_at_watched();
    }

    /// Calls for the watched jobs that are done.
    pub(super) fn look_at_watched(&self) {
        let hopeless = self.is_hopeless();
        let is_over = |entry: &mut Entry| hopeless || entry.job.all_done(&mut 0);
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
