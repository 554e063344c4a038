//! Data that all processes of a program share, without a server: values, arrays, broadcasts, dictionaries and lists.
//!
//! `README.md` in this folder holds the protocols.

mod array;
mod broadcast;
mod copying;
mod dict;
mod error;
mod image;
mod key;
pub(crate) mod kinds;
mod list;
pub(crate) mod mutants;
mod namespace;
mod nested;
mod range;
#[cfg(feature = "testing")]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod value;

pub use array::{Array, ArrayGuard, ArrayPart, PartGuard};
pub use broadcast::Shared;
pub use dict::{Dict, Iter as DictIter, Keys, Values};
pub use error::SharedError;
#[doc(hidden)]
pub use key::is_key;
pub use key::{AsKey, Key};
pub use list::{Iter as ListIter, List};
pub use namespace::Namespace;
pub use value::{Integer, Value};
