//! Why a call failed.

use offspring::{ErrorKind, TaskError};

/// Why a call on a [`Comm`](crate::Comm) or the start of a pool failed.
#[doc(alias = "Errhandler")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MpiError {
    /// A function of the MPI library returned an error.
    #[error("{call}: {text}")]
    Call {
        /// The function.
        call: &'static str,
        /// What the library says of its error.
        text: String,
    },
    /// A value could not be written as a message, or the bytes received are none of that type.
    #[error("{0}")]
    NotSendable(String),
    /// An argument makes no sense.
    #[error("{0}")]
    InvalidInput(String),
    /// MPI was started by another thread, or is over.
    #[error("{0}")]
    Unusable(&'static str),
    /// Ranks were started from different builds of the program.
    #[error("rank {rank} runs another build of this program: start the same file everywhere")]
    OtherBuild {
        /// One that does not fit rank 0.
        rank: i32,
    },
    /// Ranks have not come: they do not reach the pool, or they hang before it.
    #[error("{} not made the pool within {waited:?}: every rank must get there", absent(ranks))]
    Absent {
        /// Which.
        ranks: Vec<i32>,
        /// How long they were waited for.
        waited: std::time::Duration,
    },
    /// What runs a rank's tasks could not be made.
    #[error(transparent)]
    Local(Box<offspring::Error>),
    /// A task gave no value.
    #[error(transparent)]
    Task(Box<TaskError>),
    /// A system call failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl From<TaskError> for MpiError {
    fn from(error: TaskError) -> MpiError {
        MpiError::Task(Box::new(error))
    }
}

impl MpiError {
    /// The kind of this failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            MpiError::Call { .. } | MpiError::Io(_) => ErrorKind::Io,
            MpiError::NotSendable(_) => ErrorKind::NotSendable,
            MpiError::InvalidInput(_) => ErrorKind::InvalidInput,
            MpiError::Unusable(_) => ErrorKind::Unsupported,
            MpiError::OtherBuild { .. } => ErrorKind::UnknownTask,
            MpiError::Absent { .. } => ErrorKind::Timeout,
            MpiError::Local(error) => error.kind(),
            MpiError::Task(error) => error.kind(),
        }
    }
}

fn absent(ranks: &[i32]) -> String {
    let numbers: Vec<String> = ranks.iter().map(i32::to_string).collect();
    match ranks {
        [_] => format!("rank {} has", numbers.join("")),
        _ => format!("ranks {} have", numbers.join(", ")),
    }
}

/// A result of this crate.
pub type Result<T, E = MpiError> = std::result::Result<T, E>;
