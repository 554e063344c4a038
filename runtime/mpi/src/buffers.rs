//! Buffers that are kept: above some 100 KiB a fresh one for each message costs five times as much as a used one.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use offspring::engine::Buffer;

use crate::{MpiError, Result};

/// So many are kept, at most.
const MOST: usize = 16;

/// Buffers that nobody uses right now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Buffers(Rc<RefCell<Vec<Buffer>>>);

impl Buffers {
    pub(crate) fn take(&self) -> Result<Lent> {
        let buffer = self.0.borrow_mut().pop();
        let buffer = buffer.map_or_else(Buffer::new, Ok).map_err(|error| MpiError::NotSendable(error.to_string()))?;
        Ok(Lent { buffer: Some(buffer), home: self.clone() })
    }
}

/// A buffer in use; it goes back when it is dropped.
#[derive(Debug)]
pub(crate) struct Lent {
    buffer: Option<Buffer>,
    home: Buffers,
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut free = self.home.0.borrow_mut();
        if let Some(buffer) = self.buffer.take()
            && free.len() < MOST
        {
            free.push(buffer);
        }
    }
}

impl Deref for Lent {
    type Target = Buffer;

    fn deref(&self) -> &Buffer {
        match &self.buffer {
            Some(buffer) => buffer,
            None => unreachable!("taken only by drop"),
        }
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Buffer {
        match &mut self.buffer {
            Some(buffer) => buffer,
            None => unreachable!("taken only by drop"),
        }
    }
}
