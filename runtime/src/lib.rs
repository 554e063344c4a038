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
//! There is no call to make first in `main` and no guard around it: children never run it. Linux on x86-64 and aarch64.
//!
//! # A tour
//!
//! **Tasks and messages.** [`macro@task`] makes a function one that can be called in another process; it stays a plain
//! function. What goes in and out is a [`Message`]: numbers, strings, collections, tuples, and your types with
//! [`macro@message`]. Parameters that borrow (`&str`, `&[f64]`, `&Path`, [`&Archived<T>`](Archived)) are read in shared
//! memory, in place. A task that returns a `Result` says itself that it failed; one that panics or dies is a [`TaskError`], which says how:
//!
//! ```
//! use offspring::{ErrorKind, Failure, Pool, task};
//!
//! #[task]
//! fn parse(text: &str) -> Result<i64, Failure> {
//!     if text == "crash" {
//!         std::process::abort(); // stands for what happens deep in some C library
//!     }
//!     Ok(text.parse()?)
//! }
//!
//! # fn main() -> offspring::Result<()> {
//! let pool = Pool::builder().workers(2).build()?;
//! let results = pool.try_map(parse, ["1", "x", "crash"])?;
//! assert!(matches!(results[0], Ok(Ok(1))));
//! assert!(matches!(&results[1], Ok(Err(failure)) if failure.to_string().contains("invalid digit")));
//! assert!(matches!(&results[2], Err(error) if error.kind() == ErrorKind::WorkerDied));
//! # Ok(())
//! # }
//! ```
//!
//! **Pools.** [`Pool::map`] for a batch, [`imap`](Pool::imap) for input without end, [`submit`](Pool::submit) for one call,
//! whose [`TaskHandle`] is a future, too. [`Pool::batch`] sets options for one batch, [`Pool::builder`] for all: time limits,
//! retries, memory limits, what happens on the first error, what a task needs to start. [`as_completed`], [`wait`] and
//! [`wait_any`](wait_any()) wait for several things at once. [`Executor`] is the pool's calls as a trait; [`Inline`] runs
//! them in the calling process.
//!
//! **Processes.** [`spawn()`] and [`Process`] run one task in a process of its own; [`process::Command`] runs other programs,
//! and ends them with the process that started them; [`Signals`] and [`process::Daemon`] are for services.
//!
//! **Flows.** [`Pool::flow`] runs a chain of tasks in one go where the data is:
//!
//! ```
//! use offspring::{Pool, task};
//!
//! #[task]
//! fn words(line: String) -> Vec<(String, u64)> {
//!     line.split_whitespace().map(|word| (word.to_owned(), 1)).collect()
//! }
//!
//! #[task]
//! fn add(a: u64, b: u64) -> u64 {
//!     a + b
//! }
//!
//! # fn main() -> offspring::Result<()> {
//! let pool = Pool::new()?;
//! let lines = ["a rose is a rose", "is a rose"].map(str::to_owned);
//! let counts = pool.flow(lines).flat_map(words).reduce_by_key(add)?;
//! assert_eq!(counts.top_by_value(1), [("a".to_owned(), 3)]);
//! # Ok(())
//! # }
//! ```
//!
//! **What processes share.** [`queue`] and [`pipe`] carry messages; [`sync`] has locks, semaphores, events, conditions,
//! barriers; [`mod@shared`] has values, arrays, dictionaries, lists. Their handles are messages themselves: they may be arguments
//! of tasks, fields of types, items of queues. What a killed process held is given back, and a lock it held is poisoned.
//!
//! ```
//! use offspring::shared::Dict;
//! use offspring::{Failure, Pool, task};
//!
//! #[task]
//! fn count(seen: Dict<u64, u64>, number: u64) -> Result<(), Failure> {
//!     seen.update(&(number % 3), |n| n + 1)?;
//!     Ok(())
//! }
//!
//! # fn main() -> offspring::Result<()> {
//! let (pool, seen) = (Pool::new()?, Dict::new()?);
//! (0..3).try_for_each(|key| seen.set(&key, &0))?;
//! pool.map(count, (0..30).map(|number| (seen.clone(), number)))?;
//! assert_eq!(seen.get(&2)?, Some(10));
//! # Ok(())
//! # }
//! ```
//!
//! **Batches that survive.** With the feature `journal`, a batch that was stopped by anything goes on where it was:
//! `pool.batch().journal(path).map(..)`.
//!
//! **Errors** are [`Error`] and [`TaskError`]; [`ErrorKind`] tells them apart. The guide lists all of them with their remedies.
//!
//! The [guide](https://github.com/offspring-rs/offspring/blob/main/guide/src/SUMMARY.md) begins with a first program and goes through all of this; it has tables of
//! what Python's `multiprocessing` and its relatives call these things, which the search of these pages finds too.
//!
//! # Features
//!
//! None is on by default.
//!
//! | feature | adds |
//! | --- | --- |
//! | `journal` | batches and flows that go on where they were stopped: `Batch::journal`, `Journal` |
//! | `progress` | progress bars on a terminal: `Batch::progress`, `ProgressBar` |
//! | `backtrace` | names of functions, files and lines where a worker crashed, in [`TaskError::crash`] |
//! | `tracing`, `log` | records of workers come to this process's subscriber or logger |
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
#[cfg(feature = "journal")]
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
mod seeing;
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
#[cfg(feature = "progress")]
pub use seeing::ProgressBar;
pub use seeing::output::OutputMode;
pub use seeing::{
    Incident, IncidentKind, Progress, Report, RunEnd, SlowItem, Spread, TaskReport, TaskRun, WorkerProgress,
    WorkerReport,
};
pub use task::{
    Accept, ArchivedFailure, EmitError, Failure, StateFn, TaskContext, TaskError, TaskFn, TaskInfo, TaskOutput, tasks,
};
pub use view::View;
