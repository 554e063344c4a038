//! Putting items into a queue's records.
#![allow(unsafe_code)]

use std::sync::atomic::Ordering;

use super::mutants;
use super::records::{HEADER, Head, LINK_BYTES, What};
use super::ring::{OP_BLOCK, OP_LINK, Place, PutSide, Ring, SEGMENT};
use super::shared::CLOSED;
use crate::arena::{ArenaError, Block, ThreadId, mutant, step};

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

/// Whether one more item may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Yes,
    Full,
    Closed,
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

    /// Puts a short item if nobody and nothing is in the way; `false`, and nothing has happened, if that is to be looked at.
    #[inline]
    pub(super) fn put_at_once(&self, me: ThreadId, payload: &[u8]) -> bool {
        let Some(side) = self.put_side_at_once(me) else { return false };
        let Some(place) = side.place() else { return false };
        side.room(place.head.number) == Room::Yes
            && place.segment.has_room(place.at, payload.len() as u64)
            && side.put_inline(&place, payload).is_some()
    }

    /// Whether there may be room, without a lock.
    pub(super) fn has_room(&self) -> bool {
        self.capacity().is_none_or(|most| self.waiting() < most)
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
    /// Whether the item of this number may be put.
    #[inline]
    fn room(&self, number: u32) -> Room {
        let calm = &self.ring.shared.calm;
        if calm.flags.load(Ordering::Relaxed) & CLOSED != 0 {
            return Room::Closed;
        }
        let most = match calm.capacity.load(Ordering::Relaxed) {
            0 => super::ring::CAPACITY_MOST as u32,
            most => most,
        };
        let seen = &self.side.seen;
        // Numbers wrap around: what counts is how far they are apart.
        if number.wrapping_sub(seen.load(Ordering::Relaxed)) < most {
            return Room::Yes;
        }
        let taken = self.ring.shared.get.count.load(Ordering::Acquire);
        seen.store(taken, Ordering::Relaxed);
        if number.wrapping_sub(taken) < most { Room::Yes } else { Room::Full }
    }

    #[inline]
    pub(super) fn put(&self, parcel: &mut Parcel<'_>) -> Result<(), NotPut> {
        let mut place = self.place().ok_or_else(broken)?;
        match self.room(place.head.number) {
            Room::Yes => {}
            Room::Full => return Err(NotPut::Full),
            Room::Closed => return Err(NotPut::Closed),
        }
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
            Parcel::Inline(payload) => self.put_inline(&place, payload).ok_or_else(broken)?,
            Parcel::Block(_) => self.put_block(&place, std::mem::replace(parcel, Parcel::Gone)),
            Parcel::Gone => {}
        }
        *parcel = Parcel::Gone;
        Ok(())
    }

    /// `None`, and nothing has happened, where the segment is not what it should be.
    #[inline]
    fn put_inline(&self, place: &Place, payload: &[u8]) -> Option<()> {
        let number = place.head.number;
        let head = Head { number, what: What::Inline, bytes: payload.len() as u32 };
        let next = place.at + head.len();
        let to = place.segment.bytes(place.at + HEADER, payload.len() as u64)?;
        let (header, behind) = (place.segment.word(place.at)?, place.segment.word(next)?);
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
        Some(())
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
