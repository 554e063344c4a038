//! Why an operation on shared data failed.

use crate::ErrorKind;
use crate::arena::ArenaError;
use crate::message::{DecodeError, EncodeError};

/// Why an operation on shared data failed.
///
/// ```
/// use offspring::ErrorKind;
/// use offspring::shared::List;
///
/// let list: List<u64> = List::new()?;
/// assert_eq!(list.set(3, &7).unwrap_err().kind(), ErrorKind::InvalidInput);
/// # Ok::<(), offspring::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SharedError {
    /// There is no such index.
    #[error("index {index} is out of range: the length is {len}")]
    OutOfRange {
        /// What was asked for.
        index: usize,
        /// How many items there are.
        len: usize,
    },
    /// A range ends before it begins.
    #[error("a range that begins at {start} and ends at {end}")]
    Range {
        /// Where it begins.
        start: usize,
        /// Where it ends.
        end: usize,
    },
    /// Two lengths that must agree do not.
    #[error("{found} items where {expected} are needed")]
    Length {
        /// How many there must be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// Shared memory refused: its budget is used up, or this process may not use it.
    #[error("{reason}")]
    Memory {
        /// [`ErrorKind::OutOfMemory`], or what else the reason is.
        kind: ErrorKind,
        /// In words.
        reason: String,
    },
    /// The value could not be written.
    #[error("{reason}")]
    NotSendable {
        /// Of the reason.
        kind: ErrorKind,
        /// In words.
        reason: String,
    },
    /// A value that was read is no value of its type: a handle in it leads to something that no longer exists, or memory was
    /// overwritten.
    #[error("{reason}")]
    NotReadable {
        /// In words.
        reason: String,
    },
    /// The name holds a value of another type.
    #[error("{name:?} does not hold a value of type {wanted}")]
    WrongType {
        /// The name that was asked for.
        name: String,
        /// The type that was asked for.
        wanted: &'static str,
    },
    /// Somebody else has it at the moment, and only one can.
    #[error("{what} is in use by somebody else")]
    InUse {
        /// What is.
        what: &'static str,
    },
    /// The thread that wants the array's lock has it.
    #[error("this very thread has the array locked")]
    Mine,
    /// A function that was to change an entry changed the same entry by itself: what it gave would never be taken.
    #[error("the function that changes this entry changes it by itself, too: it would be called again for ever")]
    Nested,
    /// The process that had it locked died, or panicked, while it may have been changing it.
    #[error("the array's lock was held by one who died or panicked: what it holds may be half-changed; recover() it")]
    Poisoned,
    /// The wait was too long.
    #[error("the array was not unlocked in time")]
    Timeout,
    /// 256 parts of an array are being written.
    #[error("256 parts of an array can be written at a time, and all of them are")]
    TooManyParts,
    /// More keys of one hash than there is room for.
    #[error("too many keys of one hash")]
    Full,
    /// Shared memory was overwritten by somebody who had no business there.
    #[error("the memory of this structure was overwritten")]
    Damaged,
}

impl SharedError {
    /// The kind of this failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            SharedError::OutOfRange { .. }
            | SharedError::Range { .. }
            | SharedError::Length { .. }
            | SharedError::WrongType { .. } => ErrorKind::InvalidInput,
            SharedError::Memory { kind, .. } | SharedError::NotSendable { kind, .. } => *kind,
            SharedError::NotReadable { .. } | SharedError::Damaged => ErrorKind::InvalidData,
            SharedError::InUse { .. } | SharedError::Mine => ErrorKind::InUse,
            SharedError::Nested => ErrorKind::Deadlock,
            SharedError::Poisoned => ErrorKind::Poisoned,
            SharedError::Timeout => ErrorKind::Timeout,
            SharedError::Full | SharedError::TooManyParts => ErrorKind::Limit,
        }
    }
}

impl From<ArenaError> for SharedError {
    #[cold]
    fn from(error: ArenaError) -> SharedError {
        SharedError::Memory { kind: error.kind(), reason: error.to_string() }
    }
}

impl From<EncodeError> for SharedError {
    #[cold]
    fn from(error: EncodeError) -> SharedError {
        SharedError::NotSendable { kind: error.kind(), reason: error.to_string() }
    }
}

impl From<DecodeError> for SharedError {
    #[cold]
    fn from(error: DecodeError) -> SharedError {
        SharedError::NotReadable { reason: error.to_string() }
    }
}
