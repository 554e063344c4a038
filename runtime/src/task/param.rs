//! How a parameter of a task is found in shared memory: made a value, or lent where it lies.
#![allow(unsafe_code)]

use std::ffi::OsStr;
use std::marker::PhantomData;
use std::path::Path;

use rkyv::Portable;
use rkyv::bytecheck::CheckBytes;
use rkyv::string::ArchivedString;
use rkyv::vec::ArchivedVec;

use crate::message::{ArchivedOsString, ArchivedPathBuf, Checker, DecodeError, Decoder, InPlace, Message, SliceItem};

/// A type that a task's parameter may have.
///
/// `Way` is found by the compiler: by value, by one of the ways of borrowing.
// Not public API. Used by generated code.
#[diagnostic::on_unimplemented(
    message = "a task cannot have a parameter of type `{Self}`",
    label = "not a message, nor a borrow of one",
    note = "take a message by value or by reference, or `&str`, `&Path`, `&[T]` of numbers, `&offspring::Archived<T>`",
    note = "put `#[offspring::message]` on types of your own; a worker's state is taken as `&mut S`, first"
)]
pub trait Param<Way> {
    // Not public API.
    #[doc(hidden)]
    type Kind: Kind;
}

/// By value.
#[derive(Debug)]
pub struct ByValue;
/// Made a value and lent.
#[derive(Debug)]
pub struct ByLending;
/// Read in place in its archived form.
#[derive(Debug)]
pub struct InArchive;
/// Read in place.
#[derive(Debug)]
pub struct AsSlice;
/// Read in place.
#[derive(Debug)]
pub struct AsText;
/// Read in place.
#[derive(Debug)]
pub struct AsPath;
/// Read in place.
#[derive(Debug)]
pub struct AsOsStr;

/// One way of getting at a parameter.
///
/// # Safety
/// `hold` accepts every slot that is valid for `Slot`; `Arg<'a>` is valid for `'a` only, so that a task cannot keep a
/// borrow of the memory: [`TaskCall`](super::TaskCall) is made only of functions that take it for every `'a`.
pub unsafe trait Kind: 'static {
    /// What lies in the input slot.
    type Slot: Portable + CheckBytes<Checker> + 'static;
    /// What is kept while the task runs.
    type Hold;
    /// What the task gets.
    type Arg<'a>;

    /// Reads the slot.
    ///
    /// # Safety
    /// `slot` is valid, and unchanged with all its data while the hold lives.
    unsafe fn hold(slot: *const Self::Slot, decoder: &mut Decoder) -> Result<Self::Hold, DecodeError>;

    /// The argument of the call.
    ///
    /// # Safety
    /// Called once per hold.
    unsafe fn lend(hold: &mut Self::Hold) -> Self::Arg<'_>;
}

/// The [`Kind`] of `T` by value.
#[derive(Debug)]
pub struct Value<T>(PhantomData<fn() -> T>);
/// The [`Kind`] of `&T`.
#[derive(Debug)]
pub struct Lent<T>(PhantomData<fn() -> T>);
/// The [`Kind`] of `&Archived<T>`.
#[derive(Debug)]
pub struct Viewed<B>(PhantomData<fn() -> B>);
/// The [`Kind`] of `&[T]`.
#[derive(Debug)]
pub struct Slice<T>(PhantomData<fn() -> T>);
/// The [`Kind`] of `&str`.
#[derive(Debug)]
pub struct Text;
/// The [`Kind`] of `&Path`.
#[derive(Debug)]
pub struct PathRef;
/// The [`Kind`] of `&OsStr`.
#[derive(Debug)]
pub struct OsStrRef;

// SAFETY: a value has no lifetime, as `Message: 'static`.
unsafe impl<T: Message> Kind for Value<T> {
    type Slot = T::Archived;
    type Hold = Option<T>;
    type Arg<'a> = T;

    #[inline(always)]
    unsafe fn hold(slot: *const T::Archived, decoder: &mut Decoder) -> Result<Option<T>, DecodeError> {
        // SAFETY: the caller vouches for the slot.
        T::read(unsafe { &*slot }, decoder).map(Some)
    }

    #[inline(always)]
    unsafe fn lend(hold: &mut Option<T>) -> T {
        // SAFETY: made `Some` by `hold`, and taken once.
        unsafe { hold.take().unwrap_unchecked() }
    }
}

// SAFETY: the borrow is one of the hold.
unsafe impl<T: Message> Kind for Lent<T> {
    type Slot = T::Archived;
    type Hold = T;
    type Arg<'a> = &'a T;

    #[inline(always)]
    unsafe fn hold(slot: *const T::Archived, decoder: &mut Decoder) -> Result<T, DecodeError> {
        // SAFETY: the caller vouches for the slot.
        T::read(unsafe { &*slot }, decoder)
    }

    #[inline(always)]
    unsafe fn lend(hold: &mut T) -> &T {
        hold
    }
}

/// A kind whose hold is the slot itself, borrowed as `$target` by `$view`.
macro_rules! in_place {
    ($([$($generics:tt)*] $kind:ty, $slot:ty => $target:ty, $view:expr;)*) => {$(
        // SAFETY: the borrow is one of the hold, which stands for the memory.
        unsafe impl<$($generics)*> Kind for $kind {
            type Slot = $slot;
            type Hold = *const $slot;
            type Arg<'a> = &'a $target;

            #[inline(always)]
            unsafe fn hold(slot: *const $slot, _: &mut Decoder) -> Result<*const $slot, DecodeError> {
                Ok(slot)
            }

            #[inline(always)]
            unsafe fn lend(hold: &mut *const $slot) -> &$target {
                let view: fn(&$slot) -> &$target = $view;
                // SAFETY: `hold` was promised that the slot is valid while the hold lives.
                view(unsafe { &**hold })
            }
        }
    )*};
}

in_place! {
    [B: InPlace + Portable + CheckBytes<Checker> + 'static] Viewed<B>, B => B, |slot| slot;
    [] Text, ArchivedString => str, |slot| slot.as_str();
    [] PathRef, ArchivedPathBuf => Path, |slot| slot;
    [] OsStrRef, ArchivedOsString => OsStr, |slot| slot;
    [T: SliceItem] Slice<T>, ArchivedVec<T::Archived> => [T],
        // SAFETY: `SliceItem` says that archived items are items.
        |slot| unsafe { std::slice::from_raw_parts(slot.as_ptr().cast(), slot.len()) };
}

impl<T: Message> Param<ByValue> for T {
    type Kind = Value<T>;
}

impl<T: Message> Param<ByLending> for &T {
    type Kind = Lent<T>;
}

impl<B: InPlace + Portable + CheckBytes<Checker> + 'static> Param<InArchive> for &B {
    type Kind = Viewed<B>;
}

impl<T: SliceItem> Param<AsSlice> for &[T] {
    type Kind = Slice<T>;
}

impl Param<AsText> for &str {
    type Kind = Text;
}

impl Param<AsPath> for &Path {
    type Kind = PathRef;
}

impl Param<AsOsStr> for &OsStr {
    type Kind = OsStrRef;
}

/// Finds the kind of a parameter's type.
// Not public API. Used by generated code.
pub const fn param<A: Param<Way>, Way>() -> PhantomData<A::Kind> {
    PhantomData
}
