//! Whether a pool takes work, and what becomes of what it has.

use crate::ErrorKind;
use crate::task::{TaskContext, TaskError};

/// Whether a pool takes work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::pool) enum Phase {
    /// It does.
    #[default]
    Open,
    /// It finishes what it has.
    Closed,
    /// Ctrl-C: it finishes what runs.
    Interrupted,
    /// It has given up everything.
    Terminated,
    /// It could not start workers.
    Broken { reason: String, kind: ErrorKind },
}

impl Phase {
    /// Has it given up what is not done?
    pub(in crate::pool) fn is_hopeless(&self) -> bool {
        matches!(self, Phase::Terminated | Phase::Broken { .. })
    }

    /// The error of an item that was given up in this phase.
    pub(in crate::pool) fn error(&self, context: TaskContext) -> TaskError {
        match self {
            Phase::Open | Phase::Closed | Phase::Interrupted => TaskError::Cancelled { context },
            Phase::Terminated => TaskError::PoolClosed { context },
            Phase::Broken { reason, kind } => TaskError::NoWorker { context, reason: reason.clone(), kind: *kind },
        }
    }
}
