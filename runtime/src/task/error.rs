//! Why a task gave no value.

use std::sync::Arc;
use std::time::Duration;

use crate::{ErrorKind, ExitStatus};

/// Which run of which task a failure belongs to.
///
/// Cheap to clone; part of every [`TaskError`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskContext {
    /// The task's registered name, `module::path::function`.
    pub task: Arc<str>,
    /// The item's index in its batch; `None` for a single call or process.
    pub item: Option<usize>,
}

impl std::fmt::Display for TaskContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "task `{}`", self.task)?;
        match self.item {
            Some(item) => write!(f, ", item {item}"),
            None => Ok(()),
        }
    }
}

/// Why a task gave no value.
///
/// A task's own `Result` is not one of these: it is the value.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The task panicked.
    #[error("{context} panicked at {location}: {message}")]
    Panicked {
        /// Which task and item.
        context: TaskContext,
        /// The panic's message.
        message: String,
        /// `file:line:column` of the panic.
        location: String,
        /// The process that ran it.
        worker: u32,
        /// The backtrace, when `RUST_BACKTRACE` asks for one.
        backtrace: Option<String>,
    },
    /// The process that ran the task ended before it gave a value: it was killed, it crashed or it called `exit`.
    #[error("{context}: its process {worker} ended ({status}{}), tries: {tries}", note.as_deref().map(|note| format!(": {note}")).unwrap_or_default())]
    WorkerDied {
        /// Which task and item.
        context: TaskContext,
        /// How the process ended.
        status: ExitStatus,
        /// The process that ran it.
        worker: u32,
        /// How often the task was tried, this time included.
        tries: u32,
        /// What the process could still say of a fatal signal, such as a stack overflow.
        note: Option<String>,
    },
    /// The task ran longer than its limit and was ended.
    #[error("{context} ran longer than {limit:?} and was ended")]
    TimedOut {
        /// Which task and item.
        context: TaskContext,
        /// The limit.
        limit: Duration,
    },
    /// The task was cancelled before it gave a value.
    #[error("{context} was cancelled")]
    Cancelled {
        /// Which task and item.
        context: TaskContext,
    },
    /// The input or the output could not be made into a message, or not be read back.
    #[error("{context}: {reason}")]
    NotSendable {
        /// Which task and item.
        context: TaskContext,
        /// What was wrong, and what to do.
        reason: String,
        /// The finer kind: [`ErrorKind::NotSendable`], [`ErrorKind::OutOfMemory`] or [`ErrorKind::InvalidData`].
        kind: ErrorKind,
    },
    /// The pool was closed or terminated.
    #[error("{context}: the pool is closed; create another with `Pool::new`")]
    PoolClosed {
        /// Which task and item.
        context: TaskContext,
    },
    /// No worker could be started, or workers ended over and over before they took any work.
    #[error("{context}: no worker could be started: {reason}")]
    NoWorker {
        /// Which task and item.
        context: TaskContext,
        /// Why not, and what to do.
        reason: String,
        /// The finer kind: [`ErrorKind::Spawn`], [`ErrorKind::Limit`], [`ErrorKind::UnknownTask`] and the like.
        kind: ErrorKind,
    },
    /// A wait with a timeout ended before the task did; the task goes on.
    #[error("{context} is not done after {waited:?}; it goes on")]
    Timeout {
        /// Which task and item.
        context: TaskContext,
        /// How long the caller waited.
        waited: Duration,
    },
    /// The value was already taken from this handle.
    #[error("{context}: its value was already taken from this handle")]
    Taken {
        /// Which task and item.
        context: TaskContext,
    },
}

impl TaskError {
    /// The kind of this failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            TaskError::Panicked { .. } => ErrorKind::Panicked,
            TaskError::WorkerDied { .. } => ErrorKind::WorkerDied,
            TaskError::TimedOut { .. } | TaskError::Timeout { .. } => ErrorKind::Timeout,
            TaskError::Cancelled { .. } => ErrorKind::Cancelled,
            TaskError::NotSendable { kind, .. } | TaskError::NoWorker { kind, .. } => *kind,
            TaskError::PoolClosed { .. } => ErrorKind::Closed,
            TaskError::Taken { .. } => ErrorKind::Taken,
        }
    }

    /// Which task and item this is about.
    pub fn context(&self) -> &TaskContext {
        match self {
            TaskError::Panicked { context, .. }
            | TaskError::WorkerDied { context, .. }
            | TaskError::TimedOut { context, .. }
            | TaskError::Cancelled { context }
            | TaskError::NotSendable { context, .. }
            | TaskError::PoolClosed { context }
            | TaskError::NoWorker { context, .. }
            | TaskError::Timeout { context, .. }
            | TaskError::Taken { context } => context,
        }
    }

    /// The task's name.
    pub fn task(&self) -> &str {
        &self.context().task
    }

    /// The item's index in its batch.
    pub fn item(&self) -> Option<usize> {
        self.context().item
    }

    /// Did the task panic?
    pub fn is_panicked(&self) -> bool {
        matches!(self, TaskError::Panicked { .. })
    }

    /// Did the process end before it gave a value?
    pub fn is_worker_died(&self) -> bool {
        matches!(self, TaskError::WorkerDied { .. })
    }

    /// Was the task ended because it ran too long?
    pub fn is_timed_out(&self) -> bool {
        matches!(self, TaskError::TimedOut { .. })
    }

    /// Was the task cancelled?
    pub fn is_cancelled(&self) -> bool {
        matches!(self, TaskError::Cancelled { .. })
    }

    /// How the process ended, where that is the reason.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        match self {
            TaskError::WorkerDied { status, .. } => Some(*status),
            _ => None,
        }
    }
}
