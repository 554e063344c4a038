//! Changes of several words that a kill cannot tear: a lock with a redo record, which can stand anywhere in a block.
//!
//! ```text
//! lock     1 thread.building = where the record stands     2 the lock's word
//! apply    1 actions and owner    2 op = how many    3 the actions, in order    4 op = 0
//! unlock   1 the lock's word      2 thread.building = 0
//! ```
//! An action is an absolute store, or moves one block between a process's hold table and a structure's own words. Killed
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

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use super::block::Block;
use super::header::{OWNED, State};
use super::id::{BlockId, Owner, Pos};
use super::local::lock;
use super::thread::Thread;
use super::{Arena, ArenaError, mutant, mutants, step};
use crate::sync::OwnerLock;
use crate::sync::owner_lock::Got;

/// How many actions a record holds in itself.
pub(crate) const INLINE: usize = 7;

/// In `op`: the actions lie in the block that the first word names.
const PLAN: u32 = 1 << 31;

/// A lock and its redo record. All zero is an unlocked one with nothing to do.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub(crate) struct Guarded {
    lock: OwnerLock,
    /// How many actions are to be carried out, perhaps with [`PLAN`]; 0 for none, and the rest means nothing.
    op: AtomicU32,
    /// Whose hold entries the actions name.
    owner: AtomicU32,
    _spare: AtomicU32,
    words: [AtomicU64; 2 * INLINE],
}

const _: () = assert!(size_of::<Guarded>() == 128);

/// One absolute change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// The 8 bytes of payload at this position become this.
    Store(Pos, u64),
    /// The block leaves this hold entry of the writer and is the structure's.
    Give(u32, BlockId),
    /// The block of the structure comes into the hands of the writer, with this hold entry.
    Take(u32, BlockId),
}

const STORE: u64 = 1;
const GIVE: u64 = 2;
const TAKE: u64 = 3;
const KIND_SHIFT: u32 = 62;

impl Action {
    fn encode(self) -> [u64; 2] {
        match self {
            Action::Store(pos, value) => [STORE << KIND_SHIFT | pos, value],
            Action::Give(hold, id) => [GIVE << KIND_SHIFT | u64::from(hold), id.raw()],
            Action::Take(hold, id) => [TAKE << KIND_SHIFT | u64::from(hold), id.raw()],
        }
    }

    fn decode([first, second]: [u64; 2]) -> Option<Action> {
        let argument = first & ((1 << KIND_SHIFT) - 1);
        let hold = u32::try_from(argument).ok();
        match first >> KIND_SHIFT {
            STORE => Some(Action::Store(argument, second)),
            GIVE => Some(Action::Give(hold?, BlockId::from_raw(second)?)),
            TAKE => Some(Action::Take(hold?, BlockId::from_raw(second)?)),
            _ => None,
        }
    }
}

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
        if !mutant(mutants::GUARD_UNNAMED) {
            thread.building.store(pos, Ordering::Release);
        }
        step();
        let got = guarded.lock.lock(thread.id, |holder| self.is_dead_thread(holder));
        let guard = Guard { arena: self, guarded, thread };
        if let Got::FromDead(_) = got {
            guard.finish();
        }
        Ok(guard)
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
            // Whoever has it now may be finishing what the dead had begun, with entries of the dead's hold table.
            let guard = self.guard(guarded, pos)?;
            guard.finish();
            drop(guard);
            guarded.lock.wake_all();
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

    fn carry_out(&'static self, owner: Owner, action: Action) {
        match action {
            Action::Store(pos, value) => {
                if let Some(word) = self.word_at(pos) {
                    word.store(value, Ordering::Release);
                }
            }
            Action::Give(hold, id) => {
                if let Some(found) = self.locate(id.pos()) {
                    let owned = State::held_by(id.generation(), OWNED);
                    found.header.state.store(owned.raw(), Ordering::Release);
                }
                step();
                self.map.hold(owner.slot(), hold).block.store(0, Ordering::Release);
            }
            Action::Take(hold, id) => {
                self.map.hold(owner.slot(), hold).block.store(id.raw(), Ordering::Release);
                step();
                if let Some(found) = self.locate(id.pos()) {
                    found.header.state.store(State::held(id.generation(), owner).raw(), Ordering::Release);
                }
            }
        }
        step();
    }
}

impl Guard<'_> {
    /// Makes all changes, or none if this process is killed first. At most [`INLINE`] of them.
    pub(crate) fn apply(&mut self, actions: &[Action]) {
        debug_assert!(actions.len() <= INLINE);
        for (place, action) in self.guarded.words.chunks_exact(2).zip(actions) {
            let [first, second] = action.encode();
            place[0].store(first, Ordering::Relaxed);
            place[1].store(second, Ordering::Relaxed);
        }
        self.commit(actions.len().min(INLINE) as u32, |owner| {
            // What the record says, without reading it again.
            actions.iter().take(INLINE).for_each(|action| self.arena.carry_out(owner, *action));
        });
    }

    /// As [`Guard::apply`], for any number of changes. Nothing has changed when it fails.
    pub(crate) fn apply_all(&mut self, actions: &[Action]) -> Result<(), ArenaError> {
        if actions.len() <= INLINE {
            self.apply(actions);
            return Ok(());
        }
        let plan = self.arena.alloc(actions.len() * 16)?;
        for (index, action) in actions.iter().enumerate() {
            for (half, value) in action.encode().into_iter().enumerate() {
                if let Some(word) = self.arena.word_at(plan.pos() + (index * 16 + half * 8) as u64) {
                    word.store(value, Ordering::Relaxed);
                }
            }
        }
        self.guarded.words[0].store(plan.id().raw(), Ordering::Relaxed);
        self.commit(actions.len() as u32 | PLAN, |owner| {
            actions.iter().for_each(|action| self.arena.carry_out(owner, *action));
        });
        Ok(())
    }

    /// `change` does what the record says, which is complete but for the owner.
    #[inline]
    fn commit(&self, op: u32, change: impl Fn(Owner)) {
        let owner = self.arena.me();
        self.guarded.owner.store(owner.raw(), Ordering::Relaxed);
        step();
        if mutant(mutants::JOURNAL_LATE) {
            change(owner);
        }
        self.guarded.op.store(op, Ordering::Release);
        step();
        if mutant(mutants::JOURNAL_CLEARED_EARLY) {
            self.guarded.op.store(0, Ordering::Release);
            step();
        }
        change(owner);
        self.guarded.op.store(0, Ordering::Release);
        step();
        // Who reads without a lock trusts what it read if the words that led there have not changed meanwhile: they change
        // before memory that was taken is written again.
        fence(Ordering::Release);
    }

    /// Carries out what a dead holder left.
    fn finish(&self) {
        let op = self.guarded.op.load(Ordering::Acquire);
        if op != 0 {
            self.carry_out_all(op);
        }
        self.guarded.op.store(0, Ordering::Release);
        step();
        fence(Ordering::Release);
    }

    fn carry_out_all(&self, op: u32) {
        let Some(owner) = Owner::from_raw(self.guarded.owner.load(Ordering::Relaxed)) else { return };
        let count = (op & !PLAN) as usize;
        if op & PLAN == 0 {
            for pair in self.guarded.words.chunks_exact(2).take(count) {
                let pair = [pair[0].load(Ordering::Relaxed), pair[1].load(Ordering::Relaxed)];
                if let Some(action) = Action::decode(pair) {
                    self.arena.carry_out(owner, action);
                }
            }
            return;
        }
        let Some(plan) = BlockId::from_raw(self.guarded.words[0].load(Ordering::Relaxed)) else { return };
        for index in 0..count as u64 {
            let at = plan.pos() + index * 16;
            let (Some(first), Some(second)) = (self.arena.word_at(at), self.arena.word_at(at + 8)) else { return };
            let pair = [first.load(Ordering::Relaxed), second.load(Ordering::Relaxed)];
            if let Some(action) = Action::decode(pair) {
                self.arena.carry_out(owner, action);
            }
        }
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        step();
        self.guarded.lock.unlock();
        step();
        self.thread.building.store(0, Ordering::Release);
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
