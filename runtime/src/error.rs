//! The kinds that all errors of this crate share, and the error a `main` returns.

use crate::process::{CommandError, DaemonError};
use crate::shared::SharedError;
use crate::sync::SyncError;
use crate::{Failure, ObjectError};
use crate::{FlowError, PoolError, QueueError, SpawnError, TaskError};

/// What kind of failure an error is, whichever type carries it.
///
/// Every error type of this crate has a method `kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A task panicked.
    Panicked,
    /// A task returned an error of its own.
    Failed,
    /// A process ended before it gave its value.
    WorkerDied,
    /// The deadline of a task or of a wait passed.
    #[doc(alias = "TimeoutError")]
    Timeout,
    /// The work was cancelled.
    #[doc(alias = "CancelledError")]
    Cancelled,
    /// A value could not be turned into a message or back.
    NotSendable,
    /// The pool, queue or pipe was closed.
    Closed,
    /// A bounded queue is full.
    Full,
    /// There is nothing to take.
    Empty,
    /// A value was asked for a second time.
    Taken,
    /// Somebody else has it, and only one can.
    InUse,
    /// The calling thread would wait for itself.
    Deadlock,
    /// A lock's holder died or panicked while it held it.
    Poisoned,
    /// A barrier was given up: a participant died, a wait timed out, or it was aborted.
    Broken,
    /// The shared memory budget, or a table in it, is used up.
    OutOfMemory,
    /// A limit of the system or of this crate was reached: processes, descriptors, slots.
    Limit,
    /// A function is no registered task, or the child's binary has no such task.
    UnknownTask,
    /// Two tasks have the same key.
    DuplicateTask,
    /// An argument makes no sense, such as a pool of zero workers.
    InvalidInput,
    /// Received bytes are not a valid message.
    InvalidData,
    /// A child could not be started.
    Spawn,
    /// The platform lacks something this crate needs.
    Unsupported,
    /// A system call failed.
    Io,
}

/// Any failure of this crate, for programs whose `main` uses `?`.
///
/// ```
/// fn main() -> offspring::Result<()> {
///     Ok(())
/// }
/// ```
#[doc(alias = "ProcessError")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A task gave no value.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// A task returned an error of its own.
    #[error("{0:#}")]
    Failed(Failure),
    /// Items of a flow were lost.
    #[error(transparent)]
    Flow(#[from] FlowError),
    /// A shared object could not be had, or not be waited for.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// A pool could not be made or ended.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// A child could not be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// A command could not be started, failed, or took too long.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The program could not become a daemon.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// A lock, a permit or a meeting was not to be had.
    #[error(transparent)]
    Sync(#[from] SyncError),
    /// An operation on shared data failed.
    #[error(transparent)]
    Shared(#[from] SharedError),
    /// An operation on a queue or a pipe failed.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// A journal could not be opened, read or written.
    #[cfg(feature = "journal")]
    #[error(transparent)]
    Journal(#[from] crate::JournalError),
    /// A system call failed, of this crate or of the program itself.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Error {
    /// The kind of this failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Task(error) => error.kind(),
            Error::Failed(_) => ErrorKind::Failed,
            Error::Flow(error) => error.kind(),
            Error::Object(error) => error.kind(),
            Error::Pool(error) => error.kind(),
            Error::Spawn(error) => error.kind(),
            Error::Command(error) => error.kind(),
            Error::Daemon(error) => error.kind(),
            Error::Sync(error) => error.kind(),
            Error::Shared(error) => error.kind(),
            Error::Queue(error) => error.kind(),
            #[cfg(feature = "journal")]
            Error::Journal(error) => error.kind(),
            Error::Io(_) => ErrorKind::Io,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        Error::Failed(failure)
    }
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
