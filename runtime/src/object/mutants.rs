//! Seeded mistakes of references and objects; see `arena::mutants`. They exist in `testing` builds only.

/// A count is changed before the redo record says how.
pub(crate) const COUNT_LATE: u32 = 201;
/// The redo record of a count is cleared before the change that it describes is made.
pub(crate) const COUNT_CLEARED_EARLY: u32 = 202;
/// A block becomes an object before its maker's entry says that it is a reference.
pub(crate) const OBJECT_UNREFERENCED: u32 = 203;
/// A pin's record is cleared before its reference is taken off the count.
pub(crate) const PIN_FORGOTTEN: u32 = 204;
/// A change under an object's lock is made before its redo record says how.
pub(crate) const CHANGE_LATE: u32 = 205;
/// The redo record of a change under an object's lock is cleared before the change is made.
pub(crate) const CHANGE_CLEARED_EARLY: u32 = 206;

/// All of them, with the operation that shows each.
#[cfg(feature = "testing")]
pub(crate) const ALL: &[(u32, &str)] = &[
    (COUNT_LATE, "references: count before redo record"),
    (COUNT_CLEARED_EARLY, "references: redo record cleared before count"),
    (OBJECT_UNREFERENCED, "create: object before reference"),
    (PIN_FORGOTTEN, "unpin: record cleared before count"),
    (CHANGE_LATE, "give, take, swap, store: change before redo record"),
    (CHANGE_CLEARED_EARLY, "give, take, swap, store: redo record cleared before change"),
];
