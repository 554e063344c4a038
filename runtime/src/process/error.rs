//! Why a child could not be started.

use std::io;
use std::path::PathBuf;

use crate::ErrorKind;
use crate::arena::ArenaError;

/// Why a child could not be started.
///
/// ```
/// use offspring::{ErrorKind, SpawnError};
///
/// fn worth_a_retry(error: &SpawnError) -> bool {
///     error.kind() == ErrorKind::Limit
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// This process was started as a child, or by one, and its program did not notice: children of it would go on for ever.
    #[error("{reason}; refused, as its children would start children without end")]
    Recursion {
        /// What gave it away, and what to do.
        reason: String,
    },
    /// This crate is part of a shared library, where children cannot be recognised before `main`.
    #[error(
        "`offspring` is not part of the main program here: call `offspring::init()` first in `main`, before any thread is started"
    )]
    NotInitialized,
    /// A limit was reached: processes, descriptors, slots of the family.
    #[error("{what}: {reason}")]
    Limit {
        /// Which limit, and how to raise it.
        what: &'static str,
        /// The system's or the family's answer.
        reason: String,
    },
    /// The shared memory budget is used up.
    #[error("{reason}")]
    OutOfMemory {
        /// How much was needed, and of what.
        reason: String,
    },
    /// The working directory asked for cannot be used.
    #[error("the working directory {}: {source}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// An option makes no sense.
    #[error("{reason}")]
    InvalidInput {
        /// Which, and why.
        reason: String,
    },
    /// The function is no task.
    #[error("{reason}")]
    UnknownTask {
        /// Which, and what to do.
        reason: String,
    },
    /// Two tasks have the same key.
    #[error("{reason}")]
    DuplicateTask {
        /// Which, and what to do.
        reason: String,
    },
    /// The input could not be made into a message.
    #[error("{reason}")]
    NotSendable {
        /// Why not.
        reason: String,
    },
    /// The platform lacks something that this crate needs.
    #[error("{reason}")]
    Unsupported {
        /// What.
        reason: String,
    },
    /// The fork server could not be started, or ended over and over.
    #[error("the fork server {reason}")]
    ForkServer {
        /// What became of it.
        reason: String,
    },
    /// A system call failed.
    #[error("{context}: {source}")]
    Io {
        /// What was attempted.
        context: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

impl SpawnError {
    /// The kind of this failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            SpawnError::Recursion { .. } | SpawnError::NotInitialized | SpawnError::ForkServer { .. } => {
                ErrorKind::Spawn
            }
            SpawnError::Limit { .. } => ErrorKind::Limit,
            SpawnError::OutOfMemory { .. } => ErrorKind::OutOfMemory,
            SpawnError::InvalidInput { .. } | SpawnError::Directory { .. } => ErrorKind::InvalidInput,
            SpawnError::UnknownTask { .. } => ErrorKind::UnknownTask,
            SpawnError::DuplicateTask { .. } => ErrorKind::DuplicateTask,
            SpawnError::NotSendable { .. } => ErrorKind::NotSendable,
            SpawnError::Unsupported { .. } => ErrorKind::Unsupported,
            SpawnError::Io { .. } => ErrorKind::Io,
        }
    }

    /// For `map_err`: a system call failed while doing `context`. Limits are told apart from other failures.
    pub(crate) fn io(context: &'static str) -> impl FnOnce(io::Error) -> SpawnError {
        move |source| {
            let limit = match source.raw_os_error() {
                Some(libc::EMFILE) => "this process has too many open descriptors: raise `ulimit -n`",
                Some(libc::ENFILE) => "the system has too many open files: raise fs.file-max",
                Some(libc::EAGAIN) => "no more processes are allowed: raise `ulimit -u` or the cgroup's pids.max",
                Some(libc::ENOMEM) => "the system has no memory for another process",
                Some(libc::ENOSYS) => {
                    let reason =
                        format!("{context}: Linux 5.4 or newer is needed, and a sandbox that lets its calls pass");
                    return SpawnError::Unsupported { reason };
                }
                _ => return SpawnError::Io { context, source },
            };
            SpawnError::Limit { what: limit, reason: format!("{context}: {source}") }
        }
    }
}

impl From<ArenaError> for SpawnError {
    fn from(error: ArenaError) -> SpawnError {
        let reason = error.to_string();
        match error {
            ArenaError::OutOfMemory { .. } | ArenaError::TooManyBlocks { .. } => SpawnError::OutOfMemory { reason },
            ArenaError::TooManyProcesses | ArenaError::TooManyThreads => {
                SpawnError::Limit { what: "the family of processes is full", reason }
            }
            ArenaError::Io { context, source } => SpawnError::io(context)(source),
            ArenaError::Forked | ArenaError::Foreign { .. } | ArenaError::Unsupported { .. } => {
                SpawnError::Unsupported { reason }
            }
        }
    }
}
