//! Taking items out of a queue's records.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::sync::atomic::Ordering;

use super::records::{HEADER, What};
use super::ring::{GetSide, INLINE_MOST, OP_TAKE, Place, Ring};
use crate::arena::{ArenaError, Block, BlockId, step};

/// Where an item is copied to that lay in a record.
#[repr(C, align(64))]
pub(crate) struct Buffer(MaybeUninit<[u8; INLINE_MOST]>);

impl Buffer {
    pub(crate) fn new() -> Buffer {
        Buffer(MaybeUninit::uninit())
    }

    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr().cast()
    }
}

/// An item, in the hands of this process.
#[derive(Debug)]
pub(crate) enum Item {
    /// It was copied to the buffer: root first, in one piece.
    Inline,
    /// The root lies at the start of the block.
    Block(Block),
}

impl Ring<'_> {
    /// Takes the oldest item; `None` if there is none.
    pub(crate) fn take(&self, buffer: &mut Buffer) -> Result<Option<Item>, ArenaError> {
        let mut spent = None;
        let side = self.lock_get()?;
        let taken = side.take(buffer, &mut spent);
        drop(side);
        // Outside of the lock.
        drop(spent);
        taken
    }
}

impl GetSide<'_> {
    /// Takes the oldest item. A segment that has no more items is put into `spent`.
    #[inline]
    pub(super) fn take(&self, buffer: &mut Buffer, spent: &mut Option<Block>) -> Result<Option<Item>, ArenaError> {
        const BROKEN: ArenaError = ArenaError::Foreign { what: "a queue's record" };
        loop {
            let Some(place) = self.place() else { return Ok(None) };
            let head = place.head;
            match head.what {
                What::Free => return Ok(None),
                What::Inline => {
                    let len = head.bytes as usize;
                    if len > INLINE_MOST {
                        return Err(BROKEN);
                    }
                    let from = place.segment.bytes(place.at + HEADER, u64::from(head.bytes)).ok_or(BROKEN)?;
                    // SAFETY: that many bytes are in the segment; the header, read with Acquire, says that they are written, and
                    // they stay until this side, whose lock is held, has passed them. The buffer is long enough.
                    unsafe { std::ptr::copy_nonoverlapping(from, buffer.0.as_mut_ptr().cast::<u8>(), len) };
                    step();
                    self.side.at.store(place.at + head.len(), Ordering::Release);
                    step();
                    self.side.count.store(head.number.wrapping_add(1), Ordering::Release);
                    return Ok(Some(Item::Inline));
                }
                What::Block => {
                    let id = self.block_at(&place).ok_or(BROKEN)?;
                    let arena = self.ring.arena;
                    let hold = arena.take_hold()?;
                    self.begin(OP_TAKE, Some((id, hold)), 0);
                    self.side.at.store(place.at + head.len(), Ordering::Release);
                    self.end();
                    self.side.count.store(head.number.wrapping_add(1), Ordering::Release);
                    return Ok(Some(Item::Block(Block::from_parts(arena, hold, id).ok_or(BROKEN)?)));
                }
                What::Link => *spent = self.follow(&place)?,
            }
        }
    }

    fn block_at(&self, place: &Place) -> Option<BlockId> {
        BlockId::from_raw(place.segment.word(place.at + HEADER)?.load(Ordering::Relaxed))
    }

    /// Goes on to the next segment; the old one if it is a block.
    #[cold]
    pub(super) fn follow(&self, place: &Place) -> Result<Option<Block>, ArenaError> {
        let next = self.block_at(place).ok_or(ArenaError::Foreign { what: "a queue's next segment" })?;
        let arena = self.ring.arena;
        // Whoever finishes a dead producer's put writes into the segment again: not while this lock is held, nor after.
        let _producers = self.ring.lock_put()?;
        let old = BlockId::from_raw(self.side.segment.load(Ordering::Relaxed));
        let old = old.map(|id| Ok::<_, ArenaError>((id, arena.take_hold()?))).transpose()?;
        self.begin(OP_TAKE, old, 0);
        self.side.segment.store(next.raw(), Ordering::Release);
        step();
        self.side.at.store(0, Ordering::Release);
        self.end();
        Ok(old.and_then(|(id, hold)| Block::from_parts(arena, hold, id)))
    }
}
