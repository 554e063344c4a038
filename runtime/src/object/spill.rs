//! Where the parts of a message go that do not fit its slot: blocks that belong to the slot's block from the moment they
//! exist, references to objects included.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::collections::HashSet;
use std::ptr::NonNull;
use std::rc::Rc;

use crate::ErrorKind;
use crate::arena::refs::Pins;
use crate::arena::{Arena, ArenaError, BlockId, Role};
use crate::message::{EncodeError, Pin, Sink, SinkSpan};

const SMALLEST: usize = 1 << 10;
const LARGEST: usize = 1 << 20;

/// A sink that gives blocks to a parent.
#[derive(Debug)]
pub(crate) struct Spill {
    arena: &'static Arena,
    parent: BlockId,
    next: usize,
    spilled: Rc<Cell<usize>>,
    /// Says whether there are references.
    pinning: Rc<Cell<bool>>,
    pins: Pins,
    /// What the parent refers to already: once is enough.
    pinned: HashSet<(u64, u32)>,
}

impl Spill {
    /// A spill of `parent`, a block which the caller keeps alive. Adds what it hands out to `spilled`.
    pub(crate) fn counted(arena: &'static Arena, parent: BlockId, spilled: Rc<Cell<usize>>) -> Spill {
        Spill {
            arena,
            parent,
            next: SMALLEST,
            spilled,
            pinning: Rc::default(),
            pins: Pins::new(false),
            pinned: HashSet::new(),
        }
    }

    /// As [`Spill::counted`], for inputs: what they refer to goes before the parent does if [`Arena::give_back`] is told. Sets
    /// `lent` if there is anything.
    pub(crate) fn lending(
        arena: &'static Arena,
        parent: BlockId,
        spilled: Rc<Cell<usize>>,
        lent: Rc<Cell<bool>>,
    ) -> Spill {
        Spill { pinning: lent, pins: Pins::new(true), ..Spill::counted(arena, parent, spilled) }
    }

    /// A spill of `parent`, a block which the caller keeps alive.
    pub(crate) fn new(arena: &'static Arena, parent: BlockId) -> Spill {
        Spill::counted(arena, parent, Rc::default())
    }
}

impl Sink for Spill {
    fn more(&mut self, least: usize) -> Result<SinkSpan, EncodeError> {
        let len = least.max(self.next);
        self.next = (self.next * 2).min(LARGEST);
        let block = self.arena.alloc(len).map_err(refused)?;
        let Some(ptr) = NonNull::new(block.as_ptr()) else {
            return Err(EncodeError::new(ErrorKind::OutOfMemory, "no shared memory"));
        };
        // SAFETY: a fresh block of this capacity, 64-byte aligned and initialised; its parent outlives the encoder (contract of
        // `counted`), in the same mapping as the parent's slots.
        let span = unsafe { SinkSpan::new(ptr, block.capacity()) };
        // Adopted before it is written to: whenever this process is killed, the block is freed with its parent.
        block.adopt_into(self.parent).map_err(refused)?;
        self.spilled.set(self.spilled.get() + len);
        Ok(span)
    }

    fn reaches(&self, address: *const u8) -> bool {
        self.arena.pos_of(address).is_some()
    }

    fn pin(&mut self, pin: &Pin) -> Result<(), EncodeError> {
        if pin.arena() != self.arena.id() {
            return Err(EncodeError::new(
                ErrorKind::NotSendable,
                "a handle belongs to another family of processes than the one it is sent in",
            ));
        }
        if self.pinned.contains(&(pin.object(), pin.role())) {
            return Ok(());
        }
        let (Some(object), Some(role)) = (BlockId::from_raw(pin.object()), Role::from_raw(pin.role())) else {
            return Err(EncodeError::new(ErrorKind::NotSendable, "no handle"));
        };
        self.pins.add(self.arena, self.parent, object, role).map_err(refused)?;
        self.pinning.set(true);
        self.pinned.insert((pin.object(), pin.role()));
        Ok(())
    }
}

fn refused(error: ArenaError) -> EncodeError {
    EncodeError::new(error.kind(), error.to_string())
}
