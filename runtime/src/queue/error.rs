//! Why nothing was put into a queue or a pipe, or nothing taken out of it.

use crate::ErrorKind;
use crate::arena::ArenaError;
use crate::message::{DecodeError, EncodeError};

/// Why an operation on a queue or a pipe failed.
///
/// Nothing was put, or nothing taken, when one of these comes back.
///
/// ```
/// use offspring::{ErrorKind, Queue, QueueError};
///
/// let queue: Queue<u64> = Queue::bounded(1)?;
/// assert!(matches!(queue.try_get(), Err(QueueError::Empty)));
/// queue.put(&7)?;
/// assert_eq!(queue.try_put(&8).map_err(|error| error.kind()), Err(ErrorKind::Full));
/// # Ok::<(), offspring::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// As many items wait as may.
    #[error("the queue is full")]
    Full,
    /// There is nothing to take at the moment.
    #[error("the queue is empty")]
    Empty,
    /// The time was up before there was an item, or room for one.
    #[error("nothing came of it in time")]
    Timeout,
    /// The queue was closed and, for who takes, is empty; or nobody is left at the other end of the pipe.
    #[error("the queue is closed, or nobody is at the other end")]
    Closed,
    /// The value could not be written as a message, for want of memory perhaps.
    #[error("the value cannot be sent: {0}")]
    NotSent(EncodeError),
    /// The item could not be made into a value. It is no longer in the queue.
    #[error(transparent)]
    Unreadable(DecodeError),
    /// An item was handed out so often, each time to a process that died before it was done, that the queue gave it up.
    #[error("an item was given up: {tries} processes died before they were done with it")]
    GivenUp {
        /// How many.
        tries: u32,
    },
    /// `task_done` was called more often than this process had got items.
    #[error("task_done() called too many times: this process has no item that it got and has not finished")]
    NothingToDo,
    /// Some of several items were put, and then no more.
    #[error("after {put} items: {error}")]
    Partly {
        /// How many were put.
        put: usize,
        /// Why not the next one.
        error: Box<QueueError>,
    },
    /// The capacity is 0 or more than a queue can have.
    #[error("a queue's capacity is from 1 to {most}, not {asked}")]
    Capacity {
        /// What was asked for.
        asked: usize,
        /// The largest there is.
        most: usize,
    },
    /// Shared memory refused.
    #[error("{text}")]
    Refused {
        /// What kind of refusal it is.
        kind: ErrorKind,
        /// In words.
        text: String,
    },
}

impl QueueError {
    /// The kind of this failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            QueueError::Full => ErrorKind::Full,
            QueueError::Empty => ErrorKind::Empty,
            QueueError::Timeout => ErrorKind::Timeout,
            QueueError::Closed => ErrorKind::Closed,
            QueueError::NotSent(error) => error.kind(),
            QueueError::Unreadable(error) => error.kind(),
            QueueError::Partly { error, .. } => error.kind(),
            QueueError::GivenUp { .. } => ErrorKind::WorkerDied,
            QueueError::NothingToDo | QueueError::Capacity { .. } => ErrorKind::InvalidInput,
            QueueError::Refused { kind, .. } => *kind,
        }
    }

    /// As an error of the item after so many others.
    pub(super) fn after(self, put: usize) -> QueueError {
        QueueError::Partly { put, error: Box::new(self) }
    }
}

impl From<ArenaError> for QueueError {
    #[cold]
    fn from(error: ArenaError) -> QueueError {
        QueueError::Refused { kind: error.kind(), text: error.to_string() }
    }
}

impl From<EncodeError> for QueueError {
    #[cold]
    fn from(error: EncodeError) -> QueueError {
        QueueError::NotSent(error)
    }
}

impl From<DecodeError> for QueueError {
    #[cold]
    fn from(error: DecodeError) -> QueueError {
        QueueError::Unreadable(error)
    }
}
