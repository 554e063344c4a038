//! Items of a type over queues of bytes: what queues and pipes share.
#![allow(unsafe_code)]

use super::QueueError;
use super::core::{Core, Until};
use super::get::{Buffer, Item};
use super::write::with_parcel;
use crate::message::{self, Message};
use crate::view::View;

/// Values whose root is at least this long are written once there is room.
const LONG: usize = 1 << 10;

impl Core {
    /// Writes `value` as an item and puts it.
    pub(crate) fn send<T: Message>(&self, value: &T, until: Until, whole: bool) -> Result<(), QueueError> {
        self.handle.check()?;
        if size_of::<T>() >= LONG {
            self.await_room(until)?;
        }
        with_parcel(self.arena(), value, whole, |parcel| self.put(parcel, until))
    }

    /// Takes the oldest item and makes a value of it.
    pub(crate) fn receive<T: Message>(&self, until: Until) -> Result<T, QueueError> {
        let mut buffer = Buffer::new();
        match self.take(&mut buffer, until)? {
            // SAFETY: a whole item, in one piece, which an encoder of this build wrote; the buffer is aligned as its root is.
            Item::Inline => Ok(unsafe { message::decode(buffer.as_ptr()) }?),
            // SAFETY: as above, with the root at the start of the block, which lives on until the value is made.
            Item::Block(block) => Ok(unsafe { message::decode(block.as_ptr()) }?),
        }
    }

    /// Takes the oldest item, to be read where it lies.
    pub(crate) fn view<T: Message>(&self, until: Until) -> Result<View<T>, QueueError> {
        let mut buffer = Box::new(Buffer::new());
        match self.take(&mut buffer, until)? {
            // SAFETY: as in `receive`; what is boxed does not move.
            Item::Inline => Ok(unsafe { View::copy(buffer.as_ptr(), buffer) }),
            // SAFETY: as in `receive`.
            Item::Block(block) => Ok(unsafe { View::block(self.arena(), block.as_ptr(), block) }),
        }
    }
}
