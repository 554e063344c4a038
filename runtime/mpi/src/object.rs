//! Values on their way: bytes, then a trailer, which says of which type they are, and whether they are all or the length of what follows in
//! pieces.

use std::any::TypeId;
use std::hash::{Hash, Hasher};

use offspring::Message;

use crate::buffers::Lent;
use crate::comm::{Comm, Raw, Status};
use crate::sys::{self, Found, PIECE, RawComm};
use crate::{MpiError, Result};

/// The message is all there is.
const WHOLE: u8 = 0;
/// The message is a length; that many bytes follow, in pieces.
const PIECES: u8 = 1;
/// Length of the trailer: the type's number and one of the above.
const TRAILER: usize = 9;
/// Length of the announcement of pieces: a length and a trailer.
pub(crate) const ANNOUNCEMENT: usize = 8 + TRAILER;

/// A number of the type, equal in every process of one build.
fn number_of<T: 'static>() -> u64 {
    struct First(u64);

    impl Hasher for First {
        fn finish(&self) -> u64 {
            self.0
        }

        fn write(&mut self, bytes: &[u8]) {
            for byte in bytes {
                self.0 = self.0.rotate_left(5) ^ u64::from(*byte);
            }
        }

        fn write_u64(&mut self, number: u64) {
            self.0 = number;
        }
    }

    let mut first = First(0);
    TypeId::of::<T>().hash(&mut first);
    first.finish()
}

fn trailer(number: u64, kind: u8) -> [u8; TRAILER] {
    let mut trailer = [kind; TRAILER];
    trailer[..8].copy_from_slice(&number.to_le_bytes());
    trailer
}

pub(crate) fn refused(error: impl std::fmt::Display) -> MpiError {
    MpiError::NotSendable(error.to_string())
}

/// A value, written.
#[derive(Debug)]
pub(crate) struct Outgoing {
    buffer: Lent,
    len: usize,
    number: u64,
}

impl Outgoing {
    pub(crate) fn of<T: Message>(comm: &Comm, value: &T) -> Result<Outgoing> {
        let mut buffer = comm.buffers.take()?;
        buffer.put(value).map_err(refused)?;
        let len = buffer.bytes().len();
        let number = number_of::<T>();
        buffer.bytes_with(TRAILER).map_err(refused)?[len..].copy_from_slice(&trailer(number, WHOLE));
        Ok(Outgoing { buffer, len, number })
    }

    /// The bytes as one message, or what announces the pieces and the bytes for those.
    pub(crate) fn parts(&mut self) -> Result<(Option<[u8; ANNOUNCEMENT]>, &[u8])> {
        if self.len < PIECE {
            return Ok((None, self.buffer.bytes_with(TRAILER).map_err(refused)?));
        }
        let mut announcement = [0; ANNOUNCEMENT];
        announcement[..8].copy_from_slice(&(self.len as u64).to_le_bytes());
        announcement[8..].copy_from_slice(&trailer(self.number, PIECES));
        Ok((Some(announcement), self.buffer.bytes()))
    }

    pub(crate) fn send(mut self, raw: &Raw, on: RawComm, to: i32, tag: i32) -> Result<()> {
        match self.parts()? {
            (None, bytes) => sys::send(on, bytes, to, tag),
            (Some(announcement), bytes) => {
                sys::send(on, &announcement, to, tag)?;
                bytes.chunks(PIECE).try_for_each(|piece| sys::send(raw.pieces, piece, to, tag))
            }
        }
    }
}

/// A value, received.
#[derive(Debug)]
pub(crate) struct Incoming {
    buffer: Lent,
    found: Found,
    number: u64,
}

impl Incoming {
    pub(crate) fn receive(comm: &Comm, on: RawComm, from: i32, tag: i32) -> Result<Incoming> {
        let mut buffer = comm.buffers.take()?;
        let found = sys::receive(on, from, tag, |len| buffer.room(len).map_err(refused))?;
        Incoming::complete(comm, buffer, found)
    }

    pub(crate) fn try_receive(comm: &Comm, on: RawComm, from: i32, tag: i32) -> Result<Option<Incoming>> {
        let mut buffer = comm.buffers.take()?;
        let found = sys::try_receive(on, from, tag, |len| buffer.room(len).map_err(refused))?;
        found.map(|found| Incoming::complete(comm, buffer, found)).transpose()
    }

    fn complete(comm: &Comm, mut buffer: Lent, mut found: Found) -> Result<Incoming> {
        let no_value = || {
            let reason = "a message that is no value: was it sent as a slice? then receive it with `recv_slice`";
            MpiError::NotSendable(reason.into())
        };
        let (rest, trailer) = buffer.bytes().split_last_chunk::<TRAILER>().ok_or_else(no_value)?;
        let (number, kind) = trailer.split_first_chunk::<8>().ok_or_else(no_value)?;
        let number = u64::from_le_bytes(*number);
        match kind {
            [WHOLE] => found.len = rest.len(),
            [PIECES] => {
                let len: [u8; 8] = rest.try_into().map_err(|_| no_value())?;
                found.len = u64::from_le_bytes(len) as usize;
                let room = buffer.room(found.len).map_err(refused)?;
                for piece in room.chunks_mut(PIECE) {
                    sys::receive(comm.raw.pieces, found.source, found.tag, |_| Ok(piece))?;
                }
            }
            _ => return Err(no_value()),
        }
        buffer.shorten(found.len);
        Ok(Incoming { buffer, found, number })
    }

    pub(crate) fn status(&self) -> Status {
        self.found.into()
    }

    fn check<T: Message>(&self) -> Result<()> {
        if self.number == number_of::<T>() { Ok(()) } else { Err(not_of::<T>(&"another type was sent")) }
    }

    pub(crate) fn value<T: Message>(&self) -> Result<T> {
        self.check::<T>()?;
        self.buffer.get::<T>().map_err(|error| not_of::<T>(&error))
    }

    pub(crate) fn view<T: Message>(&self) -> Result<&T::Archived> {
        self.check::<T>()?;
        self.buffer.view::<T>().map_err(|error| not_of::<T>(&error))
    }

    pub(crate) fn into_buffer(self) -> Lent {
        self.buffer
    }
}

fn not_of<T>(error: &impl std::fmt::Display) -> MpiError {
    let expected = std::any::type_name::<T>();
    MpiError::NotSendable(format!(
        "the message received is no `{expected}`: {error}; sender and receiver must name the same type"
    ))
}
