//! Why an item has no result, as a worker says it: data that crosses as bytes and can always be read back.

use super::panic::PanicRecord;
use super::{TaskContext, TaskError};
use crate::ErrorKind;
use crate::message::{DecodeError, EncodeError};

/// Why an item has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskFault {
    /// The task panicked.
    Panicked(PanicRecord),
    /// The input could not be read, or the result not be written.
    NotSendable {
        /// What was wrong.
        reason: String,
        /// The finer kind.
        kind: ErrorKind,
    },
    /// The worker has not the state that the task borrows.
    NoState {
        /// Why not, and what to do.
        reason: String,
        /// The finer kind.
        kind: ErrorKind,
    },
    /// The process has no such task.
    NoTask {
        /// Why not, and what to do.
        reason: String,
        /// The finer kind.
        kind: ErrorKind,
    },
}

impl From<EncodeError> for TaskFault {
    fn from(error: EncodeError) -> Self {
        TaskFault::NotSendable { reason: format!("its result cannot be sent: {error}"), kind: error.kind() }
    }
}

impl From<DecodeError> for TaskFault {
    fn from(error: DecodeError) -> Self {
        TaskFault::NotSendable { reason: format!("its input cannot be read: {error}"), kind: error.kind() }
    }
}

/// All kinds, as any may cross. Their numbers are part of no file, only of one build.
macro_rules! kinds {
    ($($kind:ident)*) => {
        const KINDS: &[ErrorKind] = &[$(ErrorKind::$kind),*];

        /// The kind's number. A kind that is not listed does not compile.
        const fn number(kind: ErrorKind) -> u8 {
            match kind {
                $(ErrorKind::$kind => ErrorKind::$kind as u8,)*
            }
        }
    };
}

kinds!(Panicked Failed WorkerDied Timeout Cancelled NotSendable Closed Full Empty Taken InUse Deadlock Poisoned Broken OutOfMemory Limit UnknownTask
    DuplicateTask InvalidInput InvalidData Spawn Unsupported Io);

/// A number for a kind, the same in all processes of one build.
#[cfg(feature = "engine")]
pub(crate) fn kind_to_raw(kind: ErrorKind) -> u8 {
    number(kind)
}

/// The kind of that number, if there is one.
#[cfg(feature = "engine")]
pub(crate) fn kind_from_raw(raw: u8) -> Option<ErrorKind> {
    KINDS.iter().copied().find(|kind| number(*kind) == raw)
}

impl TaskFault {
    /// The fault as the error of an item.
    pub fn into_error(self, context: TaskContext, worker: u32, tries: u32) -> TaskError {
        match self {
            TaskFault::Panicked(PanicRecord { message, location, backtrace }) => {
                let backtrace = backtrace.map(String::into_boxed_str);
                TaskError::Panicked { context, message, location, worker, tries, backtrace }
            }
            TaskFault::NotSendable { reason, kind } => TaskError::NotSendable { context, reason, kind },
            TaskFault::NoState { reason, kind } => TaskError::NoState { context, reason, kind },
            TaskFault::NoTask { reason, kind } => TaskError::NoWorker { context, reason, kind },
        }
    }

    /// As bytes, for [`TaskFault::decode`].
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let text = |bytes: &mut Vec<u8>, text: &str| {
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text.as_bytes());
        };
        match self {
            TaskFault::Panicked(PanicRecord { message, location, backtrace }) => {
                bytes.extend([0, u8::from(backtrace.is_some())]);
                text(&mut bytes, message);
                text(&mut bytes, location);
                text(&mut bytes, backtrace.as_deref().unwrap_or_default());
            }
            TaskFault::NotSendable { reason, kind } => {
                bytes.extend([1, number(*kind)]);
                text(&mut bytes, reason);
            }
            TaskFault::NoState { reason, kind } => {
                bytes.extend([2, number(*kind)]);
                text(&mut bytes, reason);
            }
            TaskFault::NoTask { reason, kind } => {
                bytes.extend([3, number(*kind)]);
                text(&mut bytes, reason);
            }
        }
        bytes
    }

    /// From bytes. Never fails: what is missing or damaged is left out.
    pub fn decode(bytes: &[u8]) -> TaskFault {
        let (tag, detail) = (bytes.first().copied(), bytes.get(1).copied().unwrap_or(0));
        let mut rest = bytes.get(2..).unwrap_or_default();
        let mut text = || {
            let (len, tail) = rest.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
            let len = usize::try_from(u64::from_le_bytes(*len)).unwrap_or(usize::MAX).min(tail.len());
            let (text, tail) = tail.split_at(len);
            rest = tail;
            String::from_utf8_lossy(text).into_owned()
        };
        let kind = KINDS.iter().copied().find(|kind| number(*kind) == detail).unwrap_or(ErrorKind::NotSendable);
        match tag {
            Some(0) => {
                let (message, location, backtrace) = (text(), text(), text());
                TaskFault::Panicked(PanicRecord { message, location, backtrace: (detail == 1).then_some(backtrace) })
            }
            Some(2) => TaskFault::NoState { reason: text(), kind },
            Some(3) => TaskFault::NoTask { reason: text(), kind },
            _ => TaskFault::NotSendable { reason: text(), kind },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_comes_back_as_it_was() {
        let record = |backtrace| PanicRecord { message: "no\nway".into(), location: "a.rs:1:2".into(), backtrace };
        let faults = [
            TaskFault::Panicked(record(None)),
            TaskFault::Panicked(record(Some("frames".into()))),
            TaskFault::NotSendable { reason: "too large".into(), kind: ErrorKind::OutOfMemory },
            TaskFault::NoState { reason: String::new(), kind: ErrorKind::InvalidInput },
        ];
        for fault in faults {
            assert_eq!(TaskFault::decode(&fault.encode()), fault);
        }
    }

    #[test]
    fn every_kind_comes_back_as_it_was() {
        for &kind in KINDS {
            let reason = String::from("why");
            for fault in [
                TaskFault::NotSendable { reason: reason.clone(), kind },
                TaskFault::NoState { reason: reason.clone(), kind },
                TaskFault::NoTask { reason: reason.clone(), kind },
            ] {
                let back = TaskFault::decode(&fault.encode());
                assert_eq!(back, fault);
                let context = TaskContext::new("task", None);
                assert_eq!(back.into_error(context, 1, 1).kind(), kind);
            }
        }
    }

    #[test]
    fn damaged_bytes_are_still_a_fault() {
        let whole = TaskFault::Panicked(PanicRecord { message: "m".repeat(40), ..PanicRecord::default() }).encode();
        for len in 0..whole.len() {
            TaskFault::decode(&whole[..len]);
            let mut torn = whole.clone();
            torn[len] ^= 0xff;
            TaskFault::decode(&torn);
        }
    }
}
