//! Why something about objects in shared memory failed.

use crate::ErrorKind;
use crate::arena::ArenaError;

/// Why there is no shared object, or why it cannot be waited for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// Shared memory is used up, or cannot be used here.
    #[error("{text}")]
    Memory {
        /// What kind of failure.
        kind: ErrorKind,
        /// What exactly.
        text: String,
    },
    /// The expression of a shared static failed.
    #[error("the shared static `{name}` could not be made: {text}")]
    NotMade {
        /// The static, with its module.
        name: &'static str,
        /// What kind of failure.
        kind: ErrorKind,
        /// What the expression's error says.
        text: String,
    },
    /// What another process of the family made of a shared static cannot be used here.
    #[error("the shared static `{name}` cannot be read: {text}")]
    NotReadable {
        /// The static, with its module.
        name: &'static str,
        /// Why.
        text: String,
    },
}

impl ObjectError {
    /// The kind of this failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ObjectError::Memory { kind, .. } | ObjectError::NotMade { kind, .. } => *kind,
            ObjectError::NotReadable { .. } => ErrorKind::InvalidData,
        }
    }
}

impl From<ArenaError> for ObjectError {
    fn from(error: ArenaError) -> ObjectError {
        ObjectError::Memory { kind: error.kind(), text: error.to_string() }
    }
}
