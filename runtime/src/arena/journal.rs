//! Changes of several words that a kill cannot tear: a lock with a redo record, which can stand anywhere in a block.
//!
//! The lock, the record and their steps are the kernel, [`redo`](super::redo), of which `tests/loom` has models; here is what
//! it stands on. An action is an absolute store, or moves one block between a process's hold table and a structure's own words. Killed
//! before apply 2, nothing has changed; after it, whoever takes the lock over carries all actions out, from the first. The
//! audit of a dead process looks at `building` of its threads before anything else that the dead had, takes over what they
//! held, and finishes it; so does anybody who meets a lock whose holder is dead. A thread holds one such lock at a time.
//!
//! A block that a structure reaches from its own words belongs to no process: its header says HELD by [`OWNED`]. What is not
//! in the hands of a process and not reached from a structure is lost, so each of the two moves is part of a record:
//!
//! ```text
//! GIVE   header = HELD(OWNED), hold.block = 0      the record also stores the id where the structure finds it
//! TAKE   hold.block = id, header = HELD(owner)     the record also clears, or replaces, that word
//! ```
//! A change of more than [`INLINE`] actions has them in a block of its own, the *plan*, held by its writer until it is done.
//!
//! Invariants of the unsafe code here: positions are checked to be payload and aligned before they become references, all
//! types behind them are atomics, and the mapping stays for ever.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use super::block::Block;
use super::header::{OWNED, State};
use super::id::{BlockId, Owner, Pos, ThreadId};
use super::local::lock;
use super::redo::Ground;
pub(crate) use super::redo::{Action, Guarded, INLINE};
use super::thread::Thread;
use super::{Arena, ArenaError};

const _: () = assert!(size_of::<Guarded>() == 128);

/// A [`Guarded`], locked by the calling thread.
pub(crate) struct Guard<'a> {
    arena: &'static Arena,
    guarded: &'a Guarded,
    thread: Thread,
}

/// A hold entry of this process, to take a block with, or with a block that was taken. Dropped, it frees the block.
#[derive(Debug)]
pub(crate) struct Taker {
    arena: &'static Arena,
    hold: u32,
    taken: Option<BlockId>,
}

impl Arena {
    /// Locks `guarded`, which stands at `pos` in a block that stays; finishes what a dead holder had begun.
    pub(crate) fn guard<'a>(&'static self, guarded: &'a Guarded, pos: Pos) -> Result<Guard<'a>, ArenaError> {
        let thread = self.thread()?;
        debug_assert_eq!(thread.building.load(Ordering::Relaxed), 0, "one at a time");
        guarded.lock(thread.id, &thread.building, pos, self);
        Ok(Guard { arena: self, guarded, thread })
    }

    /// Finishes what threads of `dead` had begun under such locks, and unlocks them. Before its hold table is walked.
    pub(super) fn recover_guarded(&'static self, dead: Owner) -> Result<(), ArenaError> {
        for pos in self.building_of(dead) {
            let Some(place) = self.map.payload(pos, size_of::<Guarded>()) else { continue };
            if !(place.as_ptr() as usize).is_multiple_of(align_of::<Guarded>()) {
                continue;
            }
            // SAFETY: payload, aligned, atomics only.
            let guarded: &Guarded = unsafe { place.cast().as_ref() };
            let thread = self.thread()?;
            guarded.recover(thread.id, &thread.building, pos, self);
        }
        Ok(())
    }

    /// A hold entry to take a block with.
    pub(crate) fn taker(&'static self) -> Result<Taker, ArenaError> {
        self.check()?;
        let hold = self.with_room(|| lock(&self.local.holds).take(self))?;
        Ok(Taker { arena: self, hold, taken: None })
    }

    /// The word at `pos` of the payload.
    pub(crate) fn word_at(&self, pos: Pos) -> Option<&AtomicU64> {
        let place = self.map.payload(pos, 8).filter(|_| pos.is_multiple_of(8))?;
        // SAFETY: payload, aligned; any eight bytes of it are a valid atomic word.
        Some(unsafe { place.cast().as_ref() })
    }
}

impl Ground for Arena {
    #[inline]
    fn word(&self, pos: Pos) -> Option<&AtomicU64> {
        self.word_at(pos)
    }

    #[inline]
    fn hold(&self, owner: Owner, hold: u32) -> &AtomicU64 {
        &self.map.hold(owner.slot(), hold).block
    }

    #[inline]
    fn mark(&self, id: BlockId, owner: Option<Owner>) {
        if let Some(found) = self.locate(id.pos()) {
            let state = match owner {
                None => State::held_by(id.generation(), OWNED),
                Some(owner) => State::held(id.generation(), owner),
            };
            found.header.state.store(state.raw(), Ordering::Release);
        }
    }

    #[inline]
    fn is_dead(&self, thread: ThreadId) -> bool {
        self.is_dead_thread(thread)
    }
}

impl Guard<'_> {
    /// Makes all changes, or none if this process is killed first. At most [`INLINE`] of them.
    pub(crate) fn apply(&mut self, actions: &[Action]) {
        self.guarded.apply(self.arena.me(), actions, self.arena);
    }

    /// As [`Guard::apply`], for any number of changes. Nothing has changed when it fails.
    pub(crate) fn apply_all(&mut self, actions: &[Action]) -> Result<(), ArenaError> {
        if actions.len() <= INLINE {
            self.apply(actions);
            return Ok(());
        }
        let plan = self.arena.alloc(actions.len() * 16)?;
        self.guarded.apply_plan(self.arena.me(), plan.id(), actions, self.arena);
        Ok(())
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.guarded.unlock(&self.thread.building);
    }
}

impl Taker {
    /// To be carried out by the guard's next call, which must be told to this by [`Taker::took`].
    pub(crate) fn take(&self, id: BlockId) -> Action {
        Action::Take(self.hold, id)
    }

    /// The block is in this process's hands now.
    pub(crate) fn took(&mut self, id: BlockId) {
        self.taken = Some(id);
    }

    /// The block that was taken.
    pub(crate) fn id(&self) -> Option<BlockId> {
        self.taken
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        if !self.arena.is_here() {
            return;
        }
        // A block of this process's own span goes back without a lock.
        match self.taken.and_then(|id| Block::from_parts(self.arena, self.hold, id)) {
            Some(block) => drop(block),
            None => lock(&self.arena.local.holds).put(self.hold),
        }
    }
}

impl Block {
    /// To be carried out by the guard's next call, which must be told to this by [`Block::given`].
    pub(crate) fn give(&self) -> Action {
        Action::Give(self.hold(), self.id())
    }

    /// The block is the structure's now; its hold entry can be used again.
    pub(crate) fn given(self) -> Taker {
        let (arena, hold) = self.forget();
        Taker { arena, hold, taken: None }
    }
}
