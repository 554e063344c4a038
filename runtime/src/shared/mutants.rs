//! Seeded mistakes of the shared structures; see `arena::mutants`. They exist in `testing` builds only.

/// A reader believes a copy without looking whether it was there all the time. Stepping by stores cannot meet it, as a reader
/// stores nothing: a test in `image` and the model in `tests/loom` do.
pub(super) const TORN_READ: u32 = 501;
/// A reader looks, but may have looked before it copied. For the model.
pub(super) const READ_UNFENCED: u32 = 507;
/// The block that was replaced is taken in a change of its own.
pub(super) const REPLACE_TAKES_LATE: u32 = 502;
/// A page that is split gives its keys away before anybody can find the new page.
pub(super) const SPLIT_IN_TWO: u32 = 503;
/// A list's length is changed apart from its items.
pub(super) const LENGTH_APART: u32 = 504;
/// A part of an array stays claimed when its writer is dead.
pub(super) const CLAIM_KEPT: u32 = 505;
/// A value's old block is forgotten, not taken.
pub(super) const OLD_VALUE_LOST: u32 = 506;

/// Those that the killer must notice, with the operation that shows each.
#[cfg(feature = "testing")]
pub(crate) const ALL: &[(u32, &str)] = &[
    (REPLACE_TAKES_LATE, "dict insert: old block taken apart"),
    (SPLIT_IN_TWO, "dict split: in two changes"),
    (LENGTH_APART, "list push: length apart"),
    (CLAIM_KEPT, "array part: claim of the dead kept"),
    (OLD_VALUE_LOST, "value set: old block forgotten"),
];
