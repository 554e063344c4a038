//! Taking items out of a queue's records.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::sync::atomic::Ordering;

use super::records::{HEADER, What};
use super::ring::{GetSide, INLINE_MOST, OP_TAKE, Place, Ring};
use crate::arena::{ArenaError, Block, BlockId, ThreadId, step};

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

    pub(super) fn tray(&mut self) -> Tray {
        // SAFETY: the buffer has that many bytes, and is borrowed for as long as it is written to.
        unsafe { Tray::new(self.0.as_mut_ptr().cast(), 0, INLINE_MOST) }
    }
}

/// Where a short item is copied to, and how long it must be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tray {
    to: *mut u8,
    least: usize,
    most: usize,
}

impl Tray {
    /// # Safety
    /// `to` has room for `most` bytes, which nobody else looks at as long as this is used.
    #[inline]
    pub(super) unsafe fn new(to: *mut u8, least: usize, most: usize) -> Tray {
        Tray { to, least, most }
    }

    /// Copies an item here; `false`, and nothing has happened, if it is not as long as it must be.
    ///
    /// # Safety
    /// `from` has that many bytes, elsewhere.
    #[inline]
    pub(super) unsafe fn fill(self, from: *const u8, len: usize) -> bool {
        let fits = (self.least..=self.most).contains(&len);
        if fits {
            // SAFETY: both have that many bytes.
            unsafe { std::ptr::copy_nonoverlapping(from, self.to, len) };
        }
        fits
    }
}

/// What came of an attempt to take an item that waits for nothing.
#[derive(Debug)]
pub(super) enum AtOnce {
    Taken(Item),
    /// There is nothing.
    Nothing,
    /// It cannot be taken; whether it is gone with that is not known, so nobody may try again in silence.
    Failed(ArenaError),
    /// Somebody is in the way.
    Perhaps,
}

/// An item, in the hands of this process.
#[derive(Debug)]
pub(crate) enum Item {
    /// It was copied: root first, in one piece.
    Inline,
    /// The root lies at the start of the block.
    Block(Block),
}

impl Ring<'_> {
    /// Takes the oldest item if nobody is in the way.
    #[inline]
    pub(super) fn take_at_once(&self, me: ThreadId, tray: Tray) -> AtOnce {
        let Some(side) = self.get_side_at_once(me) else { return AtOnce::Perhaps };
        let Some(place) = side.place() else { return AtOnce::Nothing };
        match place.head.what {
            What::Free => AtOnce::Nothing,
            What::Inline if side.take_inline(&place, tray).is_some() => AtOnce::Taken(Item::Inline),
            What::Inline => AtOnce::Perhaps,
            What::Block | What::Link => match side.take_and_unlock(tray) {
                Ok(Some(item)) => AtOnce::Taken(item),
                Ok(None) => AtOnce::Nothing,
                Err(error) => AtOnce::Failed(error),
            },
        }
    }

    /// Takes the oldest item; `None` if there is none.
    pub(super) fn take(&self, tray: Tray) -> Result<Option<Item>, ArenaError> {
        self.lock_get()?.take_and_unlock(tray)
    }
}

impl GetSide<'_> {
    fn take_and_unlock(self, tray: Tray) -> Result<Option<Item>, ArenaError> {
        let mut spent = None;
        let taken = self.take(tray, &mut spent);
        drop(self);
        // Outside of the lock.
        drop(spent);
        taken
    }

    /// Takes the oldest item. A segment that has no more items is put into `spent`.
    #[inline]
    pub(super) fn take(&self, tray: Tray, spent: &mut Option<Block>) -> Result<Option<Item>, ArenaError> {
        const BROKEN: ArenaError = ArenaError::Foreign { what: "a queue's record" };
        loop {
            let Some(place) = self.place() else { return Ok(None) };
            let head = place.head;
            match head.what {
                What::Free => return Ok(None),
                What::Inline => {
                    self.take_inline(&place, tray).ok_or(BROKEN)?;
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

    /// Takes the short item at `place`; `None`, and nothing has happened, if it is not as it should be.
    #[inline]
    fn take_inline(&self, place: &Place, tray: Tray) -> Option<()> {
        let head = place.head;
        let from = place.segment.bytes(place.at + HEADER, u64::from(head.bytes))?;
        // SAFETY: that many bytes are in the segment; the header, read with Acquire, says that they are written, and they stay
        // until this side, whose lock is held, has passed them.
        unsafe { tray.fill(from, head.bytes as usize) }.then_some(())?;
        step();
        self.side.at.store(place.at + head.len(), Ordering::Release);
        step();
        self.side.count.store(head.number.wrapping_add(1), Ordering::Release);
        Some(())
    }

    fn block_at(&self, place: &Place) -> Option<BlockId> {
        BlockId::from_raw(place.segment.word(place.at + HEADER)?.load(Ordering::Relaxed))
    }

    /// Goes on to the next segment; the old one if it is a block.
    #[cold]
    pub(super) fn follow(&self, place: &Place) -> Result<Option<Block>, ArenaError> {
        let next = self.block_at(place).ok_or(ArenaError::Foreign { what: "a queue's next segment" })?;
        let arena = self.ring.arena;
        // Whoever finishes a dead producer's put writes into the segment again. The last change there was the link to the next one:
        // it is done when `op` is 0 after the link was seen. Else it is done with the lock in hand.
        let put = &self.ring.shared.put;
        let is_done = put.op.load(Ordering::Acquire) == 0;
        let _producers = (!is_done).then(|| self.ring.lock_put()).transpose()?;
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
