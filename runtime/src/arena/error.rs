//! Why the arena refused.

use std::io;

use crate::ErrorKind;

/// Why something about the family's shared memory failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ArenaError {
    /// The budget would be exceeded, or the mapping is full.
    #[error("out of shared memory: {needed} bytes needed, {used} of the budget of {budget} bytes are in use")]
    OutOfMemory { needed: u64, used: u64, budget: u64 },
    /// The hold table of this process is full.
    #[error("a process can hold {limit} blocks of shared memory at a time, and this one does")]
    TooManyBlocks { limit: usize },
    /// All 1,024 process slots are taken.
    #[error("a family can have 1,024 processes at a time, and all of them are in use")]
    TooManyProcesses,
    /// All 8,192 thread records are taken.
    #[error("8,192 threads of a family can use shared memory at a time, and all of them are in use")]
    TooManyThreads,
    /// This process is a plain `fork` of a member.
    #[error(
        "this process was made by fork() and does not belong to the family: start it with offspring, or exec first"
    )]
    Forked,
    /// A block, process or descriptor of another family, or of one that is gone.
    #[error("{what} does not belong to this family, or no longer exists")]
    Foreign { what: &'static str },
    /// A system call failed.
    #[error("{context}: {source}")]
    Io { context: &'static str, source: io::Error },
    /// The system lacks something that cannot be done without.
    #[error("{what} is not available on this system")]
    Unsupported { what: &'static str },
}

impl ArenaError {
    /// The kind of this failure.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            ArenaError::OutOfMemory { .. } | ArenaError::TooManyBlocks { .. } => ErrorKind::OutOfMemory,
            ArenaError::TooManyProcesses | ArenaError::TooManyThreads => ErrorKind::Limit,
            ArenaError::Forked => ErrorKind::Unsupported,
            ArenaError::Foreign { .. } => ErrorKind::InvalidInput,
            ArenaError::Io { .. } => ErrorKind::Io,
            ArenaError::Unsupported { .. } => ErrorKind::Unsupported,
        }
    }

    /// For `map_err`: a system call failed while doing `context`.
    pub(crate) fn io(context: &'static str) -> impl FnOnce(io::Error) -> ArenaError {
        move |source| ArenaError::Io { context, source }
    }
}
