//! Putting items into a queue's records.
#![allow(unsafe_code)]

use std::sync::atomic::Ordering;

use super::mutants;
use super::records::{HEADER, Head, LINK_BYTES, What};
use super::ring::{OP_BLOCK, OP_LINK, Place, PutSide, Ring, SEGMENT};
use super::shared::CLOSED;
use crate::arena::{ArenaError, Block, mutant, step};

/// A message, encoded.
#[derive(Debug)]
pub(crate) enum Parcel<'a> {
    /// Root first, in one piece.
    Inline(&'a [u8]),
    /// The root lies at the start of the block.
    Block(Block),
    /// It is in the queue.
    Gone,
}

/// Why nothing was put.
#[derive(Debug)]
pub(crate) enum NotPut {
    Full,
    Closed,
    Arena(ArenaError),
}

impl From<ArenaError> for NotPut {
    fn from(error: ArenaError) -> NotPut {
        NotPut::Arena(error)
    }
}

#[cold]
fn broken() -> NotPut {
    NotPut::Arena(ArenaError::Foreign { what: "a queue's segment" })
}

impl Ring<'_> {
    /// Puts the parcel at the end, if there is room; it is left as it is if not.
    pub(crate) fn put(&self, parcel: &mut Parcel<'_>) -> Result<(), NotPut> {
        self.lock_put()?.put(parcel)
    }

    /// Puts parcels while there is room; how many.
    pub(super) fn has_room(&self, slack: u32) -> bool {
        let most = self.shared.calm.capacity.load(Ordering::Relaxed);
        most == 0 || self.waiting() < (most - most / 8 * slack.min(1)).max(1) as usize
    }

    /// No puts from here on.
    pub(crate) fn close(&self) -> Result<(), ArenaError> {
        let side = self.lock_put()?;
        self.shared.calm.flags.fetch_or(CLOSED, Ordering::SeqCst);
        drop(side);
        self.ring_all();
        Ok(())
    }
}

impl PutSide<'_> {
    /// Full if as many items wait as may.
    #[inline]
    fn check_room(&self, number: u32) -> Result<(), NotPut> {
        let calm = &self.ring.shared.calm;
        if calm.flags.load(Ordering::Relaxed) & CLOSED != 0 {
            return Err(NotPut::Closed);
        }
        let most = match calm.capacity.load(Ordering::Relaxed) {
            0 => super::ring::CAPACITY_MOST as u32,
            most => most,
        };
        let seen = &self.side.seen;
        // Numbers wrap around: what counts is how far they are apart.
        if number.wrapping_sub(seen.load(Ordering::Relaxed)) < most {
            return Ok(());
        }
        let taken = self.ring.shared.get.count.load(Ordering::Acquire);
        seen.store(taken, Ordering::Relaxed);
        if number.wrapping_sub(taken) < most { Ok(()) } else { Err(NotPut::Full) }
    }

    #[inline]
    pub(super) fn put(&self, parcel: &mut Parcel<'_>) -> Result<(), NotPut> {
        let mut place = self.place().ok_or_else(broken)?;
        self.check_room(place.head.number)?;
        let bytes = match parcel {
            Parcel::Inline(bytes) => bytes.len() as u64,
            Parcel::Block(_) => 8,
            Parcel::Gone => return Ok(()),
        };
        if !place.segment.has_room(place.at, bytes) {
            self.link(place.head.number)?;
            place = self.place().ok_or_else(broken)?;
        }
        match parcel {
            Parcel::Inline(payload) => self.put_inline(&place, payload)?,
            Parcel::Block(_) => self.put_block(&place, std::mem::replace(parcel, Parcel::Gone)),
            Parcel::Gone => {}
        }
        *parcel = Parcel::Gone;
        Ok(())
    }

    #[inline]
    fn put_inline(&self, place: &Place, payload: &[u8]) -> Result<(), NotPut> {
        let number = place.head.number;
        let head = Head { number, what: What::Inline, bytes: payload.len() as u32 };
        let next = place.at + head.len();
        let (Some(to), Some(header), Some(behind)) = (
            place.segment.bytes(place.at + HEADER, payload.len() as u64),
            place.segment.word(place.at),
            place.segment.word(next),
        ) else {
            return Err(broken());
        };
        if mutant(mutants::HEADER_FIRST) {
            header.store(head.raw(), Ordering::Release);
            step();
        }
        if mutant(mutants::PASSED_FIRST) {
            self.side.at.store(next, Ordering::Release);
            step();
        }
        // SAFETY: `to` has that many bytes, which nobody reads before the header says that there is an item, and nobody
        // else writes: the lock is held.
        unsafe { std::ptr::copy_nonoverlapping(payload.as_ptr(), to, payload.len()) };
        behind.store(Head::free(number.wrapping_add(1)).raw(), Ordering::Relaxed);
        step();
        header.store(head.raw(), Ordering::Release);
        step();
        self.side.at.store(next, Ordering::Release);
        self.side.count.store(number.wrapping_add(1), Ordering::Release);
        Ok(())
    }

    fn put_block(&self, place: &Place, parcel: Parcel<'_>) {
        let Parcel::Block(block) = parcel else { return };
        let (hold, id) = block.into_parts();
        let redo = &self.side.redo;
        let head = Head { number: place.head.number, what: What::Block, bytes: 8 };
        redo.note_block(id, self.ring.arena.me(), hold);
        redo.segment.store(self.side.segment.load(Ordering::Relaxed), Ordering::Relaxed);
        redo.place.store(place.at, Ordering::Relaxed);
        redo.word.store(head.raw(), Ordering::Relaxed);
        self.commit(OP_BLOCK);
        self.ring.arena.put_hold(hold);
    }

    /// Makes a new segment the newest one. The item to come has this number.
    #[cold]
    fn link(&self, number: u32) -> Result<(), NotPut> {
        let arena = self.ring.arena;
        let block = arena.alloc(SEGMENT)?;
        let id = block.id();
        if let Some(first) = self.ring.segment(id.raw()).as_ref().and_then(|segment| segment.word(0)) {
            first.store(Head::free(number).raw(), Ordering::Relaxed);
        }
        let (hold, id) = block.into_parts();
        let redo = &self.side.redo;
        redo.note_block(id, arena.me(), hold);
        redo.segment.store(self.side.segment.load(Ordering::Relaxed), Ordering::Relaxed);
        redo.place.store(self.side.at.load(Ordering::Relaxed), Ordering::Relaxed);
        redo.word.store(Head { number, what: What::Link, bytes: LINK_BYTES as u32 }.raw(), Ordering::Relaxed);
        self.commit(OP_LINK);
        arena.put_hold(hold);
        Ok(())
    }
}
