//! Process-parallel Rust with rayon's ease.
mod arena;
mod error;
mod message;
mod pool;
pub mod process;
mod sync;
mod sys;
mod task;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing;

pub use error::{Error, ErrorKind, Result};
pub use process::{ExitStatus, Signal, SpawnError, StartMethod, Waitable, init, wait_any};
pub use task::{TaskContext, TaskError};
