//! Process-parallel Rust with rayon's ease.
mod arena;
mod error;
mod executor;
mod message;
mod pool;
pub mod process;
mod sync;
mod sys;
mod task;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use error::{Error, ErrorKind, Result};
pub use executor::{Executor, Inline};
pub use message::{Archived, Message};
pub use offspring_macros::{message, task};
pub use pool::{
    Batch, Imap, ImapUnordered, Pool, PoolBuilder, PoolError, PoolStats, TaskHandle, View, Views, WorkerInfo,
};
pub use process::{Child, ExitStatus, Process, Signal, SpawnError, StartMethod, Waitable, init, spawn, wait_any};
pub use task::{Accept, ArchivedFailure, Failure, StateFn, TaskContext, TaskError, TaskFn, TaskInfo, tasks};
