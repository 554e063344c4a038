//! Why a call failed.

use offspring::{ErrorKind, TaskError};

/// Why a pool could not be made, or a worker not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NatsError {
    /// The server cannot be reached.
    #[error("cannot connect to {url}: {reason}")]
    Connect {
        /// The server, without what is secret.
        url: String,
        /// What the client says of it.
        reason: String,
    },
    /// The server does not let this client in: it wants another user, token, or key.
    #[error("{url} refuses this client: {reason}")]
    Refused {
        /// The server, without what is secret.
        url: String,
        /// What the client says of it.
        reason: String,
    },
    /// The server does not do what is needed: JetStream is off, it has no place left, more replicas are wanted than it has servers, or this
    /// client may not.
    #[error("{what}: {reason}")]
    Server {
        /// What was to be done.
        what: String,
        /// What the server says of it.
        reason: String,
    },
    /// An option makes no sense.
    #[error("{0}")]
    InvalidInput(String),
    /// The local pool of a worker could not be started.
    #[error("the worker's local pool: {0}")]
    Pool(#[from] offspring::PoolError),
    /// A task gave no value.
    #[error(transparent)]
    Task(Box<TaskError>),
    /// A system call failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl From<TaskError> for NatsError {
    fn from(error: TaskError) -> NatsError {
        NatsError::Task(Box::new(error))
    }
}

impl NatsError {
    pub(crate) fn server(what: impl Into<String>, reason: impl std::fmt::Display) -> NatsError {
        NatsError::Server { what: what.into(), reason: reason.to_string() }
    }

    /// The kind of this failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            NatsError::Connect { .. } | NatsError::Refused { .. } | NatsError::Io(_) => ErrorKind::Io,
            NatsError::Server { .. } => ErrorKind::Unsupported,
            NatsError::InvalidInput(_) => ErrorKind::InvalidInput,
            NatsError::Pool(error) => error.kind(),
            NatsError::Task(error) => error.kind(),
        }
    }
}

/// A result of this crate.
pub type Result<T, E = NatsError> = std::result::Result<T, E>;
