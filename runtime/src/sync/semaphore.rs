//! `Semaphore` and `BoundedSemaphore`.
#![allow(unsafe_code)]

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::common::{deadline, is_of};
use super::error::{Result, SyncError};
use super::mutants;
use super::prim::{Patience, Wait, wait_among, wake_all, wake_among};
use crate::arena::{Arena, ArenaError, Owner, SLOTS, mutant};
use crate::object::{Doomed, Handle, Kind, Locked, Object, Role, Set, message_by_handle};

/// More than this are not counted.
const MOST: u32 = u32::MAX / 4;

/// What sleepers wait for.
const ONE: u32 = 1;
const SEVERAL: u32 = 2;
const HEIR: u32 = 4;

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

/// A semaphore's words. All but `heir` and `raised` change under the object's lock only.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Shared {
    available: AtomicU32,
    /// The most there may be; 0: any number.
    bound: AtomicU32,
    /// Raised with every change that sleepers may wait for; they sleep on it.
    raised: AtomicU32,
    /// 0: nobody sleeps. Otherwise a number that every sleeper raises.
    sleeps: AtomicU32,
    /// A thread who waited for too long: nobody else takes permits before.
    heir: AtomicU32,
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
        let held = &shared.held[dead.slot()];
        let count = held.load(Ordering::Relaxed);
        if count != 0 && !mutant(mutants::SEMAPHORE_PERMITS_KEPT) {
            let available = shared.available.load(Ordering::Relaxed).saturating_add(count);
            object.store(&[Set::narrow(&shared.available, available), Set::narrow(held, 0)]);
        }
        let heir = shared.heir.load(Ordering::Relaxed);
        if heir != 0 && is_of(object.arena(), dead)(heir) {
            shared.heir.store(0, Ordering::Release);
        }
        Ok(())
    }

    fn destroy(_: &Doomed<'_, Self>) -> std::result::Result<(), ArenaError> {
        Ok(())
    }

    fn wake(object: &Object<'_, Self>) {
        object.shared().raised.fetch_add(1, Ordering::AcqRel);
        wake_all(&object.shared().raised);
    }
}

message_by_handle!([] Semaphore, handle, |handle| Semaphore { handle });

impl Semaphore {
    /// A new semaphore with so many permits, or none.
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
            shared.available.store(permits, Ordering::Relaxed);
            shared.bound.store(if is_bounded { permits } else { 0 }, Ordering::Relaxed);
        };
        Ok(Semaphore { handle: Handle::create_in(arena, 0, Role::Plain, init)? })
    }

    /// Waits for a permit, and has it until it is dropped.
    ///
    /// # Errors
    /// In a process made by the program's own `fork`.
    pub fn acquire(&self) -> Result<Permit<'_>> {
        self.acquire_until(1, None)
    }

    /// Takes a permit if there is one.
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
    /// # Errors
    /// Of kind [`InvalidInput`](crate::ErrorKind::InvalidInput) for 0, or for more than there can ever be.
    pub fn acquire_many(&self, permits: usize) -> Result<Permit<'_>> {
        self.acquire_until(permits, None)
    }

    /// Takes `permits` if there are as many.
    ///
    /// # Errors
    /// Of kind [`Empty`](crate::ErrorKind::Empty) when there are fewer, or somebody waits for them already, otherwise as for
    /// [`acquire_many`](Semaphore::acquire_many).
    pub fn try_acquire_many(&self, permits: usize) -> Result<Permit<'_>> {
        let want = self.want(permits)?;
        let locked = self.handle.lock()?;
        if self.take(&locked, want, 0) { Ok(self.permit(want)) } else { Err(SyncError::Empty { asked: permits }) }
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
    /// # Errors
    /// Of kind [`InvalidInput`](crate::ErrorKind::InvalidInput) when there would be more than 2^30 - 1; of a
    /// [`BoundedSemaphore`], when there would be more than it began with, counting those that are out as [`Permit`]s.
    pub fn release(&self, permits: usize) -> Result<()> {
        let add = count(permits)?;
        let locked = self.handle.lock()?;
        let shared = self.shared();
        let (available, bound) = (shared.available.load(Ordering::Relaxed), shared.bound.load(Ordering::Relaxed));
        if bound != 0 {
            let out: u32 = shared.held.iter().map(|held| held.load(Ordering::Relaxed)).sum();
            let missing = bound.saturating_sub(available.saturating_add(out));
            if add > missing {
                let (missing, bound) = (missing as usize, bound as usize);
                return Err(SyncError::OverReleased { released: permits, missing, bound });
            }
        }
        let available = available.checked_add(add).filter(|available| *available <= MOST).ok_or_else(too_many)?;
        locked.store(&[Set::narrow(&shared.available, available), self.raise()]);
        drop(locked);
        self.wake(add);
        Ok(())
    }

    /// How many permits are there to be had. 0 in a process made by the program's own `fork`.
    #[doc(alias = "get_value")]
    pub fn available_permits(&self) -> usize {
        match self.handle.check() {
            Ok(()) => self.shared().available.load(Ordering::Acquire) as usize,
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

    fn raise(&self) -> Set {
        Set::narrow(&self.shared().raised, self.shared().raised.load(Ordering::Relaxed).wrapping_add(1))
    }

    /// Takes permits if they are there and nobody is to have them before. `me` is the caller if it may be the heir.
    fn take(&self, locked: &Locked<'_, SemaphoreKind>, want: u32, me: u32) -> bool {
        let (shared, held) = (self.shared(), self.held());
        let heir = shared.heir.load(Ordering::Relaxed);
        let available = shared.available.load(Ordering::Relaxed);
        if available < want || heir != 0 && heir != me {
            return false;
        }
        if mutant(mutants::SEMAPHORE_IN_TWO_STEPS) {
            locked.store(&[Set::narrow(&shared.available, available - want)]);
        }
        locked.store(&[
            Set::narrow(&shared.available, available - want),
            Set::narrow(held, held.load(Ordering::Relaxed) + want),
            Set::narrow(&shared.heir, 0),
            // Others may have been kept waiting by the heir.
            if heir == 0 { Set::narrow(&shared.heir, 0) } else { self.raise() },
        ]);
        true
    }

    fn acquire_until(&self, permits: usize, deadline: Option<Instant>) -> Result<Permit<'_>> {
        let want = self.want(permits)?;
        let me = self.handle.arena().thread()?.id.raw();
        let shared = self.shared();
        let mut patience: Option<Patience> = None;
        loop {
            let locked = self.handle.lock()?;
            let is_heir = shared.heir.load(Ordering::Relaxed) == me;
            if self.take(&locked, want, me) {
                drop(locked);
                if is_heir {
                    self.wake(MOST);
                }
                return Ok(self.permit(want));
            }
            let is_heir = is_heir || patience.as_ref().is_some_and(Patience::is_over) && self.become_heir(me);
            let seen = shared.raised.load(Ordering::Relaxed);
            shared.sleeps.store(shared.sleeps.load(Ordering::Relaxed).wrapping_add(1).max(1), Ordering::Release);
            drop(locked);
            patience.get_or_insert_with(Patience::new);
            if super::wait::spin_while(&shared.raised, seen) {
                continue;
            }
            let kind = if is_heir {
                HEIR
            } else if want == 1 {
                ONE
            } else {
                SEVERAL
            };
            if wait_among(kind, &shared.raised, seen, deadline) == Wait::TimedOut {
                return self.give_up(want, me);
            }
        }
    }

    fn become_heir(&self, me: u32) -> bool {
        let heir = &self.shared().heir;
        heir.compare_exchange(0, me, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// A last look, as permits may have come with the end of the time; then the way is free for others.
    fn give_up(&self, want: u32, me: u32) -> Result<Permit<'_>> {
        let locked = self.handle.lock()?;
        let shared = self.shared();
        let is_heir = shared.heir.load(Ordering::Relaxed) == me;
        let got = self.take(&locked, want, me);
        if is_heir && !got {
            locked.store(&[Set::narrow(&shared.heir, 0), self.raise()]);
        }
        drop(locked);
        if is_heir {
            self.wake(MOST);
        }
        if got { Ok(self.permit(want)) } else { Err(SyncError::Timeout { what: "permit" }) }
    }

    /// Gives permits of this process back.
    fn give_back(&self, permits: u32) {
        // Nobody is there to be told of an error, and after a `fork` they are not this process's.
        let Ok(locked) = self.handle.lock() else { return };
        let (shared, held) = (self.shared(), self.held());
        let available = shared.available.load(Ordering::Relaxed).saturating_add(permits);
        let left = held.load(Ordering::Relaxed).saturating_sub(permits);
        locked.store(&[Set::narrow(&shared.available, available), Set::narrow(held, left), self.raise()]);
        drop(locked);
        self.wake(permits);
    }

    /// Wakes those who may find that there are permits now: as many of those who want one, and all others.
    fn wake(&self, permits: u32) {
        let shared = self.shared();
        let sleeps = shared.sleeps.load(Ordering::Acquire);
        if sleeps == 0 {
            return;
        }
        if wake_among(ONE, &shared.raised, permits) + wake_among(SEVERAL | HEIR, &shared.raised, u32::MAX) == 0
            && let Ok(locked) = self.handle.lock()
            && shared.sleeps.load(Ordering::Relaxed) == sleeps
        {
            // The next ones need not be looked for. But those that are counted may be about to sleep: somebody else may have
            // taken what was released before them. They look again, as nobody would wake them.
            locked.store(&[Set::narrow(&shared.sleeps, 0), self.raise()]);
            drop(locked);
            wake_all(&shared.raised);
        }
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
        // A waiter has counted itself, as in `acquire_until`, and does not sleep yet. Only now does the one who released the
        // permit before come to wake.
        let shared = semaphore.shared();
        let seen = shared.raised.load(Ordering::Relaxed);
        shared.sleeps.store(1, Ordering::Release);
        semaphore.wake(1);
        let slept = shared.raised.load(Ordering::Acquire) == seen;
        assert!(!slept || shared.sleeps.load(Ordering::Acquire) != 0, "it sleeps, and no release looks for it");
        drop(permit);
    }
}
