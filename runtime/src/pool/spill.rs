//! Where the out-of-line parts of inputs and outputs go: blocks that belong to the job from the moment they exist.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ptr::NonNull;
use std::rc::Rc;

use crate::ErrorKind;
use crate::arena::{Arena, ArenaError, BlockId};
use crate::message::{EncodeError, Sink, SinkSpan};

const SMALLEST: usize = 1 << 10;
const LARGEST: usize = 1 << 20;

/// A sink that gives blocks to a job.
#[derive(Debug)]
pub(super) struct Spill {
    arena: &'static Arena,
    job: BlockId,
    next: usize,
    spilled: Rc<Cell<usize>>,
}

impl Spill {
    /// A spill of `job`, which the caller keeps alive. Adds what it hands out to `spilled`.
    pub(super) fn counted(arena: &'static Arena, job: BlockId, spilled: Rc<Cell<usize>>) -> Spill {
        Spill { arena, job, next: SMALLEST, spilled }
    }

    /// A spill of `job`, which the caller keeps alive.
    pub(super) fn new(arena: &'static Arena, job: BlockId) -> Spill {
        Spill::counted(arena, job, Rc::default())
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
        // SAFETY: a fresh block of this capacity, 64-byte aligned and initialised; its job outlives the encoder (contract of
        // `counted`), in the same mapping as the job's slots.
        let span = unsafe { SinkSpan::new(ptr, block.capacity()) };
        // Adopted before it is written to: whenever this process is killed, the block is freed with the job.
        block.adopt_into(self.job).map_err(refused)?;
        self.spilled.set(self.spilled.get() + len);
        Ok(span)
    }
}

fn refused(error: ArenaError) -> EncodeError {
    EncodeError::new(error.kind(), error.to_string())
}
