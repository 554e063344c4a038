//! Thread records: by them a lock's word names its holder, and an audit learns what a dead thread was about to wake.
//!
//! A record is claimed by one CAS in the dense table of owners, so a kill at any point leaves it either free or findable
//! by its owner's audit. That scans the table from the place where this process's claims begin, as far as its slot says that they
//! may reach, which is said before the claim: most processes reach a record or two of 8,192. Its generation changes after the claim;
//! ids of the life before are void from the moment their record was returned.
//!
//! A record stays with its thread until the destructors of its thread locals have run: they may hold locks, and take them.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::id::{Owner, SLOTS, THREADS, ThreadId};
pub(crate) use super::layout::ThreadRecord;
use super::{Arena, ArenaError, mutant, mutants, step};
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
        let (base, first) = (first_record(self.me()), NEXT.fetch_add(1, Ordering::Relaxed));
        let slot = self.slots().get(self.me());
        for distance in first..first + THREADS {
            let index = (base + distance) % THREADS;
            let owner = self.map.thread_owner(index);
            if owner.load(Ordering::Relaxed) != 0 {
                continue;
            }
            let reach = || {
                // Before the claim, which releases it: an audit that finds the claim looks far enough.
                if let Some(slot) = slot {
                    slot.thread_reach.fetch_max((distance + 1).min(THREADS) as u32, Ordering::Relaxed);
                }
                step();
            };
            if !mutant(mutants::THREAD_REACH_LATE) {
                reach();
            }
            if owner.compare_exchange(0, self.me().raw(), Ordering::AcqRel, Ordering::Relaxed).is_err() {
                continue;
            }
            step();
            if mutant(mutants::THREAD_REACH_LATE) {
                reach();
            }
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
        self.records_of(dead)
            .map(|index| self.map.thread(index).building.load(Ordering::Acquire))
            .filter(|building| *building != 0)
            .collect()
    }

    /// Visits the records of a dead process, then returns them. Repeatable.
    pub(crate) fn audit_threads(&self, dead: Owner, mut visit: impl FnMut(&ThreadRecord)) {
        for index in self.records_of(dead) {
            visit(self.map.thread(index));
            self.clear_thread(index);
        }
    }

    /// The records that a process has, which claims none meanwhile.
    fn records_of(&self, owner: Owner) -> impl Iterator<Item = usize> {
        let base = first_record(owner);
        let reach = self.slots().get(owner).map_or(THREADS, |slot| slot.thread_reach.load(Ordering::Acquire) as usize);
        let all = (0..reach.min(THREADS)).map(move |distance| (base + distance) % THREADS);
        all.filter(move |index| self.map.thread_owner(*index).load(Ordering::Acquire) == owner.raw())
    }
}

/// Where the claims of a process begin.
fn first_record(owner: Owner) -> usize {
    owner.slot() * (THREADS / SLOTS)
}
