//! What of a joinable queue was taken and is not done yet: a table of jobs, changed under the get lock.
//!
//! ```text
//! part    a block of the queue: the id of the part before it, then entries of two words
//! entry   block, 0 if the entry is free        state: taker's Owner 32 bits | stage 2 bits | tries 30 bits
//! stage   HANDED   in the hands of the taker, as a job
//!         GOTTEN   the same, its value given out; `task_done` ends one of these
//!         BACK     its taker died: to be handed out again, before anything in the records
//! ```
//! The block of a job stays the queue's own until the job is done: it is read in place, and is there for the next taker.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use super::mutants;
use super::records::{HEADER, What};
use super::ring::{GetSide, OP_DONE, OP_JOB, OP_TABLE, Place, Ring};
use crate::arena::{ArenaError, Block, BlockId, Owner, Pos, mutant, step};

/// Entries of a part of the table.
const ENTRIES: usize = 63;
const PART: usize = size_of::<[u64; 2]>() * (ENTRIES + 1);
const TRIES: u32 = (1 << 30) - 1;

/// How a job is given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Handed = 1,
    Gotten = 2,
    Back = 3,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    taker: u32,
    stage: Option<Stage>,
    tries: u32,
}

impl State {
    fn raw(self) -> u64 {
        let stage = self.stage.map_or(0, |stage| stage as u64);
        u64::from(self.taker) << 32 | stage << 30 | u64::from(self.tries & TRIES)
    }

    fn from_raw(raw: u64) -> State {
        let stage = match raw >> 30 & 3 {
            1 => Some(Stage::Handed),
            2 => Some(Stage::Gotten),
            3 => Some(Stage::Back),
            _ => None,
        };
        State { taker: (raw >> 32) as u32, stage, tries: raw as u32 & TRIES }
    }
}

/// An item that was handed out.
#[derive(Debug)]
pub(crate) struct Ticket {
    /// Where its entry stands.
    entry: Pos,
    /// The item's block, with the root at its start.
    pub(crate) block: BlockId,
    /// How often it was handed out before.
    pub(crate) tries: u32,
}

/// What became of an attempt to take a job.
#[derive(Debug)]
pub(crate) enum Offer {
    Nothing,
    Job(Ticket),
    /// It was handed out so often, each time to a process that died, that the queue gave it up; it counts as done.
    GivenUp {
        tries: u32,
    },
}

/// An entry of the table.
#[derive(Clone, Copy)]
struct Entry<'a> {
    at: Pos,
    words: &'a [AtomicU64; 2],
}

impl Entry<'_> {
    fn block(&self) -> Option<BlockId> {
        BlockId::from_raw(self.words[0].load(Ordering::Acquire))
    }

    fn state(&self) -> State {
        State::from_raw(self.words[1].load(Ordering::Acquire))
    }

    fn set_state(&self, state: State) {
        self.words[1].store(state.raw(), Ordering::Release);
    }

    fn clear(&self) {
        self.words[0].store(0, Ordering::Release);
        step();
        self.words[1].store(0, Ordering::Release);
    }
}

impl<'a> Ring<'a> {
    /// The two words at `at`, if that is where words can be.
    fn entry_at(&self, at: Pos) -> Option<Entry<'a>> {
        let start = self.arena.at(at, 16).filter(|_| at.is_multiple_of(16))?;
        // SAFETY: payload, which stays mapped, aligned; two atomics.
        Some(Entry { at, words: unsafe { start.cast().as_ref() } })
    }

    /// The parts of the table, newest first.
    pub(super) fn parts(&self) -> impl Iterator<Item = BlockId> + use<'a> {
        let ring = *self;
        let first = BlockId::from_raw(self.shared.jobs.table.load(Ordering::Acquire));
        std::iter::successors(first, move |part| {
            BlockId::from_raw(ring.entry_at(part.pos())?.words[0].load(Ordering::Acquire))
        })
    }

    fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let ring = *self;
        let places = self.parts().flat_map(|part| (1..=ENTRIES as u64).map(move |at| part.pos() + 16 * at));
        places.filter_map(move |at| ring.entry_at(at))
    }

    /// The blocks of all jobs.
    pub(super) fn job_blocks(&self) -> impl Iterator<Item = BlockId> + use<'a> {
        self.entries().filter_map(|entry| entry.block())
    }

    pub(super) fn clear_job(&self, at: Pos) {
        if let Some(entry) = self.entry_at(at) {
            entry.clear();
        }
    }

    /// Takes the oldest item as a job of this process: one that came back, if there is one.
    pub(crate) fn take_job(&self, stage: Stage) -> Result<Offer, ArenaError> {
        let mut spent = None;
        let side = self.lock_get()?;
        let offer = side.take_job(stage, &mut spent);
        drop(side);
        // Outside of the lock.
        drop(spent);
        offer
    }

    /// Ends a job of this process; `false` if it is none, as its process's death was believed, or it was ended before.
    pub(crate) fn end_job(&self, ticket: &Ticket) -> Result<bool, ArenaError> {
        let side = self.lock_get()?;
        let me = self.arena.me().raw();
        let entry = self.entry_at(ticket.entry);
        let mine = entry.filter(|entry| entry.block() == Some(ticket.block) && entry.state().taker == me);
        let ended = mine.map(|entry| side.end_job(&entry)).transpose();
        drop(side);
        // The block goes outside of the lock, with whatever it holds.
        Ok(ended?.is_some())
    }

    /// Ends a job whose value this process has got; `false` if there is none.
    pub(crate) fn end_gotten(&self) -> Result<bool, ArenaError> {
        let side = self.lock_get()?;
        let me = self.arena.me().raw();
        let mine = self.entries().find(|entry| {
            let state = entry.state();
            entry.block().is_some() && state.stage == Some(Stage::Gotten) && state.taker == me
        });
        let ended = mine.map(|entry| side.end_job(&entry)).transpose();
        drop(side);
        // The block goes outside of the lock, with whatever it holds.
        Ok(ended?.is_some())
    }

    /// Gives a job back unfinished, as its taker's death would, without counting that try.
    pub(crate) fn give_back(&self, ticket: &Ticket) -> Result<(), ArenaError> {
        let side = self.lock_get()?;
        let me = self.arena.me().raw();
        if let Some(entry) = self.entry_at(ticket.entry)
            && entry.block() == Some(ticket.block)
            && entry.state().taker == me
        {
            side.ring.shared.jobs.returned.store(1, Ordering::SeqCst);
            step();
            entry.set_state(State { taker: 0, stage: Some(Stage::Back), tries: entry.state().tries });
        }
        Ok(())
    }

    /// Whether every item that was put is done: exactly.
    pub(crate) fn is_idle(&self) -> Result<bool, ArenaError> {
        let _get = self.lock_get()?;
        let _put = self.lock_put()?;
        Ok(self.undone() == 0)
    }

    /// How many items were put and are not done, without a lock. Never more than there are.
    pub(crate) fn undone(&self) -> usize {
        let done = self.shared.jobs.done.load(Ordering::SeqCst);
        let put = self.shared.put.count.load(Ordering::SeqCst);
        usize::try_from(put.wrapping_sub(done) as i32).unwrap_or(0)
    }

    /// How many items have come back and were not handed out again.
    pub(crate) fn came_back(&self) -> usize {
        match self.shared.jobs.returned.load(Ordering::SeqCst) {
            0 => 0,
            _ => self.entries().filter(|entry| entry.state().stage == Some(Stage::Back)).count(),
        }
    }

    /// What the process `dead` had taken and not done comes back.
    pub(super) fn return_jobs_of(&self, dead: Owner) -> Result<(), ArenaError> {
        let side = self.lock_get()?;
        for entry in self.entries() {
            let state = entry.state();
            if entry.block().is_some() && state.taker == dead.raw() {
                side.ring.shared.jobs.returned.store(1, Ordering::SeqCst);
                step();
                entry.set_state(State { taker: 0, stage: Some(Stage::Back), tries: state.tries.saturating_add(1) });
            }
        }
        Ok(())
    }
}

impl GetSide<'_> {
    fn take_job(&self, stage: Stage, spent: &mut Option<Block>) -> Result<Offer, ArenaError> {
        let (ring, me) = (&self.ring, self.ring.arena.me().raw());
        let jobs = &ring.shared.jobs;
        if jobs.returned.load(Ordering::SeqCst) != 0 {
            let back = ring.entries().find(|entry| entry.block().is_some() && entry.state().stage == Some(Stage::Back));
            if let Some(entry) = back
                && let Some(block) = entry.block()
            {
                let tries = entry.state().tries;
                let most = ring.shared.calm.most_tries.load(Ordering::Relaxed);
                if most != 0 && tries >= most {
                    *spent = Some(self.end_job(&entry)?);
                    return Ok(Offer::GivenUp { tries });
                }
                // One store: before it the item is still back, after it this process's.
                entry.set_state(State { taker: me, stage: Some(stage), tries });
                return Ok(Offer::Job(Ticket { entry: entry.at, block, tries }));
            }
            jobs.returned.store(0, Ordering::SeqCst);
        }
        let Some((place, block)) = self.oldest_block(spent)? else { return Ok(Offer::Nothing) };
        let entry = self.free_entry()?;
        self.begin(OP_JOB, None, entry.at);
        entry.set_state(State { taker: me, stage: Some(stage), tries: 0 });
        step();
        entry.words[0].store(block.raw(), Ordering::Release);
        step();
        self.side.at.store(place.at + place.head.len(), Ordering::Release);
        self.end();
        self.side.count.store(place.head.number.wrapping_add(1), Ordering::Release);
        Ok(Offer::Job(Ticket { entry: entry.at, block, tries: 0 }))
    }

    /// The oldest record and its block, past links.
    fn oldest_block(&self, spent: &mut Option<Block>) -> Result<Option<(Place, BlockId)>, ArenaError> {
        const BROKEN: ArenaError = ArenaError::Foreign { what: "a joinable queue's record" };
        loop {
            let Some(place) = self.place() else { return Ok(None) };
            match place.head.what {
                What::Free => return Ok(None),
                What::Block => {
                    let word = place.segment.word(place.at + HEADER).ok_or(BROKEN)?;
                    let block = BlockId::from_raw(word.load(Ordering::Relaxed)).ok_or(BROKEN)?;
                    return Ok(Some((place, block)));
                }
                What::Link => *spent = self.follow(&place)?,
                What::Inline => return Err(BROKEN),
            }
        }
    }

    fn free_entry(&self) -> Result<Entry<'_>, ArenaError> {
        let free = |side: &Self| side.ring.entries().find(|entry| entry.block().is_none());
        if let Some(entry) = free(self) {
            return Ok(entry);
        }
        let arena = self.ring.arena;
        let part = arena.alloc_zeroed(PART)?;
        let before = self.ring.shared.jobs.table.load(Ordering::Relaxed);
        if let Some(link) = self.ring.entry_at(part.pos()) {
            link.words[0].store(before, Ordering::Relaxed);
        }
        let (hold, id) = part.into_parts();
        self.side.redo.note_block(id, arena.me(), hold);
        self.commit(OP_TABLE);
        arena.put_hold(hold);
        free(self).ok_or(ArenaError::Foreign { what: "a joinable queue's table" })
    }

    /// Ends the job of `entry`; its block is this process's then.
    fn end_job(&self, entry: &Entry<'_>) -> Result<Block, ArenaError> {
        const GONE: ArenaError = ArenaError::Foreign { what: "a job's block" };
        let arena = self.ring.arena;
        let id = entry.block().ok_or(GONE)?;
        let hold = arena.take_hold()?;
        let redo = &self.side.redo;
        redo.note_block(id, arena.me(), hold);
        redo.place.store(entry.at, Ordering::Relaxed);
        let done = self.ring.shared.jobs.done.load(Ordering::Relaxed).wrapping_add(1);
        redo.word.store(u64::from(done), Ordering::Relaxed);
        self.commit(OP_DONE);
        Block::from_parts(arena, hold, id).ok_or(GONE)
    }

    fn commit(&self, op: u32) {
        step();
        if !mutant(mutants::DONE_UNRECORDED) {
            self.side.op.store(op, Ordering::Release);
        }
        step();
        self.apply(op);
        step();
        self.side.op.store(0, Ordering::Release);
        step();
    }

    /// Makes the change that the record describes. Repeatable.
    pub(super) fn apply(&self, op: u32) {
        let (ring, redo) = (&self.ring, &self.side.redo);
        let Some(id) = redo.block() else { return };
        if op == OP_TABLE {
            ring.arena.exchange(Some(id), None, redo.entry());
            step();
            ring.shared.jobs.table.store(id.raw(), Ordering::Release);
        } else {
            ring.arena.exchange(None, Some(id), redo.entry());
            step();
            ring.clear_job(redo.place.load(Ordering::Relaxed));
            step();
            ring.shared.jobs.done.store(redo.word.load(Ordering::Relaxed) as u32, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_survive_their_raw_form() {
        for stage in [None, Some(Stage::Handed), Some(Stage::Gotten), Some(Stage::Back)] {
            let state = State { taker: u32::MAX, stage, tries: TRIES };
            assert_eq!(State::from_raw(state.raw()), state);
        }
    }
}
