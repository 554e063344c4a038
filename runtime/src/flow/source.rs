//! Where a flow's values come from: items of an iterator, or what chunks gave.
#![allow(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::chain::Chain;
use super::program::{Merge, Outcome, Work};
use super::terminal::Terminal;
use crate::ErrorKind;
use crate::executor::Kept;
use crate::message::{self, DecodeError, Decoder, EncodeError, Encoder, HeapSink, Message};
use crate::task::{Accept, Fused, SlotLayout, Slots};

/// An item that a flow can begin with: a message, or a reference to one.
///
/// The first stage gets the value, an `S`: `String` for `&str`, `PathBuf` for `&Path`, `T` for `&T`.
#[diagnostic::on_unimplemented(
    message = "a flow cannot begin with items of type `{Self}`",
    label = "no message, and no reference to one",
    note = "items are messages, or references to them; put `#[offspring::message]` on types of your own"
)]
pub trait Item<S> {
    /// Writes the value for a worker.
    ///
    /// # Safety
    /// As for [`Encoder::put`], with a slot of `S`.
    #[doc(hidden)]
    unsafe fn write(&self, encoder: &mut Encoder, slot: *mut u8) -> Result<(), EncodeError>;

    /// The value itself, for where no worker is needed.
    #[doc(hidden)]
    fn into_value(self) -> Result<S, EncodeError>
    where
        Self: Sized;
}

impl<T: Message> Item<T> for T {
    #[inline(always)]
    unsafe fn write(&self, encoder: &mut Encoder, slot: *mut u8) -> Result<(), EncodeError> {
        // SAFETY: passed on to the caller.
        unsafe { encoder.put(self, slot) }
    }

    #[inline(always)]
    fn into_value(self) -> Result<T, EncodeError> {
        Ok(self)
    }
}

impl<T: Message> Item<T> for &T {
    #[inline(always)]
    unsafe fn write(&self, encoder: &mut Encoder, slot: *mut u8) -> Result<(), EncodeError> {
        // SAFETY: passed on to the caller.
        unsafe { encoder.put(*self, slot) }
    }

    /// By way of its archived form: a message need not be `Clone`.
    fn into_value(self) -> Result<T, EncodeError> {
        let slot = Slots::new(SlotLayout::of::<T::Archived>(), 1);
        let mut encoder = Encoder::new(Box::new(HeapSink::new()));
        // SAFETY: a slot of this message's layout, on the heap as is what the encoder writes besides; both live to the end.
        unsafe {
            encoder.put(self, slot.as_ptr())?;
            message::decode::<T>(slot.as_ptr())
        }
        .map_err(|error| EncodeError::new(ErrorKind::InvalidData, error.to_string()))
    }
}

/// Borrows that are written by way of a value.
macro_rules! borrowed {
    ($($from:ty => $value:ty;)*) => {$(
        impl Item<$value> for $from {
            unsafe fn write(&self, encoder: &mut Encoder, slot: *mut u8) -> Result<(), EncodeError> {
                // SAFETY: passed on to the caller.
                unsafe { encoder.put(&<$value>::from(*self), slot) }
            }

            fn into_value(self) -> Result<$value, EncodeError> {
                Ok(self.into())
            }
        }
    )*};
}

borrowed! {
    &str => String;
    &Path => PathBuf;
    &OsStr => OsString;
}

impl<S, C, T, X> Accept<Fused<Work<S, C, T>>> for X
where
    S: Message,
    C: Chain<S>,
    T: Terminal<C::Out>,
    X: Item<S>,
{
    #[inline(always)]
    unsafe fn write(&self, encoder: &mut Encoder, slot: *mut u8) -> Result<(), EncodeError> {
        // SAFETY: passed on to the caller; the program's input slot is that of `S`.
        unsafe { Item::write(self, encoder, slot) }
    }
}

/// Written as a box of it; where the worker can read it where it lies, as a box of which that is the contents.
#[diagnostic::do_not_recommend]
impl<V: 'static, T: Terminal<V>> Accept<Fused<Merge<V, T>>> for Kept<Outcome<T::Partial>> {
    unsafe fn write(&self, encoder: &mut Encoder, slot: *mut u8) -> Result<(), EncodeError> {
        if encoder.reaches(self.slot()) {
            let distance = (self.slot() as i64).wrapping_sub(slot as i64);
            // SAFETY: the program's input slot is that of a box of an outcome, the caller's to write: the distance to its contents.
            unsafe { slot.cast::<i64>().write(distance) };
            return Ok(());
        }
        let invalid = |error: DecodeError| EncodeError::new(ErrorKind::InvalidData, error.to_string());
        let outcome = <Outcome<T::Partial>>::read(self.get(), &mut Decoder::new()).map_err(invalid)?;
        // SAFETY: as above.
        unsafe { encoder.put(&Box::new(outcome), slot) }
    }
}
