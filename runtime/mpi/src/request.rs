//! Sends and receives that are waited for later.
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;

use offspring::Message;

use crate::Result;
use crate::comm::{Comm, Raw, Status};
use crate::object::{ANNOUNCEMENT, Incoming, Outgoing};
use crate::sys::{self, PIECE, RawComm, Sending};

/// A send under way; made by [`Comm::isend`].
///
/// Dropped before it is done, it waits: its memory is in the library's hands.
#[doc(alias = "Request")]
#[doc(alias = "testany")]
#[doc(alias = "waitall")]
#[doc(alias = "testall")]
#[doc(alias = "waitany")]
pub struct SendRequest {
    sendings: Vec<Sending>,
    // Both stay where they are until the sends are done.
    _announcement: Option<Box<[u8; ANNOUNCEMENT]>>,
    _value: Outgoing,
    _comm: Rc<Raw>,
}

impl fmt::Debug for SendRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendRequest").field("pieces", &self.sendings.len()).finish_non_exhaustive()
    }
}

impl SendRequest {
    pub(crate) fn begin(raw: &Rc<Raw>, on: RawComm, mut value: Outgoing, to: i32, tag: i32) -> Result<SendRequest> {
        let (announcement, bytes) = value.parts()?;
        let announcement = announcement.map(Box::new);
        let mut sendings = Vec::new();
        // SAFETY: the bytes are on the heap, in a buffer and a box that the request keeps until all is done: see `drop`.
        unsafe {
            match &announcement {
                None => sendings.push(Sending::begin(on, bytes, to, tag)?),
                Some(announcement) => {
                    sendings.push(Sending::begin(on, &announcement[..], to, tag)?);
                    for piece in bytes.chunks(PIECE) {
                        sendings.push(Sending::begin(raw.pieces, piece, to, tag)?);
                    }
                }
            }
        }
        Ok(SendRequest { sendings, _announcement: announcement, _value: value, _comm: raw.clone() })
    }

    /// Is it done?
    ///
    /// # Errors
    ///
    /// When the library reports one.
    pub fn test(&mut self) -> Result<bool> {
        while let Some(sending) = self.sendings.last_mut() {
            if !sending.is_done()? {
                return Ok(false);
            }
            self.sendings.pop();
        }
        Ok(true)
    }

    /// Waits until it is done: the value has been received, or the library has taken it over.
    ///
    /// # Errors
    ///
    /// When the library reports one.
    pub fn wait(&mut self) -> Result<()> {
        while let Some(sending) = self.sendings.last_mut() {
            sending.wait()?;
            self.sendings.pop();
        }
        Ok(())
    }
}

impl Drop for SendRequest {
    fn drop(&mut self) {
        if !sys::is_finalized() {
            while let Some(mut sending) = self.sendings.pop() {
                // What cannot be waited for is over.
                let _ = sending.wait();
            }
        }
    }
}

/// A message to come; made by [`Comm::irecv`].
#[doc(alias = "Request")]
#[doc(alias = "waitall")]
#[doc(alias = "testall")]
#[doc(alias = "waitany")]
pub struct RecvRequest<'c, T> {
    comm: &'c Comm,
    from: i32,
    tag: i32,
    of: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for RecvRequest<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvRequest").field("from", &self.from).field("tag", &self.tag).finish_non_exhaustive()
    }
}

impl<'c, T: Message> RecvRequest<'c, T> {
    pub(crate) fn new(comm: &'c Comm, from: i32, tag: i32) -> Self {
        RecvRequest { comm, from, tag, of: PhantomData }
    }

    /// The value, if it is there.
    ///
    /// # Errors
    ///
    /// As [`Comm::recv`].
    pub fn test(&mut self) -> Result<Option<(T, Status)>> {
        let incoming = Incoming::try_receive(self.comm, self.comm.raw.messages, self.from, self.tag)?;
        incoming.map(|incoming| Ok((incoming.value()?, incoming.status()))).transpose()
    }

    /// Waits for the value.
    ///
    /// # Errors
    ///
    /// As [`Comm::recv`].
    pub fn wait(self) -> Result<(T, Status)> {
        let incoming = Incoming::receive(self.comm, self.comm.raw.messages, self.from, self.tag)?;
        Ok((incoming.value()?, incoming.status()))
    }
}
