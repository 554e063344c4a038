//! Reading what others may be replacing, without a lock: copy first, then look whether it was there all the time.
//!
//! ```text
//! writer   cell = new block    Release fence    the old block is written again
//! reader   block = cell    copy its words    Acquire fence    cell still names the block?
//! ```
//! A reader that has copied but one word which was written after the writer's fence sees, after its own, a cell that names
//! another block, as ids of blocks do not come again. It names nothing but `prim`, so that `tests/loom` can compile it.

use super::mutants;
use crate::arena::mutant;
use crate::sync::prim::{AtomicU64, Ordering, fence};

/// Gives each of the words to `put`; `false` if `still` says afterwards that what led to them has changed, so that they mean
/// nothing.
#[inline]
pub(crate) fn copied(from: &[AtomicU64], mut put: impl FnMut(usize, u64), still: impl Fn() -> bool) -> bool {
    for (index, word) in from.iter().enumerate() {
        put(index, word.load(Ordering::Relaxed));
    }
    if mutant(mutants::TORN_READ) {
        return true;
    }
    if !mutant(mutants::READ_UNFENCED) {
        fence(Ordering::Acquire);
    }
    still()
}
