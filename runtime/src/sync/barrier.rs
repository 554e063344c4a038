//! `Barrier`.
#![allow(unsafe_code)]

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::common::deadline;
use super::error::{Result, SyncError};
use super::raw::{Meeting, RawBarrier};
use crate::arena::{Arena, ArenaError, Owner, SLOTS};
use crate::object::{Doomed, Handle, Kind, Locked, Object, Role, Set, message_by_handle};

/// How the slot of a process says that it ended by exit code 0; see `process::mourning`.
const ENDED_WELL: u64 = 1;

/// A place where a number of threads, of any processes, wait until all of them are there.
///
/// Then all go on, and the next round begins; one of them is the leader. Handles and blocking are as for
/// [`Mutex`](super::Mutex).
///
/// # Death
/// A barrier *breaks*, which ends the wait of all who wait with an error of kind [`Broken`](crate::ErrorKind::Broken), and so
/// does everybody's wait from then on until [`reset`](Barrier::reset), when
/// - a process ends, in whichever way, while one of its threads waits here,
/// - a *participant* dies: a process that has waited here since the barrier was made or last reset, that still has a handle of
///   it, and that ends by anything but exit code 0. So nobody waits for one who was killed between two rounds,
/// - a wait times out, or somebody calls [`abort`](Barrier::abort).
///
/// ```
/// use offspring::{Process, sync::Barrier, task};
///
/// #[task]
/// fn meet(barrier: Barrier) -> Result<bool, offspring::Failure> {
///     Ok(barrier.wait()?.is_leader())
/// }
///
/// fn main() -> offspring::Result<()> {
///     let barrier = Barrier::new(3)?;
///     let children = [Process::new(meet, &barrier).spawn()?, Process::new(meet, &barrier).spawn()?];
///     let mut leaders = barrier.wait()?.is_leader() as u32;
///     for child in children {
///         leaders += child.join()?? as u32;
///     }
///     assert_eq!(leaders, 1);
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Barrier {
    pub(super) handle: Handle<BarrierKind>,
}

/// What a wait at a barrier gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BarrierWaitResult {
    is_leader: bool,
}

impl BarrierWaitResult {
    /// Whether this is the one thread of the round that came last.
    pub fn is_leader(self) -> bool {
        self.is_leader
    }
}

/// The kind of barriers.
#[derive(Debug)]
pub(crate) struct BarrierKind;

/// A barrier's words. All change under the object's lock only.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Shared {
    raw: RawBarrier,
    /// For each slot: the process, and the phase in which it waited last.
    seen: [AtomicU64; SLOTS],
}

// SAFETY: atomics only; the code is this kind's alone.
unsafe impl Kind for BarrierKind {
    const CODE: u32 = 39;
    const NAME: &'static str = "a barrier";
    type Shared = Shared;

    fn recover(object: &Locked<'_, Self>, dead: Owner) -> std::result::Result<(), ArenaError> {
        let shared = object.shared();
        let seen = &shared.seen[dead.slot()];
        let (owner, at) = unpack(seen.load(Ordering::Relaxed));
        if owner != dead.raw() {
            return Ok(());
        }
        let status = || object.arena().slots().get(dead).map_or(0, |slot| slot.status.load(Ordering::Relaxed));
        shared.raw.recover::<Handle<Self>>(object, at, || status() == ENDED_WELL, Set::wide(seen, 0));
        Ok(())
    }

    fn destroy(_: &Doomed<'_, Self>) -> std::result::Result<(), ArenaError> {
        Ok(())
    }

    fn wake(object: &Object<'_, Self>) {
        object.shared().raw.wake_sleepers();
    }
}

fn pack(owner: Owner, phase: u32) -> u64 {
    u64::from(owner.raw()) << 32 | u64::from(phase)
}

fn unpack(seen: u64) -> (u32, u32) {
    ((seen >> 32) as u32, seen as u32)
}

message_by_handle!([] Barrier, handle, |handle| Barrier { handle });

impl Barrier {
    /// A new barrier at which so many threads meet.
    ///
    /// ```
    /// let barrier = offspring::sync::Barrier::new(4)?;
    /// assert_eq!((barrier.parties(), barrier.waiting(), barrier.is_broken()), (4, 0, false));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`InvalidInput`](crate::ErrorKind::InvalidInput) for 0; of kind [`OutOfMemory`](crate::ErrorKind::OutOfMemory)
    /// when the family's shared memory is used up.
    pub fn new(parties: usize) -> Result<Barrier> {
        Barrier::in_arena(crate::arena::family()?, parties)
    }

    pub(crate) fn in_arena(arena: &'static Arena, parties: usize) -> Result<Barrier> {
        let parties = u32::try_from(parties).ok().filter(|parties| *parties > 0).ok_or_else(|| {
            SyncError::invalid(format!("{parties} threads cannot meet at a barrier: give it 1 to {}", u32::MAX))
        })?;
        let init = |object: &Object<'_, BarrierKind>| object.shared().raw.init(parties);
        Ok(Barrier { handle: Handle::create_in(arena, 0, Role::Plain, init)? })
    }

    /// Waits until all are there.
    ///
    /// ```
    /// use offspring::sync::Barrier;
    ///
    /// let start = Barrier::new(2)?;
    /// let other = start.clone();
    /// let thread = std::thread::spawn(move || other.wait().unwrap().is_leader());
    /// let leader = start.wait()?.is_leader();
    /// assert!(leader != thread.join().unwrap()); // one of the two
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`Broken`](crate::ErrorKind::Broken) when the barrier is, or breaks meanwhile.
    pub fn wait(&self) -> Result<BarrierWaitResult> {
        self.wait_until(None)
    }

    /// As [`wait`](Barrier::wait), but no longer than that: then the barrier breaks, for all others, too.
    ///
    /// ```
    /// use offspring::{ErrorKind, sync::Barrier};
    /// use std::time::Duration;
    ///
    /// let start = Barrier::new(2)?;
    /// assert_eq!(start.wait_timeout(Duration::from_millis(5)).unwrap_err().kind(), ErrorKind::Timeout);
    /// assert!(start.is_broken()); // for all: nobody can rely on this meeting any more
    /// start.reset()?;
    /// assert!(!start.is_broken());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`Timeout`](crate::ErrorKind::Timeout) where the time was over, of kind [`Broken`](crate::ErrorKind::Broken) for
    /// all others.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<BarrierWaitResult> {
        self.wait_until(deadline(timeout))
    }

    /// Breaks the barrier.
    ///
    /// ```
    /// use offspring::{ErrorKind, sync::Barrier};
    ///
    /// let barrier = Barrier::new(2)?;
    /// barrier.abort()?;
    /// assert_eq!(barrier.wait().unwrap_err().kind(), ErrorKind::Broken); // instead of waiting
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// In a process made by the program's own `fork`.
    pub fn abort(&self) -> Result<()> {
        self.handle.check()?;
        Ok(self.shared().raw.abort(&self.handle)?)
    }

    /// Makes the barrier as new, whole and with nobody there. Who wait get an error of kind
    /// [`Broken`](crate::ErrorKind::Broken).
    ///
    /// ```
    /// let barrier = offspring::sync::Barrier::new(1)?;
    /// barrier.abort()?;
    /// barrier.reset()?;
    /// barrier.wait()?;
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// In a process made by the program's own `fork`.
    pub fn reset(&self) -> Result<()> {
        self.handle.check()?;
        Ok(self.shared().raw.reset(&self.handle)?)
    }

    /// Whether the barrier is broken. `false` in a process made by the program's own `fork`.
    #[doc(alias = "broken")]
    pub fn is_broken(&self) -> bool {
        self.handle.check().is_ok() && self.shared().raw.is_broken()
    }

    /// How many threads meet here. 0 in a process made by the program's own `fork`.
    pub fn parties(&self) -> usize {
        if self.handle.check().is_ok() { self.shared().raw.parties() as usize } else { 0 }
    }

    /// How many wait right now. 0 in a process made by the program's own `fork`.
    #[doc(alias = "n_waiting")]
    pub fn waiting(&self) -> usize {
        if self.handle.check().is_ok() { self.shared().raw.waiting() as usize } else { 0 }
    }

    fn shared(&self) -> &Shared {
        self.handle.shared()
    }

    fn wait_until(&self, deadline: Option<Instant>) -> Result<BarrierWaitResult> {
        self.handle.check()?;
        let (shared, me) = (self.shared(), self.handle.arena().me());
        let note = |phase| Set::wide(&shared.seen[me.slot()], pack(me, phase));
        match shared.raw.wait(&self.handle, note, deadline)? {
            Meeting::Last => Ok(BarrierWaitResult { is_leader: true }),
            Meeting::Met => Ok(BarrierWaitResult { is_leader: false }),
            Meeting::Broken => Err(SyncError::Broken),
            Meeting::TimedOut => Err(SyncError::Timeout { what: "barrier" }),
        }
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("parties", &self.parties())
            .field("waiting", &self.waiting())
            .field("broken", &self.is_broken())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_participant_is_known_after_any_number_of_rounds() {
        let arena = crate::arena::create(256 << 20, 128 << 20).unwrap();
        for phase in [0, 1 << 30, 1 << 31, 3 << 30, u32::MAX - 1] {
            let barrier = Barrier::in_arena(arena, 1).unwrap();
            barrier.shared().raw.set_phase(phase);
            assert!(barrier.wait().unwrap().is_leader());
            BarrierKind::recover(&barrier.handle.lock().unwrap(), arena.me()).unwrap();
            assert!(barrier.is_broken(), "nobody noticed the death in phase {phase:#x}");
        }
    }
}
