//! What crosses the network: chunks of items, and replies.
//!
//! ```text
//! chunk   slots of n items | data, from the next multiple of 64 on | trailer
//! reply   slots of results | data, likewise                        | errors: item u32, stage u32, length u32, bytes | trailer
//! ```
//!
//! Slots and data are what is between processes of one machine, too: pointers within are relative, so it need not be taken apart. A trailer has a
//! fixed length, is found from the end, and its numbers are little-endian. Master and workers are one build of one program; each message says
//! of which, and nothing of another's is looked at further.

use std::time::Duration;

use crate::pool::policy::Policy;
use crate::task::TaskId;
use crate::{ErrorKind, OnError};

/// A chunk's name: of a pool, anywhere, and of a chunk of it. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkId {
    /// Which pool.
    pub pool: u64,
    /// Which chunk of it.
    pub chunk: u64,
}

/// Why bytes that have arrived are no chunk, or no reply, that can be looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadMessage {
    /// They are something else, or damaged.
    #[error("what has arrived is no message of this library, or was cut off or changed on its way")]
    Foreign,
    /// They are of another build of the program.
    #[error(
        "a message comes from another build of the program (this is build {ours:016x}, that is {theirs:016x}): start the same file everywhere"
    )]
    OtherBuild {
        /// The build that has received it.
        ours: u64,
        /// The one that has sent it.
        theirs: u64,
    },
    /// There is no memory for them.
    #[error("there is no memory for a message that has arrived: {0}")]
    NoMemory(String),
}

impl BadMessage {
    /// The kind of this failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            BadMessage::Foreign => ErrorKind::InvalidData,
            BadMessage::OtherBuild { .. } => ErrorKind::UnknownTask,
            BadMessage::NoMemory(_) => ErrorKind::OutOfMemory,
        }
    }
}

const CHUNK: u64 = 0x6b6e_7568_632e_6f31;
const REPLY: u64 = 0x796c_7065_722e_6f31;
/// For "none" in place of a number.
const NONE: u64 = u64::MAX;

/// Writes numbers.
struct Writer<'a>(&'a mut Vec<u8>);

impl Writer<'_> {
    fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn nanos(&mut self, value: Option<Duration>) -> &mut Self {
        // The longest that can be said is five hundred years.
        self.u64(value.map_or(NONE, |value| u64::try_from(value.as_nanos()).unwrap_or(NONE - 1).min(NONE - 1)))
    }
}

/// Reads numbers; what is missing reads as 0, as the length was looked at before.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn u64(&mut self) -> u64 {
        let (first, rest) = self.0.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        self.0 = rest;
        u64::from_le_bytes(*first)
    }

    fn usize(&mut self) -> Option<usize> {
        usize::try_from(self.u64()).ok()
    }

    fn u32(&mut self) -> u32 {
        u32::try_from(self.u64()).unwrap_or(u32::MAX)
    }

    fn nanos(&mut self) -> Option<Duration> {
        match self.u64() {
            NONE => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }
}

/// What is said of a chunk.
#[derive(Debug, Clone)]
pub(crate) struct ChunkHead {
    pub(crate) id: ChunkId,
    pub(crate) task: TaskId,
    /// Item slots there are.
    pub(crate) slots: usize,
    /// Which of them are to be run.
    pub(crate) range: std::ops::Range<usize>,
    /// Index of the first slot's item in its batch; `None` for a single call.
    pub(crate) first: Option<usize>,
    /// Bytes of slots and data.
    pub(crate) len: usize,
    /// It takes about a millisecond at most, so nobody needs to be asked meanwhile.
    pub(crate) short: bool,
    /// Somebody wants to know how many items fail by errors of their own.
    pub(crate) counts: bool,
    /// As far as workers keep to it; `on_error` says how many failures are left.
    pub(crate) policy: Policy,
}

const CHUNK_WORDS: usize = 18;

impl ChunkHead {
    /// The trailer.
    pub(crate) fn write(&self, build: u64) -> Vec<u8> {
        let ChunkHead { id, task, slots, range, first, len, short, counts, policy } = self;
        let mut bytes = Vec::with_capacity(CHUNK_WORDS * 8);
        let mut out = Writer(&mut bytes);
        out.u64(*len as u64).u64(*slots as u64).u64(range.start as u64).u64(range.end as u64);
        out.u64(first.map_or(NONE, |first| first as u64)).u64(task.as_raw().into());
        out.u64(policy.retries.into()).nanos(Some(policy.retry_delay)).nanos(policy.timeout).nanos(policy.grace);
        out.u64(policy.crash_limit.into()).u64(policy.on_error.most().map_or(0, |most| most as u64));
        out.u64(policy.needs.memory).u64(u64::from(*short) | u64::from(*counts) << 1);
        out.u64(id.chunk).u64(id.pool).u64(build).u64(CHUNK);
        bytes
    }

    /// What the trailer says.
    pub(crate) fn read(bytes: &[u8], build: u64) -> Result<ChunkHead, BadMessage> {
        let (body, mut head) = trailer(bytes, CHUNK_WORDS, CHUNK, build)?;
        let foreign = || BadMessage::Foreign;
        let len = head.usize().filter(|len| *len == body.len()).ok_or_else(foreign)?;
        let slots = head.usize().ok_or_else(foreign)?;
        let range = head.usize().ok_or_else(foreign)?..head.usize().ok_or_else(foreign)?;
        if range.start >= range.end || range.end > slots {
            return Err(BadMessage::Foreign);
        }
        let first = match head.u64() {
            NONE => None,
            first => Some(usize::try_from(first).map_err(|_| foreign())?),
        };
        let task = TaskId::from_raw(head.u32());
        let mut policy = Policy { retries: head.u32(), ..Policy::default() };
        policy.retry_delay = head.nanos().unwrap_or_default();
        (policy.timeout, policy.grace) = (head.nanos(), head.nanos());
        policy.crash_limit = head.u32().max(1);
        policy.on_error = match head.usize().unwrap_or(usize::MAX) {
            0 => OnError::Continue,
            most => OnError::StopAfter(most),
        };
        policy.needs.memory = head.u64();
        let flags = head.u64();
        let (short, counts) = (flags & 1 != 0, flags & 2 != 0);
        let id = ChunkId { chunk: head.u64(), pool: head.u64() };
        Ok(ChunkHead { id, task, slots, range, first, len, short, counts, policy })
    }
}

/// What is before a trailer of so many words, and the trailer.
fn trailer(bytes: &[u8], words: usize, mark: u64, build: u64) -> Result<(&[u8], Reader<'_>), BadMessage> {
    let (body, head) = bytes.split_at_checked(bytes.len().wrapping_sub(words * 8)).ok_or(BadMessage::Foreign)?;
    let last = |at: usize| Reader(&head[(words - at) * 8..]).u64();
    if last(1) != mark {
        return Err(BadMessage::Foreign);
    }
    if last(2) != build {
        return Err(BadMessage::OtherBuild { ours: build, theirs: last(2) });
    }
    Ok((body, Reader(head)))
}

/// What is said of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReplyHead {
    pub(crate) id: ChunkId,
    /// Result slots there are: one an item that was to be run, or one for all.
    pub(crate) slots: usize,
    /// Bytes of slots and data.
    pub(crate) len: usize,
    /// How many errors follow them.
    pub(crate) errors: usize,
    /// How many items have failed, by errors of their own included, where that was asked for.
    pub(crate) failures: usize,
    /// How many were not run, as somebody has ended it.
    pub(crate) given_up: usize,
    /// How many runs were lost with their process and tried again.
    pub(crate) retried: u64,
    /// Nanoseconds spent, and on how many items, where that was measured.
    pub(crate) busy: (u64, u64),
    /// The process that has run them, or that has had them run.
    pub(crate) process: u32,
}

pub(super) const REPLY_WORDS: usize = 13;

impl ReplyHead {
    /// The trailer.
    pub(crate) fn write(&self, build: u64) -> Vec<u8> {
        let ReplyHead { id, slots, len, errors, failures, given_up, retried, busy, process } = self;
        let mut bytes = Vec::with_capacity(REPLY_WORDS * 8);
        let mut out = Writer(&mut bytes);
        out.u64(*len as u64).u64(*slots as u64).u64(*errors as u64).u64(*failures as u64);
        out.u64(*given_up as u64)
            .u64(*retried)
            .u64(busy.0)
            .u64(busy.1)
            .u64((*process).into())
            .u64(id.chunk)
            .u64(id.pool)
            .u64(build)
            .u64(REPLY);
        bytes
    }

    /// What the trailer says, and the bytes of the errors.
    pub(crate) fn read(bytes: &[u8], build: u64) -> Result<(ReplyHead, &[u8]), BadMessage> {
        let (body, mut head) = trailer(bytes, REPLY_WORDS, REPLY, build)?;
        let foreign = || BadMessage::Foreign;
        let len = head.usize().ok_or_else(foreign)?;
        let (_, rest) = body.split_at_checked(len).ok_or_else(foreign)?;
        let (slots, errors) = (head.usize().ok_or_else(foreign)?, head.usize().ok_or_else(foreign)?);
        let (failures, given_up) = (head.usize().ok_or_else(foreign)?, head.usize().ok_or_else(foreign)?);
        let retried = head.u64();
        let (busy, process) = ((head.u64(), head.u64()), head.u32());
        let id = ChunkId { chunk: head.u64(), pool: head.u64() };
        Ok((ReplyHead { id, slots, len, errors, failures, given_up, retried, busy, process }, rest))
    }
}

/// Why an item has no result, in a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ErrorAt<'a> {
    /// The item's slot in the chunk.
    pub(crate) item: usize,
    /// Which task of a program it was at, from 1; 0 if none.
    pub(crate) stage: u32,
    /// What has happened; see `error.rs`.
    pub(crate) bytes: &'a [u8],
}

impl<'a> ErrorAt<'a> {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        for number in [self.item as u32, self.stage, self.bytes.len() as u32] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(self.bytes);
    }

    /// The first of those that are left in `rest`.
    pub(crate) fn read(rest: &mut &'a [u8]) -> Option<ErrorAt<'a>> {
        let mut number = || {
            let (first, tail) = rest.split_first_chunk::<4>()?;
            *rest = tail;
            Some(u32::from_le_bytes(*first))
        };
        let (item, stage, len) = (number()? as usize, number()?, number()? as usize);
        let (bytes, tail) = rest.split_at_checked(len)?;
        *rest = tail;
        Some(ErrorAt { item, stage, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk() -> ChunkHead {
        ChunkHead {
            id: ChunkId { pool: 7, chunk: 9 },
            task: TaskId::from_raw(3),
            slots: 5,
            range: 1..4,
            first: Some(100),
            len: 16,
            short: true,
            counts: true,
            policy: Policy {
                retries: 2,
                timeout: Some(Duration::from_millis(3)),
                on_error: OnError::StopAfter(4),
                ..Policy::default()
            },
        }
    }

    #[test]
    fn heads_come_back_and_damaged_ones_do_not() {
        let head = chunk();
        let mut bytes = vec![1u8; 16];
        bytes.extend(head.write(11));
        let back = ChunkHead::read(&bytes, 11).unwrap();
        assert_eq!((back.id, back.task, back.slots, back.range.clone()), (head.id, head.task, 5, 1..4));
        assert_eq!((back.first, back.len, back.policy.retries), (Some(100), 16, 2));
        assert!(back.short && back.counts);
        assert_eq!((back.policy.timeout, back.policy.grace), (Some(Duration::from_millis(3)), None));
        assert_eq!(back.policy.on_error.most(), Some(4));
        assert_eq!(ChunkHead::read(&bytes, 12).unwrap_err(), BadMessage::OtherBuild { ours: 12, theirs: 11 });
        for len in 0..bytes.len() {
            assert!(ChunkHead::read(&bytes[..len], 11).is_err());
        }
        let id = ChunkId { pool: 1, chunk: 2 };
        let head = ReplyHead {
            id,
            slots: 3,
            len: 2,
            errors: 1,
            failures: 1,
            given_up: 2,
            retried: 4,
            busy: (5, 6),
            process: 77,
        };
        let mut bytes = vec![0u8; 2];
        ErrorAt { item: 2, stage: 1, bytes: &[9, 9] }.write(&mut bytes);
        bytes.extend(head.write(11));
        let (back, mut rest) = ReplyHead::read(&bytes, 11).unwrap();
        assert_eq!(back, head);
        assert_eq!(ErrorAt::read(&mut rest), Some(ErrorAt { item: 2, stage: 1, bytes: &[9, 9] }));
        assert_eq!(ErrorAt::read(&mut rest), None);
        for len in 0..bytes.len() {
            assert!(ReplyHead::read(&bytes[..len], 11).is_err());
        }
    }

    #[test]
    fn nothing_that_arrives_makes_it_panic() {
        let mut bytes = vec![1u8; 16];
        bytes.extend(chunk().write(11));
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut torn = bytes.clone();
                torn[at] ^= 1 << bit;
                _ = ChunkHead::read(&torn, 11);
                _ = ReplyHead::read(&torn, 11);
                _ = ErrorAt::read(&mut &torn[..]);
            }
        }
    }
}
