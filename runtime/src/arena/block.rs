//! Blocks: what the arena hands out.
//!
//! Invariants of the unsafe code here: the payload of a block is accessed by its holder only until it is published, and
//! stays mapped for ever; zeroing touches only payload that `alloc_zeroed` was just given.
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};

use super::cache::{self, Ready};
use super::class::{blocks_of_class, class_of, size_of_class};
use super::granule::{Kind, Purpose};
use super::header::{Children, Stage, State};
use super::id::{BlockId, Pos};
use super::layout::{GRANULE, GRANULE_SHIFT, Header};
use super::local::lock;
use super::small::{Small, next_generation};
use super::{Arena, ArenaError, mutant, mutants, step};

/// A block in the hands of this process. Dropped, it is freed, and with it its children and theirs.
///
/// A process that dies holding it leaves that to the audit. In a `fork` of a member, dropping does nothing.
pub(crate) struct Block {
    arena: &'static Arena,
    id: BlockId,
    capacity: usize,
    hold: u32,
    place: Place,
    /// Whether this process owns the span of a small block: not certain if `false`.
    in_my_span: bool,
    /// Whether anybody may know the id: only then may somebody push a child while this block is being freed.
    known: AtomicBool,
}

/// Where the payload of somebody's block is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawBlock {
    pub(crate) ptr: NonNull<u8>,
    pub(crate) capacity: usize,
}

/// What of a block's metadata its position leads to.
pub(crate) struct Located<'a> {
    pub(crate) header: &'a Header,
    pub(crate) granule: u32,
    pub(crate) place: Place,
    pub(crate) capacity: usize,
}

/// How a block is embedded.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    /// A run of granules of its own.
    Large,
    /// Block `index` of a span of this class.
    Small { index: u16, class: u8 },
}

impl Located<'_> {
    pub(crate) fn state(&self) -> State {
        State::from_raw(self.header.state.load(Ordering::Acquire))
    }
}

impl Arena {
    /// A block of at least `len` bytes, 64-byte aligned. Its bytes are initialised, but to anything.
    #[inline]
    pub(crate) fn alloc(&'static self, len: usize) -> Result<Block, ArenaError> {
        self.check()?;
        match class_of(len) {
            Some(class) => self.alloc_small(class),
            None => self.with_room(|| self.alloc_large(len, false)),
        }
    }

    /// A block of at least `len` bytes, 64-byte aligned, all zero up to its capacity. Pages that never held anything are not
    /// touched.
    pub(crate) fn alloc_zeroed(&'static self, len: usize) -> Result<Block, ArenaError> {
        self.check()?;
        match class_of(len) {
            Some(class) => {
                let block = self.alloc_small(class)?;
                // SAFETY: the block is ours and has that many bytes.
                unsafe { block.as_ptr().write_bytes(0, block.capacity) };
                Ok(block)
            }
            None => self.with_room(|| self.alloc_large(len, true)),
        }
    }

    #[inline]
    fn alloc_small(&'static self, class: usize) -> Result<Block, ArenaError> {
        let ready = match cache::take(self, class) {
            Some(ready) => ready,
            None => self.with_room(|| cache::fill_and_take(self, class))?,
        };
        let Small { granule, index } = ready.block();
        let header = self.map.header(granule, index as usize);
        let last = State::from_raw(header.state.load(Ordering::Relaxed)).generation;
        let generation = next_generation(last, self.map.granule(granule).generation.load(Ordering::Relaxed));
        let size = size_of_class(class).unwrap_or(0);
        let pos = (u64::from(granule) << GRANULE_SHIFT) + (index as usize * size) as u64;
        let id = BlockId::new(pos, generation).ok_or_else(|| self.out_of_memory(size as u64))?;
        let held = State::held(generation, self.me).raw();
        if mutant(mutants::ALLOC_HEADER_FIRST) {
            header.state.store(held, Ordering::Release);
            step();
        }
        self.my_hold(ready.hold()).block.store(id.raw(), Ordering::Release);
        step();
        header.children.store(Children::none(generation).raw(), Ordering::Relaxed);
        header.next.store(0, Ordering::Relaxed);
        step();
        header.state.store(held, Ordering::Release);
        Ok(Block {
            arena: self,
            id,
            capacity: size,
            hold: ready.hold(),
            place: Place::Small { index, class: class as u8 },
            in_my_span: true,
            known: AtomicBool::new(false),
        })
    }

    fn alloc_large(&'static self, len: usize, zeroed: bool) -> Result<Block, ArenaError> {
        let granules = (len.max(1) as u64).div_ceil(GRANULE);
        let count = u32::try_from(granules).map_err(|_| self.out_of_memory(len as u64))?;
        let hold = lock(&self.local.holds).take(self)?;
        let taken = self.granules().and_then(|granules| granules.take(count, Purpose::Large { hold }, zeroed));
        let run = taken.inspect_err(|_| lock(&self.local.holds).put(hold))?;
        for granule in &run.warm {
            if let Some(start) = self.map.payload(u64::from(*granule) << GRANULE_SHIFT, GRANULE as usize) {
                // SAFETY: `start` is a granule of the run that was just taken for this block, which nobody else knows.
                unsafe { start.write_bytes(0, GRANULE as usize) };
            }
        }
        let pos = u64::from(run.first) << GRANULE_SHIFT;
        let id = BlockId::new(pos, run.generation).ok_or_else(|| self.out_of_memory(len as u64))?;
        Ok(Block {
            arena: self,
            id,
            capacity: (granules * GRANULE) as usize,
            hold,
            place: Place::Large,
            in_my_span: false,
            known: AtomicBool::new(true),
        })
    }

    /// The block `id`, in whosever hands it is; `None` once it was freed. The caller knows why it stays alive meanwhile.
    pub(crate) fn resolve(&self, id: BlockId) -> Option<RawBlock> {
        self.check().ok()?;
        let found = self.locate(id.pos())?;
        let state = found.state();
        (state.generation == id.generation() && state.is_live()).then_some(())?;
        Some(RawBlock { ptr: self.map.payload(id.pos(), found.capacity)?, capacity: found.capacity })
    }

    /// The metadata of the block that starts at `pos`, live or not. Everything read on the way is checked.
    pub(crate) fn locate(&self, pos: Pos) -> Option<Located<'_>> {
        let granule = u32::try_from(pos >> GRANULE_SHIFT).ok()?;
        match self.kind(granule) {
            Kind::Nothing | Kind::Retired => None,
            Kind::Span(_) => {
                let class = self.map.granule(granule).class.load(Ordering::Relaxed) as usize;
                let (size, offset) = (size_of_class(class)?, (pos % GRANULE) as usize);
                let index = offset / size;
                (offset == index * size && index < blocks_of_class(class)).then_some(())?;
                let place = Place::Small { index: index as u16, class: class as u8 };
                Some(Located { header: self.map.header(granule, index), granule, place, capacity: size })
            }
            Kind::Large => {
                pos.is_multiple_of(GRANULE).then_some(())?;
                let header = &self.map.granule(granule).header;
                let room = self.map.layout.len as u64 - pos;
                let capacity = header.len.load(Ordering::Relaxed).min(room) as usize;
                Some(Located { header, granule, place: Place::Large, capacity })
            }
        }
    }

    /// Frees the block that entry `index` of the table of `slot` names, with all below it, then clears the entry.
    ///
    /// The block is in the hands of the process of that slot: this one, or a dead one that this one audits.
    pub(crate) fn let_go(&'static self, slot: usize, index: u32, id: BlockId) -> Result<(), ArenaError> {
        let hold = self.map.hold(slot, index);
        self.drain(hold, id)?;
        self.recycle(id)?;
        step();
        hold.block.store(0, Ordering::Release);
        Ok(())
    }

    /// Makes the memory of a block available again: one that the caller holds or has unlinked, without children. Repeatable;
    /// does nothing if the block is free already, or another by now.
    pub(crate) fn recycle(&'static self, id: BlockId) -> Result<(), ArenaError> {
        let Some(found) = self.locate(id.pos()) else { return Ok(()) };
        let state = found.state();
        if state.generation != id.generation() || !state.is_live() {
            return Ok(());
        }
        if state.stage == Stage::Child && state.holder != 0 {
            self.release_pins(&found, id)?;
        }
        match found.place {
            Place::Large => {
                let count = found.capacity as u64 >> GRANULE_SHIFT;
                self.granules()?.give(found.granule, count as u32, true);
                self.trim_now_and_then();
            }
            Place::Small { index, .. } if self.kind(found.granule) == Kind::Span(self.me) => {
                found.header.state.store(State::new(id.generation(), Stage::Free).raw(), Ordering::Release);
                lock(&self.local.spans).put(self, Small { granule: found.granule, index });
            }
            Place::Small { .. } => {
                found.header.state.store(State::new(id.generation(), Stage::Given).raw(), Ordering::Release);
                step();
                if !mutant(mutants::REMOTE_BIT_LAST) {
                    self.tell_owner(&found);
                }
            }
        }
        Ok(())
    }

    /// Sets the bit by which the owner of a span learns that a block of it was freed.
    pub(crate) fn tell_owner(&self, block: &Located<'_>) {
        if let Place::Small { index, .. } = block.place
            && let Some(word) = self.map.granule(block.granule).remote.get(index as usize / 64)
        {
            word.fetch_or(1 << (index % 64), Ordering::AcqRel);
        }
    }
}

impl Block {
    /// The name of this block in messages.
    pub(crate) fn id(&self) -> BlockId {
        self.known.store(true, Ordering::Relaxed);
        self.id
    }

    /// How many bytes it has.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Where it begins in the arena.
    pub(crate) fn pos(&self) -> Pos {
        self.id.pos()
    }

    /// Where it begins in this process.
    pub(crate) fn as_ptr(&self) -> *mut u8 {
        // SAFETY: the position is in the mapping, as it was when the block was made.
        unsafe { self.arena.map.base().add(self.id.pos() as usize).as_ptr() }
    }

    /// Its entry in this process's hold table.
    pub(super) fn hold(&self) -> u32 {
        self.hold
    }

    /// Leaves the block to whom it was given.
    pub(super) fn forget(self) -> (&'static Arena, u32) {
        let this = std::mem::ManuallyDrop::new(self);
        (this.arena, this.hold)
    }

    /// Hands the block over as a child of `parent`, which somebody else may hold; freed with it. Fails, and frees this
    /// block, if `parent` is gone.
    pub(crate) fn adopt_into(self, parent: BlockId) -> Result<(), ArenaError> {
        let this = std::mem::ManuallyDrop::new(self);
        this.arena.check()?;
        this.arena.adopt(this.hold, this.id, parent, 0)
    }

    /// As [`Block::adopt_into`], as a block of references, all zero so far, and a small one. `mark` is
    /// [`PINS`](super::header::PINS) or [`LENT`](super::header::LENT).
    pub(super) fn adopt_pins_into(self, parent: BlockId, mark: u32) -> Result<(), ArenaError> {
        let this = std::mem::ManuallyDrop::new(self);
        this.arena.adopt(this.hold, this.id, parent, mark)
    }

    /// Its hold entry and its id.
    pub(super) fn parts(&self) -> (u32, BlockId) {
        (self.hold, self.id())
    }

    /// Gives up the block without a change in the arena: its hold entry, and its id, are the caller's to look after.
    pub(crate) fn into_parts(self) -> (u32, BlockId) {
        let this = std::mem::ManuallyDrop::new(self);
        (this.hold, this.id)
    }

    /// The block that entry `hold` of this process's table names; `None` if there is none.
    pub(crate) fn from_parts(arena: &'static Arena, hold: u32, id: BlockId) -> Option<Block> {
        let found = arena.locate(id.pos())?;
        (found.state() == State::held(id.generation(), arena.me)).then_some(())?;
        let (capacity, place) = (found.capacity, found.place);
        let in_my_span = arena.kind(found.granule) == Kind::Span(arena.me);
        Some(Block { arena, id, capacity, hold, place, in_my_span, known: AtomicBool::new(true) })
    }

    /// Gives back what lies behind the first `len` bytes, as far as that pays: whole granules of a large block.
    pub(crate) fn shrink_to(&mut self, len: usize) {
        let left = (len.max(1) as u64).div_ceil(GRANULE);
        let count = self.capacity as u64 / GRANULE;
        if left >= count || self.arena.check().is_err() {
            return;
        }
        if let Ok(granules) = self.arena.granules() {
            granules.cut((self.pos() >> GRANULE_SHIFT) as u32, count as u32, left as u32);
            self.capacity = (left * GRANULE) as usize;
        }
    }
}

/// Closes the chain of a block that has no children; `false` if it has.
fn close_childless(header: &Header, id: BlockId) -> bool {
    let none = Children::none(id.generation());
    header.children.compare_exchange(none.raw(), none.close().raw(), Ordering::AcqRel, Ordering::Relaxed).is_ok()
}

impl Drop for Block {
    #[inline]
    fn drop(&mut self) {
        if self.arena.is_here() {
            match self.place {
                Place::Small { index, class } if self.in_my_span => {
                    self.arena.free_small(self.hold, self.id, index, class, *self.known.get_mut());
                }
                _ => self.arena.free(self.hold, self.id),
            }
        }
    }
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Block").field("id", &self.id).field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

impl Arena {
    /// Frees a small block of this process, which is in a span of this process: nobody else allocates there.
    #[inline]
    fn free_small(&'static self, hold: u32, id: BlockId, index: u16, class: u8, known: bool) {
        let block = Small { granule: (id.pos() >> GRANULE_SHIFT) as u32, index };
        let header = self.map.header(block.granule, index as usize);
        let has_children = header.children.load(Ordering::Acquire) != Children::none(id.generation()).raw();
        // Closed before the header says free, as somebody may be about to push a child: unless nobody knows the block.
        if (known || has_children) && !close_childless(header, id) {
            if self.drain(self.my_hold(hold), id).is_err() {
                lock(&self.local.deferred).push(hold);
                return;
            }
            self.reap();
        }
        let free = State::new(id.generation(), Stage::Free).raw();
        if mutant(mutants::FREE_HOLD_FIRST) {
            self.my_hold(hold).block.store(0, Ordering::Release);
            step();
        }
        header.state.store(free, Ordering::Release);
        step();
        self.my_hold(hold).block.store(0, Ordering::Release);
        cache::put(self, class as usize, Ready::new(block, hold));
    }

    /// Frees a block of this process.
    pub(crate) fn free(&'static self, hold: u32, id: BlockId) {
        match self.let_go(self.me.slot(), hold, id) {
            Ok(()) => {
                lock(&self.local.holds).put(hold);
                self.reap();
            }
            // No thread record was to be had for the lock: later, then.
            Err(_) => lock(&self.local.deferred).push(hold),
        }
    }
}
