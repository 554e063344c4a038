//! References to objects: who has one is a record, how many there are is a count, and both change together or not at all.
//!
//! An *object* is a block whose header says that it is held by all ([`SHARED`]). It lives as long as
//! its counts say that somebody refers to it. A *reference* is a record of two words, the object's id and a [`RefWord`]: an
//! entry of a process's hold table, or one of a *pins block*, a child of the block of a message, which is released with it.
//!
//! Counts and records change under the lock of the object's *stripe*, by redo records only (see `README.md`). The stripe lies
//! in the metadata, not in the object: so it can be locked for an id whose object may be gone.
//!
//! Invariants of the unsafe code here: `Counts` is all atomics, and lies at the start of payload that was checked to be that
//! long; a record in a pins block is two atomics within payload, aligned to 16.
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::block::{Block, Located};
use super::header::{Children, LENT, OWNED, PINS, SHARED, Stage, State};
use super::id::{BlockId, Owner, Pos, SLOTS};
use super::layout::{Hold, STRIPES, Stripe};
use super::local::lock;
use super::{Arena, ArenaError, mutant, step};
use crate::object::{self, mutants};
use crate::sync::owner_lock::Got;
use crate::sys::futex;

/// How many roles there are.
pub(crate) const ROLES: usize = 4;

/// As what somebody refers to an object. An object counts its references by role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Role {
    /// All there is to most objects.
    Plain = 0,
    Sender = 1,
    Receiver = 2,
    Other = 3,
}

impl Role {
    pub(crate) fn from_raw(raw: u32) -> Option<Role> {
        [Role::Plain, Role::Sender, Role::Receiver, Role::Other].into_iter().find(|role| *role as u32 == raw)
    }
}

/// How every object begins.
#[repr(C)]
pub(crate) struct Counts {
    /// See `object::Kind`.
    pub(crate) kind: AtomicU32,
    /// References by role.
    pub(crate) counts: [AtomicU32; ROLES],
}

const REF: u64 = 1 << 63;
const COUNTED: u64 = 1 << 62;
const DOOMED: u64 = 1 << 61;
const GIVES_BACK: u64 = 1 << 60;

/// The second word of a reference. Its low 30 bits are 0, so that it is no [`BlockId`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct RefWord(u64);

impl RefWord {
    fn from_raw(raw: u64) -> Option<RefWord> {
        (raw & REF != 0 && raw & 0x3fff_ffff == 0).then_some(RefWord(raw))
    }

    /// Not counted, not yet or no more.
    fn empty(role: Role) -> RefWord {
        RefWord(REF | (role as u64) << 32)
    }

    fn counted(role: Role) -> RefWord {
        RefWord(REF | COUNTED | (role as u64) << 32)
    }

    /// The object is held by the process of this entry, which is destroying it.
    fn doomed() -> RefWord {
        RefWord(REF | DOOMED)
    }

    /// No reference: the process of this entry is releasing what the block, which is somebody's, was lent.
    fn gives_back() -> RefWord {
        RefWord(REF | GIVES_BACK)
    }

    fn is_giving_back(self) -> bool {
        self.0 & GIVES_BACK != 0
    }

    fn role(self) -> usize {
        (self.0 >> 32) as usize % ROLES
    }

    fn is_counted(self) -> bool {
        self.0 & COUNTED != 0
    }

    fn is_doomed(self) -> bool {
        self.0 & DOOMED != 0
    }
}

/// Whether the second word of a hold entry says that the entry is a reference.
pub(crate) fn is_reference(other: u64) -> bool {
    RefWord::from_raw(other).is_some()
}

/// Where a reference stands, in one word: entry `index` of the table of `slot`, or the position of a record in a pins block.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place(u64);

const IN_TABLE: u64 = 1 << 63;

impl Place {
    fn entry(slot: usize, index: u32) -> Place {
        Place(IN_TABLE | (slot as u64) << 32 | u64::from(index))
    }

    fn pin(pos: Pos) -> Place {
        Place(pos)
    }

    fn as_entry(self) -> Option<(usize, u32)> {
        (self.0 & IN_TABLE != 0).then_some(((self.0 >> 32) as usize % SLOTS, self.0 as u32))
    }
}

/// Why there is no reference to be had.
#[derive(Debug)]
pub(crate) enum NoRef {
    /// The object is gone, or never was.
    Gone,
    /// It is an object of another kind, which this number names.
    Kind(u32),
    Arena(ArenaError),
}

impl From<ArenaError> for NoRef {
    fn from(error: ArenaError) -> NoRef {
        NoRef::Arena(error)
    }
}

/// What became of a reference that was released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Released {
    /// It counts no more; there are others.
    Others,
    /// It was the last: the object fell to an entry, in whose process's hands it now is.
    Last,
}

const OP_NONE: u32 = 0;
/// The record's second word, and the count.
const OP_COUNT: u32 = 1;
/// The last reference goes, and the object falls to the heir.
const OP_LAST: u32 = 2;

/// A stripe, locked.
struct Locked {
    arena: &'static Arena,
    stripe: &'static Stripe,
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.stripe.lock.unlock();
    }
}

impl Locked {
    fn commit(&self, op: u32) {
        if mutant(mutants::COUNT_LATE) {
            self.apply(op);
        }
        step();
        self.stripe.op.store(op, Ordering::Release);
        step();
        if mutant(mutants::COUNT_CLEARED_EARLY) {
            self.stripe.op.store(OP_NONE, Ordering::Release);
            step();
        }
        self.apply(op);
        step();
        self.stripe.op.store(OP_NONE, Ordering::Release);
        step();
    }

    /// Finishes what the record says, if it says anything.
    fn redo(&self) {
        let op = self.stripe.op.load(Ordering::Acquire);
        if op != OP_NONE {
            self.apply(op);
        }
        step();
        self.stripe.op.store(OP_NONE, Ordering::Release);
    }

    /// Makes the change that the record describes: absolute stores only, so that it can be repeated.
    fn apply(&self, op: u32) {
        let (arena, stripe) = (self.arena, self.stripe);
        let Some(id) = BlockId::from_raw(stripe.object.load(Ordering::Relaxed)) else { return };
        let (role, count) = (stripe.role.load(Ordering::Relaxed), stripe.count.load(Ordering::Relaxed));
        let place = Place(stripe.record.load(Ordering::Relaxed));
        let (Some(object), Some(record)) = (arena.counts(id), arena.record(place)) else { return };
        let Some(counter) = object.counts.get(role as usize) else { return };
        match op {
            OP_COUNT => {
                record.other.store(stripe.state.load(Ordering::Relaxed), Ordering::Relaxed);
                counter.store(count, Ordering::Release);
                if count == 0 {
                    // The object is there as long as this stripe is locked: others refer to it. Its sleepers may wait for
                    // just this.
                    object::nudge(arena, id);
                }
            }
            OP_LAST => {
                let heir = stripe.heir.load(Ordering::Relaxed);
                let (Some(owner), index) = (Owner::from_raw((heir >> 32) as u32), heir as u32) else { return };
                let Some(entry) = arena.record(Place::entry(owner.slot(), index)) else { return };
                counter.store(count, Ordering::Relaxed);
                record.other.store(stripe.state.load(Ordering::Relaxed), Ordering::Relaxed);
                entry.other.store(RefWord::doomed().0, Ordering::Relaxed);
                step();
                entry.block.store(id.raw(), Ordering::Release);
                step();
                if let Some(found) = arena.locate(id.pos()) {
                    found.header.state.store(State::held(id.generation(), owner).raw(), Ordering::Release);
                }
            }
            _ => {}
        }
    }
}

impl Arena {
    /// Locks the stripe of an object, and finishes what a dead holder of the lock had begun.
    fn stripe(&'static self, id: BlockId) -> Result<Locked, ArenaError> {
        let me = self.thread()?.id;
        let hash = (id.raw() >> 30).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let stripe = self.map.stripe((hash >> 52) as usize % STRIPES);
        let got = stripe.lock.lock(me, |holder| self.is_dead_thread(holder));
        let locked = Locked { arena: self, stripe };
        if let Got::FromDead(_) = got {
            locked.redo();
        }
        Ok(locked)
    }

    /// The counts of an object; of whatever is there if there is none.
    fn counts(&self, id: BlockId) -> Option<&Counts> {
        let start = self.map.payload(id.pos(), size_of::<Counts>())?;
        // SAFETY: payload, aligned to 64 as an id's position is, and atomics only.
        Some(unsafe { start.cast().as_ref() })
    }

    fn record(&self, place: Place) -> Option<&Hold> {
        match place.as_entry() {
            Some((slot, index)) => ((index as usize) < self.map.layout.holds_each).then(|| self.map.hold(slot, index)),
            None => {
                let start = self.map.payload(place.0, size_of::<Hold>()).filter(|_| place.0.is_multiple_of(16))?;
                // SAFETY: payload, aligned to 16 and so long; two atomics.
                Some(unsafe { start.cast().as_ref() })
            }
        }
    }

    /// Whether `id` is an object that somebody refers to.
    fn is_object(&self, id: BlockId) -> bool {
        self.locate(id.pos()).is_some_and(|found| found.state() == State::held_by(id.generation(), SHARED))
    }

    fn is_held_by(&self, id: BlockId, owner: Owner) -> bool {
        self.locate(id.pos()).is_some_and(|found| found.state() == State::held(id.generation(), owner))
    }

    /// Makes a block of this process an object, with one reference to it: the entry that is returned. Its payload begins with
    /// [`Counts`], all of them 0, and is otherwise complete.
    pub(crate) fn make_object(&'static self, block: Block, role: Role) -> u32 {
        let (index, id) = block.into_parts();
        if let (Some(object), Some(found)) = (self.counts(id), self.locate(id.pos())) {
            object.counts[role as usize].store(1, Ordering::Relaxed);
            step();
            let hold = self.my_hold(index);
            if !mutant(mutants::OBJECT_UNREFERENCED) {
                hold.other.store(RefWord::counted(role).0, Ordering::Release);
            }
            step();
            found.header.state.store(State::held_by(id.generation(), SHARED).raw(), Ordering::Release);
            if mutant(mutants::OBJECT_UNREFERENCED) {
                step();
                hold.other.store(RefWord::counted(role).0, Ordering::Release);
            }
        }
        index
    }

    /// One more reference of this process to an object of a kind: a hold entry.
    pub(crate) fn refer(&'static self, id: BlockId, kind: u32, role: Role) -> Result<u32, NoRef> {
        self.check()?;
        let index = lock(&self.local.holds).take(self)?;
        let hold = self.my_hold(index);
        hold.other.store(RefWord::empty(role).0, Ordering::Relaxed);
        step();
        hold.block.store(id.raw(), Ordering::Release);
        step();
        let counted = self.count_up(Place::entry(self.me.slot(), index), id, Some(kind), role);
        if counted.is_err() {
            self.clear(hold);
            lock(&self.local.holds).put(index);
        }
        counted.map(|()| index)
    }

    fn clear(&self, hold: &Hold) {
        step();
        hold.block.store(0, Ordering::Release);
        step();
        hold.other.store(0, Ordering::Release);
    }

    /// Counts the reference that stands, uncounted, at `place`.
    fn count_up(&'static self, place: Place, id: BlockId, kind: Option<u32>, role: Role) -> Result<(), NoRef> {
        let locked = self.stripe(id)?;
        let object = self.counts(id).filter(|_| self.is_object(id)).ok_or(NoRef::Gone)?;
        let its_kind = object.kind.load(Ordering::Relaxed);
        if kind.is_some_and(|kind| kind != its_kind) {
            return Err(NoRef::Kind(its_kind));
        }
        let count = object.counts[role as usize].load(Ordering::Relaxed).saturating_add(1);
        locked.describe(place, id, role as u32, count, RefWord::counted(role));
        locked.commit(OP_COUNT);
        Ok(())
    }

    /// Takes the reference at `place` off the count; says whether it was the last. `heir` gives the entry, and its process,
    /// to which the object then falls.
    fn count_down(
        &'static self,
        place: Place,
        id: BlockId,
        heir: impl FnOnce() -> Result<(Owner, u32), ArenaError>,
    ) -> Result<Released, ArenaError> {
        let locked = self.stripe(id)?;
        let (Some(object), Some(record)) = (self.counts(id), self.record(place)) else { return Ok(Released::Others) };
        // Looked at under the lock only: before that, somebody may have been finishing what a dead process began.
        let Some(word) = RefWord::from_raw(record.other.load(Ordering::Acquire)) else { return Ok(Released::Others) };
        if word.is_doomed() {
            return Ok(Released::Last);
        }
        if !word.is_counted() || !self.is_object(id) {
            return Ok(Released::Others);
        }
        let role = word.role();
        let count = object.counts[role].load(Ordering::Relaxed).saturating_sub(1);
        let others = (0..ROLES).any(|other| other != role && object.counts[other].load(Ordering::Relaxed) != 0);
        let empty = RefWord(word.0 & !COUNTED);
        if mutant(mutants::PIN_FORGOTTEN) && place.as_entry().is_none() {
            record.block.store(0, Ordering::Release);
        }
        if count != 0 || others {
            locked.describe(place, id, role as u32, count, empty);
            locked.commit(OP_COUNT);
            return Ok(Released::Others);
        }
        let (owner, index) = heir()?;
        locked.describe(place, id, role as u32, 0, empty);
        locked.stripe.heir.store(u64::from(owner.raw()) << 32 | u64::from(index), Ordering::Relaxed);
        locked.commit(OP_LAST);
        Ok(Released::Last)
    }

    /// Drops the reference in entry `index` of this process, and destroys the object if it was the last one.
    pub(crate) fn unrefer(&'static self, index: u32) {
        if !self.is_here() {
            return;
        }
        match self.release_entry(self.me, index) {
            Ok(Released::Others) => lock(&self.local.holds).put(index),
            Ok(Released::Last) => lock(&self.local.doomed).push(index),
            Err(_) => lock(&self.local.deferred).push(index),
        }
        self.reap();
    }

    /// Releases the reference in an entry of `owner`, and clears the entry unless the object fell to it.
    fn release_entry(&'static self, owner: Owner, index: u32) -> Result<Released, ArenaError> {
        let hold = self.map.hold(owner.slot(), index);
        let Some(id) = BlockId::from_raw(hold.block.load(Ordering::Acquire)) else {
            hold.other.store(0, Ordering::Release);
            return Ok(Released::Others);
        };
        let released = self.count_down(Place::entry(owner.slot(), index), id, || Ok((owner, index)))?;
        if released == Released::Others {
            self.clear(hold);
        }
        Ok(released)
    }

    /// Tries again to drop the reference in an entry of this process; `false` if that cannot be done yet.
    pub(super) fn retry_unrefer(&'static self, index: u32) -> bool {
        let hold = self.my_hold(index);
        let word = RefWord::from_raw(hold.other.load(Ordering::Acquire));
        if word.is_some_and(RefWord::is_giving_back) {
            // The block may be gone by now; its references went with it.
            self.clear(hold);
            return true;
        }
        match self.release_entry(self.me, index) {
            Ok(Released::Others) => true,
            Ok(Released::Last) => self.destroy_object(self.me, index).is_ok(),
            Err(_) => false,
        }
    }

    /// Destroys the object that fell to an entry of `owner`: what it owns, then its block. Repeatable.
    fn destroy_object(&'static self, owner: Owner, index: u32) -> Result<(), ArenaError> {
        let hold = self.map.hold(owner.slot(), index);
        if let Some(id) = BlockId::from_raw(hold.block.load(Ordering::Acquire)) {
            if self.is_held_by(id, owner) {
                object::destroy(self, id)?;
            }
            step();
            hold.other.store(0, Ordering::Release);
            step();
            return self.let_go(owner.slot(), index, id);
        }
        hold.other.store(0, Ordering::Release);
        Ok(())
    }

    /// Destroys the objects whose last reference this process released. Not from within the destruction of one: what that
    /// releases in turn waits on the list, so that a chain of objects needs no stack.
    pub(crate) fn reap(&'static self) {
        loop {
            let Some(index) = lock(&self.local.doomed).pop() else { return };
            match self.destroy_object(self.me, index) {
                Ok(()) => lock(&self.local.holds).put(index),
                Err(_) => lock(&self.local.deferred).push(index),
            }
        }
    }
}

impl Arena {
    /// Whether an object owns this block.
    pub(crate) fn is_owned(&self, id: BlockId) -> bool {
        self.locate(id.pos()).is_some_and(|found| found.state() == State::held_by(id.generation(), OWNED))
    }

    /// A free entry of this process's hold table.
    pub(crate) fn take_hold(&'static self) -> Result<u32, ArenaError> {
        lock(&self.local.holds).take(self)
    }

    /// Takes an entry back that is all zero.
    pub(crate) fn put_hold(&'static self, index: u32) {
        lock(&self.local.holds).put(index);
    }

    /// The block `give` goes from the entry that `entry` names (process and index) to the object whose lock the caller has;
    /// the block `take` from the object to that entry. Repeatable, also by somebody else after a death.
    pub(crate) fn exchange(&self, give: Option<BlockId>, take: Option<BlockId>, entry: u64) {
        let (Some(owner), index) = (Owner::from_raw((entry >> 32) as u32), entry as u32) else { return };
        let Some(hold) = self.record(Place::entry(owner.slot(), index)) else { return };
        if let Some(id) = give
            && let Some(found) = self.locate(id.pos())
            && found.state() == State::held(id.generation(), owner)
        {
            found.header.state.store(State::held_by(id.generation(), OWNED).raw(), Ordering::Release);
        }
        hold.block.store(take.map_or(0, BlockId::raw), Ordering::Release);
        step();
        if let Some(id) = take
            && let Some(found) = self.locate(id.pos())
            && found.state() == State::held_by(id.generation(), OWNED)
        {
            found.header.state.store(State::held(id.generation(), owner).raw(), Ordering::Release);
        }
    }

    /// Frees a block that an object owns which is being destroyed. Repeatable; does nothing once it was done.
    pub(crate) fn free_owned(&'static self, id: BlockId) -> Result<(), ArenaError> {
        let Some(found) = self.locate(id.pos()).filter(|_| self.is_owned(id)) else { return Ok(()) };
        let index = self.take_hold()?;
        self.my_hold(index).block.store(id.raw(), Ordering::Release);
        step();
        found.header.state.store(State::held(id.generation(), self.me).raw(), Ordering::Release);
        match self.let_go(self.me.slot(), index, id) {
            Ok(()) => self.put_hold(index),
            Err(_) => lock(&self.local.deferred).push(index),
        }
        Ok(())
    }

    /// Makes a block of this process the family's root block, which belongs to no process; the root, which may be another's.
    pub(crate) fn make_root(&'static self, block: Block) -> Result<BlockId, ArenaError> {
        let (hold, id) = block.parts();
        let made = self.granules()?.root(hold, id);
        if made {
            let _ = block.into_parts();
            self.put_hold(hold);
            return Ok(id);
        }
        self.root().ok_or_else(|| self.out_of_memory(0))
    }

    /// The family's root block.
    pub(crate) fn root(&self) -> Option<BlockId> {
        BlockId::from_raw(self.map.head().root.load(Ordering::Acquire))
    }

    /// This process's doorbell: a word that changes whenever it rings.
    pub(crate) fn bell(&self) -> &AtomicU32 {
        &self.map.slot(self.me.slot()).bell
    }

    /// Rings the doorbell of the process of a slot.
    pub(crate) fn ring(&self, slot: usize) {
        if slot < SLOTS {
            let bell = &self.map.slot(slot).bell;
            bell.fetch_add(1, Ordering::SeqCst);
            futex::wake_all(bell);
        }
    }
}

/// How a pins block begins; its records follow.
#[repr(C, align(16))]
struct PinsHead {
    /// Records from this one on were never used.
    used: AtomicU64,
    unused: u64,
}

/// References that are released with the block of a message: a chain of pins blocks, the last of which is written to.
#[derive(Debug)]
pub(crate) struct Pins {
    /// [`PINS`] or [`LENT`].
    mark: u32,
    block: Option<BlockId>,
    used: usize,
    capacity: usize,
}

const HEAD: usize = size_of::<PinsHead>();
const RECORD: usize = size_of::<Hold>();

impl Default for Pins {
    fn default() -> Pins {
        Pins::new(false)
    }
}

impl Pins {
    /// References that go with the block. `lent`: perhaps before, when [`Arena::give_back`] is told.
    pub(crate) fn new(lent: bool) -> Pins {
        Pins { mark: if lent { LENT } else { PINS }, block: None, used: 0, capacity: 0 }
    }

    /// Makes `parent` refer to an object, for as long as that block is not freed. The caller keeps both alive meanwhile.
    pub(crate) fn add(
        &mut self,
        arena: &'static Arena,
        parent: BlockId,
        id: BlockId,
        role: Role,
    ) -> Result<(), ArenaError> {
        let block = match self.block {
            Some(block) if self.used < self.capacity => block,
            _ => self.grow(arena, parent)?,
        };
        let head = pins_head(arena, block.pos()).ok_or_else(|| arena.out_of_memory(0))?;
        let pos = block.pos() + (HEAD + self.used * RECORD) as u64;
        let place = Place::pin(pos);
        let record = arena.record(place).ok_or_else(|| arena.out_of_memory(0))?;
        head.used.store(self.used as u64 + 1, Ordering::Relaxed);
        step();
        record.other.store(RefWord::empty(role).0, Ordering::Relaxed);
        step();
        record.block.store(id.raw(), Ordering::Release);
        step();
        match arena.count_up(place, id, None, role) {
            Ok(()) => {
                self.used += 1;
                Ok(())
            }
            Err(error) => {
                step();
                record.block.store(0, Ordering::Release);
                Err(match error {
                    NoRef::Arena(error) => error,
                    NoRef::Gone | NoRef::Kind(_) => ArenaError::Foreign { what: "an object" },
                })
            }
        }
    }

    /// A further block, adopted before it holds anything.
    fn grow(&mut self, arena: &'static Arena, parent: BlockId) -> Result<BlockId, ArenaError> {
        let len = if self.block.is_none() { 64 } else { ((HEAD + self.capacity * RECORD) * 4).min(16 << 10) };
        let block = arena.alloc_zeroed(len)?;
        let (id, capacity) = (block.id(), (block.capacity() - HEAD) / RECORD);
        block.adopt_pins_into(parent, self.mark)?;
        (self.block, self.used, self.capacity) = (Some(id), 0, capacity);
        Ok(id)
    }
}

fn pins_head(arena: &Arena, pos: Pos) -> Option<&PinsHead> {
    let start = arena.map.payload(pos, HEAD)?;
    // SAFETY: payload, aligned to 64 as the position of a block is; `unused` is never accessed.
    Some(unsafe { start.cast().as_ref() })
}

impl Arena {
    /// Releases the references in a pins block that is about to be recycled. Repeatable.
    pub(super) fn release_pins(&'static self, found: &Located<'_>, pins: BlockId) -> Result<(), ArenaError> {
        let Some(head) = pins_head(self, pins.pos()) else { return Ok(()) };
        let most = found.capacity.saturating_sub(HEAD) / RECORD;
        let used = usize::try_from(head.used.load(Ordering::Acquire)).unwrap_or(most).min(most);
        for at in 0..used {
            let place = Place::pin(pins.pos() + (HEAD + at * RECORD) as u64);
            let Some(record) = self.record(place) else { continue };
            let Some(id) = BlockId::from_raw(record.block.load(Ordering::Acquire)) else { continue };
            let mut heir = None;
            let released = self.count_down(place, id, || {
                let index = lock(&self.local.holds).take(self)?;
                heir = Some(index);
                Ok((self.me, index))
            })?;
            if released == Released::Last
                && let Some(index) = heir
            {
                lock(&self.local.doomed).push(index);
            }
            step();
            record.block.store(0, Ordering::Release);
        }
        Ok(())
    }

    /// Releases the references that a block was lent, by whoever has seen to it that they are needed no more and that the block
    /// lives meanwhile.
    pub(crate) fn give_back(&'static self, parent: BlockId) -> Result<(), ArenaError> {
        self.check()?;
        let index = self.take_hold()?;
        let hold = self.my_hold(index);
        hold.other.store(RefWord::gives_back().0, Ordering::Relaxed);
        step();
        hold.block.store(parent.raw(), Ordering::Release);
        step();
        let done = self.release_lent(parent);
        if done.is_ok() {
            self.clear(hold);
            self.put_hold(index);
        } else {
            lock(&self.local.deferred).push(index);
        }
        self.reap();
        done
    }

    /// The pins blocks stay, empty. Repeatable, and may be done by several at once.
    fn release_lent(&'static self, parent: BlockId) -> Result<(), ArenaError> {
        let Some(above) = self.locate(parent.pos()).filter(|it| it.state().generation == parent.generation()) else {
            return Ok(());
        };
        let mut pos = Children::from_raw(above.header.children.load(Ordering::Acquire)).first();
        while pos != 0 {
            let Some(child) = self.locate(pos).filter(|it| it.state().stage == Stage::Child) else { return Ok(()) };
            let state = child.state();
            if state.holder == LENT
                && let Some(id) = BlockId::new(pos, state.generation)
            {
                self.release_pins(&child, id)?;
            }
            pos = child.header.next.load(Ordering::Acquire);
        }
        Ok(())
    }

    /// Releases the references of a dead process, before anything else of it is recovered: what it had begun under the lock of
    /// an object, which may concern its other hold entries, is finished here. Repeatable.
    pub(super) fn audit_references(&'static self, dead: Owner) -> Result<(), ArenaError> {
        for index in 0..self.hold_high(dead.slot()) {
            let hold = self.map.hold(dead.slot(), index);
            if !is_reference(hold.other.load(Ordering::Acquire)) {
                continue;
            }
            let Some(id) = BlockId::from_raw(hold.block.load(Ordering::Acquire)) else {
                hold.other.store(0, Ordering::Release);
                continue;
            };
            let word = {
                // Whatever somebody had begun with this entry is finished once the stripe is locked.
                let _finished = self.stripe(id)?;
                RefWord::from_raw(hold.other.load(Ordering::Acquire))
            };
            if word.is_some_and(RefWord::is_giving_back) {
                self.release_lent(id)?;
                self.clear(hold);
                continue;
            }
            if word.is_some_and(RefWord::is_counted) {
                if self.is_held_by(id, dead) {
                    // Complete, but not yet an object.
                    self.destroy_object(dead, index)?;
                    continue;
                }
                object::recover(self, id, dead)?;
            }
            if self.release_entry(dead, index)? == Released::Last {
                self.destroy_object(dead, index)?;
            }
        }
        Ok(())
    }
}

impl Locked {
    fn describe(&self, place: Place, id: BlockId, role: u32, count: u32, word: RefWord) {
        let stripe = self.stripe;
        stripe.object.store(id.raw(), Ordering::Relaxed);
        stripe.record.store(place.0, Ordering::Relaxed);
        stripe.role.store(role, Ordering::Relaxed);
        stripe.count.store(count, Ordering::Relaxed);
        stripe.state.store(word.0, Ordering::Relaxed);
    }
}

const _: () = {
    assert!(align_of::<Hold>() == 16 && HEAD == 16);
};

/// The payload of a live block of anybody that begins with [`Counts`].
pub(crate) fn payload_of(arena: &Arena, id: BlockId) -> Option<(NonNull<u8>, usize)> {
    let found = arena.resolve(id)?;
    (found.capacity >= size_of::<Counts>()).then_some((found.ptr, found.capacity))
}
