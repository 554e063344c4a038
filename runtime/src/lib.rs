//! Process-parallel Rust with rayon's ease: annotate a function, map it over items in worker processes.
//!
//! ```
//! use offspring::{Pool, task};
//!
//! #[task]
//! fn square(x: u64) -> u64 {
//!     x * x
//! }
//!
//! fn main() -> offspring::Result<()> {
//!     let pool = Pool::new()?;
//!     assert_eq!(pool.map(square, 0..4)?, [0, 1, 4, 9]);
//!     Ok(())
//! }
//! ```
//!
//! There is no call to make first in `main` and no guard around it: children never run it.
//!
//! - [`macro@task`]: makes a function one that can be called in another process. It stays a plain function.
//! - [`macro@message`]: makes a type one that can cross.
//! - [`Pool`]: worker processes, and `map` and its relatives over them.
//! - [`Process`], [`spawn()`]: one task in a process of its own.
//! - [`sync`]: locks, semaphores, events, barriers for all processes and threads of a program.
//! - [`Executor`]: the calls of a pool as a trait; [`Inline`] runs tasks in the calling process.
//! - [`TaskError`], [`Error`], [`ErrorKind`]: why there is no value.
//!
//! # What it does
//!
//! - A worker that crashes or is killed costs the item it was working on, nothing else; the error says which and why.
//! - Children end with their parent, however it ends, and leave nothing behind: no process, no zombie, no name in `/dev/shm`.
//! - Values cross through shared memory that all processes map; parameters that borrow are read there in place.
//!
//! # What it does not do
//!
//! - It does not share the memory of your program: each process has its own statics, and a child begins with their initial
//!   values.
//! - It does not undo what a task did outside when its worker died.
//! - It does not run on anything but 64-bit Linux.
mod arena;
#[cfg(any(feature = "journal", feature = "testing"))]
mod crash;
#[cfg(feature = "engine")]
#[doc(hidden)]
pub mod engine;
mod error;
mod executor;
mod flow;
#[cfg(feature = "journal")]
mod journal;
#[cfg(not(feature = "journal"))]
#[path = "journal/absent.rs"]
mod journal;
mod message;
mod object;
pub mod pipe;
mod pool;
pub mod process;
pub mod queue;
pub mod shared;
mod status;
pub mod sync;
mod sys;
pub mod task;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing;
mod view;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use error::{Error, ErrorKind, Result};
pub use executor::{Executor, Inline};
pub use flow::{Flow, FlowError, FlowStream, Table};
#[cfg(feature = "journal")]
pub use journal::{Durability, Journal, JournalError, JournalItem, JournalReader, JournalRun, JournalTask, Outcome};
pub use message::{Archived, Message, Plain};
pub use object::{ObjectError, SharedStatic};
pub use offspring_macros::{message, shared, task};
pub use pool::{
    Ahead, Batch, CancelLevel, CancelToken, Emitted, Imap, ImapUnordered, OnError, Pool, PoolBuilder, PoolError,
    PoolStats, ResultStream, RunOptions, Tally, TaskHandle, Views, WaitFor, WorkerInfo, WorkerStatus, as_completed,
    handle_ctrl_c, interrupted, wait,
};
pub use process::{
    Child, CrashFrame, CrashTrace, Disposition, ExitStatus, Process, Signal, Signals, SpawnError, StartMethod,
    Waitable, init, spawn, wait_any,
};
pub use queue::{Job, JoinableQueue, Queue, QueueError};
pub use task::{
    Accept, ArchivedFailure, EmitError, Failure, StateFn, TaskContext, TaskError, TaskFn, TaskInfo, TaskOutput, tasks,
};
pub use view::View;
