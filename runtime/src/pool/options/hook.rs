//! What each worker runs first and last: an initializer and a finalizer, tasks like any other.
//!
//! Their inputs are encoded once, when the pool is built. What the finalizer returns, and why either failed, a worker writes into a
//! block that it makes part of its seat's *anchor*, a small block of the pool's process, before the seat names it: so it outlives the
//! worker, and is freed with the anchor. The pool takes it when the worker is gone, and gives the seat a new anchor.
//!
//! | killed | left behind | by whom it is freed |
//! | --- | --- | --- |
//! | before the adoption | a block held by the dead | the arena's audit |
//! | between adoption and the seat's word | a part of the anchor that nobody names | with the anchor, at the seat's next result or the pool's end |
//! | after it | the result | whoever takes it |
#![allow(unsafe_code)]

use std::any::TypeId;
use std::sync::atomic::Ordering::*;
use std::sync::atomic::{AtomicU32, AtomicU64};

use crate::ErrorKind;
use crate::arena::{Arena, ArenaError, Block, BlockId};
use crate::message::{self, Encoder, Message};
use crate::object::Spill;
use crate::pool::PoolError;
use crate::pool::layout::{HookWords, Seat};
use crate::task::{
    Accept, Role, RunCtx, TaskContext, TaskEntry, TaskError, TaskFault, TaskFn, TaskId, WorkerState, registry,
};

/// A task that each worker runs once, with its input in shared memory.
#[derive(Debug)]
pub(in crate::pool) struct Hook {
    task: TaskId,
    function: TypeId,
    pub(in crate::pool) name: &'static str,
    input: Block,
}

/// Encodes it when the pool is built. Boxed, as the builder does not know its types.
pub(in crate::pool) type PrepareHook = Box<dyn FnOnce(&'static Arena) -> Result<Hook, PoolError> + Send>;

/// What the builder keeps of `initializer(task, input)` or `finalizer(task, input)`; `what` says which.
pub(in crate::pool) fn prepare<F, M, A>(what: &'static str, _: F, input: A) -> PrepareHook
where
    F: TaskFn<M>,
    A: Accept<M> + Send + 'static,
{
    Box::new(move |arena| {
        let refused = |kind: ErrorKind, reason: String| PoolError::Hook { what, reason, kind };
        let (task, entry) =
            registry::entry_of::<F>(Role::Task).map_err(|error| refused(error.kind(), error.to_string()))?;
        let block = arena.alloc(entry.input().size)?;
        let mut encoder = Encoder::new(Box::new(Spill::new(arena, block.id())));
        // SAFETY: a slot of the layout that the task's entry states; blocks are aligned to 64, the largest alignment of a slot.
        // Nobody reads it before the pool's control block names it.
        unsafe { input.write(&mut encoder, block.as_ptr()) }
            .map_err(|error| refused(error.kind(), error.to_string()))?;
        Ok(Hook { task, function: TypeId::of::<F>(), name: entry.name(), input: block })
    })
}

impl Hook {
    /// Tells the workers of it. Before the first worker starts.
    pub(in crate::pool) fn announce(&self, words: &HookWords) {
        words.input.store(self.input.pos(), Release);
        words.task.store(self.task.as_raw() + 1, Release);
    }

    /// Is it a run of `F`?
    pub(in crate::pool) fn is<F: 'static>(&self) -> bool {
        self.function == TypeId::of::<F>()
    }
}

const VALUE: u64 = 0;
const FAULT: u64 = 1;

/// The head of a result.
#[repr(C)]
struct ResultHead {
    /// [`VALUE`] or [`FAULT`].
    kind: u64,
    /// Bytes of the body.
    len: u64,
}

/// Where value or fault begin, aligned for any slot.
const BODY: usize = 64;

/// What becomes of what a task returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) enum Returns {
    /// Nobody wants it; but an error is a failure.
    Checked,
    /// It is the pool's to take, whatever it is.
    Kept,
}

/// Runs what `words` name, in a worker. `false`: it failed, and the seat says why.
pub(in crate::pool) fn run(
    arena: &'static Arena,
    words: &HookWords,
    seat: &Seat,
    state: &mut WorkerState,
    returns: Returns,
) -> bool {
    let Some(task) = words.task.load(Acquire).checked_sub(1) else { return true };
    // Where there is no room for a result, or for the reason, the worker's exit code has to do.
    match run_task(arena, TaskId::from_raw(task), words.input.load(Acquire), state, returns) {
        Ok(block) => {
            if returns == Returns::Kept {
                _ = leave(seat, block);
            }
            true
        }
        Err(fault) => {
            _ = write_fault(arena, &fault).and_then(|block| leave(seat, block));
            false
        }
    }
}

/// Runs one task; its output in a new block.
fn run_task(
    arena: &'static Arena,
    task: TaskId,
    input: u64,
    state: &mut WorkerState,
    returns: Returns,
) -> Result<Block, TaskFault> {
    let no_memory = |error: ArenaError| TaskFault::NotSendable { reason: error.to_string(), kind: error.kind() };
    let entry: &TaskEntry =
        registry::get(task).map_err(|error| TaskFault::NoTask { reason: error.to_string(), kind: error.kind() })?;
    let inputs =
        arena.at(input, entry.input().size).ok_or(ArenaError::Foreign { what: "an input" }).map_err(no_memory)?;
    let block = arena.alloc(BODY + entry.output().size).map_err(no_memory)?;
    let mut encoder = Encoder::new(Box::new(Spill::new(arena, block.id())));
    let mut fault = None;
    // SAFETY: the block is longer than its head, aligned, and nobody else's.
    let outputs = unsafe {
        block.as_ptr().cast::<ResultHead>().write(ResultHead { kind: VALUE, len: entry.output().size as u64 });
        block.as_ptr().add(BODY)
    };
    let mut cx = RunCtx {
        inputs: inputs.as_ptr(),
        outputs,
        lo: 0,
        hi: 1,
        progress: &AtomicU64::new(0),
        encoder: &mut encoder,
        state,
        fault: &mut |_, why| fault = Some(why),
        attention: &AtomicU32::new(0),
        attend: &mut |_, _| true,
        mishap: &mut |_| (),
        skips: &[],
        most_mishaps: usize::MAX,
        caught: || (),
    };
    // SAFETY: `announce` named a task and an input slot that was encoded for it, in a block that the pool's estate keeps until the last
    // worker is gone; the output slot has the entry's size and is this run's alone; the encoder's blocks lie in the same mapping.
    unsafe { entry.run(&mut cx) };
    drop(encoder);
    if let Some(fault) = fault {
        return Err(fault);
    }
    // SAFETY: the task has run without a fault, so its output slot is valid.
    match unsafe { entry.failure(outputs) } {
        Some(reason) if returns == Returns::Checked => {
            Err(TaskFault::NoState { reason: format!("it returned an error: {reason}"), kind: ErrorKind::Failed })
        }
        _ => Ok(block),
    }
}

fn write_fault(arena: &'static Arena, fault: &TaskFault) -> Result<Block, ArenaError> {
    let bytes = fault.encode();
    let block = arena.alloc(BODY + bytes.len())?;
    // SAFETY: the block is that long, and nobody else's.
    unsafe {
        block.as_ptr().cast::<ResultHead>().write(ResultHead { kind: FAULT, len: bytes.len() as u64 });
        block.as_ptr().add(BODY).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
    }
    Ok(block)
}

/// Makes a result part of the seat's anchor, then names it.
fn leave(seat: &Seat, block: Block) -> Result<(), ArenaError> {
    let anchor = BlockId::from_raw(seat.anchor.load(Acquire)).ok_or(ArenaError::Foreign { what: "a seat's anchor" })?;
    let id = block.id();
    block.adopt_into(anchor)?;
    seat.result.store(id.raw(), Release);
    Ok(())
}

/// What a worker left, in the pool's process.
#[derive(Debug)]
pub(in crate::pool) struct Left {
    /// Keeps the result.
    _anchor: Block,
    result: BlockId,
    pub(in crate::pool) worker: u32,
}

impl Left {
    /// Takes what the dead worker of `seat` left, with the seat's anchor.
    pub(in crate::pool) fn take(seat: &Seat, anchor: &mut Option<Block>, worker: u32) -> Option<Left> {
        let result = BlockId::from_raw(seat.result.swap(0, AcqRel))?;
        seat.anchor.store(0, Release);
        Some(Left { _anchor: anchor.take()?, result, worker })
    }

    /// Where its body begins, if it is of this kind; and how long it is.
    fn body(&self, arena: &Arena, kind: u64) -> Option<(*const u8, usize)> {
        let block = arena.resolve(self.result).filter(|block| block.capacity >= BODY)?;
        // SAFETY: at least as long as a head (just checked); plain numbers, valid whatever they are; its writer is gone.
        let head = unsafe { block.ptr.cast::<ResultHead>().read() };
        let len = usize::try_from(head.len).ok().filter(|len| *len <= block.capacity - BODY)?;
        (head.kind == kind).then(|| (block.ptr.as_ptr().cast_const().wrapping_add(BODY), len))
    }

    /// Why the task gave no value, if it did not.
    pub(in crate::pool) fn fault(&self, arena: &Arena) -> Option<TaskFault> {
        let (body, len) = self.body(arena, FAULT)?;
        // SAFETY: the body lies in a block that the anchor keeps, and has that length.
        Some(TaskFault::decode(unsafe { std::slice::from_raw_parts(body, len) }))
    }

    /// The value that the task `F`, which `hook` runs, returned.
    pub(in crate::pool) fn value<R: Message>(&self, arena: &Arena, hook: &Hook) -> Result<R, TaskError> {
        let context = TaskContext::new(hook.name, None);
        if let Some(fault) = self.fault(arena) {
            return Err(fault.into_error(context, self.worker, 1));
        }
        let unreadable = |reason: String| TaskError::NotSendable {
            context: context.clone(),
            reason: format!("its result cannot be read: {reason}"),
            kind: ErrorKind::InvalidData,
        };
        let (body, len) = self.body(arena, VALUE).ok_or_else(|| unreadable("it is damaged".into()))?;
        if len != size_of::<R::Archived>() {
            return Err(unreadable("it has another size".into()));
        }
        // SAFETY: a slot of the archived form's size, aligned to 64; its bytes are validated before they are read, as their writer has died.
        unsafe {
            message::validate::<R>(body, &[arena.readable()]).map_err(|error| unreadable(error.to_string()))?;
            message::decode::<R>(body).map_err(|error| unreadable(error.to_string()))
        }
    }
}

/// The text and the kind of a fault that ends a pool.
pub(in crate::pool) fn explain(fault: &TaskFault) -> (String, ErrorKind) {
    match fault {
        TaskFault::Panicked(panic) => {
            (format!("it panicked at {}: {}", panic.location, panic.message), ErrorKind::Panicked)
        }
        TaskFault::NotSendable { reason, kind }
        | TaskFault::NoState { reason, kind }
        | TaskFault::NoTask { reason, kind } => (reason.clone(), *kind),
    }
}
