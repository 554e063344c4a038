//! `Mutex<T>`.
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::common::{Holder, NotSend, deadline, is_of, message_of_value};
use super::error::{Result, SyncError};
use super::mutants;
use super::raw::{NotGot, RawMutex};
use crate::Plain;
use crate::arena::{Arena, ArenaError, Owner, mutant};
use crate::object::{Doomed, Handle, Kind, Locked, Object, Role};

const WHAT: &str = "mutex";

/// Data up to this size lies in the line of the lock's word.
const INLINE: usize = 48;

/// A lock around a value in shared memory, for all processes and threads of a family.
///
/// It is as `std::sync::Mutex`, with these differences. It is a handle: a clone is the same lock, and so is one that was sent to
/// another process, as an argument of a task, in a message, anywhere. The value is [`Plain`] and lies in shared memory. And
/// everything can fail, for instance where the program has made a process of its own by `fork`.
///
/// # Death and panics
/// When a process dies while it holds the lock, or a thread panics, the lock is *poisoned*: all who lock it get an error of kind
/// [`Poisoned`](crate::ErrorKind::Poisoned) at once, those who were waiting included, until somebody looks at the value and heals
/// the lock with [`recover`](Mutex::recover).
///
/// # Blocking
/// A wait spins for about a microsecond, then sleeps in the kernel until the lock is let go. Signals neither shorten nor end
/// it. Who has waited for a millisecond is let in before others who come later.
///
/// ```
/// use offspring::{Process, sync::Mutex, task};
///
/// #[task]
/// fn add(m: Mutex<i64>, n: i64) -> Result<(), offspring::Failure> {
///     for _ in 0..n {
///         *m.lock()? += 1;
///     }
///     Ok(())
/// }
///
/// fn main() -> offspring::Result<()> {
///     let m = Mutex::new(0i64)?;
///     let children = [Process::new(add, (&m, 1000)).spawn()?, Process::new(add, (&m, 500)).spawn()?];
///     for child in children {
///         child.join()??;
///     }
///     assert_eq!(*m.lock()?, 1500);
///     Ok(())
/// }
/// ```
#[doc(alias = "Lock")]
pub struct Mutex<T: Plain> {
    pub(super) handle: Handle<MutexKind>,
    value: PhantomData<T>,
}

/// The kind of mutexes.
#[derive(Debug)]
pub(crate) struct MutexKind;

/// A mutex's words. What it guards follows, or is in the variable part.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Shared {
    lock: RawMutex,
    poisoned: AtomicU32,
    _unused: AtomicU32,
    inline: [AtomicU64; INLINE / 8],
}

// SAFETY: atomics only; the code is this kind's alone.
unsafe impl Kind for MutexKind {
    const CODE: u32 = 32;
    const NAME: &'static str = "a mutex";
    type Shared = Shared;

    fn recover(object: &Locked<'_, Self>, dead: Owner) -> std::result::Result<(), ArenaError> {
        let shared = object.shared();
        shared.lock.recover(is_of(object.arena(), dead), || {
            if !mutant(mutants::MUTEX_UNPOISONED) {
                shared.poisoned.store(1, Ordering::Release);
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

message_of_value!(Mutex);

impl<T: Plain> Mutex<T> {
    const IS_INLINE: bool = size_of::<T>() <= INLINE && align_of::<T>() <= 16;

    /// A new lock around `value`.
    ///
    /// ```
    /// let total = offspring::sync::Mutex::new(0i64)?;
    /// *total.lock()? += 5;
    /// assert_eq!(*total.lock()?, 5);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`OutOfMemory`](crate::ErrorKind::OutOfMemory) when the family's shared memory is used up.
    pub fn new(value: T) -> Result<Mutex<T>> {
        Mutex::in_arena(crate::arena::family()?, value)
    }

    pub(crate) fn in_arena(arena: &'static Arena, value: T) -> Result<Mutex<T>> {
        const { assert!(align_of::<T>() <= 64, "the value of a lock is aligned to 64 bytes at most") };
        let extra = if Self::IS_INLINE { 0 } else { size_of::<T>() };
        let init = |object: &Object<'_, MutexKind>| {
            // SAFETY: room for a `T`, see `data`; nobody else knows the object.
            unsafe { data::<T>(object).write(value) };
        };
        Ok(Mutex { handle: Handle::create_in(arena, extra, Role::Plain, init)?, value: PhantomData })
    }

    /// `None` if it is one of another type, as far as can be told.
    pub(super) fn from_handle(handle: Handle<MutexKind>) -> Option<Mutex<T>> {
        let fits = Self::IS_INLINE || handle.extra().1 >= size_of::<T>();
        fits.then_some(Mutex { handle, value: PhantomData })
    }

    /// Waits until nobody else holds the lock, and holds it until the guard is dropped.
    ///
    /// ```
    /// use offspring::{ErrorKind, sync::Mutex};
    ///
    /// let total = Mutex::new(0u64)?;
    /// let mut guard = total.lock()?;
    /// *guard += 1;
    /// assert_eq!(total.lock().unwrap_err().kind(), ErrorKind::Deadlock);
    /// drop(guard);
    /// assert_eq!(*total.lock()?, 1);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`Poisoned`](crate::ErrorKind::Poisoned) when a holder died or panicked; of kind
    /// [`Deadlock`](crate::ErrorKind::Deadlock) when the calling thread holds the lock.
    #[inline]
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> Result<MutexGuard<'_, T>> {
        // What is inlined into the caller: everything else is in `lock_slow`.
        match self.handle.arena().thread_at_hand() {
            Some(me) if self.shared().lock.try_lock(me.raw()) => {
                let guard = MutexGuard::new(self, me.raw());
                if self.shared().poisoned.load(Ordering::Relaxed) == 0 { Ok(guard) } else { self.healthy(guard) }
            }
            _ => self.lock_slow(),
        }
    }

    #[cold]
    fn lock_slow(&self) -> Result<MutexGuard<'_, T>> {
        self.healthy(self.guard(None)?)
    }

    /// Locks if nobody holds the lock.
    ///
    /// ```
    /// use offspring::{ErrorKind, sync::Mutex};
    ///
    /// let lock = Mutex::new(())?;
    /// let guard = lock.lock()?;
    /// let other = lock.clone();
    /// let answer = std::thread::spawn(move || other.try_lock().map(drop).unwrap_err().kind()).join().unwrap();
    /// assert_eq!(answer, ErrorKind::InUse);
    /// drop(guard);
    /// assert!(lock.try_lock().is_ok());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`InUse`](crate::ErrorKind::InUse) when somebody does, otherwise as for [`lock`](Mutex::lock).
    pub fn try_lock(&self) -> Result<MutexGuard<'_, T>> {
        self.healthy(self.try_guard()?)
    }

    /// As [`lock`](Mutex::lock), but waits no longer than that.
    ///
    /// ```
    /// use offspring::{ErrorKind, sync::Mutex};
    /// use std::time::Duration;
    ///
    /// let lock = Mutex::new(())?;
    /// let guard = lock.lock()?;
    /// let other = lock.clone();
    /// let waiter = std::thread::spawn(move || other.lock_timeout(Duration::from_millis(5)).map(drop).unwrap_err().kind());
    /// assert_eq!(waiter.join().unwrap(), ErrorKind::Timeout);
    /// # drop(guard);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`Timeout`](crate::ErrorKind::Timeout), otherwise as for [`lock`](Mutex::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<MutexGuard<'_, T>> {
        self.healthy(self.guard(deadline(timeout))?)
    }

    /// Locks, and heals the lock if it is poisoned: the value is as the dead left it, and whoever recovers it has to make it
    /// right. Should this thread panic or its process die before the guard is dropped, the lock is poisoned again.
    ///
    /// ```
    /// use offspring::{ErrorKind, sync::Mutex};
    ///
    /// let pair = Mutex::new([1, 1])?;
    /// let clone = pair.clone();
    /// let _ = std::thread::spawn(move || {
    ///     let mut pair = clone.lock().unwrap();
    ///     pair[0] = 2;
    ///     panic!("half-way through");
    /// })
    /// .join();
    /// assert_eq!(pair.lock().unwrap_err().kind(), ErrorKind::Poisoned);
    /// let mut healed = pair.recover()?;
    /// healed[1] = healed[0];
    /// drop(healed);
    /// assert_eq!(*pair.lock()?, [2, 2]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`lock`](Mutex::lock), but for the poison.
    pub fn recover(&self) -> Result<MutexGuard<'_, T>> {
        self.guard(None).map(heal)
    }

    /// As [`recover`](Mutex::recover), if nobody holds the lock.
    ///
    /// # Errors
    /// As for [`try_lock`](Mutex::try_lock), but for the poison.
    pub fn try_recover(&self) -> Result<MutexGuard<'_, T>> {
        self.try_guard().map(heal)
    }

    /// As [`recover`](Mutex::recover), but waits no longer than that.
    ///
    /// # Errors
    /// As for [`lock_timeout`](Mutex::lock_timeout), but for the poison.
    pub fn recover_timeout(&self, timeout: Duration) -> Result<MutexGuard<'_, T>> {
        self.guard(deadline(timeout)).map(heal)
    }

    /// Whether somebody holds the lock right now. `false` in a process made by the program's own `fork`.
    #[doc(alias = "locked")]
    pub fn is_locked(&self) -> bool {
        self.handle.check().is_ok() && self.shared().lock.holder() != 0
    }

    /// Whether a holder died or panicked, and nobody has healed the lock since.
    pub fn is_poisoned(&self) -> bool {
        self.handle.check().is_ok() && self.shared().poisoned.load(Ordering::Acquire) != 0
    }

    #[inline]
    fn shared(&self) -> &Shared {
        self.handle.shared()
    }

    fn guard(&self, deadline: Option<Instant>) -> Result<MutexGuard<'_, T>> {
        let me = self.handle.arena().thread()?.id.raw();
        match self.shared().lock.lock(me, deadline) {
            Ok(()) => Ok(MutexGuard::new(self, me)),
            Err(why) => Err(not_got(why, WHAT)),
        }
    }

    fn try_guard(&self) -> Result<MutexGuard<'_, T>> {
        let me = self.handle.arena().thread()?.id.raw();
        if self.shared().lock.try_lock(me) {
            return Ok(MutexGuard::new(self, me));
        }
        Err(if self.shared().lock.holder() == me {
            SyncError::Deadlock { what: WHAT }
        } else {
            SyncError::InUse { what: WHAT }
        })
    }

    fn healthy<'a>(&self, guard: MutexGuard<'a, T>) -> Result<MutexGuard<'a, T>> {
        if self.shared().poisoned.load(Ordering::Relaxed) == 0 {
            return Ok(guard);
        }
        drop(guard);
        Err(SyncError::Poisoned { what: WHAT })
    }
}

fn heal<T: Plain>(guard: MutexGuard<'_, T>) -> MutexGuard<'_, T> {
    guard.lock.shared().poisoned.store(0, Ordering::Release);
    guard
}

/// Where the value is. In bounds: `in_arena` made the room, and `from_handle` looked for it.
#[inline(always)]
fn data<T: Plain>(object: &Object<'_, MutexKind>) -> NonNull<T> {
    if Mutex::<T>::IS_INLINE { NonNull::from(&object.shared().inline).cast() } else { object.extra().0.cast() }
}

#[cold]
pub(super) fn not_got(why: NotGot, what: &'static str) -> SyncError {
    match why {
        NotGot::Timeout => SyncError::Timeout { what },
        NotGot::Mine => SyncError::Deadlock { what },
    }
}

impl<T: Plain> Clone for Mutex<T> {
    fn clone(&self) -> Self {
        Mutex { handle: self.handle.clone(), value: PhantomData }
    }
}

impl<T: Plain> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").field("locked", &self.is_locked()).field("poisoned", &self.is_poisoned()).finish()
    }
}

/// The lock is held until this is dropped. Derefs to the value.
///
/// It stays in its thread, and is no message:
/// ```compile_fail,E0277
/// fn is_message<T: offspring::Message>() {}
/// is_message::<offspring::sync::MutexGuard<'static, u64>>();
/// ```
/// ```compile_fail,E0277
/// fn is_send<T: Send>() {}
/// is_send::<offspring::sync::MutexGuard<'static, u64>>();
/// ```
///
/// In a process made by the program's own `fork`, the value is not there: to touch it ends that process with SIGSEGV; to drop the
/// guard does nothing.
#[must_use = "a lock whose guard is dropped at once guards nothing"]
pub struct MutexGuard<'a, T: Plain> {
    lock: &'a Mutex<T>,
    holder: Holder,
    stays: NotSend,
}

// SAFETY: a shared guard gives shared access to the value only.
unsafe impl<T: Plain> Sync for MutexGuard<'_, T> {}

impl<'a, T: Plain> MutexGuard<'a, T> {
    #[inline]
    fn new(lock: &'a Mutex<T>, me: u32) -> Self {
        MutexGuard { lock, holder: Holder::new(me), stays: PhantomData }
    }

    /// Lets the lock go while `wait` runs, and takes it again.
    pub(super) fn unlocked<R>(self, wait: impl FnOnce() -> R) -> Result<(Self, R)> {
        let lock = self.lock;
        drop(self);
        let done = wait();
        Ok((lock.lock()?, done))
    }
}

impl<T: Plain> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the object lives as long as the lock's handle; its value is a `T` whatever its bytes are; only the holder
        // of the lock, which this is, changes it.
        unsafe { data(&self.lock.handle.object()).as_ref() }
    }
}

impl<T: Plain> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above; only the holder of the lock, which this is, looks at it.
        unsafe { data(&self.lock.handle.object()).as_mut() }
    }
}

impl<T: Plain> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.lock.handle.check().is_err() {
            return;
        }
        let shared = self.lock.shared();
        if self.holder.panics() {
            shared.poisoned.store(1, Ordering::Release);
        }
        shared.lock.unlock(self.holder.id());
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}

impl<T: Plain + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}
