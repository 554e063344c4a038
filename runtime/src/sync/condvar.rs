//! `Condvar`.
#![allow(unsafe_code)]

use std::fmt;
use std::time::{Duration, Instant};

use super::common::deadline;
use super::error::Result;
use super::mutants;
use super::mutex::MutexGuard;
use super::raw::RawCondition;
use crate::Plain;
use crate::arena::{Arena, ArenaError, Owner, mutant};
use crate::object::{Doomed, Handle, Kind, Locked, Object, Role, message_by_handle};

/// A condition that threads of all processes wait for under a [`Mutex`](super::Mutex), until another one has changed what that
/// guards and tells them.
///
/// It is as `std::sync::Condvar`: waiting takes the guard, so it cannot be done without the lock, lets the lock go, and takes it
/// again before it returns. A wait may end for no reason, so look at the value again, or let [`wait_while`](Condvar::wait_while)
/// do it. Handles and blocking are as for [`Mutex`](super::Mutex).
///
/// # Death
/// A notifier waits for nobody, so a waiter that was killed holds nobody up; and if it was killed with the one notification
/// in hand, the others are woken and look.
///
/// ```
/// use offspring::{Process, sync::{Condvar, Mutex}, task};
///
/// #[task]
/// fn produce(ready: Condvar, stock: Mutex<u32>) -> Result<(), offspring::Failure> {
///     *stock.lock()? += 3;
///     ready.notify_one()?;
///     Ok(())
/// }
///
/// fn main() -> offspring::Result<()> {
///     let (ready, stock) = (Condvar::new()?, Mutex::new(0u32)?);
///     let child = Process::new(produce, (&ready, &stock)).spawn()?;
///     let mut guard = ready.wait_while(stock.lock()?, |stock| *stock < 3)?;
///     *guard -= 3;
///     drop(guard);
///     child.join()??;
///     Ok(())
/// }
/// ```
#[doc(alias = "Condition")]
#[derive(Clone)]
pub struct Condvar {
    pub(super) handle: Handle<CondvarKind>,
}

/// Whether a wait ended because its time was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether the time was over before there was a notification.
    pub fn timed_out(self) -> bool {
        self.0
    }
}

/// The kind of conditions.
#[derive(Debug)]
pub(crate) struct CondvarKind;

/// A condition's word.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Shared {
    condition: RawCondition,
}

// SAFETY: one atomic; the code is this kind's alone.
unsafe impl Kind for CondvarKind {
    const CODE: u32 = 37;
    const NAME: &'static str = "a condition";
    type Shared = Shared;

    fn recover(_: &Locked<'_, Self>, _: Owner) -> std::result::Result<(), ArenaError> {
        Ok(())
    }

    fn destroy(_: &Doomed<'_, Self>) -> std::result::Result<(), ArenaError> {
        Ok(())
    }

    fn wake(object: &Object<'_, Self>) {
        // Waits may end for no reason; and those about to sleep must look again, too.
        if !mutant(mutants::CONDITION_SILENT) {
            object.shared().condition.notify_all();
        }
    }
}

message_by_handle!([] Condvar, handle, |handle| Condvar { handle });

impl Condvar {
    /// A new condition.
    ///
    /// ```
    /// use offspring::sync::{Condvar, Mutex};
    ///
    /// let (stock, changed) = (Mutex::new(1u32)?, Condvar::new()?);
    /// let guard = changed.wait_while(stock.lock()?, |stock| *stock == 0)?;
    /// assert_eq!(*guard, 1);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`OutOfMemory`](crate::ErrorKind::OutOfMemory) when the family's shared memory is used up.
    pub fn new() -> Result<Condvar> {
        Condvar::in_arena(crate::arena::family()?)
    }

    pub(crate) fn in_arena(arena: &'static Arena) -> Result<Condvar> {
        Ok(Condvar { handle: Handle::create_in(arena, 0, Role::Plain, |_| ())? })
    }

    /// Lets the lock go, waits for a notification, and takes the lock again.
    ///
    /// ```compile_fail,E0308
    /// # use offspring::sync::{Condvar, Mutex};
    /// # fn main() -> offspring::Result<()> {
    /// let (condition, stock) = (Condvar::new()?, Mutex::new(0u32)?);
    /// condition.wait(stock)?; // not the lock, but its guard
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Of kind [`Poisoned`](crate::ErrorKind::Poisoned) when a holder of the lock died or panicked meanwhile.
    pub fn wait<'a, T: Plain>(&self, guard: MutexGuard<'a, T>) -> Result<MutexGuard<'a, T>> {
        self.wait_until(guard, None).map(|(guard, _)| guard)
    }

    /// Waits until `condition` is false of what the lock guards; not at all if it is.
    ///
    /// ```
    /// use offspring::sync::{Condvar, Mutex};
    ///
    /// let (stock, changed) = (Mutex::new(0u32)?, Condvar::new()?);
    /// let (their_stock, their_changed) = (stock.clone(), changed.clone());
    /// let producer = std::thread::spawn(move || {
    ///     *their_stock.lock().unwrap() = 7;
    ///     their_changed.notify_one().unwrap();
    /// });
    /// assert_eq!(*changed.wait_while(stock.lock()?, |stock| *stock == 0)?, 7);
    /// # producer.join().unwrap();
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`wait`](Condvar::wait).
    #[doc(alias = "wait_for")]
    pub fn wait_while<'a, T: Plain>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Result<MutexGuard<'a, T>> {
        while condition(&mut guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// As [`wait`](Condvar::wait), but waits for a notification no longer than that. Taking the lock again may take longer.
    ///
    /// ```
    /// use offspring::sync::{Condvar, Mutex};
    /// use std::time::Duration;
    ///
    /// let (stock, changed) = (Mutex::new(0u32)?, Condvar::new()?);
    /// let (guard, result) = changed.wait_timeout(stock.lock()?, Duration::from_millis(5))?;
    /// assert!(result.timed_out() && *guard == 0);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`wait`](Condvar::wait).
    pub fn wait_timeout<'a, T: Plain>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> Result<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        self.wait_until(guard, deadline(timeout))
    }

    /// As [`wait_while`](Condvar::wait_while), but no longer than that. Whether the time was over says nothing of
    /// `condition` but that it was true then.
    ///
    /// # Errors
    /// As for [`wait`](Condvar::wait).
    pub fn wait_timeout_while<'a, T: Plain>(
        &self,
        mut guard: MutexGuard<'a, T>,
        timeout: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Result<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let deadline = deadline(timeout);
        loop {
            if !condition(&mut guard) {
                return Ok((guard, WaitTimeoutResult(false)));
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Ok((guard, WaitTimeoutResult(true)));
            }
            guard = self.wait_until(guard, deadline)?.0;
        }
    }

    /// Wakes one of those who wait, if anybody does.
    ///
    /// Change what the lock guards before, under the lock; hold it or not while notifying.
    ///
    /// ```
    /// use offspring::sync::Condvar;
    ///
    /// let changed = Condvar::new()?;
    /// changed.notify_one()?; // nobody waits: nothing happens
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// In a process made by the program's own `fork`.
    #[doc(alias = "notify")]
    pub fn notify_one(&self) -> Result<()> {
        self.handle.check()?;
        self.handle.shared().condition.notify_one();
        Ok(())
    }

    /// Wakes all who wait.
    ///
    /// ```
    /// use offspring::sync::{Condvar, Mutex};
    ///
    /// let (open, changed) = (Mutex::new(0u32)?, Condvar::new()?);
    /// let waiters = [(); 3].map(|()| {
    ///     let (open, changed) = (open.clone(), changed.clone());
    ///     std::thread::spawn(move || changed.wait_while(open.lock().unwrap(), |open| *open == 0).map(drop).is_ok())
    /// });
    /// *open.lock()? = 1;
    /// changed.notify_all()?;
    /// assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap()));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// In a process made by the program's own `fork`.
    pub fn notify_all(&self) -> Result<()> {
        self.handle.check()?;
        self.handle.shared().condition.notify_all();
        Ok(())
    }

    fn wait_until<'a, T: Plain>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Option<Instant>,
    ) -> Result<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        self.handle.check()?;
        let condition = &self.handle.shared().condition;
        let ticket = condition.ticket();
        let (guard, told) = guard.unlocked(|| condition.wait(ticket, deadline))?;
        Ok((guard, WaitTimeoutResult(!told)))
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}
