//! What can be lent to a task where it lies: archived types, and slices of plain data.

use rkyv::boxed::ArchivedBox;
use rkyv::collections::btree_map::ArchivedBTreeMap;
use rkyv::collections::btree_set::ArchivedBTreeSet;
use rkyv::collections::swiss_table::map::ArchivedHashMap;
use rkyv::collections::swiss_table::set::ArchivedHashSet;
use rkyv::option::ArchivedOption;
use rkyv::rc::ArchivedRc;
use rkyv::rend;
use rkyv::result::ArchivedResult;
use rkyv::string::ArchivedString;
use rkyv::traits::ArchivePointee;
use rkyv::vec::ArchivedVec;

use super::{ArchivedOsString, ArchivedPathBuf, ArchivedSystemTime, Message};

/// An archived form that is no message itself.
///
/// A parameter `&B` is read in place where `B: InPlace`, and deserialized and lent where `B: Message`; no type is both,
/// which is what lets the compiler tell them apart. Implemented for rkyv's archived types here, and by `#[message]` for
/// those that it makes. Where an archived type is the type itself (`u8`, `bool`) lending it is as good.
pub trait InPlace {}

macro_rules! in_place {
    ($($type:ty)*) => { $(impl InPlace for $type {})* };
}

in_place! {
    rend::u16_le rend::u32_le rend::u64_le rend::u128_le rend::i16_le rend::i32_le rend::i64_le rend::i128_le
    rend::f32_le rend::f64_le rend::char_le
    rend::NonZeroU16_le rend::NonZeroU32_le rend::NonZeroU64_le rend::NonZeroU128_le
    rend::NonZeroI16_le rend::NonZeroI32_le rend::NonZeroI64_le rend::NonZeroI128_le
    ArchivedString ArchivedOsString ArchivedPathBuf ArchivedSystemTime
    rkyv::ffi::ArchivedCString rkyv::time::ArchivedDuration rkyv::ops::ArchivedRangeFull
    rkyv::net::ArchivedIpAddr rkyv::net::ArchivedIpv4Addr rkyv::net::ArchivedIpv6Addr
    rkyv::net::ArchivedSocketAddr rkyv::net::ArchivedSocketAddrV4 rkyv::net::ArchivedSocketAddrV6
}

impl<T> InPlace for ArchivedVec<T> {}
impl<T> InPlace for ArchivedOption<T> {}
impl<T, E> InPlace for ArchivedResult<T, E> {}
impl<T: ArchivePointee + ?Sized> InPlace for ArchivedBox<T> {}
impl<T: ArchivePointee + ?Sized, F> InPlace for ArchivedRc<T, F> {}
impl<K, V> InPlace for ArchivedHashMap<K, V> {}
impl<K> InPlace for ArchivedHashSet<K> {}
impl<K, V> InPlace for ArchivedBTreeMap<K, V> {}
impl<K> InPlace for ArchivedBTreeSet<K> {}
impl<T> InPlace for rkyv::ops::ArchivedRange<T> {}
impl<T> InPlace for rkyv::ops::ArchivedRangeInclusive<T> {}
impl<T: InPlace, const N: usize> InPlace for [T; N] {}

macro_rules! tuples {
    ($($name:ident $($type:ident)*;)*) => { $(impl<$($type),*> InPlace for rkyv::tuple::$name<$($type),*> {})* };
}

tuples! {
    ArchivedTuple1 A; ArchivedTuple2 A B; ArchivedTuple3 A B C; ArchivedTuple4 A B C D; ArchivedTuple5 A B C D E;
    ArchivedTuple6 A B C D E F; ArchivedTuple7 A B C D E F G; ArchivedTuple8 A B C D E F G H;
    ArchivedTuple9 A B C D E F G H I; ArchivedTuple10 A B C D E F G H I J; ArchivedTuple11 A B C D E F G H I J K;
    ArchivedTuple12 A B C D E F G H I J K L;
}

/// A type whose slices are lent to tasks where they lie: `&[f64]`.
///
/// # Safety
/// `Self` and `Archived<Self>` have the same size, alignment and bytes.
#[diagnostic::on_unimplemented(
    message = "a slice of `{Self}` cannot be lent to a task where it lies",
    label = "not plain data",
    note = "take `Vec<{Self}>`, or `&offspring::Archived<Vec<{Self}>>` to read it in place; `&[T]` is for numbers, `bool`, `char` and arrays of them"
)]
pub unsafe trait SliceItem: Message {}

macro_rules! slice_items {
    ($($type:ty)*) => {$(
        // SAFETY: `COPY` vouches for it; where it does not hold (big-endian machines) this does not compile.
        unsafe impl SliceItem for $type {}
        const _: () = assert!(<$type as Message>::COPY.is_enabled(), "offspring needs a little-endian machine of 64 bits");
    )*};
}

slice_items! { u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64 bool char }

// SAFETY: an array's bytes are its elements' bytes.
unsafe impl<T: SliceItem, const N: usize> SliceItem for [T; N] {}
