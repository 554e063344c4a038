//! Ending work that may have begun: tokens, and what a pool does at each level.
//!
//! A token is an object in shared memory with one word, its level, which only ever rises. Workers read it where their job's header says, so
//! a cooperative cancellation needs nobody else. What has not begun, and what is to be interrupted or killed, is the pool's process's to
//! see to: it watches the token, as a process of the family (see `object/watch.rs`), with one thread for all its tokens, which exists while
//! a batch with a token is under way.
//!
//! A process killed between the store of the level and the ring leaves pools that have not heard: the audit of its reference to the token
//! rings for it.
#![allow(unsafe_code)]

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::arena::{self, ArenaError, Owner};
use crate::object::wait_any::{Bell, Waitable, sealed::Sealed};
use crate::object::{Doomed, Handle, Kind, Locked, Object, Role, Watch, message_by_handle};
use crate::pool::job::Job;
use crate::pool::job::errand::{Ending, Errand};
use crate::pool::master::core::{Core, Inner};
use crate::pool::options::policy::CancelLevel;
use crate::pool::protocol::bell;
use crate::sys::futex;
use crate::task::TaskError;
use crate::{ErrorKind, Signal};

/// The kind of a token.
#[derive(Debug)]
pub(crate) struct TokenKind;

/// A token's words.
#[repr(C)]
pub(crate) struct Shared {
    /// See [`CancelLevel::to_raw`]. Only rises. A futex word.
    level: AtomicU32,
    /// Where this lies in the arena, as two halves. Written before anybody else knows the token.
    pos: [AtomicU32; 2],
}

// SAFETY: atomics; the code is this kind's alone.
unsafe impl Kind for TokenKind {
    const CODE: u32 = 70;
    const NAME: &'static str = "a cancel token";
    type Shared = Shared;

    /// Nothing of a token belongs to a process; watchers are rung after this.
    fn recover(_: &Locked<'_, Self>, _: Owner) -> Result<(), ArenaError> {
        Ok(())
    }

    fn destroy(_: &Doomed<'_, Self>) -> Result<(), ArenaError> {
        Ok(())
    }

    fn wake(object: &Object<'_, Self>) {
        futex::wake_all(&object.shared().level);
    }
}

/// Ends work from anywhere: whoever holds a clone of it, in whichever process of the program, can cancel all that was begun with it.
///
/// Its clones are all the same token. It is a message: it can be sent to tasks, through queues, inside of other values. A token that was
/// cancelled stays so.
///
/// Cancelling neither blocks nor waits. A process that is killed meanwhile has cancelled or not; the token works on for all others.
///
/// # Examples
///
/// ```
/// use offspring::{CancelToken, Pool, task};
///
/// /// The first that finds it ends the search of all.
/// #[task]
/// fn search(from: u64, wanted: u64, found: CancelToken) -> Option<u64> {
///     for n in from..from + 1_000_000 {
///         if n == wanted {
///             found.cancel();
///             return Some(n);
///         }
///         if found.is_cancelled() {
///             break;
///         }
///     }
///     None
/// }
///
/// let pool = Pool::builder().workers(2).build()?;
/// let token = CancelToken::new()?;
/// let parts = (0..1_000).map(|part| (part * 1_000_000, 3_000_017, token.clone()));
/// let results = pool.batch().chunk_size(1).cancel(&token).try_map(search, parts)?;
/// assert!(results.contains(&Ok(Some(3_000_017))));
/// assert!(token.is_cancelled());
/// # Ok::<(), offspring::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct CancelToken {
    handle: Handle<TokenKind>,
}

message_by_handle!([] CancelToken, handle, |handle| CancelToken { handle });

impl Sealed for CancelToken {
    fn is_ready(&self) -> bool {
        self.is_cancelled()
    }

    fn ring_when_ready(&self, bell: &Bell) {
        bell.watch(&self.handle);
    }
}

/// Ready when it is cancelled.
impl Waitable for CancelToken {}

impl CancelToken {
    /// A new token, not cancelled.
    ///
    /// ```
    /// use offspring::CancelToken;
    ///
    /// let token = CancelToken::new()?;
    /// let copy = token.clone();
    /// assert!(!token.is_cancelled());
    /// copy.cancel();
    /// assert!(token.is_cancelled()); // in every process that has it
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Of kind [`ErrorKind::OutOfMemory`] when the family's shared memory is used up.
    pub fn new() -> crate::Result<CancelToken> {
        CancelToken::create().map_err(|error| crate::Error::from(crate::PoolError::from(error)))
    }

    fn create() -> Result<CancelToken, ArenaError> {
        let handle = Handle::<TokenKind>::create(0, Role::Plain, |token| {
            let shared = token.shared();
            let pos = token.arena().pos_of((&raw const *shared).cast()).unwrap_or(0);
            shared.pos[0].store(pos as u32, Relaxed);
            shared.pos[1].store((pos >> 32) as u32, Relaxed);
        })?;
        Ok(CancelToken { handle })
    }

    /// Cancels, at the level [`CancelLevel::Cooperative`]: what has not begun never does, running tasks are asked to end.
    ///
    /// Returns at once. In a `fork()` of a process of the program that it made itself, this does nothing.
    ///
    /// ```
    /// use offspring::{CancelToken, Pool, task};
    ///
    /// #[task]
    /// fn step(x: u64) -> u64 {
    ///     x + 1
    /// }
    ///
    /// let token = CancelToken::new()?;
    /// token.cancel();
    /// let results = Pool::new()?.batch().cancel(&token).try_map(step, 0..3)?;
    /// assert!(results.iter().flatten().next().is_none()); // nothing of it began
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn cancel(&self) {
        self.cancel_with(CancelLevel::Cooperative);
    }

    /// Cancels, at this level. Where it was cancelled before, the higher level holds.
    pub fn cancel_with(&self, level: CancelLevel) {
        if self.handle.check().is_err() {
            return;
        }
        let word = &self.handle.shared().level;
        if word.fetch_max(level.to_raw(), SeqCst) < level.to_raw() {
            futex::wake_all(word);
            self.handle.ring();
        }
    }

    /// Was it cancelled? Costs a load; never blocks.
    pub fn is_cancelled(&self) -> bool {
        self.level().is_some()
    }

    /// At which level it was cancelled, if it was.
    pub fn level(&self) -> Option<CancelLevel> {
        self.handle.check().ok()?;
        CancelLevel::from_raw(self.handle.shared().level.load(SeqCst))
    }

    /// Waits until it is cancelled, at most `timeout`. `true` when it is.
    ///
    /// Blocks in the kernel.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        if self.handle.check().is_ok() {
            let word = &self.handle.shared().level;
            while word.load(SeqCst) == 0 && futex::wait(word, 0, deadline) != futex::Wait::TimedOut {}
        }
        self.is_cancelled()
    }

    /// Where its level lies in the arena.
    pub(in crate::pool) fn pos(&self) -> u64 {
        let pos = &self.handle.shared().pos;
        u64::from(pos[0].load(Relaxed)) | u64::from(pos[1].load(Relaxed)) << 32
    }
}

/// Who is to hear of which token.
static LISTENERS: Mutex<Listeners> = Mutex::new(Listeners { tokens: BTreeMap::new(), is_listening: false });

struct Listeners {
    /// By where the token's level lies, so that a token costs one look, however much is under way with it.
    tokens: BTreeMap<u64, Heard>,
    /// Is there a thread that listens?
    is_listening: bool,
}

struct Heard {
    token: CancelToken,
    /// What all were told that were there then: a level that rises is told again.
    told: Option<CancelLevel>,
    /// By their numbers.
    errands: HashMap<u64, (Weak<Core>, Weak<Errand>)>,
    /// The bell of this process rings when the token changes.
    _watch: Watch,
}

fn listeners() -> MutexGuard<'static, Listeners> {
    // Nothing panics while it holds the lock.
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Of how many tokens this process hears, for how many batches and calls.
#[cfg(feature = "testing")]
pub(in crate::pool) fn heard() -> (usize, usize) {
    let listeners = listeners();
    (listeners.tokens.len(), listeners.tokens.values().map(|heard| heard.errands.len()).sum())
}

/// Waits for the bell of this process, which rings when a token that it watches has changed.
fn listen() {
    let Ok(arena) = arena::family() else { return };
    let bell = arena.bell();
    loop {
        let seen = bell.load(SeqCst);
        let mut news: Vec<(Weak<Core>, Weak<Errand>, CancelLevel)> = Vec::new();
        {
            let mut listeners = listeners();
            if listeners.tokens.is_empty() {
                listeners.is_listening = false;
                return;
            }
            for heard in listeners.tokens.values_mut() {
                let Some(level) = heard.token.level().filter(|level| heard.told < Some(*level)) else { continue };
                heard.told = Some(level);
                news.extend(heard.errands.values().map(|(core, errand)| (core.clone(), errand.clone(), level)));
            }
        }
        for (core, errand, level) in news {
            // Not under the lock: either may be dropped here for good, and an errand takes the lock then.
            if let (Some(core), Some(errand)) = (core.upgrade(), errand.upgrade()) {
                core.cancel_errand(&errand, Ending::Cancelled, level);
            }
        }
        futex::wait(bell, seen, None);
    }
}

/// Forgets an errand that is gone, with a token whose level lies at `pos`.
pub(in crate::pool) fn forget(arena: &'static arena::Arena, pos: u64, errand: u64) {
    let mut listeners = listeners();
    let Some(heard) = listeners.tokens.get_mut(&pos) else { return };
    heard.errands.remove(&errand);
    let gone = if heard.errands.is_empty() { listeners.tokens.remove(&pos) } else { None };
    let is_idle = listeners.tokens.is_empty() && listeners.is_listening;
    drop(listeners);
    drop(gone);
    if is_idle && arena.is_here() {
        // The listening thread ends.
        arena.ring(arena.me().slot());
    }
}

impl Core {
    /// Sees to it that the options of an errand that is about to begin are kept: threads exist, tokens are heard.
    pub(in crate::pool) fn attend(self: &Arc<Self>, errand: &Arc<Errand>) -> Result<(), TaskError> {
        let policy = &errand.policy;
        self.admit(errand)?;
        self.hear(errand)?;
        let no_thread = |what: &str| TaskError::NoWorker {
            context: errand.context(None),
            reason: format!("no thread could be started that sees to {what}"),
            kind: ErrorKind::Limit,
        };
        let needs_clock = policy.timeout.is_some() || policy.on_error.most().is_some();
        if needs_clock && !self.start_watching() {
            return Err(no_thread("timeouts and failures"));
        }
        if policy.on_error.most().is_some() && errand.bell.is_some() {
            self.clock.judged().push(Arc::downgrade(errand));
        }
        let Some(token) = &policy.token else { return Ok(()) };
        let watch = Watch::new(&token.handle).map_err(|error| errand.no_memory(None, &error))?;
        let pos = token.pos();
        let mut listeners = listeners();
        if !listeners.is_listening {
            let started = std::thread::Builder::new().name("offspring-cancel".into()).spawn(listen);
            listeners.is_listening = started.is_ok();
            if started.is_err() {
                drop(listeners);
                return Err(no_thread("the cancel token"));
            }
        }
        errand.note_heard(pos);
        let fresh = || Heard { token: token.clone(), told: None, errands: HashMap::new(), _watch: watch };
        let heard = listeners.tokens.entry(pos).or_insert_with(fresh);
        heard.errands.insert(errand.number, (Arc::downgrade(self), Arc::downgrade(errand)));
        drop(listeners);
        // Cancelled before it was watched.
        if let Some(level) = token.level() {
            self.cancel_errand(errand, Ending::Cancelled, level);
        }
        Ok(())
    }

    /// Ends all of a batch or call.
    pub(in crate::pool) fn cancel_errand(self: &Arc<Self>, errand: &Arc<Errand>, ending: Ending, level: CancelLevel) {
        errand.end(ending.clone());
        let jobs = errand.jobs();
        let is_published = |inner: &Inner, job: &Arc<Job>| inner.jobs.contains_key(&job.id());
        let published: Vec<bool> = {
            let inner = self.lock();
            jobs.iter().map(|job| is_published(&inner, job)).collect()
        };
        for (job, _) in jobs.iter().zip(published).filter(|(_, published)| *published) {
            self.cancel_job(job, ending.clone(), level);
        }
        // Whoever waits may have no job that is not done.
        if let Some(bell) = &errand.bell {
            bell::ring_word(bell.word());
        }
    }

    /// Ends a window or a call.
    pub(in crate::pool) fn cancel_job(self: &Arc<Self>, job: &Arc<Job>, ending: Ending, level: CancelLevel) {
        job.cancel(ending, level == CancelLevel::Hard);
        match level {
            CancelLevel::Cooperative => self.ring_runners(job),
            CancelLevel::Soft => {
                self.ring_runners(job);
                self.interrupt_runners(job, FIRST_PAUSE);
                if let Some(grace) = job.errand().policy.grace {
                    let overdue = job.clone();
                    let end = move |core: &Arc<Core>| {
                        if !overdue.all_done(&mut 0) {
                            core.cancel_job(&overdue, Ending::Cancelled, CancelLevel::Hard);
                        }
                    };
                    self.after(grace, Box::new(end));
                }
            }
            CancelLevel::Hard => self.kill_runners(job),
        }
        job.ring();
        self.look_at_job(job);
    }

    /// Wakes tasks of `job` that sleep by `task::sleep`, so that they see that they are to end.
    pub(in crate::pool) fn ring_runners(&self, job: &Job) {
        let runners = job.runners();
        let seats = self.estate.control().seats;
        for seat in seats.iter().filter(|seat| runners.contains(&seat.owner.load(SeqCst))) {
            bell::ring_word(&seat.bell);
        }
    }

    /// Interrupts blocking calls of tasks of `job`, again and again as long as they run.
    fn interrupt_runners(self: &Arc<Self>, job: &Arc<Job>, pause: Duration) {
        let runners = job.runners();
        for &runner in &runners {
            let Some(worker) = self.lock().crew.member(runner) else { continue };
            // It fails only if the worker has ended, which is what was wanted.
            let _ = worker.signal_if(INTERRUPT, || job.is_run_by(runner));
        }
        if !runners.is_empty() {
            let job = job.clone();
            self.after(pause, Box::new(move |core| core.interrupt_runners(&job, (pause * 2).min(LONGEST_PAUSE))));
        }
    }
}

/// What interrupts a worker's blocking calls.
pub(crate) const INTERRUPT: Signal = Signal::USR1;
/// Between the first and the second interruption; then twice as long each time.
pub(in crate::pool) const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// Up to this.
pub(in crate::pool) const LONGEST_PAUSE: Duration = Duration::from_millis(100);
