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
    /// Of a task: so often it may be handed out before it has to be run alone, as those who had it were lost, and it may have been the reason. Of a
    /// result: how often its task was handed out before.
    pub(crate) trust: u8,
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
}

const INLINE: u8 = 1;
const OBJECT: u8 = 2;
const MISSING: u8 = 3;
const MOVED: u8 = 4;

/// Bytes before the body.
pub(crate) const HEAD: usize = 10;

/// A message with its body in it, written in one go.
pub(crate) fn inline(chunk: u64, trust: u8, body: &[u8]) -> Bytes {
    write(INLINE, chunk, trust, body)
}

fn write(kind: u8, chunk: u64, trust: u8, body: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEAD + body.len());
    bytes.put_u8(kind);
    bytes.put_u8(trust);
    bytes.put_u64_le(chunk);
    bytes.put_slice(body);
    bytes.freeze()
}

impl Envelope {
    /// A result, or what else is said of a chunk.
    pub(crate) fn new(chunk: u64, body: Body) -> Envelope {
        Envelope { chunk, trust: 0, body }
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
        };
        write(kind, self.chunk, self.trust, body)
    }

    pub(crate) fn decode(mut bytes: Bytes) -> Option<Envelope> {
        let head = take::<HEAD>(&mut bytes)?;
        let [kind, trust, chunk @ ..] = head;
        let text = |bytes: Bytes| String::from_utf8(bytes.into()).ok();
        let body = match kind {
            INLINE => Body::Inline(bytes),
            OBJECT => Body::Object(text(bytes)?),
            MISSING => Body::Missing(text(bytes)?),
            MOVED => Body::Moved(u64::from_le_bytes(take(&mut bytes)?)),
            _ => return None,
        };
        Some(Envelope { chunk: u64::from_le_bytes(chunk), trust, body })
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

/// A worker asks whether it may begin with a chunk that it would run alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) chunk: u64,
    pub(crate) worker: u64,
}

impl Ask {
    pub(crate) fn encode(self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(16);
        bytes.put_u64_le(self.chunk);
        bytes.put_u64_le(self.worker);
        bytes.freeze()
    }

    pub(crate) fn decode(mut bytes: Bytes) -> Option<Ask> {
        Some(Ask { chunk: u64::from_le_bytes(take(&mut bytes)?), worker: u64::from_le_bytes(take(&mut bytes)?) })
    }
}

/// What the pool says to that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Begin,
    /// Ask again: somebody else may still be at it.
    Wait,
    /// It is not wanted any more.
    Forget,
}

impl Answer {
    pub(crate) fn encode(self) -> Bytes {
        Bytes::from_static(match self {
            Answer::Begin => &[1],
            Answer::Wait => &[2],
            Answer::Forget => &[3],
        })
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Answer> {
        [Answer::Begin, Answer::Wait, Answer::Forget].into_iter().find(|answer| answer.encode() == bytes)
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
        ];
        for (at, body) in bodies.into_iter().enumerate() {
            let envelope = Envelope { chunk: u64::MAX - 1, trust: at as u8, body };
            let bytes = envelope.encode();
            assert_eq!(Envelope::decode(bytes.clone()), Some(envelope));
            for len in 0..HEAD {
                assert_eq!(Envelope::decode(bytes.slice(..len)), None);
            }
        }
        assert_eq!(inline(3, 0, b"ab"), Envelope::new(3, Body::Inline(Bytes::from_static(b"ab"))).encode());
        assert_eq!(Envelope::decode(Bytes::from_static(b"\x09.........")), None);
        assert_eq!(Envelope::decode(Bytes::from_static(b"\x02.........\xff")), None);

        let here = Here { worker: 5, slots: 7, every: Duration::from_millis(1500) };
        assert_eq!(Here::decode(here.encode()), Some(here));
        let beat = Beat { run: 9, is_over: true };
        assert_eq!(Beat::decode(beat.encode()), Some(beat));
        let ask = Ask { chunk: 3, worker: u64::MAX };
        assert_eq!(Ask::decode(ask.encode()), Some(ask));
        assert_eq!(Ask::decode(ask.encode().slice(..15)), None);
        for answer in [Answer::Begin, Answer::Wait, Answer::Forget] {
            assert_eq!(Answer::decode(&answer.encode()), Some(answer));
        }
        assert_eq!(Answer::decode(b""), None);
        let cancel = Cancel { pool: 8, level: CancelLevel::Hard, chunks: vec![1, u64::MAX] };
        assert_eq!(Cancel::decode(cancel.encode()), Some(cancel.clone()));
        assert_eq!(Cancel::decode(cancel.encode().slice(..10)), None);
        assert_eq!(Cancel::decode(Bytes::new()), None);
    }
}
