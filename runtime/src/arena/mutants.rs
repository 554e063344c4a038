//! Seeded mistakes: each moves one store of one protocol to where a kill does harm, so that the sweep of the single-step
//! killer can show that it would notice. They exist in `testing` builds only, and only one at a time is on.

/// A block's header says HELD before the hold table names it.
pub(crate) const ALLOC_HEADER_FIRST: u32 = 1;
/// The hold entry is cleared before the header says free.
pub(crate) const FREE_HOLD_FIRST: u32 = 2;
/// Granules are changed before the redo record says how.
pub(crate) const REDO_LATE: u32 = 3;
/// A block is pushed onto its parent's chain without an intent, its hold entry already cleared.
pub(crate) const ADOPT_WITHOUT_INTENT: u32 = 4;
/// A slot's life is changed before the slot is claimed.
pub(crate) const SLOT_LIFE_FIRST: u32 = 5;
/// The granule lock is released before the change is made.
pub(crate) const UNLOCK_EARLY: u32 = 6;
/// A descendant is unlinked before the intent names it.
pub(crate) const UNLINK_FIRST: u32 = 7;
/// The bit that tells a span's owner of a freed block is set after the hold entry has forgotten that block.
pub(crate) const REMOTE_BIT_LAST: u32 = 8;
/// The redo record is cleared before the change that it describes is made.
pub(crate) const REDO_CLEARED_EARLY: u32 = 9;

/// A redo record that can stand anywhere is carried out before it says what.
pub(crate) const JOURNAL_LATE: u32 = 10;
/// Such a record is cleared before it is carried out.
pub(crate) const JOURNAL_CLEARED_EARLY: u32 = 11;
/// A thread locks such a record without naming it first.
pub(crate) const GUARD_UNNAMED: u32 = 12;
/// A thread's record is claimed before the slot says how far to look for it.
pub(crate) const THREAD_REACH_LATE: u32 = 13;
/// Memory that was taken may be written again before the words that led to it have changed. For the model: no kill shows it.
pub(crate) const JOURNAL_UNFENCED: u32 = 14;

/// Those that the killer must notice, with the operation that shows each.
#[cfg(feature = "testing")]
pub(crate) const ALL: &[(u32, &str)] = &[
    (ALLOC_HEADER_FIRST, "alloc (small): header before hold entry"),
    (FREE_HOLD_FIRST, "free (small): hold entry before header"),
    (REDO_LATE, "alloc and free (large): change before redo record"),
    (ADOPT_WITHOUT_INTENT, "adopt_into: no intent"),
    (SLOT_LIFE_FIRST, "reserve: life before claim"),
    (UNLOCK_EARLY, "alloc and free (large): unlock before change"),
    (UNLINK_FIRST, "free of a parent: unlink before intent"),
    (REMOTE_BIT_LAST, "free (small) by another process: hold entry before bit"),
    (REDO_CLEARED_EARLY, "alloc and free (large): redo record cleared before change"),
    (JOURNAL_LATE, "journal: change before record"),
    (JOURNAL_CLEARED_EARLY, "journal: record cleared before change"),
    (GUARD_UNNAMED, "journal: locked without a name"),
    (THREAD_REACH_LATE, "claim of a thread's record: claim before reach"),
];

#[cfg(feature = "testing")]
mod selected {
    use std::sync::atomic::{AtomicU32, Ordering};

    static SELECTED: AtomicU32 = AtomicU32::new(0);

    /// Whether mistake `number` is to be made.
    #[inline(always)]
    pub(crate) fn mutant(number: u32) -> bool {
        SELECTED.load(Ordering::Relaxed) == number
    }

    /// Makes mistake `number` in this process and those it forks from now on; 0 for none.
    pub(crate) fn select(number: u32) {
        SELECTED.store(number, Ordering::Relaxed);
    }
}

#[cfg(feature = "testing")]
pub(crate) use selected::{mutant, select};

/// Whether mistake `number` is to be made: never.
#[cfg(not(feature = "testing"))]
#[inline(always)]
pub(crate) fn mutant(_: u32) -> bool {
    false
}
