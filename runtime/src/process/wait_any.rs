//! Waiting for the first of several things.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Something that [`wait_any`] can wait for: children, task handles.
///
/// This trait is sealed: it cannot be implemented outside this crate.
pub trait Waitable: sealed::Sealed {}

pub(crate) mod sealed {
    /// What [`wait_any`](super::wait_any) needs to know.
    #[allow(unnameable_types, reason = "sealed: nobody else may implement it")]
    pub trait Sealed {
        /// Would a wait return at once?
        fn is_ready(&self) -> bool;
        /// Has `bell` rung when it becomes ready, or now if it is.
        fn ring_when_ready(&self, bell: &super::Bell);
    }
}

/// What a waiting thread sleeps on.
#[allow(unnameable_types, reason = "part of a sealed trait")]
#[derive(Debug, Default)]
pub struct Bell(Arc<Rung>);

type Rung = (Mutex<bool>, Condvar);

/// The end of a bell's rope: rings while somebody waits.
#[derive(Debug)]
pub(crate) struct Rope(Weak<Rung>);

impl Rope {
    /// Wakes the waiter, if there still is one.
    pub(crate) fn pull(&self) {
        if let Some(bell) = self.0.upgrade() {
            Bell(bell).ring();
        }
    }

    /// What is gone when there is no waiter any more.
    pub(crate) fn waiter(&self) -> Weak<dyn Send + Sync> {
        self.0.clone()
    }

    /// Is there still a waiter?
    pub(crate) fn is_waited_for(&self) -> bool {
        self.0.strong_count() > 0
    }
}

impl Bell {
    /// Wakes the waiter.
    pub(crate) fn ring(&self) {
        let (rung, condvar) = &*self.0;
        *rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        condvar.notify_one();
    }

    /// A rope to leave with those who will ring.
    pub(crate) fn rope(&self) -> Rope {
        Rope(Arc::downgrade(&self.0))
    }

    /// Sleeps until it has rung since the last call, or the deadline has passed.
    fn wait(&self, deadline: Option<Instant>) {
        let (rung, condvar) = &*self.0;
        let guard = rung.lock().unwrap_or_else(PoisonError::into_inner);
        let mut guard = match deadline {
            None => condvar.wait_while(guard, |rung| !*rung).unwrap_or_else(PoisonError::into_inner),
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                condvar.wait_timeout_while(guard, left, |rung| !*rung).unwrap_or_else(PoisonError::into_inner).0
            }
        };
        *guard = false;
    }
}

/// Waits until one of several things is ready; its index, or `None` when the timeout passed.
///
/// The first in the list wins when several are ready. Without a timeout it waits as long as it takes; with an empty list it returns `None` at
/// once. A child is ready when it has ended, in whichever way, so a killed one wakes the caller too.
///
/// Blocks the calling thread in the kernel; no descriptors are used, so there is no limit to how many can be waited for.
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
/// None at present; waiting for objects in shared memory will be able to fail.
pub fn wait_any(waitables: &[&dyn Waitable], timeout: Option<Duration>) -> crate::Result<Option<usize>> {
    let ready = || waitables.iter().position(|waitable| waitable.is_ready());
    if let Some(index) = ready() {
        return Ok(Some(index));
    }
    if waitables.is_empty() {
        return Ok(None);
    }
    // A timeout too long for the clock is none.
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let bell = Bell::default();
    waitables.iter().for_each(|waitable| waitable.ring_when_ready(&bell));
    loop {
        if let Some(index) = ready() {
            return Ok(Some(index));
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(None);
        }
        bell.wait(deadline);
    }
}
