//! Bytes between ranks: what is sent is kept until the library has taken it, and nobody who sends waits for one who receives.
//!
//! Longer messages than the library can count go in pieces: their length first, as a message of its own, then the pieces, in order and without
//! another message between them.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::Arc;

use offspring::engine::{Buffer, Parcel, Reply};

use crate::sys::{self, PIECE, RawComm, Sending};
use crate::{MpiError, Result};

/// What a message is, as its tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(super) enum Kind {
    /// From a rank: who it is.
    Greeting = 1,
    /// To a rank: it may serve, or why not.
    Answer = 2,
    /// To a rank: a chunk to be run.
    Chunk = 3,
    /// To a rank: end a chunk.
    Cancel = 4,
    /// To a rank: nothing more will come.
    Bye = 5,
    /// From a rank: what became of a chunk.
    Reply = 6,
    /// From a rank: it has sent all.
    Gone = 7,
}

/// Added to a kind's tag: its length, of a message that follows in pieces.
const LONG: i32 = 100;
/// The tag of pieces.
const PIECES: i32 = 200;

impl Kind {
    fn of(tag: i32) -> Option<Kind> {
        use Kind::{Answer, Bye, Cancel, Chunk, Gone, Greeting, Reply};
        [Greeting, Answer, Chunk, Cancel, Bye, Reply, Gone].into_iter().find(|kind| *kind as i32 == tag)
    }
}

/// Memory that is being sent.
#[derive(Debug)]
pub(super) enum Held {
    Bytes(Box<[u8]>),
    Parcel(Arc<Parcel>),
    Reply(Reply),
}

impl Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Held::Bytes(bytes) => bytes,
            Held::Parcel(parcel) => parcel.bytes(),
            Held::Reply(reply) => reply,
        }
    }
}

/// A message that has arrived.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) from: i32,
    pub(super) kind: Kind,
    pub(super) bytes: Buffer,
}

/// One end of the channel between all ranks.
#[derive(Debug)]
pub(super) struct Channel {
    comm: RawComm,
    /// What is on its way, and the memory it is in. The sendings are done before the memory goes.
    sending: VecDeque<(Sending, Arc<Held>)>,
    /// Buffers that nobody uses right now.
    free: Vec<Buffer>,
}

/// So many buffers are kept.
const MOST_FREE: usize = 16;

impl Channel {
    pub(super) fn new(comm: RawComm) -> Channel {
        Channel { comm, sending: VecDeque::new(), free: Vec::new() }
    }

    /// Begins to send.
    pub(super) fn send(&mut self, to: i32, kind: Kind, held: Held) -> Result<()> {
        let held = Arc::new(held);
        if held.len() <= PIECE {
            return self.begin(to, kind as i32, held.clone(), &held);
        }
        let len: Box<[u8]> = Box::new((held.len() as u64).to_le_bytes());
        let announcement = Arc::new(Held::Bytes(len));
        self.begin(to, kind as i32 + LONG, announcement.clone(), &announcement)?;
        held.chunks(PIECE).try_for_each(|piece| self.begin(to, PIECES, held.clone(), piece))
    }

    fn begin(&mut self, to: i32, tag: i32, held: Arc<Held>, bytes: &[u8]) -> Result<()> {
        // SAFETY: the bytes are those of `held`, which is kept, unchanged and where it is, until the sending is done.
        let mut sending = unsafe { Sending::begin(self.comm, bytes, to, tag) }?;
        // Short ones mostly are at once.
        if !sending.is_done()? {
            self.sending.push_back((sending, held));
        }
        Ok(())
    }

    /// Is nothing on its way?
    pub(super) fn is_idle(&self) -> bool {
        self.sending.is_empty()
    }

    /// Lets go of what has been sent. `true`: nothing is on its way.
    pub(super) fn flush(&mut self) -> Result<bool> {
        let mut failed = None;
        self.sending.retain_mut(|(sending, _)| match sending.is_done() {
            Ok(done) => !done,
            Err(error) => {
                failed = Some(error);
                true
            }
        });
        failed.map_or(Ok(self.sending.is_empty()), Err)
    }

    /// The next message that is there.
    pub(super) fn receive(&mut self) -> Result<Option<Arrived>> {
        let mut buffer = match self.free.pop() {
            Some(buffer) => buffer,
            None => no_memory(Buffer::new())?,
        };
        let tags = [sys::any_tag()];
        let found = sys::try_receive(self.comm, sys::any_source(), tags[0], |len| no_memory(buffer.room(len)))?;
        let Some(found) = found else {
            self.free.push(buffer);
            return Ok(None);
        };
        let foreign = || MpiError::NotSendable("a message that is none of this pool's has arrived".to_owned());
        if let Some(kind) = Kind::of(found.tag) {
            return Ok(Some(Arrived { from: found.source, kind, bytes: buffer }));
        }
        let kind = Kind::of(found.tag - LONG).ok_or_else(foreign)?;
        let len = buffer.bytes().first_chunk::<8>().map(|len| u64::from_le_bytes(*len)).ok_or_else(foreign)?;
        let len = usize::try_from(len).map_err(|_| foreign())?;
        // The pieces are on their way, as whoever sends does not wait.
        let mut rest = no_memory(buffer.room(len))?;
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at_mut(rest.len().min(PIECE));
            let wanted = piece.len();
            let got = sys::receive(self.comm, found.source, PIECES, move |_| Ok(piece))?;
            if got.len != wanted {
                return Err(foreign());
            }
            rest = tail;
        }
        Ok(Some(Arrived { from: found.source, kind, bytes: buffer }))
    }

    /// Takes a buffer back that is of no more use.
    pub(super) fn give_back(&mut self, buffer: Buffer) {
        if self.free.len() < MOST_FREE {
            self.free.push(buffer);
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        // The library may still read what is on its way: it stays, unless all is sent.
        if !self.flush().is_ok_and(|all| all) {
            std::mem::forget(std::mem::take(&mut self.sending));
        }
    }
}

fn no_memory<T, E: std::fmt::Display>(result: Result<T, E>) -> Result<T> {
    result.map_err(|error| MpiError::NotSendable(error.to_string()))
}
