//! Ranges of indices.

use std::ops::{Bound, RangeBounds};

use super::SharedError;

/// The range's ends in something of so many items.
pub(super) fn bounds(range: &impl RangeBounds<usize>, len: usize) -> Result<(usize, usize), SharedError> {
    let from = match range.start_bound() {
        Bound::Included(from) => *from,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(to) => *to,
        Bound::Unbounded => len,
    };
    if from.max(to) > len {
        return Err(SharedError::OutOfRange { index: from.max(to), len });
    }
    if from > to {
        return Err(SharedError::Range { start: from, end: to });
    }
    Ok((from, to))
}
