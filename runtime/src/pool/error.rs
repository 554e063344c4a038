//! Why a pool could not be made or ended.

use crate::ErrorKind;
use crate::arena::ArenaError;
use crate::task::registry::DuplicateTask;

/// Why a pool could not be made, or not be joined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// A number of workers that cannot be.
    #[error("a pool of {asked} workers cannot be: ask for 1 to {most}, or leave `workers` out for one a CPU")]
    InvalidWorkers {
        /// What was asked for.
        asked: usize,
        /// The most there can be.
        most: usize,
    },
    /// The program's tasks are not fit to be called by name.
    #[error("{reason}")]
    Tasks {
        /// Which tasks, and what to do.
        reason: String,
        /// [`ErrorKind::DuplicateTask`].
        kind: ErrorKind,
    },
    /// The family's shared memory could not be set up.
    #[error("shared memory for the pool: {reason}")]
    Memory {
        /// Why not.
        reason: String,
        /// The finer kind.
        kind: ErrorKind,
    },
    /// The workers' state cannot be made of what was given.
    #[error("the state of the pool's workers: {reason}")]
    State {
        /// Why not.
        reason: String,
        /// The finer kind.
        kind: ErrorKind,
    },
    /// What workers are to run first or last cannot be run.
    #[error("the {what} of the pool's workers: {reason}")]
    Hook {
        /// `initializer` or `finalizer`.
        what: &'static str,
        /// Why not.
        reason: String,
        /// The finer kind.
        kind: ErrorKind,
    },
    /// An option that makes no sense.
    #[error("{reason}")]
    InvalidOption {
        /// Which, and why.
        reason: String,
    },
    /// The program handles a signal itself that it asked the library to handle.
    #[error("the program has a handler for {signal} already, which was left in place: leave that to one of the two")]
    SignalInUse {
        /// Which.
        signal: crate::Signal,
    },
    /// `join` on a pool that still takes work.
    #[error("the pool still takes work, so its end could never come: call `close` or `terminate` before `join`")]
    NotClosed,
}

impl PoolError {
    /// The kind of this failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            PoolError::InvalidWorkers { .. } | PoolError::InvalidOption { .. } | PoolError::NotClosed => {
                ErrorKind::InvalidInput
            }
            PoolError::SignalInUse { .. } => ErrorKind::InUse,
            PoolError::Tasks { kind, .. }
            | PoolError::State { kind, .. }
            | PoolError::Hook { kind, .. }
            | PoolError::Memory { kind, .. } => *kind,
        }
    }
}

impl From<ArenaError> for PoolError {
    fn from(error: ArenaError) -> Self {
        PoolError::Memory { reason: error.to_string(), kind: error.kind() }
    }
}

impl From<DuplicateTask> for PoolError {
    fn from(error: DuplicateTask) -> Self {
        PoolError::Tasks { reason: error.to_string(), kind: ErrorKind::DuplicateTask }
    }
}
