//! What stands in the messages, beside what the engine puts into them.
//!
//! Numbers are little-endian. What is not understood is dropped, as anybody who may use the server can publish.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use offspring::CancelLevel;

/// A message with a task or a result: whose it is, and where its body lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) chunk: u64,
    /// Somebody who had it was lost: it may have been the reason.
    pub(crate) is_suspect: bool,
    pub(crate) body: Body,
}

/// The body of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    /// Here.
    Inline(Bytes),
    /// In the run's bucket, under this name.
    Object(String),
    /// Nowhere: the worker could not get or use the task's body, for this reason.
    Missing(String),
    /// The worker has no time for the task, and put it into the stream again, under this number.
    Moved(u64),
    /// A worker begins with the task, which was handed out before.
    Begun,
}

const INLINE: u8 = 1;
const OBJECT: u8 = 2;
const MISSING: u8 = 3;
const MOVED: u8 = 4;
const BEGUN: u8 = 5;
/// Beside the kind.
const SUSPECT: u8 = 0x80;

/// Bytes before the body.
pub(crate) const HEAD: usize = 9;

/// A message with its body in it, written in one go.
pub(crate) fn inline(chunk: u64, is_suspect: bool, body: &[u8]) -> Bytes {
    write(INLINE, chunk, is_suspect, body)
}

fn write(kind: u8, chunk: u64, is_suspect: bool, body: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEAD + body.len());
    bytes.put_u8(if is_suspect { kind | SUSPECT } else { kind });
    bytes.put_u64_le(chunk);
    bytes.put_slice(body);
    bytes.freeze()
}

impl Envelope {
    pub(crate) fn new(chunk: u64, body: Body) -> Envelope {
        Envelope { chunk, is_suspect: false, body }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let number;
        let (kind, body): (u8, &[u8]) = match &self.body {
            Body::Inline(bytes) => (INLINE, bytes),
            Body::Object(name) => (OBJECT, name.as_bytes()),
            Body::Missing(reason) => (MISSING, reason.as_bytes()),
            Body::Moved(moved) => {
                number = moved.to_le_bytes();
                (MOVED, &number)
            }
            Body::Begun => (BEGUN, &[]),
        };
        write(kind, self.chunk, self.is_suspect, body)
    }

    pub(crate) fn decode(mut bytes: Bytes) -> Option<Envelope> {
        let head = take::<HEAD>(&mut bytes)?;
        let [kind, chunk @ ..] = head;
        let text = |bytes: Bytes| String::from_utf8(bytes.into()).ok();
        let body = match kind & !SUSPECT {
            INLINE => Body::Inline(bytes),
            OBJECT => Body::Object(text(bytes)?),
            MISSING => Body::Missing(text(bytes)?),
            MOVED => Body::Moved(u64::from_le_bytes(take(&mut bytes)?)),
            BEGUN => Body::Begun,
            _ => return None,
        };
        Some(Envelope { chunk: u64::from_le_bytes(chunk), is_suspect: kind & SUSPECT != 0, body })
    }
}

/// What a worker says of itself, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Here {
    pub(crate) worker: u64,
    /// How many tasks it runs at a time; 0: it leaves.
    pub(crate) slots: u32,
    /// How often it says so.
    pub(crate) every: Duration,
}

impl Here {
    pub(crate) fn encode(self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(16);
        bytes.put_u64_le(self.worker);
        bytes.put_u32_le(self.slots);
        bytes.put_u32_le(u32::try_from(self.every.as_millis()).unwrap_or(u32::MAX));
        bytes.freeze()
    }

    pub(crate) fn decode(mut bytes: Bytes) -> Option<Here> {
        let worker = u64::from_le_bytes(take(&mut bytes)?);
        let slots = u32::from_le_bytes(take(&mut bytes)?);
        let every = Duration::from_millis(u32::from_le_bytes(take(&mut bytes)?).into());
        Some(Here { worker, slots, every })
    }
}

/// What a pool says of itself, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Beat {
    pub(crate) run: u64,
    /// It ends: workers need not ask for its tasks any more.
    pub(crate) is_over: bool,
}

impl Beat {
    pub(crate) fn encode(self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(9);
        bytes.put_u64_le(self.run);
        bytes.put_u8(self.is_over.into());
        bytes.freeze()
    }

    pub(crate) fn decode(mut bytes: Bytes) -> Option<Beat> {
        let run = u64::from_le_bytes(take(&mut bytes)?);
        let [is_over] = take(&mut bytes)?;
        Some(Beat { run, is_over: is_over != 0 })
    }
}

/// What a pool tells its workers: these chunks are not wanted any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cancel {
    /// The pool, as the engine numbers it.
    pub(crate) pool: u64,
    pub(crate) level: CancelLevel,
    pub(crate) chunks: Vec<u64>,
}

/// The levels, from asking to killing.
const LEVELS: [CancelLevel; 3] = [CancelLevel::Cooperative, CancelLevel::Soft, CancelLevel::Hard];

impl Cancel {
    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(9 + 8 * self.chunks.len());
        // A level that is not known here is above those that are.
        let level = LEVELS.iter().position(|&level| level == self.level).unwrap_or(LEVELS.len() - 1);
        bytes.put_u8(level as u8);
        bytes.put_u64_le(self.pool);
        self.chunks.iter().for_each(|&chunk| bytes.put_u64_le(chunk));
        bytes.freeze()
    }

    pub(crate) fn decode(mut bytes: Bytes) -> Option<Cancel> {
        let [level] = take(&mut bytes)?;
        let level = *LEVELS.get(usize::from(level))?;
        let pool = u64::from_le_bytes(take(&mut bytes)?);
        let (numbers, rest) = bytes.as_chunks();
        rest.is_empty().then(|| Cancel {
            pool,
            level,
            chunks: numbers.iter().copied().map(u64::from_le_bytes).collect(),
        })
    }
}

fn take<const N: usize>(bytes: &mut Bytes) -> Option<[u8; N]> {
    let head = *bytes.first_chunk()?;
    let _ = bytes.split_to(N);
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_was_cut_off_is_not() {
        let bodies = [
            Body::Inline(Bytes::from_static(b"x\0")),
            Body::Object("t/1".into()),
            Body::Missing("gone".into()),
            Body::Moved(1 << 40),
            Body::Begun,
        ];
        for (at, body) in bodies.into_iter().enumerate() {
            let envelope = Envelope { chunk: u64::MAX - 1, is_suspect: at % 2 == 0, body };
            let bytes = envelope.encode();
            assert_eq!(Envelope::decode(bytes.clone()), Some(envelope));
            for len in 0..HEAD {
                assert_eq!(Envelope::decode(bytes.slice(..len)), None);
            }
        }
        assert_eq!(inline(3, false, b"ab"), Envelope::new(3, Body::Inline(Bytes::from_static(b"ab"))).encode());
        assert_eq!(Envelope::decode(Bytes::from_static(b"\x09........")), None);
        assert_eq!(Envelope::decode(Bytes::from_static(b"\x02........\xff")), None);

        let here = Here { worker: 5, slots: 7, every: Duration::from_millis(1500) };
        assert_eq!(Here::decode(here.encode()), Some(here));
        let beat = Beat { run: 9, is_over: true };
        assert_eq!(Beat::decode(beat.encode()), Some(beat));
        let cancel = Cancel { pool: 8, level: CancelLevel::Hard, chunks: vec![1, u64::MAX] };
        assert_eq!(Cancel::decode(cancel.encode()), Some(cancel.clone()));
        assert_eq!(Cancel::decode(cancel.encode().slice(..10)), None);
        assert_eq!(Cancel::decode(Bytes::new()), None);
    }
}
