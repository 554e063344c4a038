//! Why a command did not do what it should.

use std::io;
use std::time::Duration;

use offspring_macros::message;

use super::Command;
use crate::{ErrorKind, ExitStatus, SpawnError};

/// Why a command did not do what it should. It is a message.
///
/// ```
/// use offspring::{ErrorKind, process::Command};
///
/// let error = Command::new("no-such-program").status().unwrap_err();
/// assert!(error.is_not_found());
///
/// let error = Command::new("false").check().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Failed);
/// assert_eq!(error.to_string(), "`false` failed: exit code 1");
/// ```
#[doc(alias = "SubprocessError")]
#[message(crate = crate)]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// It could not be started.
    #[error("`{command}` could not be started: {reason}")]
    NotStarted {
        /// Which.
        command: String,
        /// Why not.
        reason: String,
        /// The system's number for the reason, if it gave one.
        errno: Option<i32>,
    },
    /// It ended in another way than by exit code 0.
    #[error("`{command}` failed: {status}{}", told(stderr))]
    #[doc(alias = "CalledProcessError")]
    Failed {
        /// Which.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The last of what it wrote to its standard error, where that was collected.
        stderr: String,
    },
    /// It was killed because it took too long.
    #[error("`{command}` was killed after {after:?}")]
    #[doc(alias = "TimeoutExpired")]
    TimedOut {
        /// Which.
        command: String,
        /// How long it was allowed to run.
        after: Duration,
        /// What it had written to its standard output, where that was collected.
        stdout: Vec<u8>,
        /// What it had written to its standard error, where that was collected.
        stderr: Vec<u8>,
    },
    /// A system call failed while it ran.
    #[error("`{command}`: {reason}")]
    Io {
        /// Which.
        command: String,
        /// Which call, and the system's answer.
        reason: String,
    },
}

fn told(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!(": {}", stderr.trim_end()) }
}

impl CommandError {
    /// The kind of this failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            CommandError::NotStarted { .. } => ErrorKind::Spawn,
            CommandError::Failed { .. } => ErrorKind::Failed,
            CommandError::TimedOut { .. } => ErrorKind::Timeout,
            CommandError::Io { .. } => ErrorKind::Io,
        }
    }

    /// Is there no such program?
    pub fn is_not_found(&self) -> bool {
        matches!(self, CommandError::NotStarted { errno: Some(libc::ENOENT), .. })
    }

    /// How it ended, if it did and that is the failure.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        match self {
            CommandError::Failed { status, .. } => Some(*status),
            _ => None,
        }
    }

    pub(super) fn not_started(command: &Command, reason: String, errno: Option<i32>) -> CommandError {
        CommandError::NotStarted { command: command.to_string(), reason, errno }
    }

    pub(super) fn spawn(command: &Command) -> impl Fn(SpawnError) -> CommandError {
        move |error| CommandError::not_started(command, error.to_string(), None)
    }

    /// For `map_err`: what could not be done before it was started.
    pub(super) fn before(command: &Command, what: String) -> impl Fn(io::Error) -> CommandError {
        move |error| CommandError::not_started(command, format!("{what}: {error}"), error.raw_os_error())
    }

    /// For `map_err`: what could not be done while it ran.
    pub(super) fn while_running(command: String, what: &str) -> impl FnOnce(io::Error) -> CommandError {
        move |error| CommandError::Io { command, reason: format!("{what}: {error}") }
    }
}
