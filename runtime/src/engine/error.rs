//! Errors of items as they cross the network: whole, so that the caller learns all that the worker's own pool knows.

use std::sync::Arc;
use std::time::Duration;

use crate::message::Flat;
use crate::status::{ExitStatus, Usage};
use crate::task::{KeptOutput, TaskContext, TaskError, TaskOutput, kind_from_raw, kind_to_raw};
use crate::{ErrorKind, Signal, message};

/// A [`TaskError`] less its context.
#[message(crate = crate, derive(Debug))]
#[derive(Debug)]
enum Wired {
    /// It was not begun, as somebody has ended the run.
    NotBegun,
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
    CrashLimit {
        deaths: u32,
        last: String,
    },
    NotSendable {
        reason: String,
        kind: u8,
    },
    NoWorker {
        reason: String,
        kind: u8,
    },
    NoState {
        reason: String,
        kind: u8,
    },
    PoolClosed,
}

/// An error, and what its run has left beside it. Where a crash was stays with its machine.
#[message(crate = crate, derive(Debug))]
#[derive(Debug)]
struct Told {
    error: Wired,
    notes: Vec<String>,
    /// Of standard output and standard error: what was kept, how many bytes were left out, and where.
    output: Option<((Vec<u8>, u64, u64), (Vec<u8>, u64, u64))>,
}

#[message(crate = crate, derive(Debug))]
#[derive(Debug)]
enum Status {
    Exited(i32),
    Signaled { signal: i32, core_dumped: bool },
    Unknown,
}

fn wired(error: &TaskError) -> Wired {
    match error {
        TaskError::Panicked { message, location, worker, tries, backtrace, .. } => Wired::Panicked {
            message: message.clone(),
            location: location.clone(),
            worker: *worker,
            tries: *tries,
            backtrace: backtrace.as_deref().map(str::to_owned),
        },
        TaskError::WorkerDied { status, worker, tries, note, oom_killed, usage, stderr, .. } => Wired::Died {
            status: match status {
                ExitStatus::Exited(code) => Status::Exited(*code),
                ExitStatus::Signaled { signal, core_dumped } => {
                    Status::Signaled { signal: signal.as_raw(), core_dumped: *core_dumped }
                }
                ExitStatus::Unknown => Status::Unknown,
            },
            worker: *worker,
            tries: *tries,
            note: note.clone(),
            oom_killed: *oom_killed,
            usage: usage.as_ref().map(|usage| (usage.user, usage.system, usage.max_rss)),
            stderr: stderr.as_deref().map(str::to_owned),
        },
        TaskError::TimedOut { limit, worker, tries, .. } => {
            Wired::TimedOut { limit: *limit, worker: *worker, tries: *tries }
        }
        // Why, the caller's side knows best.
        TaskError::Cancelled { .. } | TaskError::Stopped { .. } => Wired::NotBegun,
        TaskError::CrashLimit { deaths, last, .. } => Wired::CrashLimit { deaths: *deaths, last: last.clone() },
        TaskError::NotSendable { reason, kind, .. } => {
            Wired::NotSendable { reason: reason.clone(), kind: kind_to_raw(*kind) }
        }
        TaskError::NoWorker { reason, kind, .. } => {
            Wired::NoWorker { reason: reason.clone(), kind: kind_to_raw(*kind) }
        }
        TaskError::NoState { reason, kind, .. } => Wired::NoState { reason: reason.clone(), kind: kind_to_raw(*kind) },
        TaskError::PoolClosed { .. } => Wired::PoolClosed,
        other => Wired::NotSendable { reason: other.to_string(), kind: kind_to_raw(other.kind()) },
    }
}

/// An error as bytes; the last resort is none at all, which reads as an error all the same.
pub(super) fn encode(error: &TaskError) -> Vec<u8> {
    let kept = |kept: &KeptOutput| (kept.bytes.clone(), kept.cut, kept.cut_at as u64);
    let output = error.output().map(|output| (kept(&output.stdout), kept(&output.stderr)));
    let told = Told { error: wired(error), notes: error.notes().to_vec(), output };
    let written = Flat::new().and_then(|mut flat| flat.of(&told).map(<[u8]>::to_vec));
    written.unwrap_or_default()
}

/// The error again; `not_begun` says why an item was not begun.
pub(super) fn decode(
    bytes: &[u8],
    context: TaskContext,
    not_begun: impl FnOnce(TaskContext) -> TaskError,
) -> TaskError {
    let read = Flat::new().map_err(|error| error.to_string());
    let read = read.and_then(|mut flat| flat.read::<Told>(bytes).map_err(|error| error.to_string()));
    let Told { error: wired, notes, output } = match read {
        Ok(told) => told,
        Err(reason) => {
            let reason = format!("the worker's error cannot be read: {reason}");
            return TaskError::NotSendable { context, reason, kind: ErrorKind::InvalidData };
        }
    };
    let kept = |(bytes, cut, cut_at): (Vec<u8>, u64, u64)| {
        let cut_at = usize::try_from(cut_at).unwrap_or(usize::MAX).min(bytes.len());
        KeptOutput { bytes, cut, cut_at }
    };
    let output = output.map(|(stdout, stderr)| Arc::new(TaskOutput { stdout: kept(stdout), stderr: kept(stderr) }));
    let context = context.having(|seen| (seen.notes, seen.output) = (notes, output));
    let kind_of = |raw, else_kind| kind_from_raw(raw).unwrap_or(else_kind);
    match wired {
        Wired::NotBegun => not_begun(context),
        Wired::Panicked { message, location, worker, tries, backtrace } => {
            let backtrace = backtrace.map(String::into_boxed_str);
            TaskError::Panicked { context, message, location, worker, tries, backtrace }
        }
        Wired::Died { status, worker, tries, note, oom_killed, usage, stderr } => {
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
        Wired::TimedOut { limit, worker, tries } => TaskError::TimedOut { context, limit, worker, tries },
        Wired::CrashLimit { deaths, last } => TaskError::CrashLimit { context, deaths, last },
        Wired::NotSendable { reason, kind } => {
            TaskError::NotSendable { context, reason, kind: kind_of(kind, ErrorKind::NotSendable) }
        }
        Wired::NoWorker { reason, kind } => {
            TaskError::NoWorker { context, reason, kind: kind_of(kind, ErrorKind::Spawn) }
        }
        Wired::NoState { reason, kind } => {
            TaskError::NoState { context, reason, kind: kind_of(kind, ErrorKind::InvalidInput) }
        }
        Wired::PoolClosed => TaskError::PoolClosed { context },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_comes_back_as_it_was() {
        let context = TaskContext::new("task", Some(3));
        let usage = Usage { user: Duration::from_millis(5), system: Duration::from_nanos(7), max_rss: 9 };
        let errors = [
            TaskError::Panicked {
                context: context.clone(),
                message: "m".into(),
                location: "l".into(),
                worker: 1,
                tries: 2,
                backtrace: Some("b".into()),
            },
            TaskError::WorkerDied {
                context: context.clone(),
                status: ExitStatus::Signaled { signal: Signal::KILL, core_dumped: true },
                worker: 4,
                tries: 5,
                note: Some("n".into()),
                oom_killed: Some(false),
                usage: Some(Box::new(usage)),
                stderr: Some("words".into()),
            },
            TaskError::TimedOut { context: context.clone(), limit: Duration::from_secs(9), worker: 1, tries: 1 },
            TaskError::Cancelled { context: context.clone() },
            TaskError::CrashLimit { context: context.clone(), deaths: 3, last: "code 1".into() },
            TaskError::NotSendable { context: context.clone(), reason: "r".into(), kind: ErrorKind::OutOfMemory },
            TaskError::NoWorker { context: context.clone(), reason: "r".into(), kind: ErrorKind::Limit },
            TaskError::NoState { context: context.clone(), reason: "r".into(), kind: ErrorKind::Failed },
            TaskError::PoolClosed { context: context.clone() },
        ];
        for error in errors {
            let bytes = encode(&error);
            assert_eq!(decode(&bytes, context.clone(), |context| TaskError::Cancelled { context }), error);
            for len in 0..bytes.len() {
                decode(&bytes[..len], context.clone(), |context| TaskError::Cancelled { context });
            }
        }
    }
}
