//! Data that all processes of a program share, without a server: values, arrays, broadcasts, dictionaries and lists.
//!
//! `README.md` in this folder holds the protocols.

mod dict;
mod error;
mod image;
mod key;
pub(crate) mod kinds;
mod list;
pub(crate) mod mutants;

pub use dict::{Dict, Iter as DictIter, Keys, Values};
pub use error::SharedError;
pub use key::{AsKey, Key};
pub use list::{Iter as ListIter, List};
