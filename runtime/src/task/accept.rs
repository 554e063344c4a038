//! Which items a task accepts, and how they are written into its input slots.

#![allow(unsafe_code)]

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::ffi::{CString, OsStr, OsString};
use std::hash::{BuildHasher, Hash};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rkyv::string::ArchivedString;
use rkyv::vec::ArchivedVec;

use super::function::{By, Call};
use super::param::{AsOsStr, AsPath, AsSlice, AsText, ByLending, ByValue, InArchive, Kind, Param};
use crate::message::{
    EncodeError, Encoder, InPlace, Message, SliceItem, os_parts, os_root, path_parts, path_root, write_slice,
};

/// An item that a task with the marker `M` accepts.
///
/// The item is the task's parameter or a reference to it; what it is borrowed from will do too: `String` or `&str` for
/// `&str` and `String`, `Vec<T>`, `&[T]` or an array for `&[T]` and `Vec<T>`. For several parameters it is a tuple, for
/// none `()`.
#[diagnostic::on_unimplemented(
    message = "an item of type `{Self}` does not fit this task's parameters",
    label = "does not fit the task",
    note = "an item is the value itself for one parameter, a tuple for several, `()` for none"
)]
pub trait Accept<M> {
    /// Writes the item into the task's input slot. By reference: a journal needs its bytes before it is sent.
    ///
    /// # Safety
    /// As for [`Encoder::put`], with `slot` being one of the task's input slots.
    #[doc(hidden)]
    unsafe fn write(&self, encoder: &mut Encoder, slot: *mut u8) -> Result<(), EncodeError>;
}

/// A value that can be written for a parameter of type `A`.
#[diagnostic::on_unimplemented(
    message = "a value of type `{Self}` does not fit a task's parameter of type `{A}`",
    label = "does not fit the task's parameter"
)]
pub trait Feed<Way, A> {
    /// Writes the value.
    ///
    /// # Safety
    /// As for [`Encoder::put`].
    #[doc(hidden)]
    unsafe fn feed(&self, encoder: &mut Encoder, slot: *mut u8) -> Result<(), EncodeError>;
}

macro_rules! feed {
    ($([$($generics:tt)*] $from:ty => $way:ty, $param:ty: |$this:ident, $encoder:ident, $slot:ident| $write:expr;)*) => {$(
        #[diagnostic::do_not_recommend]
        impl<$($generics)*> Feed<$way, $param> for $from {
            #[inline(always)]
            unsafe fn feed(&self, $encoder: &mut Encoder, $slot: *mut u8) -> Result<(), EncodeError> {
                let $this = self;
                // SAFETY: passed on to the caller.
                unsafe { $write }
            }
        }
    )*};
}

unsafe fn put_str(text: &str, encoder: &mut Encoder, slot: *mut u8) -> Result<(), EncodeError> {
    // SAFETY: passed on to the caller; the root is that of the text.
    unsafe {
        encoder.put_with(
            slot.cast::<ArchivedString>(),
            |encoder| ArchivedString::serialize_from_str(text, encoder),
            |resolver, out| ArchivedString::resolve_from_str(text, resolver, out),
        )
    }
}

unsafe fn put_slice<T: Message>(values: &[T], encoder: &mut Encoder, slot: *mut u8) -> Result<(), EncodeError> {
    // SAFETY: passed on to the caller; the root is that of the values.
    unsafe {
        encoder.put_with(
            slot.cast::<ArchivedVec<T::Archived>>(),
            |encoder| write_slice(values, encoder),
            |resolver, out| ArchivedVec::resolve_from_len(values.len(), resolver, out),
        )
    }
}

unsafe fn put_path(path: &Path, encoder: &mut Encoder, slot: *mut u8) -> Result<(), EncodeError> {
    // SAFETY: passed on to the caller; the root is that of the path.
    unsafe {
        encoder.put_with(
            slot.cast(),
            |encoder| path_parts(path, encoder),
            |resolver, out| path_root(path, resolver, out),
        )
    }
}

unsafe fn put_os_str(name: &OsStr, encoder: &mut Encoder, slot: *mut u8) -> Result<(), EncodeError> {
    // SAFETY: passed on to the caller; the root is that of the name.
    unsafe {
        encoder.put_with(slot.cast(), |encoder| os_parts(name, encoder), |resolver, out| os_root(name, resolver, out))
    }
}

feed! {
    [T: Message] T => ByValue, T: |this, encoder, slot| encoder.put(this, slot);
    [T: Message] &T => ByValue, T: |this, encoder, slot| encoder.put(*this, slot);
    ['r, T: Message] T => ByLending, &'r T: |this, encoder, slot| encoder.put(this, slot);
    ['r, T: Message] &T => ByLending, &'r T: |this, encoder, slot| encoder.put(*this, slot);
    ['r, T: Message<Archived = B>, B: InPlace] &T => InArchive, &'r B: |this, encoder, slot| encoder.put(*this, slot);
}

// Values for `&Archived<T>`, type by type (`#[message]` does it for its own): a rule for all `T: Message` would overlap
// with the one for `&T` above, as far as the compiler can know.
macro_rules! archived {
    ($([$($generics:tt)*] $type:ty;)*) => {$(
        #[diagnostic::do_not_recommend]
        impl<'r, $($generics)*> Feed<InArchive, &'r <$type as Message>::Archived> for $type {
            #[inline(always)]
            unsafe fn feed(&self, encoder: &mut Encoder, slot: *mut u8) -> Result<(), EncodeError> {
                // SAFETY: passed on to the caller.
                unsafe { encoder.put(self, slot) }
            }
        }
    )*};
}

archived! {
    [] u16; [] u32; [] u64; [] u128; [] i16; [] i32; [] i64; [] i128; [] f32; [] f64; [] char; [] usize; [] isize;
    [] String; [] CString; [] OsString; [] PathBuf; [] SystemTime; [] Duration;
    [] IpAddr; [] Ipv4Addr; [] Ipv6Addr; [] SocketAddr; [] SocketAddrV4; [] SocketAddrV6;
    [T: Message] Vec<T>; [T: Message] VecDeque<T>; [T: Message] LinkedList<T>; [T: Message + Ord] BinaryHeap<T>;
    [T: Message] Option<T>; [T: Message, E: Message] Result<T, E>; [T: Message] Range<T>; [T: Message] RangeInclusive<T>;
    [T: Message] Box<T>; [T: Message] Rc<T>; [T: Message] Arc<T>; [T: Message] Box<[T]>; [T: Message] Rc<[T]>;
    [T: Message] Arc<[T]>; [] Box<str>; [] Rc<str>; [] Arc<str>; [] Cow<'static, str>;
    [K: Message + Hash + Eq, V: Message, H: BuildHasher + Default + 'static] HashMap<K, V, H>;
    [K: Message + Hash + Eq, H: BuildHasher + Default + 'static] HashSet<K, H>;
    [K: Message + Ord, V: Message] BTreeMap<K, V>; [K: Message + Ord] BTreeSet<K>;
    [T: Message, const N: usize] [T; N];
    [A: Message] (A,); [A: Message, B: Message] (A, B); [A: Message, B: Message, C: Message] (A, B, C);
    [A: Message, B: Message, C: Message, D: Message] (A, B, C, D);
    [A: Message, B: Message, C: Message, D: Message, E: Message] (A, B, C, D, E);
    [A: Message, B: Message, C: Message, D: Message, E: Message, F: Message] (A, B, C, D, E, F);
}

/// Things of which `$view` makes what a parameter needs.
macro_rules! feeds {
    ($put:ident: $([$($generics:tt)*] $way:ty, $param:ty => $($from:ty)|*;)*) => {
        $(feeds!(@one $put, [$($generics)*], $way, $param, $($from)|*);)*
    };
    (@one $put:ident, $generics:tt, $way:ty, $param:ty, $($from:ty)|*) => {
        $(feeds!(@impl $put, $generics, $way, $param, $from);)*
    };
    (@impl $put:ident, [$($generics:tt)*], $way:ty, $param:ty, $from:ty) => {
        #[diagnostic::do_not_recommend]
        impl<$($generics)*> Feed<$way, $param> for $from {
            #[inline(always)]
            unsafe fn feed(&self, encoder: &mut Encoder, slot: *mut u8) -> Result<(), EncodeError> {
                // SAFETY: passed on to the caller.
                unsafe { $put(self.as_ref(), encoder, slot) }
            }
        }
    };
}

feeds! { put_str:
    [] ByValue, String => &str | &&str;
    ['r] AsText, &'r str => &str | &&str | String | &String | &&String | Box<str> | Arc<str>;
}

feeds! { put_path:
    [] ByValue, PathBuf => &Path | &&Path | &str | &&str | String | &String | &OsStr | OsString;
    ['r] AsPath, &'r Path =>
        &Path | &&Path | PathBuf | &PathBuf | &&PathBuf | &str | &&str | String | &String | &OsStr | OsString | &OsString;
}

feeds! { put_os_str:
    [] ByValue, OsString => &OsStr | &str | String | &Path | PathBuf;
    ['r] AsOsStr, &'r OsStr => &OsStr | OsString | &OsString | &str | &&str | String | &String | &Path | PathBuf | &PathBuf;
}

/// Slices: by `&$from[..]`, as `as_ref` is ambiguous for arrays of bytes and the like.
macro_rules! slices {
    ($([$($generics:tt)*] $way:ty, $param:ty => $from:ty;)*) => {$(
        #[diagnostic::do_not_recommend]
        impl<$($generics)*> Feed<$way, $param> for $from {
            #[inline(always)]
            unsafe fn feed(&self, encoder: &mut Encoder, slot: *mut u8) -> Result<(), EncodeError> {
                // SAFETY: passed on to the caller.
                unsafe { put_slice(&self[..], encoder, slot) }
            }
        }
    )*};
}

slices! {
    [T: Message] ByValue, Vec<T> => &[T];
    [T: Message] ByValue, Vec<T> => &&[T];
    [T: Message, const N: usize] ByValue, Vec<T> => [T; N];
    [T: Message, const N: usize] ByValue, Vec<T> => &[T; N];
    ['r, T: SliceItem] AsSlice, &'r [T] => Vec<T>;
    ['r, T: SliceItem] AsSlice, &'r [T] => &Vec<T>;
    ['r, T: SliceItem] AsSlice, &'r [T] => &&Vec<T>;
    ['r, T: SliceItem] AsSlice, &'r [T] => &[T];
    ['r, T: SliceItem] AsSlice, &'r [T] => &&[T];
    ['r, T: SliceItem] AsSlice, &'r [T] => Box<[T]>;
    ['r, T: SliceItem, const N: usize] AsSlice, &'r [T] => [T; N];
    ['r, T: SliceItem, const N: usize] AsSlice, &'r [T] => &[T; N];
}

#[diagnostic::do_not_recommend]
impl<S> Accept<Call<S, ()>> for () {
    #[inline(always)]
    unsafe fn write(&self, _: &mut Encoder, _: *mut u8) -> Result<(), EncodeError> {
        Ok(())
    }
}

#[diagnostic::do_not_recommend]
impl<X: Feed<W, A>, S, W, A: Param<W>> Accept<Call<S, (By<W, A>,)>> for X {
    #[inline(always)]
    unsafe fn write(&self, encoder: &mut Encoder, slot: *mut u8) -> Result<(), EncodeError> {
        // SAFETY: passed on to the caller; a slot of one parameter is the parameter's.
        unsafe { self.feed(encoder, slot) }
    }
}

/// Several parameters: a tuple, or a reference to one.
macro_rules! several {
    ($slots:ident: $($x:ident $w:ident $a:ident $index:tt)*) => {
        #[diagnostic::do_not_recommend]
        impl<S, $($x: Feed<$w, $a>, $w, $a: Param<$w>),*> Accept<Call<S, ($(By<$w, $a>,)*)>> for ($($x,)*) {
            #[inline(always)]
            unsafe fn write(&self, encoder: &mut Encoder, slot: *mut u8) -> Result<(), EncodeError> {
                let slots = slot.cast::<rkyv::tuple::$slots<$(<$a::Kind as Kind>::Slot),*>>();
                // SAFETY: passed on to the caller; the slot of several parameters is that tuple.
                unsafe { $(self.$index.feed(encoder, (&raw mut (*slots).$index).cast())?;)* }
                Ok(())
            }
        }

        #[diagnostic::do_not_recommend]
        impl<'x, S, $($x, $w, $a: Param<$w>),*> Accept<Call<S, ($(By<$w, $a>,)*)>> for &'x ($($x,)*)
        where
            $(&'x $x: Feed<$w, $a>,)*
        {
            #[inline(always)]
            unsafe fn write(&self, encoder: &mut Encoder, slot: *mut u8) -> Result<(), EncodeError> {
                let this: &'x ($($x,)*) = self;
                let slots = slot.cast::<rkyv::tuple::$slots<$(<$a::Kind as Kind>::Slot),*>>();
                // SAFETY: passed on to the caller; the slot of several parameters is that tuple.
                unsafe { $((&this.$index).feed(encoder, (&raw mut (*slots).$index).cast())?;)* }
                Ok(())
            }
        }
    };
}

several!(ArchivedTuple2: X0 W0 A0 0 X1 W1 A1 1);
several!(ArchivedTuple3: X0 W0 A0 0 X1 W1 A1 1 X2 W2 A2 2);
several!(ArchivedTuple4: X0 W0 A0 0 X1 W1 A1 1 X2 W2 A2 2 X3 W3 A3 3);
several!(ArchivedTuple5: X0 W0 A0 0 X1 W1 A1 1 X2 W2 A2 2 X3 W3 A3 3 X4 W4 A4 4);
several!(ArchivedTuple6: X0 W0 A0 0 X1 W1 A1 1 X2 W2 A2 2 X3 W3 A3 3 X4 W4 A4 4 X5 W5 A5 5);
several!(ArchivedTuple7: X0 W0 A0 0 X1 W1 A1 1 X2 W2 A2 2 X3 W3 A3 3 X4 W4 A4 4 X5 W5 A5 5 X6 W6 A6 6);
several!(ArchivedTuple8: X0 W0 A0 0 X1 W1 A1 1 X2 W2 A2 2 X3 W3 A3 3 X4 W4 A4 4 X5 W5 A5 5 X6 W6 A6 6 X7 W7 A7 7);
