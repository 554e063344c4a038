//! An object's memory, its lock, and changes of several words under it.
//!
//! ```text
//! payload   Counts (kind, references by role), the lock, which processes watch: one line
//!           the redo record: two lines
//!           watchers: a bit for each process slot
//!           K::Shared, aligned to 64
//!           the variable part, aligned to 64
//! ```
//! A change is first described completely in the redo record, in absolute values; then `op` is stored, then the change is made
//! *from the record*, then `op` is cleared. Whoever takes the lock over from the dead does the same. An audit locks every
//! object that the dead referred to before it looks at the dead's other hold entries: so an unfinished change that
//! concerns those is finished before.
//!
//! Invariants of the unsafe code here: an `Object` is only made of a live block whose payload `create` laid out, checked to
//! be long enough, and whoever made it sees to it that the object lives meanwhile: by a reference, or by being the one that
//! destroys it. `Header` and each `K::Shared` are all atomics. Positions from the redo record are checked against the
//! capacity.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::kind::{self, Kind};
use super::mutants;
use crate::arena::refs::{self, Counts};
use crate::arena::{Arena, ArenaError, Block, BlockId, Owner, Role, mutant, step};
use crate::sync::OwnerLock;
use crate::sync::owner_lock::Got;

/// How many words a redo record has.
const REDO: usize = 15;
/// How many words a change can store.
const SETS: usize = 7;

const OP_NONE: u32 = 0;
const OP_CHANGE: u32 = 1;

/// The first part of an object's memory.
#[repr(C, align(64))]
pub(super) struct Header {
    counts: Counts,
    lock: OwnerLock,
    /// Bit n: word n of `watchers` may have bits.
    pub(super) watched: AtomicU32,
    redo: Redo,
    pub(super) watchers: Watchers,
}

#[repr(C, align(64))]
struct Redo {
    /// 0: nothing is under way, and the rest means nothing.
    op: AtomicU32,
    words: [AtomicU64; REDO],
}

/// One bit for each process slot.
#[repr(C, align(64))]
pub(super) struct Watchers(pub(super) [AtomicU64; 16]);

const _: () = assert!(size_of::<Header>() == 320 && size_of::<Redo>() == 128);

/// A view of an object of kind `K` that lives at least as long as this; `()` where the kind is not known.
pub(crate) struct Object<'a, K> {
    arena: &'static Arena,
    id: BlockId,
    base: NonNull<u8>,
    capacity: usize,
    of: PhantomData<Of<'a, K>>,
}

/// A borrow of the memory, and the kind without its auto traits.
type Of<'a, K> = (&'a Header, fn() -> K);

impl<K> Clone for Object<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Object<'_, K> {}

/// A word of an object, and what it is to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Set {
    address: usize,
    value: u64,
    wide: bool,
}

impl Set {
    /// A word of 64 bits.
    pub(crate) fn wide(word: &AtomicU64, value: u64) -> Set {
        Set { address: ptr::from_ref(word) as usize, value, wide: true }
    }

    /// A word of 32 bits.
    pub(crate) fn narrow(word: &AtomicU32, value: u32) -> Set {
        Set { address: ptr::from_ref(word) as usize, value: u64::from(value), wide: false }
    }
}

/// Where the variable part of an object begins.
pub(super) const fn offset_of_extra<K: Kind>() -> usize {
    (size_of::<Header>() + size_of::<K::Shared>()).next_multiple_of(64)
}

impl<'a> Object<'a, ()> {
    /// The object `id`; `None` if that is no block. The caller knows why it stays alive.
    pub(super) fn find(arena: &'static Arena, id: BlockId) -> Option<Object<'a, ()>> {
        let (base, capacity) = refs::payload_of(arena, id)?;
        (capacity >= size_of::<Header>()).then_some(Object { arena, id, base, capacity, of: PhantomData })
    }

    pub(super) fn untyped(arena: &'static Arena, id: BlockId, base: NonNull<u8>, capacity: usize) -> Object<'a, ()> {
        Object { arena, id, base, capacity, of: PhantomData }
    }

    /// The object as one of its kind.
    pub(super) fn typed<K: Kind>(&self) -> Object<'a, K> {
        assert!(self.capacity >= offset_of_extra::<K>(), "an object that is too small for {}", K::NAME);
        Object { arena: self.arena, id: self.id, base: self.base, capacity: self.capacity, of: PhantomData }
    }
}

impl<'a, K> Object<'a, K> {
    pub(crate) fn arena(&self) -> &'static Arena {
        self.arena
    }

    pub(crate) fn id(&self) -> BlockId {
        self.id
    }

    pub(super) fn header(&self) -> &'a Header {
        // SAFETY: the module's invariants.
        unsafe { self.base.cast().as_ref() }
    }

    pub(super) fn kind(&self) -> u32 {
        self.header().counts.kind.load(Ordering::Relaxed)
    }

    /// How many references in this role there are.
    pub(crate) fn count(&self, role: Role) -> u32 {
        self.header().counts.counts[role as usize].load(Ordering::SeqCst)
    }

    /// Locks the object, and finishes what a dead holder of the lock had begun. Nothing else may be waited for with the lock
    /// held: no other object's lock, no message decoded that may hold handles. Freeing blocks is fine.
    #[inline]
    pub(crate) fn lock(&self) -> Result<Locked<'a, K>, ArenaError> {
        let me = self.arena.thread()?.id;
        let got = self.header().lock.lock(me, |holder| self.arena.is_dead_thread(holder));
        let locked = Locked { object: *self };
        if let Got::FromDead(_) = got {
            locked.redo();
        }
        Ok(locked)
    }
}

impl<'a, K: Kind> Object<'a, K> {
    pub(super) fn of(arena: &'static Arena, id: BlockId, base: NonNull<u8>, capacity: usize) -> Object<'a, K> {
        Object { arena, id, base, capacity, of: PhantomData }
    }

    pub(super) fn set_kind(&self) {
        self.header().counts.kind.store(K::CODE, Ordering::Relaxed);
    }

    /// The fixed part.
    pub(crate) fn shared(&self) -> &'a K::Shared {
        // SAFETY: `K::Shared` follows the header, which leaves it aligned to 64, and all of it is within the capacity (checked
        // where the `Object` was made). It is all atomics, by the contract of `Kind`.
        unsafe { self.base.add(size_of::<Header>()).cast().as_ref() }
    }

    /// The variable part: where it begins, and its length, which may be more than was asked for.
    pub(crate) fn extra(&self) -> (NonNull<u8>, usize) {
        let offset = offset_of_extra::<K>();
        // SAFETY: within the capacity, or one past its end.
        (unsafe { self.base.add(offset) }, self.capacity - offset)
    }
}

/// An object, locked; dropped, unlocked.
pub(crate) struct Locked<'a, K> {
    object: Object<'a, K>,
}

impl<'a, K> Deref for Locked<'a, K> {
    type Target = Object<'a, K>;

    fn deref(&self) -> &Object<'a, K> {
        &self.object
    }
}

impl<K> Drop for Locked<'_, K> {
    #[inline]
    fn drop(&mut self) {
        self.object.header().lock.unlock();
    }
}

impl<K> Locked<'_, K> {
    /// Stores up to [`SETS`] words of the object, all or none.
    pub(crate) fn store(&self, sets: &[Set]) {
        self.change(0, 0, 0, sets);
    }

    /// Stores the block's id in `cell`, and up to six other words. The block becomes one that the object owns.
    pub(crate) fn give(&self, block: Block, cell: &AtomicU64, sets: &[Set]) {
        let id = block.id().raw();
        self.give_as(block, &with(Set::wide(cell, id), sets)[..=sets.len()]);
    }

    /// As [`Locked::give`], where `sets` say how the object remembers the block.
    pub(crate) fn give_as(&self, block: Block, sets: &[Set]) {
        let (hold, id) = block.into_parts();
        self.change(id.raw(), 0, hold, sets);
        self.object.arena.put_hold(hold);
    }

    #[cfg(feature = "testing")]
    /// The block whose id is in `cell`, which becomes 0, and up to six other words.
    pub(crate) fn take(&self, cell: &AtomicU64, sets: &[Set]) -> Result<Option<Block>, ArenaError> {
        match BlockId::from_raw(cell.load(Ordering::Acquire)) {
            Some(id) => self.take_as(id, &with(Set::wide(cell, 0), sets)[..=sets.len()]),
            None => Ok(None),
        }
    }

    #[cfg(feature = "testing")]
    /// Takes the block `id` out of what the object owns; `sets` make it forget the block. `None`, and nothing is changed, if
    /// it owns no such block.
    pub(crate) fn take_as(&self, id: BlockId, sets: &[Set]) -> Result<Option<Block>, ArenaError> {
        let arena = self.object.arena;
        if !arena.is_owned(id) {
            return Ok(None);
        }
        let hold = arena.take_hold()?;
        self.change(0, id.raw(), hold, sets);
        Ok(Block::from_parts(arena, hold, id))
    }

    #[cfg(feature = "testing")]
    /// Puts `block` in the place of the one whose id is in `cell`, which is returned if there was one.
    pub(crate) fn swap(&self, block: Block, cell: &AtomicU64, sets: &[Set]) -> Option<Block> {
        let old = BlockId::from_raw(cell.load(Ordering::Acquire)).filter(|old| self.object.arena.is_owned(*old));
        let Some(old) = old else {
            self.give(block, cell, sets);
            return None;
        };
        let (hold, id) = block.into_parts();
        self.change(id.raw(), old.raw(), hold, &with(Set::wide(cell, id.raw()), sets)[..=sets.len()]);
        Block::from_parts(self.object.arena, hold, old)
    }

    /// The block `give` goes from entry `hold` of this process to the object, the block `take` from there to that entry.
    fn change(&self, give: u64, take: u64, hold: u32, sets: &[Set]) {
        assert!(sets.len() <= SETS, "a change of more than {SETS} words");
        let object = &self.object;
        let redo = &object.header().redo.words;
        redo[0].store(sets.len() as u64, Ordering::Relaxed);
        redo[1].store(give, Ordering::Relaxed);
        redo[2].store(take, Ordering::Relaxed);
        redo[3].store(u64::from(object.arena.me().raw()) << 32 | u64::from(hold), Ordering::Relaxed);
        for (at, pair) in sets.chunks(2).enumerate() {
            let low = object.place_of(&pair[0]);
            let high = pair.get(1).map_or(0, |set| object.place_of(set));
            redo[4 + at].store(u64::from(low) | u64::from(high) << 32, Ordering::Relaxed);
        }
        for (set, word) in sets.iter().zip(&redo[8..]) {
            word.store(set.value, Ordering::Relaxed);
        }
        self.carry_out(OP_CHANGE);
    }

    #[inline]
    fn carry_out(&self, op: u32) {
        let redo = &self.object.header().redo;
        if mutant(mutants::CHANGE_LATE) {
            self.object.apply(op);
        }
        step();
        redo.op.store(op, Ordering::Release);
        step();
        if mutant(mutants::CHANGE_CLEARED_EARLY) {
            redo.op.store(OP_NONE, Ordering::Release);
            step();
        }
        self.object.apply(op);
        step();
        redo.op.store(OP_NONE, Ordering::Release);
        step();
    }

    /// Finishes what the record says, if it says anything.
    #[cold]
    fn redo(&self) {
        let redo = &self.object.header().redo;
        let op = redo.op.load(Ordering::Acquire);
        if op != OP_NONE {
            self.object.apply(op);
        }
        step();
        redo.op.store(OP_NONE, Ordering::Release);
    }
}

/// `first`, then `sets`.
fn with(first: Set, sets: &[Set]) -> [Set; SETS] {
    assert!(sets.len() < SETS, "a change of more than {SETS} words");
    let mut all = [first; SETS];
    all[1..=sets.len()].copy_from_slice(sets);
    all
}

const WIDE: u32 = 1 << 31;

impl<K> Object<'_, K> {
    /// Where in the object a word is, counted in units of 4 bytes, and whether it has 64 bits.
    fn place_of(&self, set: &Set) -> u32 {
        let offset = set.address.wrapping_sub(self.base.as_ptr() as usize);
        let len = if set.wide { 8 } else { 4 };
        let fits = offset.checked_add(len).is_some_and(|end| end <= self.capacity) && offset / 4 < WIDE as usize;
        assert!(fits, "a word that is not the object's");
        (offset / 4) as u32 | if set.wide { WIDE } else { 0 }
    }

    /// Makes the change that the redo record describes.
    fn apply(&self, op: u32) {
        let words = &self.header().redo.words;
        if op == OP_CHANGE {
            let word = |at: usize| words[at].load(Ordering::Relaxed);
            if word(1) | word(2) != 0 {
                self.arena.exchange(BlockId::from_raw(word(1)), BlockId::from_raw(word(2)), word(3));
            }
            for at in 0..(word(0) as usize).min(SETS) {
                let place = (word(4 + at / 2) >> (at % 2 * 32)) as u32;
                self.put(place, word(8 + at));
            }
        }
    }

    fn put(&self, place: u32, value: u64) {
        let (offset, wide) = ((place & !WIDE) as usize * 4, place & WIDE != 0);
        let len = if wide { 8 } else { 4 };
        if !offset.is_multiple_of(len) || offset + len > self.capacity {
            return;
        }
        // SAFETY: within the object's payload, aligned, and any bytes of it are valid atomics. What is no atomic of the
        // object's kind is never named by a `Set`.
        unsafe {
            let at = self.base.add(offset);
            if wide {
                at.cast::<AtomicU64>().as_ref().store(value, Ordering::Release);
            } else {
                at.cast::<AtomicU32>().as_ref().store(value as u32, Ordering::Release);
            }
        }
    }
}

/// An object that nobody refers to any more, in the hands of whoever destroys it.
pub(crate) struct Doomed<'a, K> {
    object: Object<'a, K>,
}

impl<'a, K> Deref for Doomed<'a, K> {
    type Target = Object<'a, K>;

    fn deref(&self) -> &Object<'a, K> {
        &self.object
    }
}

impl<'a, K> Doomed<'a, K> {
    pub(super) fn of(object: Object<'a, K>) -> Doomed<'a, K> {
        Doomed { object }
    }

    /// Frees a block that the object owns, with all below it; does nothing if that was done.
    pub(crate) fn free(&self, id: BlockId) -> Result<(), ArenaError> {
        self.object.arena.free_owned(id)
    }
}

/// What a kind does about the death of a process that had a reference; what all kinds do.
pub(crate) fn recover(arena: &'static Arena, id: BlockId, dead: Owner) -> Result<(), ArenaError> {
    let Some(object) = Object::find(arena, id) else { return Ok(()) };
    let Some(table) = kind::find(object.kind()) else { return Ok(()) };
    (table.recover)(&object, dead)?;
    object.forget_watcher(dead.slot())?;
    (table.wake)(&object);
    object.ring();
    Ok(())
}

/// Destroys what an object owns. Repeatable.
pub(crate) fn destroy(arena: &'static Arena, id: BlockId) -> Result<(), ArenaError> {
    let Some(object) = Object::find(arena, id) else { return Ok(()) };
    match kind::find(object.kind()) {
        Some(table) => (table.destroy)(&object),
        None => Ok(()),
    }
}

/// Makes all who wait for anything of an object look again.
pub(crate) fn nudge(arena: &'static Arena, id: BlockId) {
    if let Some(object) = Object::find(arena, id)
        && let Some(table) = kind::find(object.kind())
    {
        (table.wake)(&object);
        object.ring();
    }
}
