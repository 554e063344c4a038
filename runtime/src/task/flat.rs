//! Items and results as contiguous bytes, for the journal.
#![allow(unsafe_code)]

use super::{Accept, TaskEntry};
use crate::message::{EncodeError, Flat};

/// The bytes of an item of the task `entry`: equal for equal items.
pub(crate) fn write_item<'a, M, A: Accept<M>>(
    entry: &TaskEntry,
    item: &A,
    flat: &'a mut Flat,
) -> Result<&'a [u8], EncodeError> {
    flat.write(entry.input().size, |encoder, slot| {
        // SAFETY: a slot of the size that the task's entry states, aligned to 64, in the same buffer as the encoder's memory. The
        // marker `M` says that the item fits the parameters; whether those are this entry's is a matter of the slot's size alone.
        unsafe { item.write(encoder, slot) }
    })
}

/// The text of the error that the result whose bytes these are is, if it is one.
pub(crate) fn failure_at(entry: &TaskEntry, bytes: &[u8]) -> Option<String> {
    if bytes.len() < entry.output().size {
        return None;
    }
    // SAFETY: written by `Flat` just now for the task's own output type: aligned to 64, complete and valid.
    unsafe { entry.failure(bytes.as_ptr()) }
}
