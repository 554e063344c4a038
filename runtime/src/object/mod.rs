//! Objects: structures in shared memory that live as long as anybody refers to them, and what all of them have in common.
//!
//! `README.md` in this folder holds the protocols. To make a new kind: implement [`Kind`], add its line in `kind.rs`, wrap a
//! [`Handle`] of it in a public type.
mod directory;
mod error;
mod handle;
pub(crate) mod kind;
pub(crate) mod lock;
mod message;
pub(crate) mod mutants;
mod shared_static;
mod spill;
#[cfg(feature = "testing")]
pub(crate) mod testing;
#[cfg(all(test, feature = "testing"))]
mod tests;
pub(crate) mod wait_any;
mod watch;

pub(crate) use crate::arena::Role;
pub(crate) use directory::recover_root;
pub use error::ObjectError;
pub(crate) use handle::Handle;
pub(crate) use kind::Kind;
pub(crate) use lock::{Doomed, Locked, Object, Set, destroy, nudge, recover};
pub use message::ArchivedHandle;
pub(crate) use message::message_by_handle;
pub use shared_static::SharedStatic;
pub(crate) use spill::Spill;
pub(crate) use watch::Watch;
