//! The block through which a process gets its task and gives its result.
//!
//! ```text
//! header   task, where the slots are          by the parent, before the child exists
//! fault    a block, its length                by the child, before `outcome`
//! outcome  NONE -> VALUE | FAULT              by the child, once: what stands before it in memory is then complete
//! slots    input by the parent, output by the child; what does not fit there lies in blocks that are children of this one
//! ```
//! The parent holds the block until the child is gone, so the child may write into it at any time; killed anywhere, it leaves `outcome` NONE
//! or a complete result.
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::arena::{Arena, Block, BlockId, RawBlock};
use crate::message::Encoder;
use crate::object::Spill;
use crate::task::registry::TaskId;
use crate::task::{TaskEntry, TaskFault};

#[repr(C)]
struct Header {
    task: u32,
    input: u32,
    output: u32,
    outcome: AtomicU32,
    fault: AtomicU64,
    fault_len: AtomicU64,
}

const NONE: u32 = 0;
const VALUE: u32 = 1;
const FAULT: u32 = 2;
const ALIGN: usize = 64;

const _: () = assert!(size_of::<Header>() <= ALIGN);

/// What the child left in the block.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Nothing.
    None,
    /// A value in the output slot.
    Value(*const u8),
    Fault(TaskFault),
}

/// A view of a block that stays alive while this is used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TaskBlock {
    arena: &'static Arena,
    id: BlockId,
    start: NonNull<u8>,
}

// SAFETY: a place in shared memory, where the header's fields are either never changed after the block is handed on or atomic.
unsafe impl Send for TaskBlock {}
// SAFETY: as above. What is not atomic, the slots, is written and read through raw pointers, by unsafe code that sees to it that it has them alone:
// the parent before the child exists, the child, and whoever takes the value, by `&mut` or as the only owner, when the child is gone.
unsafe impl Sync for TaskBlock {}

impl TaskBlock {
    /// A block for one run of a task, and the view of it.
    pub(crate) fn create(
        arena: &'static Arena,
        task: TaskId,
        entry: &TaskEntry,
    ) -> Result<(Block, TaskBlock), crate::arena::ArenaError> {
        let output = ALIGN + entry.input().size.next_multiple_of(ALIGN);
        let block = arena.alloc(output + entry.output().size)?;
        let header = Header {
            task: task.as_raw(),
            input: ALIGN as u32,
            output: output as u32,
            outcome: AtomicU32::new(NONE),
            fault: AtomicU64::new(0),
            fault_len: AtomicU64::new(0),
        };
        // SAFETY: a fresh block of this process, aligned to 64 bytes and longer than the header.
        unsafe { block.as_ptr().cast::<Header>().write(header) };
        let start = NonNull::new(block.as_ptr()).ok_or(crate::arena::ArenaError::Foreign { what: "a block" })?;
        let view = TaskBlock { arena, id: block.id(), start };
        Ok((block, view))
    }

    /// The block that the parent made.
    pub(crate) fn open(arena: &'static Arena, id: BlockId) -> Option<TaskBlock> {
        let RawBlock { ptr, capacity } = arena.resolve(id)?;
        (capacity >= ALIGN).then_some(TaskBlock { arena, id, start: ptr })
    }

    fn header(&self) -> &Header {
        // SAFETY: `create` wrote a header at the block's start, and the parent keeps the block alive as long as views are used.
        unsafe { self.start.cast().as_ref() }
    }

    pub(crate) fn task(&self) -> TaskId {
        TaskId::from_raw(self.header().task)
    }

    /// The input slot.
    pub(crate) fn input(&self) -> *mut u8 {
        self.start.as_ptr().wrapping_add(self.header().input as usize)
    }

    /// The output slot.
    pub(crate) fn output(&self) -> *mut u8 {
        self.start.as_ptr().wrapping_add(self.header().output as usize)
    }

    /// An encoder for the input. What that refers to goes when [`Arena::give_back`] is told.
    pub(crate) fn input_encoder(&self) -> Encoder {
        Encoder::new(Box::new(Spill::lending(self.arena, self.id, Rc::default(), Rc::default())))
    }

    /// An encoder whose data becomes part of this block.
    pub(crate) fn encoder(&self) -> Encoder {
        Encoder::new(Box::new(Spill::new(self.arena, self.id)))
    }

    /// The output slot holds the task's value.
    pub(crate) fn give_value(&self) {
        self.header().outcome.store(VALUE, Ordering::Release);
    }

    /// There is no value.
    pub(crate) fn give_fault(&self, fault: &TaskFault) -> Result<(), crate::arena::ArenaError> {
        let bytes = fault.encode();
        let block = self.arena.alloc(bytes.len())?;
        // SAFETY: a fresh block of this process, at least that long.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), block.as_ptr(), bytes.len()) };
        let id = block.id();
        block.adopt_into(self.id)?;
        let header = self.header();
        header.fault.store(id.raw(), Ordering::Relaxed);
        header.fault_len.store(bytes.len() as u64, Ordering::Relaxed);
        header.outcome.store(FAULT, Ordering::Release);
        Ok(())
    }

    /// What the child, which has ended, left.
    pub(crate) fn outcome(&self) -> Outcome {
        let header = self.header();
        match header.outcome.load(Ordering::Acquire) {
            VALUE => Outcome::Value(self.output()),
            FAULT => {
                let block = BlockId::from_raw(header.fault.load(Ordering::Relaxed));
                let Some(RawBlock { ptr, capacity }) = block.and_then(|block| self.arena.resolve(block)) else {
                    return Outcome::None;
                };
                let len = (header.fault_len.load(Ordering::Relaxed) as usize).min(capacity);
                // SAFETY: the block is part of this one, which the caller keeps; its writer is gone.
                let bytes = unsafe { std::slice::from_raw_parts(ptr.as_ptr(), len) };
                Outcome::Fault(TaskFault::decode(bytes))
            }
            _ => Outcome::None,
        }
    }
}
