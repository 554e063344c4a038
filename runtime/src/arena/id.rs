//! The ids by which processes, threads and blocks are named in shared memory.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};

/// A byte offset in the arena's mapping.
pub(crate) type Pos = u64;

/// How many processes a family can have.
pub(crate) const SLOTS: usize = 1 << SLOT_BITS;
/// How many threads of a family can use the arena at once.
pub(crate) const THREADS: usize = 1 << THREAD_BITS;
/// Blocks are aligned to this.
pub(crate) const ALIGN: usize = 64;

const SLOT_BITS: u32 = 10;
const THREAD_BITS: u32 = 13;
const THREAD_GENERATION_BITS: u32 = 18;
const BLOCK_GENERATION_BITS: u32 = 30;
const OWNER_GENERATION_MAX: u32 = (1 << (32 - SLOT_BITS)) - 1;
const THREAD_GENERATION_MAX: u32 = (1 << THREAD_GENERATION_BITS) - 1;
/// The largest generation of a block.
pub(crate) const BLOCK_GENERATION_MAX: u32 = (1 << BLOCK_GENERATION_BITS) - 1;

/// One life of a process slot: slot 10 bits, generation 22 bits (never 0).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Owner(NonZeroU32);

impl Owner {
    /// The owner of `slot` in its life `generation`; `None` if either is out of range.
    #[inline]
    pub(crate) fn new(slot: usize, generation: u32) -> Option<Owner> {
        let slot = u32::try_from(slot).ok().filter(|slot| *slot < 1 << SLOT_BITS)?;
        (1..=OWNER_GENERATION_MAX).contains(&generation).then_some(())?;
        NonZeroU32::new(generation << SLOT_BITS | slot).map(Owner)
    }

    /// From [`Owner::raw`]; `None` for a value that names no process.
    #[inline]
    pub(crate) fn from_raw(raw: u32) -> Option<Owner> {
        (raw >> SLOT_BITS != 0).then_some(())?;
        NonZeroU32::new(raw).map(Owner)
    }

    #[inline]
    pub(crate) fn raw(self) -> u32 {
        self.0.get()
    }

    #[inline]
    pub(crate) fn slot(self) -> usize {
        (self.raw() & ((1 << SLOT_BITS) - 1)) as usize
    }

    #[inline]
    pub(crate) fn generation(self) -> u32 {
        self.raw() >> SLOT_BITS
    }

    /// The generation after `generation`: counts 1, 2, .. and from the largest to 1.
    #[inline]
    pub(crate) fn next_generation(generation: u32) -> u32 {
        if generation >= OWNER_GENERATION_MAX { 1 } else { generation + 1 }
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Owner({}.{})", self.slot(), self.generation())
    }
}

/// One life of a thread record: record 13 bits, generation 18 bits (never 0); bit 31 is clear, for a lock's "waiters".
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ThreadId(NonZeroU32);

impl ThreadId {
    #[inline]
    pub(crate) fn new(index: usize, generation: u32) -> Option<ThreadId> {
        let index = u32::try_from(index).ok().filter(|index| *index < 1 << THREAD_BITS)?;
        (1..=THREAD_GENERATION_MAX).contains(&generation).then_some(())?;
        NonZeroU32::new(generation << THREAD_BITS | index).map(ThreadId)
    }

    #[inline]
    pub(crate) fn from_raw(raw: u32) -> Option<ThreadId> {
        (raw >> 31 == 0 && raw >> THREAD_BITS != 0).then_some(())?;
        NonZeroU32::new(raw).map(ThreadId)
    }

    #[inline]
    pub(crate) fn raw(self) -> u32 {
        self.0.get()
    }

    #[inline]
    pub(crate) fn index(self) -> usize {
        (self.raw() & ((1 << THREAD_BITS) - 1)) as usize
    }

    #[inline]
    pub(crate) fn generation(self) -> u32 {
        self.raw() >> THREAD_BITS
    }

    #[inline]
    pub(crate) fn next_generation(generation: u32) -> u32 {
        if generation >= THREAD_GENERATION_MAX { 1 } else { generation + 1 }
    }
}

impl fmt::Debug for ThreadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ThreadId({}.{})", self.index(), self.generation())
    }
}

/// One life of a block: position / 64 in 34 bits, generation in 30 bits (never 0).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct BlockId(NonZeroU64);

impl BlockId {
    /// The block at `pos`, a multiple of 64 below 1 TiB, in its life `generation`.
    #[inline]
    pub(crate) fn new(pos: Pos, generation: u32) -> Option<BlockId> {
        let fits = pos.is_multiple_of(ALIGN as u64) && pos / (ALIGN as u64) < 1 << 34;
        (fits && (1..=BLOCK_GENERATION_MAX).contains(&generation)).then_some(())?;
        NonZeroU64::new((pos / ALIGN as u64) << BLOCK_GENERATION_BITS | u64::from(generation)).map(BlockId)
    }

    /// From [`BlockId::raw`]; `None` for a value that names no block.
    #[inline]
    pub(crate) fn from_raw(raw: u64) -> Option<BlockId> {
        (raw & u64::from(BLOCK_GENERATION_MAX) != 0).then_some(())?;
        NonZeroU64::new(raw).map(BlockId)
    }

    #[inline]
    pub(crate) fn raw(self) -> u64 {
        self.0.get()
    }

    #[inline]
    pub(crate) fn pos(self) -> Pos {
        (self.raw() >> BLOCK_GENERATION_BITS) * ALIGN as u64
    }

    #[inline]
    pub(crate) fn generation(self) -> u32 {
        (self.raw() & u64::from(BLOCK_GENERATION_MAX)) as u32
    }

    #[inline]
    pub(crate) fn next_generation(generation: u32) -> u32 {
        if generation >= BLOCK_GENERATION_MAX { 1 } else { generation + 1 }
    }
}

impl fmt::Debug for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockId({:#x}.{})", self.pos(), self.generation())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_raw_form_and_refuse_zero() {
        let owner = Owner::new(1023, OWNER_GENERATION_MAX).unwrap();
        assert_eq!(Owner::from_raw(owner.raw()), Some(owner));
        assert_eq!((owner.slot(), owner.generation()), (1023, OWNER_GENERATION_MAX));
        assert_eq!(Owner::from_raw(1023), None);
        assert_eq!(Owner::new(1024, 1), None);
        let thread = ThreadId::new(8191, THREAD_GENERATION_MAX).unwrap();
        assert_eq!(ThreadId::from_raw(thread.raw()), Some(thread));
        assert_eq!(thread.raw() >> 31, 0);
        assert_eq!(ThreadId::from_raw(thread.raw() | 1 << 31), None);
        let block = BlockId::new((1 << 40) - 64, BLOCK_GENERATION_MAX).unwrap();
        assert_eq!(BlockId::from_raw(block.raw()), Some(block));
        assert_eq!((block.pos(), block.generation()), ((1 << 40) - 64, BLOCK_GENERATION_MAX));
        assert_eq!(BlockId::new(32, 1), None);
        assert_eq!(BlockId::new(1 << 40, 1), None);
        assert_eq!(BlockId::from_raw(64 << 30), None);
    }
}
