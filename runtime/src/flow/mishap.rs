//! What became of values that ended their way early, as a chunk's result says it.
#![allow(unsafe_code)]

use std::any::type_name;

use offspring_macros::message;

use crate::message::{Encoder, HeapSink, Message};
use crate::task::{PanicRecord, Role, SlotLayout, Slots, TaskError, TaskFault, registry};

/// A value that ended its way early.
#[message(crate = crate, derive(Debug))]
#[derive(Debug)]
pub struct Mishap {
    /// Of the chunk.
    pub(super) item: u32,
    /// Which stage, from 1; 0 is the input.
    pub(super) stage: u32,
    pub(super) worker: u32,
    /// The text of an error that a stage of `try_map` returned.
    pub(super) refused: Option<String>,
    /// Otherwise a [`TaskFault`].
    pub(super) fault: Vec<u8>,
}

impl Mishap {
    fn at(item: usize, stage: u32) -> Mishap {
        // A chunk has less than 2^30 items.
        Mishap { item: item as u32, stage, worker: std::process::id(), refused: None, fault: Vec::new() }
    }

    /// The library's own reason.
    pub(super) fn fault(item: usize, stage: u32, fault: &TaskFault) -> Mishap {
        Mishap { fault: fault.encode(), ..Mishap::at(item, stage) }
    }

    /// The mishap that this is the error of; `None` where it was not the worker that told of it.
    pub(super) fn again(stage: u32, error: &TaskError) -> Option<Mishap> {
        let fault = match error {
            TaskError::Panicked { message, location, backtrace, .. } => TaskFault::Panicked(PanicRecord {
                message: message.clone(),
                location: location.clone(),
                backtrace: backtrace.as_deref().map(str::to_owned),
            }),
            TaskError::NotSendable { reason, kind, .. } => {
                TaskFault::NotSendable { reason: reason.clone(), kind: *kind }
            }
            _ => return None,
        };
        Some(Mishap { worker: error.worker().unwrap_or(0), ..Mishap::fault(0, stage, &fault) })
    }

    /// The task's own reason.
    pub(super) fn refused(item: usize, stage: u32, text: String) -> Mishap {
        Mishap { refused: Some(text), ..Mishap::at(item, stage) }
    }
}

/// The text of the error that the task `F` returned, as its macro knows to show it.
#[cold]
pub(super) fn text_of<F: 'static, T: Message, E: Message>(error: E) -> String {
    let unknown = || format!("an error of type `{}`", type_name::<E>());
    let Ok((_, entry)) = registry::entry_of::<F>(Role::Task) else { return unknown() };
    let result: Result<T, E> = Err(error);
    let slot = Slots::new(SlotLayout::of::<<Result<T, E> as Message>::Archived>(), 1);
    let mut encoder = Encoder::new(Box::new(HeapSink::new()));
    // SAFETY: a slot of the layout of this result, on the heap, as is what the encoder writes besides; both live to the end.
    match unsafe { encoder.put(&result, slot.as_ptr()) } {
        // SAFETY: the task's result has this type, and was just written there.
        Ok(()) => unsafe { entry.failure(slot.as_ptr()) }.unwrap_or_else(unknown),
        Err(error) => format!("{} ({error})", unknown()),
    }
}
