//! `ReentrantMutex`.
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::common::{Holder, NotSend, deadline, is_of};
use super::error::{Result, SyncError};
use super::mutants;
use super::mutex::not_got;
use super::raw::RawMutex;
use crate::arena::{Arena, ArenaError, Owner, mutant};
use crate::object::{Doomed, Handle, Kind, Locked, Object, Role, message_by_handle};

const WHAT: &str = "reentrant mutex";

/// A lock that a thread which holds it can take again: for functions that call themselves or each other under it.
///
/// It holds no value, as its guards could not lend one for change: two of them exist at once. It is let go when as many guards
/// are dropped as there were. Handles, death, panics and blocking are as for [`Mutex`](super::Mutex).
///
/// ```
/// use offspring::sync::ReentrantMutex;
///
/// fn depth(lock: &ReentrantMutex, left: u32) -> offspring::Result<u32> {
///     let guard = lock.lock()?;
///     Ok(if left == 0 { guard.depth() } else { depth(lock, left - 1)? })
/// }
///
/// let lock = ReentrantMutex::new()?;
/// assert_eq!(depth(&lock, 4)?, 5);
/// assert!(!lock.is_locked());
/// # Ok::<(), offspring::Error>(())
/// ```
#[doc(alias = "RLock")]
#[derive(Clone)]
pub struct ReentrantMutex {
    pub(super) handle: Handle<ReentrantKind>,
}

/// The kind of reentrant mutexes.
#[derive(Debug)]
pub(crate) struct ReentrantKind;

/// A reentrant mutex's words.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Shared {
    lock: RawMutex,
    /// How often the holder has locked it again. Only the holder touches it; 0 whenever there is none.
    again: AtomicU32,
    poisoned: AtomicU32,
}

// SAFETY: atomics only; the code is this kind's alone.
unsafe impl Kind for ReentrantKind {
    const CODE: u32 = 33;
    const NAME: &'static str = "a reentrant mutex";
    type Shared = Shared;

    fn recover(object: &Locked<'_, Self>, dead: Owner) -> std::result::Result<(), ArenaError> {
        let shared = object.shared();
        shared.lock.recover(is_of(object.arena(), dead), || {
            shared.poisoned.store(1, Ordering::Release);
            if !mutant(mutants::REENTRANT_DEPTH_KEPT) {
                shared.again.store(0, Ordering::Release);
            }
        });
        Ok(())
    }

    fn destroy(_: &Doomed<'_, Self>) -> std::result::Result<(), ArenaError> {
        Ok(())
    }

    fn wake(object: &Object<'_, Self>) {
        object.shared().lock.wake_sleepers();
    }
}

message_by_handle!([] ReentrantMutex, handle, |handle| ReentrantMutex { handle });

impl ReentrantMutex {
    /// A new lock.
    ///
    /// ```
    /// let lock = offspring::sync::ReentrantMutex::new()?;
    /// assert!(!lock.is_locked());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`OutOfMemory`](crate::ErrorKind::OutOfMemory) when the family's shared memory is used up.
    pub fn new() -> Result<ReentrantMutex> {
        ReentrantMutex::in_arena(crate::arena::family()?)
    }

    pub(crate) fn in_arena(arena: &'static Arena) -> Result<ReentrantMutex> {
        Ok(ReentrantMutex { handle: Handle::create_in(arena, 0, Role::Plain, |_| ())? })
    }

    /// Waits until no other thread holds the lock, and holds it until the guard is dropped.
    ///
    /// ```
    /// use offspring::sync::ReentrantMutex;
    ///
    /// let lock = ReentrantMutex::new()?;
    /// let outer = lock.lock()?;
    /// let inner = lock.lock()?;
    /// assert_eq!(inner.depth(), 2);
    /// drop(inner);
    /// assert!(lock.is_owned());
    /// # drop(outer);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`Poisoned`](crate::ErrorKind::Poisoned) when a holder died or panicked; of kind
    /// [`Limit`](crate::ErrorKind::Limit) when this thread has 2^32 guards.
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> Result<ReentrantMutexGuard<'_>> {
        self.healthy(self.guard(None)?)
    }

    /// Locks if no other thread holds the lock.
    ///
    /// ```
    /// use offspring::{ErrorKind, sync::ReentrantMutex};
    ///
    /// let lock = ReentrantMutex::new()?;
    /// let outer = lock.lock()?;
    /// let inner = lock.try_lock()?; // this thread may
    /// let other = lock.clone();
    /// let answer = std::thread::spawn(move || other.try_lock().map(drop).unwrap_err().kind()).join().unwrap();
    /// assert_eq!(answer, ErrorKind::InUse); // others may not
    /// # drop((inner, outer));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`InUse`](crate::ErrorKind::InUse) when one does, otherwise as for [`lock`](ReentrantMutex::lock).
    pub fn try_lock(&self) -> Result<ReentrantMutexGuard<'_>> {
        self.healthy(self.try_guard()?)
    }

    /// As [`lock`](ReentrantMutex::lock), but waits no longer than that.
    ///
    /// # Errors
    /// Of kind [`Timeout`](crate::ErrorKind::Timeout), otherwise as for [`lock`](ReentrantMutex::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<ReentrantMutexGuard<'_>> {
        self.healthy(self.guard(deadline(timeout))?)
    }

    /// Locks, and heals the lock if it is poisoned: whoever recovers it has to make right what it guards.
    ///
    /// ```
    /// use offspring::{ErrorKind, sync::ReentrantMutex};
    ///
    /// let lock = ReentrantMutex::new()?;
    /// let other = lock.clone();
    /// let thread = std::thread::spawn(move || {
    ///     let _guard = other.lock().unwrap();
    ///     panic!("half-way through");
    /// });
    /// assert!(thread.join().is_err());
    /// assert_eq!(lock.lock().map(drop).unwrap_err().kind(), ErrorKind::Poisoned);
    /// drop(lock.recover()?);
    /// assert!(lock.lock().is_ok());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`lock`](ReentrantMutex::lock), but for the poison.
    pub fn recover(&self) -> Result<ReentrantMutexGuard<'_>> {
        self.guard(None).map(heal)
    }

    /// As [`recover`](ReentrantMutex::recover), if no other thread holds the lock.
    ///
    /// # Errors
    /// As for [`try_lock`](ReentrantMutex::try_lock), but for the poison.
    pub fn try_recover(&self) -> Result<ReentrantMutexGuard<'_>> {
        self.try_guard().map(heal)
    }

    /// As [`recover`](ReentrantMutex::recover), but waits no longer than that.
    ///
    /// # Errors
    /// As for [`lock_timeout`](ReentrantMutex::lock_timeout), but for the poison.
    pub fn recover_timeout(&self, timeout: Duration) -> Result<ReentrantMutexGuard<'_>> {
        self.guard(deadline(timeout)).map(heal)
    }

    /// Whether any thread holds the lock right now. `false` in a process made by the program's own `fork`.
    #[doc(alias = "locked")]
    pub fn is_locked(&self) -> bool {
        self.handle.check().is_ok() && self.shared().lock.holder() != 0
    }

    /// Whether the calling thread holds the lock.
    pub fn is_owned(&self) -> bool {
        self.handle.arena().thread().is_ok_and(|me| self.shared().lock.holder() == me.id.raw())
    }

    /// Whether a holder died or panicked, and nobody has healed the lock since.
    pub fn is_poisoned(&self) -> bool {
        self.handle.check().is_ok() && self.shared().poisoned.load(Ordering::Acquire) != 0
    }

    fn shared(&self) -> &Shared {
        self.handle.shared()
    }

    fn guard(&self, deadline: Option<Instant>) -> Result<ReentrantMutexGuard<'_>> {
        let me = self.handle.arena().thread()?.id.raw();
        if self.shared().lock.holder() == me {
            return self.again(me);
        }
        self.shared().lock.lock(me, deadline).map_err(|why| not_got(why, WHAT))?;
        Ok(ReentrantMutexGuard::new(self, me))
    }

    fn try_guard(&self) -> Result<ReentrantMutexGuard<'_>> {
        let me = self.handle.arena().thread()?.id.raw();
        if self.shared().lock.holder() == me {
            return self.again(me);
        }
        match self.shared().lock.try_lock(me) {
            true => Ok(ReentrantMutexGuard::new(self, me)),
            false => Err(SyncError::InUse { what: WHAT }),
        }
    }

    fn again(&self, me: u32) -> Result<ReentrantMutexGuard<'_>> {
        let again = &self.shared().again;
        let Some(deeper) = again.load(Ordering::Relaxed).checked_add(1) else {
            let reason = "this thread has locked a reentrant mutex 2^32 times".to_owned();
            return Err(SyncError::Memory { reason, kind: crate::ErrorKind::Limit });
        };
        again.store(deeper, Ordering::Relaxed);
        Ok(ReentrantMutexGuard::new(self, me))
    }

    fn healthy<'a>(&self, guard: ReentrantMutexGuard<'a>) -> Result<ReentrantMutexGuard<'a>> {
        // Who is inside already knows.
        if self.shared().poisoned.load(Ordering::Relaxed) == 0 || guard.depth() > 1 {
            return Ok(guard);
        }
        drop(guard);
        Err(SyncError::Poisoned { what: WHAT })
    }
}

fn heal(guard: ReentrantMutexGuard<'_>) -> ReentrantMutexGuard<'_> {
    guard.lock.shared().poisoned.store(0, Ordering::Release);
    guard
}

impl fmt::Debug for ReentrantMutex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReentrantMutex")
            .field("locked", &self.is_locked())
            .field("poisoned", &self.is_poisoned())
            .finish()
    }
}

/// The lock is held until this, and all others of its thread, are dropped. It stays in its thread, and is no message.
///
/// ```compile_fail,E0277
/// fn is_message<T: offspring::Message>() {}
/// is_message::<offspring::sync::ReentrantMutexGuard<'static>>();
/// ```
#[must_use = "a lock whose guard is dropped at once guards nothing"]
pub struct ReentrantMutexGuard<'a> {
    lock: &'a ReentrantMutex,
    holder: Holder,
    stays: NotSend,
}

impl<'a> ReentrantMutexGuard<'a> {
    fn new(lock: &'a ReentrantMutex, me: u32) -> Self {
        ReentrantMutexGuard { lock, holder: Holder::new(me), stays: PhantomData }
    }

    /// How many guards this thread has of the lock.
    pub fn depth(&self) -> u32 {
        match self.lock.handle.check() {
            Ok(()) => self.lock.shared().again.load(Ordering::Relaxed).saturating_add(1),
            Err(_) => 0,
        }
    }
}

impl Drop for ReentrantMutexGuard<'_> {
    fn drop(&mut self) {
        if self.lock.handle.check().is_err() {
            return;
        }
        let shared = self.lock.shared();
        if self.holder.panics() {
            shared.poisoned.store(1, Ordering::Release);
        }
        match shared.again.load(Ordering::Relaxed) {
            0 => shared.lock.unlock(self.holder.id()),
            again => shared.again.store(again - 1, Ordering::Relaxed),
        }
    }
}

impl fmt::Debug for ReentrantMutexGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReentrantMutexGuard").field("depth", &self.depth()).finish()
    }
}
