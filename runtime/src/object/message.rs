//! Handles in messages: three numbers, and a reference that lives as long as the message.
#![allow(unsafe_code)]

use std::any::Any;
use std::sync::Arc;

use rkyv::munge::munge;
use rkyv::rend::{u32_le, u64_le};
use rkyv::{Place, Portable};

use super::handle::{Handle, name_of};
use super::kind::Kind;
use crate::arena::refs::NoRef;
use crate::arena::{self, BlockId, Role};
use crate::message::{DecodeError, Decoder, EncodeError, Encoder, InPlace, Message, Pin};

/// A handle to an object in shared memory as it lies in a message.
///
/// There is nothing to be done with it where it lies: take the message by value to use the handle.
#[derive(Debug, Portable, rkyv::bytecheck::CheckBytes)]
#[bytecheck(crate = rkyv::bytecheck)]
#[repr(C)]
pub struct ArchivedHandle {
    /// The family.
    arena: u64_le,
    object: u64_le,
    kind: u32_le,
    role: u32_le,
}

impl InPlace for ArchivedHandle {}

impl<K: Kind> Handle<K> {
    fn write(&self, out: Place<ArchivedHandle>) {
        munge!(let ArchivedHandle { arena, object, kind, role } = out);
        arena.write(u64_le::from_native(self.arena().id()));
        object.write(u64_le::from_native(self.id().raw()));
        kind.write(u32_le::from_native(K::CODE));
        role.write(u32_le::from_native(self.role() as u32));
    }

    fn decode(archived: &ArchivedHandle) -> Result<Handle<K>, DecodeError> {
        let arena = arena::family().map_err(|error| DecodeError::new(error.to_string()))?;
        if archived.arena.to_native() != arena.id() {
            return Err(DecodeError::new(format!("it holds a handle to {} of another family of processes", K::NAME)));
        }
        let (id, role) = (BlockId::from_raw(archived.object.to_native()), Role::from_raw(archived.role.to_native()));
        let (Some(id), Some(role)) = (id, role) else {
            return Err(DecodeError::new(format!("it holds no handle in the place of one to {}", K::NAME)));
        };
        Handle::open(arena, id, role).map_err(|why| match why {
            NoRef::Gone => DecodeError::new(format!("it has outlived {}, to which it holds a handle", K::NAME)),
            NoRef::Kind(code) => {
                DecodeError::new(format!("it holds a handle to {} in the place of one to {}", name_of(code), K::NAME))
            }
            NoRef::Arena(error) => {
                DecodeError::new(format!("it holds a handle to {} that cannot be had: {error}", K::NAME))
            }
        })
    }
}

// SAFETY: the archived form is numbers, all of which are written; any numbers are valid, and are checked before they are used.
unsafe impl<K: Kind> Message for Handle<K> {
    type Archived = ArchivedHandle;
    type Resolver = ();

    fn write_parts(this: &Self, encoder: &mut Encoder) -> Result<(), EncodeError> {
        this.check().map_err(|error| EncodeError::new(error.kind(), error.to_string()))?;
        let keep: Arc<dyn Any + Send + Sync> = this.keep();
        encoder.pin(&Pin::new(this.arena().id(), this.id().raw(), this.role() as u32, keep))
    }

    fn write_root(this: &Self, (): (), out: Place<ArchivedHandle>) {
        this.write(out);
    }

    fn read(archived: &ArchivedHandle, _: &mut Decoder) -> Result<Self, DecodeError> {
        Handle::decode(archived)
    }
}

/// Makes a type that wraps a [`Handle`] a message: `message_by_handle!([T: Message] Queue<T>, handle, Queue::from_handle)`.
/// `handle` is its field, and the function makes the type of a handle.
macro_rules! message_by_handle {
    ([$($generics:tt)*] $type:ty, $field:ident, $from:expr) => {
        // SAFETY: as the handle, which is all that is written.
        unsafe impl<$($generics)*> $crate::message::Message for $type {
            type Archived = $crate::object::ArchivedHandle;
            type Resolver = ();

            fn write_parts(
                this: &Self,
                encoder: &mut $crate::message::Encoder,
            ) -> Result<(), $crate::message::EncodeError> {
                $crate::message::Message::write_parts(&this.$field, encoder)
            }

            fn write_root(this: &Self, (): (), out: rkyv::Place<Self::Archived>) {
                $crate::message::Message::write_root(&this.$field, (), out);
            }

            fn read(
                archived: &Self::Archived,
                decoder: &mut $crate::message::Decoder,
            ) -> Result<Self, $crate::message::DecodeError> {
                $crate::message::Message::read(archived, decoder).map($from)
            }
        }
    };
}
pub(crate) use message_by_handle;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::{Event, EventKind, OnceKind};

    fn archived(of: &Handle<EventKind>) -> ArchivedHandle {
        ArchivedHandle {
            arena: u64_le::from_native(of.arena().id()),
            object: u64_le::from_native(of.id().raw()),
            kind: u32_le::from_native(EventKind::CODE),
            role: u32_le::from_native(of.role() as u32),
        }
    }

    fn refusal(archived: &ArchivedHandle) -> String {
        Handle::<EventKind>::decode(archived).unwrap_err().to_string()
    }

    #[test]
    fn handles_of_other_families_of_what_is_gone_and_of_nothing_are_refused_in_words() {
        let arena = arena::family().unwrap();
        let event: Handle<EventKind> = Handle::create_in(arena, 0, Role::Plain, |_| ()).unwrap();
        let good = archived(&event);
        assert_eq!(Handle::<EventKind>::decode(&good).unwrap(), event);

        let foreign = ArchivedHandle { arena: u64_le::from_native(arena.id() ^ 1), ..archived(&event) };
        assert!(
            refusal(&foreign).contains("a handle to an event of another family of processes"),
            "{}",
            refusal(&foreign)
        );
        for (object, role) in [(0, 0), (event.id().raw(), 77)] {
            let (object, role) = (u64_le::from_native(object), u32_le::from_native(role));
            let nonsense = ArchivedHandle { object, role, ..archived(&event) };
            assert!(refusal(&nonsense).contains("no handle in the place of one to an event"), "{}", refusal(&nonsense));
        }
        let once: Handle<OnceKind> = Handle::create_in(arena, 0, Role::Plain, |_| ()).unwrap();
        let of_another_kind = ArchivedHandle { object: u64_le::from_native(once.id().raw()), ..archived(&event) };
        let why = refusal(&of_another_kind);
        assert!(why.contains(&format!("a handle to {} in the place of one to an event", OnceKind::NAME)), "{why}");

        drop(event);
        assert!(refusal(&good).contains("it has outlived an event, to which it holds a handle"), "{}", refusal(&good));
        // The memory is somebody else's now: it is not taken for the event.
        let _new = Event::new().unwrap();
        assert!(Handle::<EventKind>::decode(&good).is_err());
    }
}
