//! `Semaphore` and `BoundedSemaphore`.
#![allow(unsafe_code)]

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::common::{deadline, is_of};
use super::error::{Result, SyncError};
use super::raw::{MOST, RawSemaphore};
use crate::arena::{Arena, ArenaError, Owner, SLOTS};
use crate::object::{Doomed, Handle, Kind, Locked, Object, Role, Set, message_by_handle};

/// A number of permits, for all processes and threads of a family: who acquires one takes it away until it is given back.
///
/// Permits are counted for each process, and come back when it dies. Without [`Permit`]s it is a counter to signal with: one
/// process [`release`](Semaphore::release)s, another acquires and [forgets](Permit::forget). Who has waited for a millisecond and
/// was passed by others is served before all others, also if it waits for several permits. Handles and blocking are as for
/// [`Mutex`](super::Mutex).
///
/// ```
/// use offspring::sync::Semaphore;
///
/// let sem = Semaphore::new(2)?;
/// let (one, two) = (sem.acquire()?, sem.acquire()?);
/// assert!(sem.try_acquire().is_err());
/// drop(one);
/// assert_eq!(sem.available_permits(), 1);
/// # Ok::<(), offspring::Error>(())
/// ```
#[derive(Clone)]
pub struct Semaphore {
    pub(super) handle: Handle<SemaphoreKind>,
}

/// A [`Semaphore`] that never has more permits than it began with: to release one too many is an error.
///
/// ```
/// use offspring::{ErrorKind, sync::BoundedSemaphore};
///
/// let sem = BoundedSemaphore::new(1)?;
/// sem.acquire()?.forget();
/// sem.release(1)?;
/// assert_eq!(sem.release(1).unwrap_err().kind(), ErrorKind::InvalidInput);
/// # Ok::<(), offspring::Error>(())
/// ```
#[derive(Clone)]
pub struct BoundedSemaphore {
    semaphore: Semaphore,
}

impl Deref for BoundedSemaphore {
    type Target = Semaphore;

    fn deref(&self) -> &Semaphore {
        &self.semaphore
    }
}

/// The kind of semaphores.
#[derive(Debug)]
pub(crate) struct SemaphoreKind;

/// A semaphore's words. All but two of `raw` change under the object's lock only.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Shared {
    raw: RawSemaphore,
    /// The most there may be; 0: any number.
    bound: AtomicU32,
    /// Permits in the hands of each process.
    held: [AtomicU32; SLOTS],
}

// SAFETY: atomics only; the code is this kind's alone.
unsafe impl Kind for SemaphoreKind {
    const CODE: u32 = 38;
    const NAME: &'static str = "a semaphore";
    type Shared = Shared;

    fn recover(object: &Locked<'_, Self>, dead: Owner) -> std::result::Result<(), ArenaError> {
        let shared = object.shared();
        shared.raw.recover::<Handle<Self>>(object, &shared.held[dead.slot()], is_of(object.arena(), dead));
        Ok(())
    }

    fn destroy(_: &Doomed<'_, Self>) -> std::result::Result<(), ArenaError> {
        Ok(())
    }

    fn wake(object: &Object<'_, Self>) {
        object.shared().raw.wake_sleepers();
    }
}

message_by_handle!([] Semaphore, handle, |handle| Semaphore { handle });

impl Semaphore {
    /// A new semaphore with so many permits, or none.
    ///
    /// ```
    /// let doors = offspring::sync::Semaphore::new(2)?;
    /// assert_eq!(doors.available_permits(), 2);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`InvalidInput`](crate::ErrorKind::InvalidInput) for more than 2^30 - 1 permits; of kind
    /// [`OutOfMemory`](crate::ErrorKind::OutOfMemory) when the family's shared memory is used up.
    pub fn new(permits: usize) -> Result<Semaphore> {
        Semaphore::in_arena(crate::arena::family()?, permits, false)
    }

    pub(crate) fn in_arena(arena: &'static Arena, permits: usize, is_bounded: bool) -> Result<Semaphore> {
        let permits = count(permits)?;
        let init = |object: &Object<'_, SemaphoreKind>| {
            let shared = object.shared();
            shared.raw.init(permits);
            shared.bound.store(if is_bounded { permits } else { 0 }, Ordering::Relaxed);
        };
        Ok(Semaphore { handle: Handle::create_in(arena, 0, Role::Plain, init)? })
    }

    /// Waits for a permit, and has it until it is dropped.
    ///
    /// ```
    /// use offspring::sync::Semaphore;
    ///
    /// let doors = Semaphore::new(2)?;
    /// let permit = doors.acquire()?;
    /// assert_eq!(doors.available_permits(), 1);
    /// drop(permit);
    /// assert_eq!(doors.available_permits(), 2);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// In a process made by the program's own `fork`.
    pub fn acquire(&self) -> Result<Permit<'_>> {
        self.acquire_until(1, None)
    }

    /// Takes a permit if there is one.
    ///
    /// ```
    /// use offspring::{ErrorKind, sync::Semaphore};
    ///
    /// let doors = Semaphore::new(1)?;
    /// let permit = doors.try_acquire()?;
    /// assert_eq!(doors.try_acquire().map(drop).unwrap_err().kind(), ErrorKind::Empty);
    /// # drop(permit);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`Empty`](crate::ErrorKind::Empty) when there is none, or somebody waits for it already.
    pub fn try_acquire(&self) -> Result<Permit<'_>> {
        self.try_acquire_many(1)
    }

    /// As [`acquire`](Semaphore::acquire), but waits no longer than that.
    ///
    /// # Errors
    /// Of kind [`Timeout`](crate::ErrorKind::Timeout).
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit<'_>> {
        self.acquire_until(1, deadline(timeout))
    }

    /// Waits for `permits` at once, and has them until they are dropped.
    ///
    /// ```
    /// let memory = offspring::sync::Semaphore::new(8)?; // GiB, say
    /// let mine = memory.acquire_many(3)?;
    /// assert_eq!((mine.count(), memory.available_permits()), (3, 5));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`InvalidInput`](crate::ErrorKind::InvalidInput) for 0, or for more than there can ever be.
    pub fn acquire_many(&self, permits: usize) -> Result<Permit<'_>> {
        self.acquire_until(permits, None)
    }

    /// Takes `permits` if there are as many.
    ///
    /// ```
    /// use offspring::{ErrorKind, sync::Semaphore};
    ///
    /// let memory = Semaphore::new(8)?;
    /// assert_eq!(memory.try_acquire_many(8)?.count(), 8); // given back at once
    /// let mine = memory.acquire()?;
    /// assert_eq!(memory.try_acquire_many(8).map(drop).unwrap_err().kind(), ErrorKind::Empty);
    /// # drop(mine);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`Empty`](crate::ErrorKind::Empty) when there are fewer, or somebody waits for them already, otherwise as for
    /// [`acquire_many`](Semaphore::acquire_many).
    pub fn try_acquire_many(&self, permits: usize) -> Result<Permit<'_>> {
        let want = self.want(permits)?;
        match self.shared().raw.try_acquire(&self.handle, self.held(), want)? {
            true => Ok(self.permit(want)),
            false => Err(SyncError::Empty { asked: permits }),
        }
    }

    /// As [`acquire_many`](Semaphore::acquire_many), but waits no longer than that.
    ///
    /// # Errors
    /// Of kind [`Timeout`](crate::ErrorKind::Timeout), otherwise as for [`acquire_many`](Semaphore::acquire_many).
    pub fn acquire_many_timeout(&self, permits: usize, timeout: Duration) -> Result<Permit<'_>> {
        self.acquire_until(permits, deadline(timeout))
    }

    /// Adds permits: those that were [forgotten](Permit::forget), or new ones.
    ///
    /// ```
    /// use offspring::sync::Semaphore;
    ///
    /// let tickets = Semaphore::new(0)?;
    /// tickets.release(3)?;
    /// assert_eq!(tickets.available_permits(), 3);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`InvalidInput`](crate::ErrorKind::InvalidInput) when there would be more than 2^30 - 1; of a
    /// [`BoundedSemaphore`], when there would be more than it began with, counting those that are out as [`Permit`]s.
    pub fn release(&self, permits: usize) -> Result<()> {
        let add = count(permits)?;
        let locked = self.handle.lock()?;
        let shared = self.shared();
        let bound = shared.bound.load(Ordering::Relaxed);
        if bound != 0 {
            let out: u32 = shared.held.iter().map(|held| held.load(Ordering::Relaxed)).sum();
            let missing = bound.saturating_sub(shared.raw.available().saturating_add(out));
            if add > missing {
                let (missing, bound) = (missing as usize, bound as usize);
                return Err(SyncError::OverReleased { released: permits, missing, bound });
            }
        }
        if !shared.raw.add::<Handle<SemaphoreKind>>(&locked, add, None) {
            return Err(too_many());
        }
        drop(locked);
        shared.raw.wake(&self.handle, add);
        Ok(())
    }

    /// How many permits are there to be had. 0 in a process made by the program's own `fork`.
    #[doc(alias = "get_value")]
    pub fn available_permits(&self) -> usize {
        match self.handle.check() {
            Ok(()) => self.shared().raw.available() as usize,
            Err(_) => 0,
        }
    }

    fn shared(&self) -> &Shared {
        self.handle.shared()
    }

    fn held(&self) -> &AtomicU32 {
        &self.shared().held[self.handle.arena().me().slot()]
    }

    fn permit(&self, count: u32) -> Permit<'_> {
        Permit { semaphore: self, count }
    }

    fn want(&self, permits: usize) -> Result<u32> {
        self.handle.check()?;
        let want = count(permits)?;
        let bound = self.shared().bound.load(Ordering::Relaxed);
        if want == 0 {
            return Err(SyncError::invalid("to acquire 0 permits makes no sense: ask for 1 or more"));
        }
        if bound != 0 && want > bound {
            return Err(SyncError::invalid(format!(
                "{want} permits can never be had: the semaphore has {bound} in all"
            )));
        }
        Ok(want)
    }

    fn acquire_until(&self, permits: usize, deadline: Option<Instant>) -> Result<Permit<'_>> {
        let want = self.want(permits)?;
        let me = self.handle.arena().thread()?.id.raw();
        match self.shared().raw.acquire(&self.handle, self.held(), want, me, deadline)? {
            true => Ok(self.permit(want)),
            false => Err(SyncError::Timeout { what: "permit" }),
        }
    }

    /// Gives permits of this process back.
    fn give_back(&self, permits: u32) {
        // Nobody is there to be told of an error, and after a `fork` they are not this process's.
        let Ok(locked) = self.handle.lock() else { return };
        let raw = &self.shared().raw;
        // They were among those that were counted before.
        raw.add::<Handle<SemaphoreKind>>(&locked, permits, Some(self.held()));
        drop(locked);
        raw.wake(&self.handle, permits);
    }
}

fn count(permits: usize) -> Result<u32> {
    u32::try_from(permits).ok().filter(|permits| *permits <= MOST).ok_or_else(too_many)
}

fn too_many() -> SyncError {
    SyncError::invalid(format!("a semaphore has {MOST} permits at most"))
}

message_by_handle!([] BoundedSemaphore, semaphore, |semaphore| BoundedSemaphore { semaphore });

impl BoundedSemaphore {
    /// A new semaphore that has at most so many permits.
    ///
    /// ```
    /// use offspring::{ErrorKind, sync::BoundedSemaphore};
    ///
    /// let doors = BoundedSemaphore::new(2)?;
    /// assert_eq!(doors.release(1).unwrap_err().kind(), ErrorKind::InvalidInput); // none is out
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`InvalidInput`](crate::ErrorKind::InvalidInput) for 0, and otherwise as for [`Semaphore::new`].
    pub fn new(permits: usize) -> Result<BoundedSemaphore> {
        BoundedSemaphore::in_arena(crate::arena::family()?, permits)
    }

    pub(crate) fn in_arena(arena: &'static Arena, permits: usize) -> Result<BoundedSemaphore> {
        if permits == 0 {
            let reason = "a bounded semaphore of 0 permits could never be acquired: give it 1 or more";
            return Err(SyncError::invalid(reason));
        }
        Ok(BoundedSemaphore { semaphore: Semaphore::in_arena(arena, permits, true)? })
    }

    /// How many permits it began with. 0 in a process made by the program's own `fork`.
    pub fn bound(&self) -> usize {
        match self.handle.check() {
            Ok(()) => self.shared().bound.load(Ordering::Relaxed) as usize,
            Err(_) => 0,
        }
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore").field("available", &self.available_permits()).finish()
    }
}

impl fmt::Debug for BoundedSemaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedSemaphore")
            .field("available", &self.available_permits())
            .field("bound", &self.bound())
            .finish()
    }
}

/// Permits of a semaphore, given back when this is dropped, or when its process dies.
///
/// It may go to another thread of its process, but it is no message:
/// ```compile_fail,E0277
/// fn is_message<T: offspring::Message>() {}
/// is_message::<offspring::sync::Permit<'static>>();
/// ```
#[must_use = "a permit that is dropped at once allows nothing"]
#[derive(Debug)]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
    count: u32,
}

impl Permit<'_> {
    /// How many permits these are.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// Keeps the permits from coming back, now and when the process dies. [`Semaphore::release`] makes up for it.
    pub fn forget(self) {
        if let Ok(locked) = self.semaphore.handle.lock() {
            let held = self.semaphore.held();
            locked.store(&[Set::narrow(held, held.load(Ordering::Relaxed).saturating_sub(self.count))]);
        }
        std::mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.semaphore.give_back(self.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_about_to_sleep_as_a_waker_finds_nobody_looks_again() {
        let arena = crate::arena::create(256 << 20, 128 << 20).unwrap();
        let semaphore = Semaphore::in_arena(arena, 1, false).unwrap();
        let permit = semaphore.acquire().unwrap();
        // A waiter has counted itself, and does not sleep yet. Only now does the one who released the permit before come to wake.
        let raw = &semaphore.shared().raw;
        let seen = raw.count_sleeper();
        raw.wake(&semaphore.handle, 1);
        assert!(!raw.is_forgotten(seen), "it sleeps, and no release looks for it");
        drop(permit);
    }
}
