//! What is needed of a task's types where its slots may hold anything: to find them valid, and, where they come from a network, to write
//! results anew.
#![allow(unsafe_code)]

use crate::message::{self, Checker, DecodeError, Message, Range};
#[cfg(feature = "engine")]
use crate::message::{EncodeError, Encoder};

/// Finds the slot at the address valid, with all its data within the ranges.
type Check = unsafe fn(*const u8, &[Range]) -> Result<(), DecodeError>;

/// What is needed of a task's types where its slots may hold anything.
// Not public API. Used by generated code.
#[derive(Debug, Clone, Copy)]
pub struct Wire {
    check_input: Check,
    #[cfg(feature = "engine")]
    check_output: Check,
    #[cfg(feature = "engine")]
    recode: unsafe fn(*const u8, &mut Encoder, *mut u8) -> Result<(), EncodeError>,
}

impl Wire {
    /// Of a task with such input slots and such results.
    #[cfg_attr(
        not(feature = "engine"),
        expect(clippy::extra_unused_type_parameters, reason = "results are used where there are engines")
    )]
    pub(crate) const fn of<A: rkyv::bytecheck::CheckBytes<Checker>, R: Message>() -> Wire {
        Wire {
            check_input: message::validate_archived::<A>,
            #[cfg(feature = "engine")]
            check_output: message::validate::<R>,
            #[cfg(feature = "engine")]
            recode: recode::<R>,
        }
    }

    /// Is there a valid input slot?
    ///
    /// # Safety
    /// Every byte of `ranges` is readable, initialised, and unchanged as long as the slot is in use.
    pub(crate) unsafe fn check_input(self, slot: *const u8, ranges: &[Range]) -> Result<(), DecodeError> {
        // SAFETY: passed on to the caller.
        unsafe { (self.check_input)(slot, ranges) }
    }
}

#[cfg(feature = "engine")]
impl Wire {
    /// Is there a valid output slot?
    ///
    /// # Safety
    /// As for [`check_input`](Self::check_input).
    pub(crate) unsafe fn check_output(self, slot: *const u8, ranges: &[Range]) -> Result<(), DecodeError> {
        // SAFETY: passed on to the caller.
        unsafe { (self.check_output)(slot, ranges) }
    }

    /// Writes the result at `from` to `to`.
    ///
    /// # Safety
    /// `from` is a valid output slot of the task, `to` one that the encoder may write to.
    pub(crate) unsafe fn recode(self, from: *const u8, encoder: &mut Encoder, to: *mut u8) -> Result<(), EncodeError> {
        // SAFETY: passed on to the caller.
        unsafe { (self.recode)(from, encoder, to) }
    }
}

/// # Safety
/// As for [`Wire::recode`], for a task with such results.
#[cfg(feature = "engine")]
unsafe fn recode<R: Message>(from: *const u8, encoder: &mut Encoder, to: *mut u8) -> Result<(), EncodeError> {
    // SAFETY: passed on to the caller.
    let value = unsafe { message::decode::<R>(from) }
        .map_err(|error| EncodeError::new(crate::ErrorKind::InvalidData, error.to_string()))?;
    // SAFETY: passed on to the caller.
    unsafe { encoder.put(&value, to) }
}
