//! Messages: values that cross from one process to another.
//!
//! A message is written once, straight into the memory where the other side reads it ([`Encoder`]), in rkyv's archived
//! form: a root of fixed size in a *slot*, and data of any length elsewhere in the same mapping, found through relative
//! pointers of 64 bits. Root and data may lie in different blocks. There it can be read in place ([`Archived`]) or be
//! made into a value again ([`decode`](fn@decode)).
//!
//! [`Message`] has one implementation per type instead of a blanket one over rkyv's traits: rkyv knows no `PathBuf`,
//! `OsString` or `SystemTime`, and no blanket rule can add them everywhere (as items, results, inside `Vec` and maps).
//! `#[message]` implements it for a user's type.
#![allow(unsafe_code)]

mod bridge;
mod check;
mod decode;
mod encode;
mod error;
#[cfg(any(feature = "engine", feature = "journal"))]
mod flat;
mod impls;
mod in_place;
mod pin;
mod plain;
#[cfg(feature = "engine")]
mod row;
mod scratch;

use rkyv::Portable;
use rkyv::bytecheck::CheckBytes;
use rkyv::traits::CopyOptimization;

pub(crate) use bridge::write_slice;
pub use check::{Checker, Range};
pub use decode::Decoder;
#[cfg(feature = "engine")]
pub(crate) use encode::Aligned;
pub(crate) use encode::Written;
pub use encode::{Encoder, HeapSink, Sink, SinkSpan};
pub use error::{DecodeError, EncodeError};
#[cfg(any(feature = "engine", feature = "journal"))]
pub(crate) use flat::Flat;
pub use impls::system::{ArchivedOsString, ArchivedPathBuf, ArchivedSystemTime};
pub(crate) use impls::system::{os_parts, os_root, path_parts, path_root};
pub use in_place::{InPlace, SliceItem};
pub use pin::Pin;
pub use plain::{Plain, is_plain};
#[cfg(feature = "engine")]
pub(crate) use row::{Row, Space};

/// A value that can be sent to another process.
///
/// Implemented for numbers, strings, paths, times, tuples up to 12, arrays, `Option`, `Result`, `Box`, `Rc`, `Arc` and
/// std's collections of messages. Put `#[offspring::message]` on a struct or an enum of your own to make it one.
///
/// It has no methods to call: a bound `T: Message` is all that user code needs.
///
/// # Safety
/// Do not implement it yourself: `#[message]` does. What is read in place in another process is trusted to be what the
/// hidden items promise: `write_root` initialises a valid `Archived`, given what `write_parts` returned, and points only to
/// what `write_parts` wrote.
///
/// ```
/// use offspring::Message;
///
/// fn name_of<T: Message>(_: &T) -> &'static str {
///     std::any::type_name::<T>()
/// }
/// assert_eq!(name_of(&7u64), "u64");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no message: it cannot be sent to another process",
    label = "cannot be sent to another process",
    note = "put `#[offspring::message]` on the definition of `{Self}`; for a type of another crate, send what it is made of",
    note = "borrows are no messages: send `String` instead of `&str`, `Vec<T>` instead of `&[T]`"
)]
pub unsafe trait Message: Sized + 'static {
    // Not public API. What lies in the slot.
    #[doc(hidden)]
    type Archived: Portable + CheckBytes<Checker>;

    // Not public API. What `write_root` needs to know of what `write_parts` wrote.
    #[doc(hidden)]
    type Resolver;

    // Not public API. Enabled: the bytes of a value are the bytes of its archived form.
    #[doc(hidden)]
    const COPY: CopyOptimization<Self> = CopyOptimization::disable();

    // Not public API. Writes what lies outside of the slot.
    #[doc(hidden)]
    fn write_parts(this: &Self, encoder: &mut Encoder) -> Result<Self::Resolver, EncodeError>;

    // Not public API. Writes the slot.
    #[doc(hidden)]
    fn write_root(this: &Self, resolver: Self::Resolver, out: rkyv::Place<Self::Archived>);

    // Not public API. Makes a value of an archived one.
    #[doc(hidden)]
    fn read(archived: &Self::Archived, decoder: &mut Decoder) -> Result<Self, DecodeError>;
}

/// What a message `T` looks like in shared memory, where it is read in place.
///
/// `Archived<String>` derefs to `str`, `Archived<Vec<T>>` to a slice of archived `T`, `Archived<u64>` has `to_native()`
/// and converts by `into()`; the archived form of a `#[message]` struct has the same fields, archived.
///
/// ```
/// use offspring::{Archived, message, task};
///
/// #[message]
/// struct Page { url: String, links: Vec<String> }
///
/// #[task]
/// fn degree(page: &Archived<Page>) -> usize {
///     page.links.len()
/// }
/// ```
pub type Archived<T> = <T as Message>::Archived;

/// Makes a value of the archived one at `slot`.
///
/// # Safety
/// `slot` points to a valid, aligned `Archived<T>`, written by an [`Encoder`] of this build or passed by [`validate`];
/// nobody changes it or its out-of-line data during the call.
#[inline]
pub unsafe fn decode<T: Message>(slot: *const u8) -> Result<T, DecodeError> {
    let mut decoder = Decoder::new();
    // SAFETY: the caller vouches for `slot`.
    T::read(unsafe { &*slot.cast::<T::Archived>() }, &mut decoder)
}

/// Checks that `slot` holds a valid `Archived<T>` all of whose data lies within `ranges`.
///
/// # Safety
/// Every byte of `ranges` is readable, initialised and does not change during the call, nor later while the checked
/// value is used.
pub unsafe fn validate<T: Message>(slot: *const u8, ranges: &[Range]) -> Result<(), DecodeError> {
    // SAFETY: as for this function.
    unsafe { check::validate::<T::Archived>(slot, ranges) }
}

/// As [`validate`], for the archived form itself: a task's slot of several parameters has no message type.
///
/// # Safety
/// As for [`validate`].
pub unsafe fn validate_archived<A: CheckBytes<Checker>>(slot: *const u8, ranges: &[Range]) -> Result<(), DecodeError> {
    // SAFETY: as for this function.
    unsafe { check::validate::<A>(slot, ranges) }
}

#[cfg(test)]
mod tests;
