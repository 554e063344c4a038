//! What can be a key.
//!
//! Invariant of the unsafe code here: each type has one archived form for each of its values.
#![allow(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{CString, OsString};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::{
    NonZeroI8, NonZeroI16, NonZeroI32, NonZeroI64, NonZeroI128, NonZeroIsize, NonZeroU8, NonZeroU16, NonZeroU32,
    NonZeroU64, NonZeroU128, NonZeroUsize,
};
use std::time::{Duration, SystemTime};

use crate::Message;

/// A message that can be a key of a [`Dict`](super::Dict): values are equal if and only if their archived bytes are.
///
/// Keys are hashed and compared as bytes, without making values of them. That fits integers, `bool`, `char`, strings, times,
/// addresses, and `Option`, `Result`, `Box`, tuples, arrays, `Vec` and B-tree collections of keys. It does not fit
///
/// - floats: `0.0 == -0.0`, and a NaN is not equal to itself. Use their bits (`x.to_bits()`).
/// - hash maps and hash sets: equal ones can be written in different orders. Use `BTreeMap`, `BTreeSet`.
/// - `Rc` and `Arc`: what is shared is written once. Use what they hold.
/// - `PathBuf`: `a//b` equals `a/b`. Use `OsString`.
///
/// `#[message(key)]` makes a struct or an enum of keys a key. Its equality should be the derived one.
///
/// ```
/// use offspring::message;
/// use offspring::shared::Dict;
///
/// #[message(key)]
/// #[derive(Debug, PartialEq, Eq)]
/// struct Cell {
///     row: u32,
///     column: String,
/// }
///
/// let cells: Dict<Cell, f64> = Dict::new()?;
/// cells.insert(&Cell { row: 3, column: "B".into() }, &1.5)?;
/// assert_eq!(cells.get(&Cell { row: 3, column: "B".into() })?, Some(1.5));
/// # Ok::<(), offspring::Error>(())
/// ```
///
/// ```compile_fail,E0277
/// let by_weight = offspring::shared::Dict::<f64, u32>::new();
/// ```
///
/// # Safety
/// Do not implement it yourself: `#[message(key)]` does. Equal values have equal archived bytes, and different ones different
/// bytes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key in shared memory",
    label = "equal values of it need not have equal bytes",
    note = "instead of floats use their bits, instead of hash maps `BTreeMap`, instead of `PathBuf` `OsString`",
    note = "for a struct or an enum of keys, put `#[message(key)]` on its definition"
)]
pub unsafe trait Key: Message {}

/// Not public API: where `#[message(key)]` asks it of each field.
pub const fn is_key<T: Key>() {}

macro_rules! keys {
    ($($type:ty)*) => {$(
        // SAFETY: one archived form for each value, without gaps or with gaps that stay zero.
        #[diagnostic::do_not_recommend]
        unsafe impl Key for $type {}
    )*};
}

keys! {
    u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize bool char String OsString CString Duration SystemTime
    NonZeroU8 NonZeroU16 NonZeroU32 NonZeroU64 NonZeroU128 NonZeroUsize
    NonZeroI8 NonZeroI16 NonZeroI32 NonZeroI64 NonZeroI128 NonZeroIsize
    IpAddr Ipv4Addr Ipv6Addr SocketAddr SocketAddrV4 SocketAddrV6
}

macro_rules! keys_of_keys {
    ($([$($name:ident)*] $type:ty;)*) => {$(
        // SAFETY: made of keys, in an order that equal values share.
        #[diagnostic::do_not_recommend]
        unsafe impl<$($name: Key),*> Key for $type {}
    )*};
}

keys_of_keys! {
    [T] Option<T>; [T] Box<T>; [T] Vec<T>; [T] VecDeque<T>;
    [A] (A,); [A B] (A, B); [A B C] (A, B, C); [A B C D] (A, B, C, D); [A B C D E] (A, B, C, D, E);
    [A B C D E F] (A, B, C, D, E, F);
}

// SAFETY: it has one value.
unsafe impl Key for () {}
// SAFETY: as above.
unsafe impl<T: Key, E: Key> Key for Result<T, E> {}
// SAFETY: as above.
unsafe impl<T: Key, const N: usize> Key for [T; N] {}
// SAFETY: as above; the order is that of the keys.
unsafe impl<T: Key + Ord> Key for BTreeSet<T> {}
// SAFETY: as above.
unsafe impl<T: Key + Ord, V: Key> Key for BTreeMap<T, V> {}

/// What a key can be looked for by: itself, or a `str` in the place of a `String`.
///
/// ```
/// use offspring::shared::Dict;
///
/// let ages: Dict<String, u32> = Dict::new()?;
/// ages.insert("Ada", &36)?;
/// assert!(ages.contains(&String::from("Ada"))?);
/// # Ok::<(), offspring::Error>(())
/// ```
pub trait AsKey<K> {
    // Not public API.
    #[doc(hidden)]
    fn with_key<R>(&self, body: impl FnOnce(&K) -> R) -> R;
}

impl<K: Key> AsKey<K> for K {
    #[inline]
    fn with_key<R>(&self, body: impl FnOnce(&K) -> R) -> R {
        body(self)
    }
}

impl AsKey<String> for str {
    fn with_key<R>(&self, body: impl FnOnce(&String) -> R) -> R {
        body(&self.to_owned())
    }
}
