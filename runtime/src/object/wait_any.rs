//! Waiting for the first of several things.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::watch::Watch;
use super::{Handle, Kind, ObjectError};
use crate::arena::{self, Arena};
use crate::sync::{permits, wait};

/// Something that [`wait_any`] can wait for: children, task handles, signals, and objects in shared memory such as queues,
/// ends of pipes and events.
///
/// This trait is sealed: it cannot be implemented outside this crate.
pub trait Waitable: sealed::Sealed {}

pub(crate) mod sealed {
    /// What [`wait_any`](super::wait_any()) needs to know.
    #[allow(unnameable_types, reason = "sealed: nobody else may implement it")]
    pub trait Sealed {
        /// Would a wait return at once?
        fn is_ready(&self) -> bool;
        /// Has `bell` rung when it becomes ready, or now if it is.
        fn ring_when_ready(&self, bell: &super::Bell);
    }
}

/// What a waiting thread sleeps on: the doorbell of its process, a word in shared memory, so that members of the family can
/// ring it, too.
///
/// All waiting threads of a process share the word and look for themselves what rang.
#[allow(unnameable_types, reason = "part of a sealed trait")]
#[derive(Debug)]
pub struct Bell {
    arena: &'static Arena,
    /// There as long as the wait is.
    waiting: Arc<()>,
    watched: Mutex<Vec<Watch>>,
    failed: Mutex<Option<ObjectError>>,
}

/// The end of a bell's rope: rings while somebody waits.
#[derive(Debug)]
pub(crate) struct Rope {
    arena: &'static Arena,
    waiting: Weak<()>,
}

impl Rope {
    /// Wakes the waiter, if there still is one.
    pub(crate) fn pull(&self) {
        if self.is_waited_for() && self.arena.is_here() {
            self.arena.ring(self.arena.me().slot());
        }
    }

    /// What is gone when there is no waiter any more.
    pub(crate) fn waiter(&self) -> Weak<dyn Send + Sync> {
        self.waiting.clone()
    }

    /// Is there still a waiter?
    pub(crate) fn is_waited_for(&self) -> bool {
        self.waiting.strong_count() > 0
    }
}

impl Bell {
    fn new() -> Result<Bell, ObjectError> {
        let arena = arena::family()?;
        Ok(Bell { arena, waiting: Arc::default(), watched: Mutex::default(), failed: Mutex::default() })
    }

    /// Wakes the waiter.
    pub(crate) fn ring(&self) {
        self.arena.ring(self.arena.me().slot());
    }

    /// A rope to leave with those who will ring.
    pub(crate) fn rope(&self) -> Rope {
        Rope { arena: self.arena, waiting: Arc::downgrade(&self.waiting) }
    }

    /// Has this object ring, from whichever process it is changed, until the wait is over. It then looks again whether the
    /// object is ready, as that may have come before.
    pub(crate) fn watch<K: Kind>(&self, handle: &Handle<K>) {
        match Watch::new(handle) {
            Ok(watch) => self.watched.lock().unwrap_or_else(PoisonError::into_inner).push(watch),
            Err(error) => *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.into()),
        }
    }

    fn failure(&self) -> Option<ObjectError> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Waits until one of several things is ready; its index, or `None` when the timeout passed.
///
/// The first in the list wins when several are ready. Without a timeout it waits as long as it takes; with an empty list it returns `None` at
/// once. A child is ready when it has ended, in whichever way, so a killed one wakes the caller too. An object is ready when the
/// operation that one would wait for (an item to get, an event to be set) would not block at this moment; somebody else may be
/// quicker to take it.
///
/// Blocks the calling thread in the kernel; no descriptors are used, so there is no limit to how many can be waited for. A
/// process that is killed while it waits leaves nothing behind.
///
/// # Examples
/// ```
/// use offspring::{spawn, task, wait_any};
/// use std::time::Duration;
///
/// #[task]
/// fn nap(milliseconds: u64) {
///     std::thread::sleep(Duration::from_millis(milliseconds));
/// }
///
/// # fn main() -> offspring::Result<()> {
/// let slow = spawn(nap, 60_000)?;
/// let quick = spawn(nap, 1)?;
/// assert_eq!(wait_any(&[&slow, &quick], Some(Duration::from_secs(50)))?, Some(1));
/// slow.kill()?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// In a `fork` of a member of the family, and where 8,192 threads of the family use shared memory already.
#[doc(alias = "sentinel")]
#[doc(alias = "set_wakeup_fd")]
pub fn wait_any(waitables: &[&dyn Waitable], timeout: Option<Duration>) -> crate::Result<Option<usize>> {
    let ready = || waitables.iter().position(|waitable| waitable.is_ready());
    if waitables.is_empty() {
        return Ok(None);
    }
    let bell = Bell::new()?;
    if let Some(index) = ready() {
        return Ok(Some(index));
    }
    // A timeout too long for the clock is none.
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
        return Ok(None);
    }
    waitables.iter().for_each(|waitable| waitable.ring_when_ready(&bell));
    if let Some(error) = bell.failure() {
        return Err(error.into());
    }
    let word = bell.arena.bell();
    let mut _paused = None;
    loop {
        let seen = word.load(Ordering::SeqCst);
        if let Some(index) = ready() {
            return Ok(Some(index));
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(None);
        }
        // In a task: a worker of another pool may run meanwhile, such as the one that is waited for.
        if permits::is_held() && !wait::spin_while(word, seen) {
            _paused = permits::pause();
        }
        wait::wait_while(word, seen, deadline);
    }
}
