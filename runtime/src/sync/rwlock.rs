//! `RwLock<T>`.
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::common::{Holder, NotSend, deadline, is_of, message_of_value};
use super::error::{Result, SyncError};
use super::mutants;
use super::mutex::not_got;
use super::raw::{NoEntry, RawRwLock};
use crate::arena::{Arena, ArenaError, Owner, SLOTS, mutant};
use crate::object::{Doomed, Handle, Kind, Locked, Object, Role};
use crate::{ErrorKind, Plain};

const WHAT: &str = "read-write lock";

/// A lock around a value in shared memory that any number may read at once, or one may write.
///
/// Handles, death, panics and blocking are as for [`Mutex`](super::Mutex); only a writer poisons. A dead reader is let out.
/// Readers and writers take turns: a writer who waits keeps new readers out, and readers who waited for a writer come in before
/// the next one. So a thread must not read again while it reads: a writer may wait in between, for it.
///
/// Readers of different processes write no common cache line but those of cells beside each other.
///
/// ```
/// use offspring::sync::RwLock;
///
/// let limits = RwLock::new([10u32, 20])?;
/// {
///     let (one, two) = (limits.read()?, limits.read()?);
///     assert_eq!(one[0] + two[1], 30);
/// }
/// limits.write()?[0] = 11;
/// assert_eq!(limits.read()?[0], 11);
/// # Ok::<(), offspring::Error>(())
/// ```
pub struct RwLock<T: Plain> {
    pub(super) handle: Handle<RwLockKind>,
    value: PhantomData<T>,
}

/// The kind of read-write locks.
#[derive(Debug)]
pub(crate) struct RwLockKind;

/// A read-write lock's words. What it guards is in the variable part.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Shared {
    poisoned: AtomicU32,
    lock: RawRwLock<{ SLOTS }, { SLOTS / 32 }>,
}

// SAFETY: atomics only; the code is this kind's alone.
unsafe impl Kind for RwLockKind {
    const CODE: u32 = 34;
    const NAME: &'static str = "a read-write lock";
    type Shared = Shared;

    fn recover(object: &Locked<'_, Self>, dead: Owner) -> std::result::Result<(), ArenaError> {
        let shared = object.shared();
        if !mutant(mutants::RWLOCK_READERS_KEPT) {
            shared.lock.recover_readers(dead.slot());
        }
        let keep_gate = mutant(mutants::RWLOCK_GATE_KEPT);
        shared.lock.recover_writer(is_of(object.arena(), dead), keep_gate, || {
            shared.poisoned.store(1, Ordering::Release);
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

message_of_value!(RwLock);

impl<T: Plain> RwLock<T> {
    /// A new lock around `value`.
    ///
    /// ```
    /// let rate = offspring::sync::RwLock::new(0.5)?;
    /// assert_eq!(*rate.read()?, 0.5);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`OutOfMemory`](ErrorKind::OutOfMemory) when the family's shared memory is used up.
    pub fn new(value: T) -> Result<RwLock<T>> {
        RwLock::in_arena(crate::arena::family()?, value)
    }

    pub(crate) fn in_arena(arena: &'static Arena, value: T) -> Result<RwLock<T>> {
        const { assert!(align_of::<T>() <= 64, "the value of a lock is aligned to 64 bytes at most") };
        let init = |object: &Object<'_, RwLockKind>| {
            // SAFETY: room for a `T`, aligned to 64; nobody else knows the object.
            unsafe { object.extra().0.cast::<T>().write(value) };
        };
        Ok(RwLock { handle: Handle::create_in(arena, size_of::<T>(), Role::Plain, init)?, value: PhantomData })
    }

    /// `None` if it is one of another type, as far as can be told.
    pub(super) fn from_handle(handle: Handle<RwLockKind>) -> Option<RwLock<T>> {
        (handle.extra().1 >= size_of::<T>()).then_some(RwLock { handle, value: PhantomData })
    }

    /// Waits until nobody writes, and keeps writers out until the guard is dropped.
    ///
    /// ```
    /// use offspring::sync::RwLock;
    ///
    /// let rate = RwLock::new(0.5)?;
    /// {
    ///     let (one, two) = (rate.read()?, rate.read()?); // any number at a time
    ///     assert_eq!(*one + *two, 1.0);
    /// }
    /// *rate.write()? = 0.25;
    /// assert_eq!(*rate.read()?, 0.25);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`Poisoned`](ErrorKind::Poisoned) when a writer died or panicked; of kind [`Deadlock`](ErrorKind::Deadlock) when
    /// the calling thread writes; of kind [`Limit`](ErrorKind::Limit) when this process has 50,000 readers.
    pub fn read(&self) -> Result<RwLockReadGuard<'_, T>> {
        self.read_until(None)
    }

    /// Reads if nobody writes or waits to write.
    ///
    /// ```
    /// use offspring::{ErrorKind, sync::RwLock};
    ///
    /// let rate = RwLock::new(0.5)?;
    /// let other = rate.clone();
    /// let writing = rate.write()?;
    /// let answer = std::thread::spawn(move || other.try_read().map(drop).unwrap_err().kind()).join().unwrap();
    /// assert_eq!(answer, ErrorKind::InUse);
    /// # drop(writing);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`InUse`](ErrorKind::InUse) when somebody does, otherwise as for [`read`](RwLock::read).
    pub fn try_read(&self) -> Result<RwLockReadGuard<'_, T>> {
        self.handle.check()?;
        match self.shared().lock.try_read(self.slot()) {
            Ok(true) => self.reader(),
            Ok(false) => Err(SyncError::InUse { what: WHAT }),
            Err(why) => Err(no_entry(why)),
        }
    }

    /// As [`read`](RwLock::read), but waits no longer than that.
    ///
    /// # Errors
    /// Of kind [`Timeout`](ErrorKind::Timeout), otherwise as for [`read`](RwLock::read).
    pub fn read_timeout(&self, timeout: Duration) -> Result<RwLockReadGuard<'_, T>> {
        self.read_until(deadline(timeout))
    }

    /// Waits until nobody reads or writes, and keeps everybody out until the guard is dropped.
    ///
    /// ```
    /// let rate = offspring::sync::RwLock::new(0.5)?;
    /// *rate.write()? *= 2.0;
    /// assert_eq!(*rate.read()?, 1.0);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`Poisoned`](ErrorKind::Poisoned) when a writer died or panicked; of kind [`Deadlock`](ErrorKind::Deadlock) when
    /// the calling thread writes already.
    pub fn write(&self) -> Result<RwLockWriteGuard<'_, T>> {
        self.healthy(self.writer(None)?)
    }

    /// Writes if nobody reads or writes, or waits to read.
    ///
    /// ```
    /// use offspring::{ErrorKind, sync::RwLock};
    ///
    /// let rate = RwLock::new(0.5)?;
    /// let reading = rate.read()?;
    /// assert_eq!(rate.try_write().map(drop).unwrap_err().kind(), ErrorKind::InUse);
    /// drop(reading);
    /// *rate.try_write()? = 1.0;
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`InUse`](ErrorKind::InUse) when somebody does, otherwise as for [`write`](RwLock::write).
    pub fn try_write(&self) -> Result<RwLockWriteGuard<'_, T>> {
        let me = self.handle.arena().thread()?.id.raw();
        match self.shared().lock.try_write(me) {
            true => self.healthy(RwLockWriteGuard::new(self, me)),
            false => Err(SyncError::InUse { what: WHAT }),
        }
    }

    /// As [`write`](RwLock::write), but waits no longer than that.
    ///
    /// # Errors
    /// Of kind [`Timeout`](ErrorKind::Timeout), otherwise as for [`write`](RwLock::write).
    pub fn write_timeout(&self, timeout: Duration) -> Result<RwLockWriteGuard<'_, T>> {
        self.healthy(self.writer(deadline(timeout))?)
    }

    /// Writes, and heals the lock if it is poisoned: see [`Mutex::recover`](super::Mutex::recover).
    ///
    /// ```
    /// use offspring::{ErrorKind, sync::RwLock};
    ///
    /// let pair = RwLock::new([1, 1])?;
    /// let other = pair.clone();
    /// let thread = std::thread::spawn(move || {
    ///     let mut pair = other.write().unwrap();
    ///     pair[0] = 2;
    ///     panic!("half-way through");
    /// });
    /// assert!(thread.join().is_err());
    /// assert_eq!(pair.read().map(drop).unwrap_err().kind(), ErrorKind::Poisoned);
    /// let mut healed = pair.recover()?;
    /// healed[1] = healed[0];
    /// drop(healed);
    /// assert_eq!(*pair.read()?, [2, 2]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`write`](RwLock::write), but for the poison.
    pub fn recover(&self) -> Result<RwLockWriteGuard<'_, T>> {
        self.writer(None).map(heal)
    }

    /// As [`recover`](RwLock::recover), but waits no longer than that.
    ///
    /// # Errors
    /// As for [`write_timeout`](RwLock::write_timeout), but for the poison.
    pub fn recover_timeout(&self, timeout: Duration) -> Result<RwLockWriteGuard<'_, T>> {
        self.writer(deadline(timeout)).map(heal)
    }

    /// Whether somebody writes right now. `false` in a process made by the program's own `fork`.
    pub fn is_write_locked(&self) -> bool {
        self.handle.check().is_ok() && self.shared().lock.state().0
    }

    /// How many read right now, in all processes. 0 in a process made by the program's own `fork`.
    pub fn readers(&self) -> usize {
        if self.handle.check().is_ok() { self.shared().lock.state().1 } else { 0 }
    }

    /// Whether a writer died or panicked, and nobody has healed the lock since.
    pub fn is_poisoned(&self) -> bool {
        self.handle.check().is_ok() && self.shared().poisoned.load(Ordering::Acquire) != 0
    }

    fn shared(&self) -> &Shared {
        self.handle.shared()
    }

    fn slot(&self) -> usize {
        self.handle.arena().me().slot()
    }

    fn read_until(&self, deadline: Option<Instant>) -> Result<RwLockReadGuard<'_, T>> {
        let me = self.handle.arena().thread()?.id.raw();
        self.shared().lock.read(me, self.slot(), deadline).map_err(no_entry)?;
        self.reader()
    }

    fn reader(&self) -> Result<RwLockReadGuard<'_, T>> {
        let guard = RwLockReadGuard { lock: self, stays: PhantomData };
        if self.shared().poisoned.load(Ordering::Relaxed) == 0 {
            return Ok(guard);
        }
        drop(guard);
        Err(SyncError::Poisoned { what: WHAT })
    }

    fn writer(&self, deadline: Option<Instant>) -> Result<RwLockWriteGuard<'_, T>> {
        let me = self.handle.arena().thread()?.id.raw();
        self.shared().lock.write(me, deadline).map_err(|why| not_got(why, WHAT))?;
        Ok(RwLockWriteGuard::new(self, me))
    }

    fn healthy<'a>(&self, guard: RwLockWriteGuard<'a, T>) -> Result<RwLockWriteGuard<'a, T>> {
        if self.shared().poisoned.load(Ordering::Relaxed) == 0 {
            return Ok(guard);
        }
        drop(guard);
        Err(SyncError::Poisoned { what: WHAT })
    }

    /// Where the value is. In bounds: `in_arena` made the room, and `from_handle` looked for it.
    fn data(&self) -> NonNull<T> {
        self.handle.extra().0.cast()
    }
}

fn heal<T: Plain>(guard: RwLockWriteGuard<'_, T>) -> RwLockWriteGuard<'_, T> {
    guard.lock.shared().poisoned.store(0, Ordering::Release);
    guard
}

fn no_entry(why: NoEntry) -> SyncError {
    match why {
        NoEntry::NotGot(why) => not_got(why, WHAT),
        NoEntry::TooMany => SyncError::Memory {
            reason: "a process can have 50,000 readers of a lock at a time, and this one does".to_owned(),
            kind: ErrorKind::Limit,
        },
    }
}

impl<T: Plain> Clone for RwLock<T> {
    fn clone(&self) -> Self {
        RwLock { handle: self.handle.clone(), value: PhantomData }
    }
}

impl<T: Plain> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RwLock")
            .field("write_locked", &self.is_write_locked())
            .field("readers", &self.readers())
            .field("poisoned", &self.is_poisoned())
            .finish()
    }
}

/// Writers are kept out until this is dropped. Derefs to the value. It stays in its thread, and is no message.
///
/// ```compile_fail,E0277
/// fn is_message<T: offspring::Message>() {}
/// is_message::<offspring::sync::RwLockReadGuard<'static, u64>>();
/// ```
#[must_use = "a lock whose guard is dropped at once guards nothing"]
pub struct RwLockReadGuard<'a, T: Plain> {
    lock: &'a RwLock<T>,
    stays: NotSend,
}

// SAFETY: a shared guard gives shared access to the value only.
unsafe impl<T: Plain> Sync for RwLockReadGuard<'_, T> {}

impl<T: Plain> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the object lives as long as the lock's handle; its value is a `T` whatever its bytes are; nobody changes it
        // while there are readers, of whom this is one.
        unsafe { self.lock.data().as_ref() }
    }
}

impl<T: Plain> Drop for RwLockReadGuard<'_, T> {
    fn drop(&mut self) {
        if self.lock.handle.check().is_ok() {
            self.lock.shared().lock.read_unlock(self.lock.slot());
        }
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}

/// Everybody else is kept out until this is dropped. Derefs to the value. It stays in its thread, and is no message.
///
/// ```compile_fail,E0277
/// fn is_message<T: offspring::Message>() {}
/// is_message::<offspring::sync::RwLockWriteGuard<'static, u64>>();
/// ```
#[must_use = "a lock whose guard is dropped at once guards nothing"]
pub struct RwLockWriteGuard<'a, T: Plain> {
    lock: &'a RwLock<T>,
    holder: Holder,
    stays: NotSend,
}

// SAFETY: a shared guard gives shared access to the value only.
unsafe impl<T: Plain> Sync for RwLockWriteGuard<'_, T> {}

impl<'a, T: Plain> RwLockWriteGuard<'a, T> {
    fn new(lock: &'a RwLock<T>, me: u32) -> Self {
        RwLockWriteGuard { lock, holder: Holder::new(me), stays: PhantomData }
    }

    /// From writing to reading, with no other writer in between.
    ///
    /// ```
    /// use offspring::sync::{RwLock, RwLockWriteGuard};
    ///
    /// let lock = RwLock::new(1u64)?;
    /// let mut writer = lock.write()?;
    /// *writer = 2;
    /// let reader = RwLockWriteGuard::downgrade(writer)?;
    /// assert_eq!((*reader, *lock.read()?), (2, 2));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// In a process made by the program's own `fork`.
    pub fn downgrade(guard: Self) -> Result<RwLockReadGuard<'a, T>> {
        guard.lock.handle.check()?;
        let (lock, me) = (guard.lock, guard.holder.id());
        std::mem::forget(guard);
        lock.shared().lock.downgrade(me, lock.slot());
        Ok(RwLockReadGuard { lock, stays: PhantomData })
    }
}

impl<T: Plain> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the object lives as long as the lock's handle; its value is a `T` whatever its bytes are; only the writer,
        // which this is, changes it.
        unsafe { self.lock.data().as_ref() }
    }
}

impl<T: Plain> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above; nobody else looks at it.
        unsafe { self.lock.data().as_mut() }
    }
}

impl<T: Plain> Drop for RwLockWriteGuard<'_, T> {
    fn drop(&mut self) {
        if self.lock.handle.check().is_err() {
            return;
        }
        let shared = self.lock.shared();
        if self.holder.panics() {
            shared.poisoned.store(1, Ordering::Release);
        }
        shared.lock.write_unlock(self.holder.id());
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}
