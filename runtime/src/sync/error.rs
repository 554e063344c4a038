//! Why a lock, a permit or a meeting was not had.

use crate::ErrorKind;
use crate::arena::ArenaError;

/// Why something of [`sync`](crate::sync) could not be made, or not be had.
///
/// ```
/// use offspring::{ErrorKind, sync::Mutex};
///
/// let m = Mutex::new(0u8)?;
/// let _held = m.lock()?;
/// let error = std::thread::scope(|s| s.spawn(|| m.try_lock().err()).join()).unwrap().unwrap();
/// assert_eq!(error.kind(), ErrorKind::InUse);
/// # Ok::<(), offspring::Error>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The holder died or panicked inside: what the lock guards may be half-changed.
    #[error(
        "the {what} is poisoned, as a process or thread died while it held it: look at what it guards, then heal it with `recover`"
    )]
    Poisoned {
        /// What kind of lock it is.
        what: &'static str,
    },
    /// The time is over.
    #[error("the {what} was not to be had in time")]
    Timeout {
        /// What was waited for.
        what: &'static str,
    },
    /// Somebody else has it right now.
    #[error("somebody else has the {what}")]
    InUse {
        /// What kind of lock it is.
        what: &'static str,
    },
    /// There is no permit right now, or not as many.
    #[error("there are not {asked} permits right now")]
    Empty {
        /// How many were asked for.
        asked: usize,
    },
    /// The calling thread has it already, and would wait for itself.
    #[error(
        "this thread holds the {what} already, so it would wait for itself: drop the guard first, or use a `ReentrantMutex`"
    )]
    Deadlock {
        /// What kind of lock it is.
        what: &'static str,
    },
    /// The barrier is broken.
    #[error("the barrier is broken: a participant died or came too late, or it was aborted; `reset` makes it whole")]
    Broken,
    /// More permits were released than the semaphore began with.
    #[error("{released} permits were released, but only {missing} of the {bound} are out")]
    OverReleased {
        /// How many were to be released.
        released: usize,
        /// How many can be.
        missing: usize,
        /// How many there are in all.
        bound: usize,
    },
    /// An argument that makes no sense.
    #[error("{reason}")]
    InvalidInput {
        /// What is wrong with it, and what would be right.
        reason: String,
    },
    /// The family's shared memory refused.
    #[error("{reason}")]
    Memory {
        /// Why.
        reason: String,
        /// The finer kind.
        kind: ErrorKind,
    },
}

impl SyncError {
    /// The kind of this failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            SyncError::Poisoned { .. } => ErrorKind::Poisoned,
            SyncError::Timeout { .. } => ErrorKind::Timeout,
            SyncError::InUse { .. } => ErrorKind::InUse,
            SyncError::Empty { .. } => ErrorKind::Empty,
            SyncError::Deadlock { .. } => ErrorKind::Deadlock,
            SyncError::Broken => ErrorKind::Broken,
            SyncError::OverReleased { .. } | SyncError::InvalidInput { .. } => ErrorKind::InvalidInput,
            SyncError::Memory { kind, .. } => *kind,
        }
    }

    pub(super) fn invalid(reason: impl Into<String>) -> SyncError {
        SyncError::InvalidInput { reason: reason.into() }
    }
}

impl From<ArenaError> for SyncError {
    #[cold]
    fn from(error: ArenaError) -> Self {
        SyncError::Memory { reason: error.to_string(), kind: error.kind() }
    }
}

/// A result of [`sync`](crate::sync).
pub(super) type Result<T, E = SyncError> = std::result::Result<T, E>;
