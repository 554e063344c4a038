//! Telling a task's failure from its success without taking its result apart: for policies, reports and the journal.
//!
//! Generated code asks `Probe<R>` by method call, and the compiler takes the first of these that fits: an error that can be
//! displayed, one that can be debugged, any other result, anything at all.
#![allow(unsafe_code)]

use std::any::type_name;
use std::fmt::{Debug, Display};
use std::marker::PhantomData;

use rkyv::result::ArchivedResult;

use super::entry::TaskCall;
use crate::message::{Decoder, Message};

/// Asks what `R` is.
// Not public API. Used by generated code.
#[derive(Debug)]
pub struct Probe<R>(PhantomData<fn() -> R>);

impl<R> Probe<R> {
    /// Asks.
    pub const fn ask() -> Self {
        Probe(PhantomData)
    }
}

/// The text of the error at `output`, if it is one.
unsafe fn text<T: Message, E: Message>(output: *const u8, show: fn(&E) -> String) -> Option<String> {
    // SAFETY: the caller says that a valid output slot is there.
    let result = unsafe { &*output.cast::<ArchivedResult<T::Archived, E::Archived>>() };
    match result {
        ArchivedResult::Ok(_) => None,
        ArchivedResult::Err(error) => Some(match E::read(error, &mut Decoder::new()) {
            Ok(error) => show(&error),
            Err(unreadable) => unreadable.to_string(),
        }),
    }
}

/// The error can be displayed.
// Not public API. Used by generated code.
pub trait DisplayError {
    /// Requires that `output` is a valid output slot.
    #[doc(hidden)]
    #[allow(clippy::missing_safety_doc)]
    unsafe fn failure(&self, output: *const u8) -> Option<String>;
}

impl<T: Message, E: Message + Display> DisplayError for &&&Probe<Result<T, E>> {
    unsafe fn failure(&self, output: *const u8) -> Option<String> {
        // SAFETY: passed on to the caller.
        unsafe { text::<T, E>(output, |error| format!("{error:#}")) }
    }
}

/// The error can be debugged.
// Not public API. Used by generated code.
pub trait DebugError {
    /// Requires that `output` is a valid output slot.
    #[doc(hidden)]
    #[allow(clippy::missing_safety_doc)]
    unsafe fn failure(&self, output: *const u8) -> Option<String>;
}

impl<T: Message, E: Message + Debug> DebugError for &&Probe<Result<T, E>> {
    unsafe fn failure(&self, output: *const u8) -> Option<String> {
        // SAFETY: passed on to the caller.
        unsafe { text::<T, E>(output, |error| format!("{error:?}")) }
    }
}

/// The error has no text.
// Not public API. Used by generated code.
pub trait AnyError {
    /// Requires that `output` is a valid output slot.
    #[doc(hidden)]
    #[allow(clippy::missing_safety_doc)]
    unsafe fn failure(&self, output: *const u8) -> Option<String>;
}

impl<T: Message, E: Message> AnyError for &Probe<Result<T, E>> {
    unsafe fn failure(&self, output: *const u8) -> Option<String> {
        // SAFETY: passed on to the caller.
        unsafe { text::<T, E>(output, |_| format!("an error of type `{}`", type_name::<E>())) }
    }
}

/// No `Result` at all: a type of that name.
// Not public API. Used by generated code.
pub trait NoError {
    /// Requires nothing.
    #[doc(hidden)]
    #[allow(clippy::missing_safety_doc)]
    unsafe fn failure(&self, output: *const u8) -> Option<String>;
}

impl<R> NoError for Probe<R> {
    unsafe fn failure(&self, _: *const u8) -> Option<String> {
        None
    }
}

impl TaskCall {
    /// Says how a failure is told from a success.
    // Not public API. Used by generated code.
    #[must_use]
    pub const fn with_failure(mut self, failure: unsafe fn(*const u8) -> Option<String>) -> Self {
        self.failure = Some(failure);
        self
    }
}
