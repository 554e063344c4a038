//! What a journal keeps of an item without a value: enough to tell the next run's caller what the first one was told.

use std::time::Duration;

use crate::message;
use crate::status::{ExitStatus, Usage};
use crate::task::{TaskContext, TaskError};
use crate::{ErrorKind, Signal};

/// An error of an item, less its context.
#[message(crate = crate, derive(Debug))]
#[derive(Debug)]
pub(super) enum Kept {
    Panicked {
        message: String,
        location: String,
        worker: u32,
        tries: u32,
        backtrace: Option<String>,
    },
    Died {
        status: Status,
        worker: u32,
        tries: u32,
        note: Option<String>,
        oom_killed: Option<bool>,
        /// User and system time, largest memory.
        usage: Option<(Duration, Duration, u64)>,
        stderr: Option<String>,
    },
    TimedOut {
        limit: Duration,
        worker: u32,
        tries: u32,
    },
    NotSendable {
        reason: String,
        data: bool,
    },
}

#[message(crate = crate, derive(Debug))]
#[derive(Debug)]
pub(super) enum Status {
    Exited(i32),
    Signaled { signal: i32, core_dumped: bool },
    Unknown,
}

/// What is to be kept of an error; `None` for one that says nothing of its item: the next run tries it again.
pub(super) fn of(error: &TaskError) -> Option<Kept> {
    Some(match error {
        TaskError::Panicked { message, location, worker, tries, backtrace, .. } => Kept::Panicked {
            message: message.clone(),
            location: location.clone(),
            worker: *worker,
            tries: *tries,
            backtrace: backtrace.as_deref().map(str::to_owned),
        },
        TaskError::WorkerDied { status, worker, tries, note, oom_killed, usage, stderr, .. } => {
            let status = match status {
                ExitStatus::Exited(code) => Status::Exited(*code),
                ExitStatus::Signaled { signal, core_dumped } => {
                    Status::Signaled { signal: signal.as_raw(), core_dumped: *core_dumped }
                }
                ExitStatus::Unknown => Status::Unknown,
            };
            Kept::Died {
                status,
                worker: *worker,
                tries: *tries,
                note: note.clone(),
                oom_killed: *oom_killed,
                usage: usage.as_ref().map(|usage| (usage.user, usage.system, usage.max_rss)),
                stderr: stderr.as_deref().map(str::to_owned),
            }
        }
        TaskError::TimedOut { limit, worker, tries, .. } => {
            Kept::TimedOut { limit: *limit, worker: *worker, tries: *tries }
        }
        TaskError::NotSendable { reason, kind: kind @ (ErrorKind::NotSendable | ErrorKind::InvalidData), .. } => {
            Kept::NotSendable { reason: reason.clone(), data: *kind == ErrorKind::InvalidData }
        }
        _ => return None,
    })
}

/// The error again.
pub(super) fn error(kept: Kept, context: TaskContext) -> TaskError {
    match kept {
        Kept::Panicked { message, location, worker, tries, backtrace } => {
            let backtrace = backtrace.map(String::into_boxed_str);
            TaskError::Panicked { context, message, location, worker, tries, backtrace }
        }
        Kept::Died { status, worker, tries, note, oom_killed, usage, stderr } => {
            let usage = usage.map(|(user, system, max_rss)| Box::new(Usage { user, system, max_rss }));
            let status = match status {
                Status::Exited(code) => ExitStatus::Exited(code),
                Status::Signaled { signal, core_dumped } => match Signal::from_raw(signal) {
                    Some(signal) => ExitStatus::Signaled { signal, core_dumped },
                    None => ExitStatus::Unknown,
                },
                Status::Unknown => ExitStatus::Unknown,
            };
            let stderr = stderr.map(String::into_boxed_str);
            TaskError::WorkerDied { context, status, worker, tries, note, oom_killed, usage, stderr }
        }
        Kept::TimedOut { limit, worker, tries } => TaskError::TimedOut { context, limit, worker, tries },
        Kept::NotSendable { reason, data } => {
            let kind = if data { ErrorKind::InvalidData } else { ErrorKind::NotSendable };
            TaskError::NotSendable { context, reason, kind }
        }
    }
}
