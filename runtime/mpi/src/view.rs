//! Messages that are read where they were received.
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use offspring::{Archived, Message};

use crate::Result;
use crate::buffers::Lent;
use crate::object::Incoming;

/// A message in the buffer that it was received into; derefs to its archived form. The buffer is used again when this is dropped.
pub struct Received<T: Message> {
    buffer: Lent,
    of: PhantomData<fn() -> T>,
}

impl<T: Message> Received<T> {
    pub(crate) fn of(incoming: Incoming) -> Result<Received<T>> {
        incoming.view::<T>()?;
        Ok(Received { buffer: incoming.into_buffer(), of: PhantomData })
    }
}

impl<T: Message> Deref for Received<T> {
    type Target = Archived<T>;

    fn deref(&self) -> &Archived<T> {
        // SAFETY: `of` found a valid archive at the start of the buffer, which is aligned to 64 and has not been written to since.
        unsafe { &*self.buffer.bytes().as_ptr().cast() }
    }
}

impl<T: Message> fmt::Debug for Received<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received").field("len", &self.buffer.bytes().len()).finish_non_exhaustive()
    }
}
