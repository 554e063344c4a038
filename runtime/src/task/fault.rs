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

/// The kinds that cross: their numbers are part of no file, only of one build.
const KINDS: [ErrorKind; 8] = [
    ErrorKind::NotSendable,
    ErrorKind::OutOfMemory,
    ErrorKind::InvalidData,
    ErrorKind::InvalidInput,
    ErrorKind::Limit,
    ErrorKind::Spawn,
    ErrorKind::Panicked,
    ErrorKind::Io,
];

impl TaskFault {
    /// The fault as the error of an item.
    pub fn into_error(self, context: TaskContext, worker: u32) -> TaskError {
        match self {
            TaskFault::Panicked(PanicRecord { message, location, backtrace }) => {
                TaskError::Panicked { context, message, location, worker, backtrace }
            }
            TaskFault::NotSendable { reason, kind } => TaskError::NotSendable { context, reason, kind },
            TaskFault::NoState { reason, kind } => TaskError::NoWorker { context, reason, kind },
        }
    }

    /// As bytes, for [`TaskFault::decode`].
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let text = |bytes: &mut Vec<u8>, text: &str| {
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text.as_bytes());
        };
        let number = |kind: &ErrorKind| KINDS.iter().position(|known| known == kind).unwrap_or(0) as u8;
        match self {
            TaskFault::Panicked(PanicRecord { message, location, backtrace }) => {
                bytes.extend([0, u8::from(backtrace.is_some())]);
                text(&mut bytes, message);
                text(&mut bytes, location);
                text(&mut bytes, backtrace.as_deref().unwrap_or_default());
            }
            TaskFault::NotSendable { reason, kind } => {
                bytes.extend([1, number(kind)]);
                text(&mut bytes, reason);
            }
            TaskFault::NoState { reason, kind } => {
                bytes.extend([2, number(kind)]);
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
        let kind = KINDS.get(usize::from(detail)).copied().unwrap_or(ErrorKind::NotSendable);
        match tag {
            Some(0) => {
                let (message, location, backtrace) = (text(), text(), text());
                TaskFault::Panicked(PanicRecord { message, location, backtrace: (detail == 1).then_some(backtrace) })
            }
            Some(2) => TaskFault::NoState { reason: text(), kind },
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
