//! Messages as bytes in memory that is kept.

use crate::message::{Aligned, DecodeError, EncodeError, Flat, Message};

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

    /// A copy of these bytes.
    ///
    /// # Errors
    ///
    /// When there is no memory.
    pub fn copy_of(bytes: &[u8]) -> Result<Buffer, EncodeError> {
        let mut buffer = Buffer::new()?;
        buffer.room(bytes.len())?.copy_from_slice(bytes);
        Ok(buffer)
    }

    /// Over memory of which the first `len` bytes are in use.
    pub(super) fn over(memory: Aligned, len: usize) -> Buffer {
        Buffer { flat: Flat::over(memory), len }
    }

    /// Takes so many bytes behind the message for part of it.
    pub(super) fn lengthen(&mut self, by: usize) {
        self.len += by;
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
