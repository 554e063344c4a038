//! Checking bytes that come from outside the family, or from a process that died while it wrote.
//!
//! rkyv's own validator checks one contiguous buffer and lives as long as it; ours knows a set of ranges (a root and its
//! data lie in different blocks) and has no lifetime, so that [`Message`](super::Message) needs no higher-ranked bound.
//! Where rkyv forbids overlaps, ours bounds the work and the depth instead: overlaps are harmless to readers, endless
//! recursion and exponential sharing are not.

use std::alloc::Layout;
use std::any::TypeId;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rkyv::bytecheck::CheckBytes;
use rkyv::erased::{ErasedPtr, Metadata};
use rkyv::rancor::Fallible;
use rkyv::validation::shared::ValidationState;
use rkyv::validation::{ArchiveContext, SharedContext};

use super::DecodeError;

/// Readable bytes, as addresses: from the first, up to and without the second.
pub type Range = std::ops::Range<usize>;

const MAX_DEPTH: u32 = 512;

/// So often a byte of a valid message is looked at, at most: a node of a `BTreeMap` first to learn its kind, then as that.
const VISITS: usize = 2;

/// Addresses of programs are below this, with five levels of page tables too.
const ADDRESSES: usize = 1 << 57;

/// The context of one check.
pub struct Checker {
    ranges: Vec<Range>,
    depth: u32,
    /// Bytes that may still be looked at.
    budget: usize,
    /// Shared values met: their metadata (a slice's length), and whether their check is complete.
    shared: HashMap<(usize, TypeId), (Metadata, bool)>,
}

impl std::fmt::Debug for Checker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checker").field("ranges", &self.ranges).finish_non_exhaustive()
    }
}

impl Fallible for Checker {
    type Error = DecodeError;
}

/// Checks one archived value.
///
/// # Safety
/// The ranges are readable and initialised, and stay unchanged while the value is in use.
pub(super) unsafe fn validate<A: CheckBytes<Checker>>(slot: *const u8, ranges: &[Range]) -> Result<(), DecodeError> {
    let budget = ranges.iter().map(|range| range.len()).fold(0, usize::saturating_add).saturating_mul(VISITS);
    let mut checker = Checker { ranges: ranges.to_vec(), depth: 0, budget, shared: HashMap::new() };
    checker.check_subtree_ptr(slot, &Layout::new::<A>())?;
    // SAFETY: just checked that `slot` is aligned and within readable, initialised memory.
    unsafe { A::check_bytes(slot.cast::<A>(), &mut checker) }
}

// SAFETY: `check_subtree_ptr` accepts only what lies within one of the ranges, which are readable by the contract of
// `validate`, or has no size and is not null. A "subtree" is all of the ranges.
unsafe impl ArchiveContext<DecodeError> for Checker {
    fn check_subtree_ptr(&mut self, ptr: *const u8, layout: &Layout) -> Result<(), DecodeError> {
        let start = ptr as usize;
        let inside = start
            .checked_add(layout.size())
            .is_some_and(|end| self.ranges.iter().any(|range| range.start <= start && end <= range.end));
        // Nothing is read of nothing: an empty slice may point to where the writer's memory ended, in a block that is not
        // the reader's. It must be an address of a program all the same: rkyv computes it with arithmetic that must not
        // overflow.
        let nothing = layout.size() == 0 && (1..ADDRESSES).contains(&start);
        if !inside && !nothing {
            return Err(DecodeError::new(format!("{} bytes at {start:#x} lie outside of it", layout.size())));
        }
        if !start.is_multiple_of(layout.align()) {
            return Err(DecodeError::new(format!("address {start:#x} is not aligned to {}", layout.align())));
        }
        match self.budget.checked_sub(layout.size()) {
            Some(rest) => self.budget = rest,
            None => return Err(DecodeError::new("its parts overlap")),
        }
        Ok(())
    }

    unsafe fn push_subtree_range(&mut self, _: *const u8, _: *const u8) -> Result<Range, DecodeError> {
        if self.depth == MAX_DEPTH {
            return Err(DecodeError::new(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.depth += 1;
        Ok(0..0)
    }

    unsafe fn pop_subtree_range(&mut self, _: Range) -> Result<(), DecodeError> {
        self.depth = self.depth.saturating_sub(1);
        Ok(())
    }
}

impl SharedContext<DecodeError> for Checker {
    fn start_shared(
        &mut self,
        type_id: TypeId,
        ptr: ErasedPtr,
        metadata_is_eq: unsafe fn(Metadata, Metadata) -> bool,
    ) -> Result<ValidationState, DecodeError> {
        match self.shared.entry((ptr.data_address() as usize, type_id)) {
            Entry::Vacant(entry) => {
                entry.insert((ptr.metadata(), false));
                Ok(ValidationState::Started)
            }
            Entry::Occupied(entry) => {
                let (metadata, finished) = *entry.get();
                // SAFETY: both metadata were given for this type id, so they are of the type the function expects.
                if !unsafe { metadata_is_eq(metadata, ptr.metadata()) } {
                    return Err(DecodeError::new("a shared slice is used with two lengths"));
                }
                Ok(if finished { ValidationState::Finished } else { ValidationState::Pending })
            }
        }
    }

    fn finish_shared(&mut self, type_id: TypeId, ptr: ErasedPtr) -> Result<(), DecodeError> {
        self.shared.insert((ptr.data_address() as usize, type_id), (ptr.metadata(), true));
        Ok(())
    }
}
