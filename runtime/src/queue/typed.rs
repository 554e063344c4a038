//! Items of a type over queues of bytes: what queues and pipes share.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ptr;

use super::QueueError;
use super::core::{Core, Until};
use super::get::{Buffer, Item};
use super::ring::INLINE_MOST;
use super::write::with_parcel;
use crate::message::{self, Message};
use crate::view::View;

/// Values whose root is at least this long are written once there is room.
const LONG: usize = 1 << 10;

/// Whether an item is nothing but the bytes of its value, and short. What is written is then what is read.
const fn is_bytes<T: Message>() -> bool {
    T::COPY.is_enabled() && size_of::<T>() <= INLINE_MOST
}

impl Core {
    /// Writes `value` as an item and puts it.
    #[inline]
    pub(crate) fn send<T: Message>(&self, value: &T, until: Until, whole: bool) -> Result<(), QueueError> {
        if const { is_bytes::<T>() } && !whole {
            // SAFETY: `COPY` says that the value's bytes are those of its archived form: they are all initialised.
            let bytes = unsafe { std::slice::from_raw_parts(ptr::from_ref(value).cast::<u8>(), size_of::<T>()) };
            return self.send_bytes(bytes, until);
        }
        self.send_parts(value, until, whole)
    }

    fn send_parts<T: Message>(&self, value: &T, until: Until, whole: bool) -> Result<(), QueueError> {
        self.handle.check()?;
        if size_of::<T>() >= LONG {
            self.await_room(until)?;
        }
        with_parcel(self.arena(), value, whole, |parcel| self.put(parcel, until))
    }

    /// Takes the oldest item and makes a value of it.
    #[inline]
    pub(crate) fn receive<T: Message>(&self, until: Until) -> Result<T, QueueError> {
        if const { is_bytes::<T>() } {
            let mut value = MaybeUninit::<T>::uninit();
            // SAFETY: the memory is the value's own.
            unsafe { self.receive_bytes(value.as_mut_ptr().cast(), size_of::<T>(), until)? };
            // SAFETY: all of its bytes were written, and are those that `send` has taken from a value of this type.
            return Ok(unsafe { value.assume_init() });
        }
        self.receive_parts(until)
    }

    fn receive_parts<T: Message>(&self, until: Until) -> Result<T, QueueError> {
        let mut buffer = Buffer::new();
        match self.take(buffer.tray(), until)? {
            // SAFETY: a whole item, in one piece, which an encoder of this build wrote; the buffer is aligned as its root is.
            Item::Inline => Ok(unsafe { message::decode(buffer.as_ptr()) }?),
            // SAFETY: as above, with the root at the start of the block, which lives on until the value is made.
            Item::Block(block) => Ok(unsafe { message::decode(block.as_ptr()) }?),
        }
    }

    /// Takes the oldest item, to be read where it lies.
    pub(crate) fn view<T: Message>(&self, until: Until) -> Result<View<T>, QueueError> {
        let mut buffer = Box::new(Buffer::new());
        match self.take(buffer.tray(), until)? {
            // SAFETY: as in `receive`; what is boxed does not move.
            Item::Inline => Ok(unsafe { View::copy(buffer.as_ptr(), buffer) }),
            // SAFETY: as in `receive`.
            Item::Block(block) => Ok(unsafe { View::block(self.arena(), block.as_ptr(), block) }),
        }
    }
}
