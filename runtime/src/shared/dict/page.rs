//! A page of a table: buckets of seven cells, each with a byte of its key's hash.
//!
//! ```text
//! Page      lock and redo record, 128 B | depth, prefix, changes and count, epoch, 64 B | 17 buckets of 64 B
//! Bucket    meta: seven tags (0: free), and how many keys that belong here are further on | seven cells
//! ```
//! A cell names the block of an image ([`super::super::image`]). A key's bucket follows from its hash; where that is full,
//! the key goes to one of the next. Who looks for a key goes on while buckets say that keys of theirs are further on.
//!
//! Everything is written under the page's lock, by redo records; it is read without. A cell is set before its tag and cleared
//! after it, so that a tag with an empty cell, like an empty tag, is a key that is not there.
//!
//! Invariants of the unsafe code here: a page's block is at least as long as a `Page`, which consists of atomics only.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use crate::arena::journal::{Action, Guarded};
use crate::arena::{Arena, BlockId, Pos};

pub(super) const BUCKETS: usize = 17;
pub(super) const CELLS: usize = 7;
/// How many buckets further on a key may go before the page is split rather.
pub(super) const NEAR: usize = 3;

#[repr(C, align(64))]
pub(super) struct Bucket {
    pub(super) meta: AtomicU64,
    pub(super) cells: [AtomicU64; CELLS],
}

#[repr(C, align(64))]
pub(super) struct Page {
    pub(super) guarded: Guarded,
    /// How many low bits of a key's hash are this page's `prefix`.
    pub(super) depth: AtomicU64,
    pub(super) prefix: AtomicU64,
    /// How many keys, 32 bits, and how often one was added or removed, 32 bits above.
    pub(super) count: AtomicU64,
    /// Of which epoch of the table its keys are.
    pub(super) epoch: AtomicU64,
    _spare: [AtomicU64; 4],
    pub(super) buckets: [Bucket; BUCKETS],
}

const _: () = assert!(size_of::<Page>() == 128 + 64 + 64 * BUCKETS && size_of::<Page>() <= 1280);

/// Which byte of a hash stands in a meta word.
#[inline]
pub(super) fn tag_of(hash: u64) -> u8 {
    ((hash >> 56) as u8).max(1)
}

/// The bucket that a hash belongs to.
#[inline]
pub(super) fn home_of(hash: u64) -> usize {
    ((hash >> 32 & 0xffff) as usize * BUCKETS) >> 16
}

/// The byte of the meta word that says how many keys are further on.
pub(super) const BEYOND: usize = CELLS;

#[inline]
pub(super) fn byte(meta: u64, index: usize) -> u8 {
    (meta >> (8 * index)) as u8
}

#[inline]
pub(super) fn with_byte(meta: u64, index: usize, value: u8) -> u64 {
    meta & !(0xff << (8 * index)) | u64::from(value) << (8 * index)
}

/// The indices, among the seven, of bytes equal to `tag`. May name one that is not, after one that is.
#[inline]
pub(super) fn matching(meta: u64, tag: u8) -> impl Iterator<Item = usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x0080_8080_8080_8080;
    let differs = meta ^ (u64::from(tag) * ONES);
    let mut hits = differs.wrapping_sub(ONES) & !differs & HIGH;
    std::iter::from_fn(move || {
        let index = hits.trailing_zeros() as usize / 8;
        hits &= hits.wrapping_sub(1);
        (index < CELLS).then_some(index)
    })
}

/// The first of the seven cells without a key.
#[inline]
pub(super) fn free_cell(meta: u64) -> Option<usize> {
    (0..CELLS).find(|index| byte(meta, *index) == 0)
}

/// A page in shared memory.
#[derive(Clone, Copy)]
pub(super) struct PageRef {
    page: &'static Page,
    pub(super) id: BlockId,
}

impl std::ops::Deref for PageRef {
    type Target = Page;

    #[inline]
    fn deref(&self) -> &Page {
        self.page
    }
}

impl PageRef {
    /// The page `id` of a table that the caller keeps.
    #[inline]
    pub(super) fn new(arena: &'static Arena, id: BlockId) -> Option<PageRef> {
        let start = arena.at(id.pos(), size_of::<Page>())?;
        // SAFETY: payload, aligned as all blocks are; atomics only; the mapping stays.
        Some(PageRef { page: unsafe { start.cast().as_ref() }, id })
    }

    /// The page's lock.
    pub(super) fn lock_word(&self) -> &'static Guarded {
        &self.page.guarded
    }

    /// Is this the page for the hash?
    #[inline]
    pub(super) fn is_for(&self, hash: u64) -> bool {
        let depth = self.depth.load(Ordering::Acquire);
        let mask = (1u64 << depth.min(63)) - 1;
        hash & mask == self.prefix.load(Ordering::Relaxed)
    }

    /// How many keys it has.
    pub(super) fn keys(&self) -> usize {
        self.count.load(Ordering::Acquire) as u32 as usize
    }

    /// The count word after one key more or less.
    pub(super) fn counted(&self, by: i32) -> u64 {
        let word = self.count.load(Ordering::Relaxed);
        let (changes, keys) = ((word >> 32) as u32, word as u32);
        u64::from(changes.wrapping_add(1)) << 32 | u64::from(keys.wrapping_add_signed(by))
    }

    /// Where a word of this page stands in the arena.
    #[inline]
    fn pos_of(&self, word: &AtomicU64) -> Pos {
        self.id.pos() + (std::ptr::from_ref(word) as usize - std::ptr::from_ref(self.page) as usize) as u64
    }

    /// To make `word`, one of this page's, `value`.
    #[inline]
    pub(super) fn store(&self, word: &AtomicU64, value: u64) -> Action {
        Action::Store(self.pos_of(word), value)
    }

    /// Calls `visit` with each cell that may have this key, its bucket and index, until it returns something.
    #[inline]
    pub(super) fn scan<R>(
        &self,
        hash: u64,
        mut visit: impl FnMut(&AtomicU64, BlockId, usize, usize) -> Option<R>,
    ) -> Option<R> {
        let (tag, mut at) = (tag_of(hash), home_of(hash));
        for _ in 0..BUCKETS {
            let bucket = &self.page.buckets[at];
            let meta = bucket.meta.load(Ordering::Acquire);
            for index in matching(meta, tag) {
                let cell = &bucket.cells[index];
                if let Some(id) = BlockId::from_raw(cell.load(Ordering::Acquire))
                    && let Some(found) = visit(cell, id, at, index)
                {
                    return Some(found);
                }
            }
            if byte(meta, BEYOND) == 0 {
                break;
            }
            at = (at + 1) % BUCKETS;
        }
        None
    }
}

/// The meta words of a page, as they are to become.
pub(super) type Metas = [u64; BUCKETS];

/// A place for a key of this hash, at most `reach` buckets from its own: bucket and cell. `metas` learns of it.
pub(super) fn place(metas: &mut Metas, hash: u64, reach: usize) -> Option<(usize, usize)> {
    let home = home_of(hash);
    let far = (0..reach.min(BUCKETS)).find(|far| free_cell(metas[(home + far) % BUCKETS]).is_some())?;
    for passed in 0..far {
        let meta = &mut metas[(home + passed) % BUCKETS];
        *meta = with_byte(*meta, BEYOND, byte(*meta, BEYOND).saturating_add(1));
    }
    let at = (home + far) % BUCKETS;
    let index = free_cell(metas[at])?;
    metas[at] = with_byte(metas[at], index, tag_of(hash));
    Some((at, index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_where_it_was_placed_until_all_cells_are_taken() {
        let mut seed = 11u64;
        for _ in 0..200 {
            let mut metas = [0; BUCKETS];
            let mut placed = Vec::new();
            for _ in 0..BUCKETS * CELLS {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let hash = seed ^ seed >> 29;
                let (at, index) = place(&mut metas, hash, BUCKETS).unwrap();
                assert!(!placed.iter().any(|(_, a, i)| (*a, *i) == (at, index)));
                placed.push((hash, at, index));
            }
            assert_eq!(place(&mut metas, seed, BUCKETS), None);
            for (hash, at, index) in placed {
                let mut bucket = home_of(hash);
                while bucket != at {
                    assert!(byte(metas[bucket], BEYOND) > 0);
                    bucket = (bucket + 1) % BUCKETS;
                }
                assert!(matching(metas[at], tag_of(hash)).any(|it| it == index));
            }
        }
    }

    #[test]
    fn matching_finds_all_bytes_of_a_tag() {
        let meta = u64::from_le_bytes([5, 1, 0, 5, 4, 5, 255, 5]);
        assert_eq!(matching(meta, 5).filter(|index| byte(meta, *index) == 5).collect::<Vec<_>>(), [0, 3, 5]);
        assert_eq!(free_cell(meta), Some(2));
        assert_eq!(free_cell(u64::MAX), None);
    }
}
