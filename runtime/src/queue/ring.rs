//! The two locks of a queue, and what is done when one is taken over from a dead process.
//!
//! `README.md` has the protocol. In short: a put is committed by the store of a record's header, or of `Put::op` where a block
//! changes hands, and is then carried forward by whoever comes next. A get is committed by the store of `Get::at`, or of
//! `Get::op = 0` where a block changes hands; before that it is undone by whoever comes next.
//!
//! Lock order: the queue's object, get, put.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use super::mutants;
use super::records::{HEADER, Head, LINK_BYTES, RESERVE, Segment, What};
use super::shared::{CLOSED, Get, JOINABLE, Put, Redo, Shared};
use crate::arena::{Arena, ArenaError, BlockId, Owner, Pos, ThreadId, mutant, step};
use crate::sync::owner_lock::Got;

/// Bytes of a segment that is not the first.
pub(super) const SEGMENT: usize = 16 << 10;
/// Items up to so many bytes lie in records, others in blocks of their own.
pub(crate) const INLINE_MOST: usize = 2 << 10;
/// More items than that cannot wait in a queue.
pub(crate) const CAPACITY_MOST: usize = 1 << 30;

const _: () = assert!(INLINE_MOST as u64 + 2 * HEADER + RESERVE < SEGMENT as u64 / 4);

/// [`Put::op`]: a block becomes an item.
pub(super) const OP_BLOCK: u32 = 1;
/// [`Put::op`]: a block becomes the newest segment.
pub(super) const OP_LINK: u32 = 2;
/// [`Get::op`]: a block, an item or a segment, is taken, or the first segment is left. Undone.
pub(super) const OP_TAKE: u32 = 3;
/// [`Get::op`]: an item becomes a job. Undone.
pub(super) const OP_JOB: u32 = 4;
/// [`Get::op`]: a job is done, and its block taken. Finished.
pub(super) const OP_DONE: u32 = 5;
/// [`Get::op`]: the table of jobs gets a new part. Finished.
pub(super) const OP_TABLE: u32 = 6;

/// A queue's memory as this process sees it. The queue lives as long as this is used.
#[derive(Clone, Copy)]
pub(crate) struct Ring<'a> {
    pub(super) arena: &'static Arena,
    pub(super) shared: &'a Shared,
    /// The first segment, in the queue's own block.
    first: Segment,
}

/// The put side, locked.
pub(super) struct PutSide<'a> {
    pub(super) ring: Ring<'a>,
    pub(super) side: &'a Put,
}

/// The get side, locked.
pub(super) struct GetSide<'a> {
    pub(super) ring: Ring<'a>,
    pub(super) side: &'a Get,
}

impl Drop for PutSide<'_> {
    fn drop(&mut self) {
        self.side.lock.unlock();
    }
}

impl Drop for GetSide<'_> {
    fn drop(&mut self) {
        self.side.lock.unlock();
    }
}

impl<'a> Ring<'a> {
    pub(super) fn new(arena: &'static Arena, shared: &'a Shared, first: Segment) -> Ring<'a> {
        Ring { arena, shared, first }
    }

    /// The segment that a side's word names.
    #[inline]
    pub(super) fn segment(&self, raw: u64) -> Option<Segment> {
        match BlockId::from_raw(raw) {
            None => Some(self.first),
            Some(id) => {
                let start = self.arena.at(id.pos(), SEGMENT)?;
                // SAFETY: payload, as long as was asked for, aligned to 64, and mapped for ever.
                Some(unsafe { Segment::new(start, SEGMENT as u64) })
            }
        }
    }

    #[inline(always)]
    fn me(&self) -> Result<ThreadId, ArenaError> {
        match self.arena.thread_at_hand() {
            Some(me) => Ok(me),
            None => Ok(self.arena.thread()?.id),
        }
    }

    #[inline]
    pub(super) fn lock_put(&self) -> Result<PutSide<'a>, ArenaError> {
        let me = self.me()?;
        let got = self.shared.put.lock.lock(me, |holder| self.arena.is_dead_thread(holder));
        let side = PutSide { ring: *self, side: &self.shared.put };
        if let Got::FromDead(_) = got {
            side.carry_forward();
        }
        Ok(side)
    }

    #[inline]
    pub(super) fn lock_get(&self) -> Result<GetSide<'a>, ArenaError> {
        let me = self.me()?;
        let got = self.shared.get.lock.lock(me, |holder| self.arena.is_dead_thread(holder));
        let side = GetSide { ring: *self, side: &self.shared.get };
        if let Got::FromDead(_) = got {
            side.recover();
        }
        Ok(side)
    }

    /// The put side if its lock is free. Nobody has died with it then, so nothing is to be finished.
    #[inline]
    pub(super) fn put_side_at_once(&self, me: ThreadId) -> Option<PutSide<'a>> {
        self.shared.put.lock.try_lock(me).then(|| PutSide { ring: *self, side: &self.shared.put })
    }

    /// The get side if its lock is free, in the same way.
    #[inline]
    pub(super) fn get_side_at_once(&self, me: ThreadId) -> Option<GetSide<'a>> {
        self.shared.get.lock.try_lock(me).then(|| GetSide { ring: *self, side: &self.shared.get })
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.calm.flags.load(Ordering::SeqCst) & CLOSED != 0
    }

    pub(super) fn is_joinable(&self) -> bool {
        self.shared.calm.flags.load(Ordering::Relaxed) & JOINABLE != 0
    }

    /// How many items may wait; `None` for any number.
    pub(crate) fn capacity(&self) -> Option<usize> {
        match self.shared.calm.capacity.load(Ordering::Relaxed) {
            0 => None,
            most => Some(most as usize),
        }
    }

    /// How many items wait to be taken, without a lock: right when nobody puts or takes meanwhile.
    pub(crate) fn waiting(&self) -> usize {
        let taken = self.shared.get.count.load(Ordering::Acquire);
        let put = self.shared.put.count.load(Ordering::Acquire);
        let waiting = put.wrapping_sub(taken) as i32;
        usize::try_from(waiting).unwrap_or(0)
    }

    /// Whether the oldest record can be seen, without a lock: a hint.
    #[inline]
    pub(super) fn peek(&self) -> bool {
        let side = &self.shared.get;
        let segment = self.segment(side.segment.load(Ordering::Acquire));
        let head = segment.and_then(|segment| segment.head(side.at.load(Ordering::Relaxed)));
        head.is_some_and(|head| head.what != What::Free)
    }

    /// What makes everybody who sleeps look again.
    pub(super) fn ring_all(&self) {
        let calm = &self.shared.calm;
        [&calm.items, &calm.space, &calm.idle].into_iter().for_each(|bell| bell.ring_all());
        self.shared.put.lock.wake_all();
        self.shared.get.lock.wake_all();
    }
}

impl Redo {
    /// Notes that `id` moves between `hold`, an entry of `owner`, and the queue.
    pub(super) fn note_block(&self, id: BlockId, owner: Owner, hold: u32) {
        self.block.store(id.raw(), Ordering::Relaxed);
        self.entry.store(u64::from(owner.raw()) << 32 | u64::from(hold), Ordering::Relaxed);
    }

    pub(super) fn block(&self) -> Option<BlockId> {
        BlockId::from_raw(self.block.load(Ordering::Relaxed))
    }

    pub(super) fn entry(&self) -> u64 {
        self.entry.load(Ordering::Relaxed)
    }
}

/// Where a side stands.
pub(super) struct Place {
    pub(super) segment: Segment,
    pub(super) at: u64,
    pub(super) head: Head,
}

#[inline]
fn place(ring: &Ring<'_>, segment: &AtomicU64, at: &AtomicU64) -> Option<Place> {
    let segment = ring.segment(segment.load(Ordering::Relaxed))?;
    let at = at.load(Ordering::Relaxed);
    Some(Place { segment, at, head: segment.head(at)? })
}

impl PutSide<'_> {
    #[inline]
    pub(super) fn place(&self) -> Option<Place> {
        place(&self.ring, &self.side.segment, &self.side.at)
    }

    /// Carries out the change that the record describes. Repeatable: absolute values, and blocks that move from one holder.
    ///
    /// Takers of items may be at work meanwhile. They cannot give a segment back: for that they take this side's lock.
    pub(super) fn apply(&self, op: u32) {
        let (side, redo) = (self.side, &self.side.redo);
        let Some(id) = redo.block() else { return };
        let (at, head) = (redo.place.load(Ordering::Relaxed), Head::from_raw(redo.word.load(Ordering::Relaxed)));
        let Some(segment) = self.ring.segment(redo.segment.load(Ordering::Relaxed)) else { return };
        self.ring.arena.exchange(Some(id), None, redo.entry());
        step();
        let words = [segment.word(at), segment.word(at + HEADER)];
        let [Some(header), Some(payload)] = words else { return };
        payload.store(id.raw(), Ordering::Relaxed);
        if op == OP_LINK {
            header.store(head.raw(), Ordering::Release);
            step();
            side.segment.store(id.raw(), Ordering::Release);
            side.at.store(0, Ordering::Release);
        } else {
            let next = at + head.len();
            if let Some(behind) = segment.word(next) {
                behind.store(Head::free(head.number.wrapping_add(1)).raw(), Ordering::Relaxed);
            }
            step();
            header.store(head.raw(), Ordering::Release);
            step();
            side.at.store(next, Ordering::Release);
            side.count.store(head.number.wrapping_add(1), Ordering::Release);
        }
    }

    /// Notes the change, makes it, forgets it. Committed by the store of `op`.
    pub(super) fn commit(&self, op: u32) {
        step();
        if !mutant(mutants::PUT_UNRECORDED) {
            self.side.op.store(op, Ordering::Release);
        }
        step();
        self.apply(op);
        step();
        self.side.op.store(0, Ordering::Release);
        step();
    }

    /// Finishes what a dead holder of the lock had committed.
    #[cold]
    fn carry_forward(&self) {
        let op = self.side.op.load(Ordering::Acquire);
        if op != 0 {
            self.apply(op);
        }
        step();
        self.side.op.store(0, Ordering::Release);
        step();
        // An item in a record is there from the store of its header on.
        while let Some(place) = self.place()
            && matches!(place.head.what, What::Inline | What::Block)
        {
            self.side.count.store(place.head.number.wrapping_add(1), Ordering::Release);
            self.side.at.store(place.at + place.head.len(), Ordering::Release);
        }
    }
}

impl GetSide<'_> {
    #[inline]
    pub(super) fn place(&self) -> Option<Place> {
        place(&self.ring, &self.side.segment, &self.side.at)
    }

    /// Begins a change that is undone, until it is ended, by whoever takes the lock over. It may move a block to entry `hold`
    /// of this process, and may fill the place `job` in the table of jobs.
    pub(super) fn begin(&self, op: u32, block: Option<(BlockId, u32)>, job: Pos) {
        let (side, redo) = (self.side, &self.side.redo);
        redo.block.store(0, Ordering::Relaxed);
        if let Some((id, hold)) = block {
            redo.note_block(id, self.ring.arena.me(), hold);
        }
        redo.segment.store(side.segment.load(Ordering::Relaxed), Ordering::Relaxed);
        redo.at.store(side.at.load(Ordering::Relaxed), Ordering::Relaxed);
        redo.place.store(job, Ordering::Relaxed);
        step();
        let recorded = match op {
            OP_JOB => !mutant(mutants::JOB_UNRECORDED),
            _ => !mutant(mutants::TAKE_UNRECORDED),
        };
        if recorded {
            side.op.store(op, Ordering::Release);
        }
        step();
        if let Some((id, _)) = block {
            self.ring.arena.exchange(None, Some(id), redo.entry());
            step();
        }
    }

    /// Ends it: from here on it stands.
    pub(super) fn end(&self) {
        step();
        self.side.op.store(0, Ordering::Release);
        step();
    }

    /// Undoes, or finishes, what a dead holder of the lock had begun.
    #[cold]
    fn recover(&self) {
        let (side, redo) = (self.side, &self.side.redo);
        match side.op.load(Ordering::Acquire) {
            0 => {}
            op @ (OP_DONE | OP_TABLE) => self.apply(op),
            op => {
                if op == OP_JOB {
                    self.ring.clear_job(redo.place.load(Ordering::Relaxed));
                }
                if let Some(id) = redo.block() {
                    self.ring.arena.exchange(Some(id), None, redo.entry());
                }
                step();
                side.segment.store(redo.segment.load(Ordering::Relaxed), Ordering::Release);
                side.at.store(redo.at.load(Ordering::Relaxed), Ordering::Release);
            }
        }
        step();
        side.op.store(0, Ordering::Release);
        step();
        if let Some(place) = self.place() {
            side.count.store(place.head.number, Ordering::Release);
        }
    }
}

impl Segment {
    /// Room for a record of `bytes` of payload at `at`, and behind it for what every record leaves room for.
    #[inline]
    pub(super) fn has_room(&self, at: u64, bytes: u64) -> bool {
        at + HEADER + bytes.next_multiple_of(8) + HEADER.max(RESERVE) <= self.len()
    }
}

const _: () = assert!(LINK_BYTES == 16);
