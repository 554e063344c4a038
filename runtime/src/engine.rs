//! What engines beyond this machine build on; used by the packages `offspring-mpi` and `offspring-nats` of this repository.
// Not public API: it changes with them.

use crate::message::{DecodeError, EncodeError, Flat, Message};

/// A buffer that holds one message at a time as contiguous bytes, ready to cross a network; kept and used again.
#[derive(Debug)]
pub struct Buffer {
    flat: Flat,
    len: usize,
}

impl Buffer {
    /// An empty buffer.
    ///
    /// # Errors
    ///
    /// When there is no memory.
    pub fn new() -> Result<Buffer, EncodeError> {
        Ok(Buffer { flat: Flat::new()?, len: 0 })
    }

    /// Writes a value.
    ///
    /// # Errors
    ///
    /// When the value cannot be written: it has a handle of a shared object, or there is no memory.
    pub fn put<T: Message>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.len = self.flat.put_over(value)?;
        Ok(())
    }

    /// The bytes of the message, and `spare` more behind them, to be filled in by the caller.
    ///
    /// # Errors
    ///
    /// When there is no memory.
    pub fn bytes_with(&mut self, spare: usize) -> Result<&mut [u8], EncodeError> {
        let len = self.len + spare;
        self.flat.room_after(self.len, len)
    }

    /// The bytes of the message.
    pub fn bytes(&self) -> &[u8] {
        self.flat.bytes(self.len)
    }

    /// Room for a message of `len` bytes, to be filled in by the caller.
    ///
    /// # Errors
    ///
    /// When there is no memory.
    pub fn room(&mut self, len: usize) -> Result<&mut [u8], EncodeError> {
        self.len = len;
        self.flat.room_after(0, len)
    }

    /// Cuts the message to this length.
    pub fn shorten(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// The value, read in place after it was found valid.
    ///
    /// # Errors
    ///
    /// When the bytes are no message of this type.
    pub fn view<T: Message>(&self) -> Result<&T::Archived, DecodeError> {
        self.flat.view::<T>(self.len)
    }

    /// The value.
    ///
    /// # Errors
    ///
    /// When the bytes are no message of this type.
    pub fn get<T: Message>(&self) -> Result<T, DecodeError> {
        self.flat.get::<T>(self.len)
    }
}

/// Which build of the program this is: equal in every process of one build.
pub fn build_id() -> u64 {
    crate::process::build_fingerprint()
}
