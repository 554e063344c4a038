//! The kernel of the redo journal ([`journal`](super::journal)): a lock, the record of a change under it, and how either is
//! taken over from the dead. It names nothing but ids, `prim` and the owner lock, so that `tests/loom` can compile it.
//!
//! ```text
//! lock     1 thread.building = where the record stands     2 the lock's word
//! apply    1 actions and owner    2 op = how many    3 the actions, in order    4 op = 0
//! unlock   1 the lock's word      2 thread.building = 0
//! ```

use super::id::{BlockId, Owner, Pos, ThreadId};
use super::{mutant, mutants, step};
use crate::sync::owner_lock::{Got, OwnerLock};
use crate::sync::prim::{AtomicU32, AtomicU64, Ordering, fence};

/// How many actions a record holds in itself.
pub(crate) const INLINE: usize = 7;

/// In `op`: the actions lie in the block that the first word names.
const PLAN: u32 = 1 << 31;

/// The memory that actions change.
pub(crate) trait Ground {
    /// The word at a position of the payload, if it is one.
    fn word(&self, pos: Pos) -> Option<&AtomicU64>;
    /// The word of an entry of a process's hold table that names a block, or is 0.
    fn hold(&self, owner: Owner, hold: u32) -> &AtomicU64;
    /// Notes in the block's header that it is a process's, or a structure's.
    fn mark(&self, id: BlockId, owner: Option<Owner>);
    /// Whether the process of a thread is gone for good.
    fn is_dead(&self, thread: ThreadId) -> bool;
}

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

    fn carry_out(self, owner: Owner, ground: &impl Ground) {
        match self {
            Action::Store(pos, value) => {
                if let Some(word) = ground.word(pos) {
                    word.store(value, Ordering::Release);
                }
            }
            Action::Give(hold, id) => {
                ground.mark(id, None);
                step();
                ground.hold(owner, hold).store(0, Ordering::Release);
            }
            Action::Take(hold, id) => {
                ground.hold(owner, hold).store(id.raw(), Ordering::Release);
                step();
                ground.mark(id, Some(owner));
            }
        }
        step();
    }
}

impl Guarded {
    /// Locks, after the thread has noted in `building` where this stands, and finishes what a dead holder had begun.
    #[inline]
    pub(crate) fn lock(&self, me: ThreadId, building: &AtomicU64, pos: Pos, ground: &impl Ground) {
        if !mutant(mutants::GUARD_UNNAMED) {
            building.store(pos, Ordering::Release);
        }
        step();
        if let Got::FromDead(_) = self.lock.lock(me, |holder| ground.is_dead(holder)) {
            self.finish(ground);
        }
    }

    #[inline]
    pub(crate) fn unlock(&self, building: &AtomicU64) {
        step();
        self.lock.unlock();
        step();
        building.store(0, Ordering::Release);
    }

    /// For the audit of a process that stood here: finishes what it had begun, unlocks what it held, wakes who waited for it.
    pub(crate) fn recover(&self, me: ThreadId, building: &AtomicU64, pos: Pos, ground: &impl Ground) {
        // Whoever has it now may be finishing what the dead had begun, with entries of the dead's hold table.
        self.lock(me, building, pos, ground);
        self.finish(ground);
        self.unlock(building);
        self.lock.wake_all();
    }

    /// Under the lock: makes all changes, or none if this process is killed first. At most [`INLINE`] of them.
    pub(crate) fn apply(&self, owner: Owner, actions: &[Action], ground: &impl Ground) {
        debug_assert!(actions.len() <= INLINE);
        for (place, action) in self.words.chunks_exact(2).zip(actions) {
            let [first, second] = action.encode();
            place[0].store(first, Ordering::Relaxed);
            place[1].store(second, Ordering::Relaxed);
        }
        // What the record says, without reading it again.
        self.commit(owner, actions.len().min(INLINE) as u32, || {
            actions.iter().take(INLINE).for_each(|action| action.carry_out(owner, ground));
        });
    }

    /// As [`Guarded::apply`], with a block that has room for 16 bytes an action.
    pub(crate) fn apply_plan(&self, owner: Owner, plan: BlockId, actions: &[Action], ground: &impl Ground) {
        for (index, action) in actions.iter().enumerate() {
            for (half, value) in action.encode().into_iter().enumerate() {
                if let Some(word) = ground.word(plan.pos() + (index * 16 + half * 8) as u64) {
                    word.store(value, Ordering::Relaxed);
                }
            }
        }
        self.words[0].store(plan.raw(), Ordering::Relaxed);
        self.commit(owner, actions.len() as u32 | PLAN, || {
            actions.iter().for_each(|action| action.carry_out(owner, ground));
        });
    }

    /// `change` does what the record says, which is complete but for the owner.
    #[inline]
    fn commit(&self, owner: Owner, op: u32, change: impl Fn()) {
        self.owner.store(owner.raw(), Ordering::Relaxed);
        step();
        if mutant(mutants::JOURNAL_LATE) {
            change();
        }
        self.op.store(op, Ordering::Release);
        step();
        if mutant(mutants::JOURNAL_CLEARED_EARLY) {
            self.op.store(0, Ordering::Release);
            step();
        }
        change();
        self.op.store(0, Ordering::Release);
        step();
        // Who reads without a lock trusts what it read if the words that led there have not changed meanwhile: they change
        // before memory that was taken is written again.
        if !mutant(mutants::JOURNAL_UNFENCED) {
            fence(Ordering::Release);
        }
    }

    /// Carries out what a dead holder left.
    fn finish(&self, ground: &impl Ground) {
        let op = self.op.load(Ordering::Acquire);
        if op != 0 {
            self.carry_out(op, ground);
        }
        self.op.store(0, Ordering::Release);
        step();
        fence(Ordering::Release);
    }

    fn carry_out(&self, op: u32, ground: &impl Ground) {
        let Some(owner) = Owner::from_raw(self.owner.load(Ordering::Relaxed)) else { return };
        let count = (op & !PLAN) as usize;
        if op & PLAN == 0 {
            for pair in self.words.chunks_exact(2).take(count) {
                let pair = [pair[0].load(Ordering::Relaxed), pair[1].load(Ordering::Relaxed)];
                if let Some(action) = Action::decode(pair) {
                    action.carry_out(owner, ground);
                }
            }
            return;
        }
        let Some(plan) = BlockId::from_raw(self.words[0].load(Ordering::Relaxed)) else { return };
        for index in 0..count as u64 {
            let at = plan.pos() + index * 16;
            let (Some(first), Some(second)) = (ground.word(at), ground.word(at + 8)) else { return };
            let pair = [first.load(Ordering::Relaxed), second.load(Ordering::Relaxed)];
            if let Some(action) = Action::decode(pair) {
                action.carry_out(owner, ground);
            }
        }
    }
}
