//! Process-parallel Rust with rayon's ease.
mod arena;
mod error;
mod message;
mod pool;
mod process;
mod sync;
mod sys;
mod task;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing;

pub use error::{Error, ErrorKind, Result};
pub use process::{ExitStatus, Signal};
pub use task::{TaskContext, TaskError};
