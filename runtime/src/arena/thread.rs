//! Thread records: by them a lock's word names its holder, and an audit learns what a dead thread was about to wake.
//!
//! A record is claimed by one CAS in the dense table of owners, so a kill at any point leaves it either free or findable
//! by its owner's audit, which scans that table (32 KiB). Its generation changes after the claim; ids of the life before
//! are void from the moment their record was returned.
//!
//! A record stays with its thread until the destructors of its thread locals have run: they may hold locks, and take them.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::id::{Owner, THREADS, ThreadId};
pub(crate) use super::layout::ThreadRecord;
use super::{Arena, ArenaError, step};
use crate::sys::thread_end::UntilEnd;

/// The calling thread's record in one arena.
#[derive(Clone, Copy)]
pub(crate) struct Thread {
    pub(crate) id: ThreadId,
    record: &'static ThreadRecord,
}

impl Deref for Thread {
    type Target = ThreadRecord;

    fn deref(&self) -> &ThreadRecord {
        self.record
    }
}

/// A claim, returned when the thread has ended.
struct Claim {
    arena: &'static Arena,
    thread: Thread,
}

impl Drop for Claim {
    fn drop(&mut self) {
        LAST.set(None);
        self.arena.return_thread(self.thread.id);
    }
}

/// The records of each thread: one for each arena it uses, nearly always one.
static CLAIMS: UntilEnd<RefCell<Vec<Claim>>> = UntilEnd::new();

thread_local! {
    /// The one of them that was asked for last, by the arena's address: a thread local without a destructor costs next to
    /// nothing to look at.
    static LAST: Cell<Option<(usize, Thread)>> = const { Cell::new(None) };
}

impl Arena {
    /// The calling thread's record in this arena.
    #[inline]
    pub(crate) fn thread(&'static self) -> Result<Thread, ArenaError> {
        self.check()?;
        match LAST.get() {
            Some((arena, thread)) if arena == std::ptr::from_ref(self) as usize => Ok(thread),
            _ => self.look_up_thread(),
        }
    }

    /// As [`thread`](Self::thread), where that costs nothing: `None` says nothing.
    #[inline(always)]
    pub(crate) fn thread_at_hand(&'static self) -> Option<ThreadId> {
        match LAST.get() {
            Some((arena, thread)) if arena == std::ptr::from_ref(self) as usize && self.is_here() => Some(thread.id),
            _ => None,
        }
    }

    #[cold]
    fn look_up_thread(&'static self) -> Result<Thread, ArenaError> {
        let known = CLAIMS.with(|claims| {
            let mut claims = claims.borrow_mut();
            if let Some(claim) = claims.iter().find(|claim| std::ptr::eq(claim.arena, self)) {
                return Ok(claim.thread);
            }
            let thread = self.claim_thread()?;
            claims.push(Claim { arena: self, thread });
            Ok(thread)
        });
        // Without a key the record stays until the process ends.
        let thread = known.unwrap_or_else(|| self.claim_thread())?;
        LAST.set(Some((std::ptr::from_ref(self) as usize, thread)));
        Ok(thread)
    }

    /// Returns the calling thread's record before the thread ends.
    #[cfg(feature = "testing")]
    pub(crate) fn return_current_thread(&'static self) {
        CLAIMS.with(|claims| claims.borrow_mut().retain(|claim| !std::ptr::eq(claim.arena, self)));
    }

    fn claim_thread(&'static self) -> Result<Thread, ArenaError> {
        // Starting at a place of its own keeps processes off each other's lines; going on from the last one is O(1).
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let start = self.me().slot() * (THREADS / super::id::SLOTS) + NEXT.fetch_add(1, Ordering::Relaxed);
        for index in (start..start + THREADS).map(|index| index % THREADS) {
            let owner = self.map.thread_owner(index);
            if owner.load(Ordering::Relaxed) != 0
                || owner.compare_exchange(0, self.me().raw(), Ordering::Acquire, Ordering::Relaxed).is_err()
            {
                continue;
            }
            step();
            let record = self.map.thread(index);
            let generation = ThreadId::next_generation(record.generation.load(Ordering::Relaxed));
            record.generation.store(generation, Ordering::Release);
            if let Some(id) = ThreadId::new(index, generation) {
                return Ok(Thread { id, record });
            }
        }
        Err(ArenaError::TooManyThreads)
    }

    /// Gives the record of a thread that has ended, or whose process has, back.
    fn return_thread(&self, id: ThreadId) {
        if self.check().is_ok() {
            self.clear_thread(id.index());
        }
    }

    fn clear_thread(&self, index: usize) {
        let record = self.map.thread(index);
        record.waiting_on.store(0, Ordering::Relaxed);
        record.building.store(0, Ordering::Relaxed);
        record.intent.store(0, Ordering::Relaxed);
        record.doorbell.store(0, Ordering::Relaxed);
        step();
        self.map.thread_owner(index).store(0, Ordering::Release);
    }

    /// The process of a thread, if it still has that record.
    pub(crate) fn owner_of_thread(&self, id: ThreadId) -> Option<Owner> {
        let owner = Owner::from_raw(self.map.thread_owner(id.index()).load(Ordering::Acquire))?;
        (self.map.thread(id.index()).generation.load(Ordering::Acquire) == id.generation()).then_some(owner)
    }

    #[cfg(any(test, feature = "testing"))]
    /// How many records are claimed.
    pub(crate) fn count_threads(&self) -> usize {
        (0..THREADS).filter(|index| self.map.thread_owner(*index).load(Ordering::Relaxed) != 0).count()
    }

    /// What the threads of a dead process were building, as they noted it.
    pub(crate) fn building_of(&self, dead: Owner) -> Vec<u64> {
        (0..THREADS)
            .filter(|index| self.map.thread_owner(*index).load(Ordering::Acquire) == dead.raw())
            .map(|index| self.map.thread(index).building.load(Ordering::Acquire))
            .filter(|building| *building != 0)
            .collect()
    }

    /// Visits the records of a dead process, then returns them. Repeatable.
    pub(crate) fn audit_threads(&self, dead: Owner, mut visit: impl FnMut(&ThreadRecord)) {
        for index in 0..THREADS {
            if self.map.thread_owner(index).load(Ordering::Acquire) == dead.raw() {
                visit(self.map.thread(index));
                self.clear_thread(index);
            }
        }
    }
}
