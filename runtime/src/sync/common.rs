//! What all of the locks have in common.

use std::marker::PhantomData;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use super::raw::Place;
use crate::arena::{Arena, ArenaError, Owner, ThreadId};
use crate::object::{Handle, Kind, Locked, Set};

/// When a wait of this length, begun now, is over; `None`: never, as no clock goes so far.
pub(super) fn deadline(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

/// Tells for a thread's number in a lock's word whether the audit of `dead` has to let go what it holds: it is one of that
/// process, or one that ended while it held the lock.
pub(super) fn is_of(arena: &'static Arena, dead: Owner) -> impl Fn(u32) -> bool + Copy {
    move |thread| {
        let owner = ThreadId::from_raw(thread).and_then(|id| arena.owner_of_thread(id));
        owner.is_none_or(|owner| owner == dead)
    }
}

impl<K: Kind> Place for Handle<K> {
    type Error = ArenaError;
    type Locked<'a> = Locked<'a, K>;
    type Set = Set;

    #[inline]
    fn lock(&self) -> Result<Locked<'_, K>, ArenaError> {
        Handle::lock(self)
    }

    #[inline]
    fn set(word: &AtomicU32, value: u32) -> Set {
        Set::narrow(word, value)
    }

    #[inline]
    fn store(locked: &Locked<'_, K>, sets: &[Set]) {
        locked.store(sets);
    }
}

/// Keeps a guard in the thread that made it, whose number is in the lock's word.
pub(super) type NotSend = PhantomData<*const ()>;

/// Who holds a lock, and whether that thread was panicking when it took it: one word, so that guards are small.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holder(u32);

const PANICKING: u32 = 1 << 31;

impl Holder {
    #[inline(always)]
    pub(super) fn new(me: u32) -> Holder {
        Holder(if std::thread::panicking() { me | PANICKING } else { me })
    }

    #[inline(always)]
    pub(super) fn id(self) -> u32 {
        self.0 & !PANICKING
    }

    /// Whether the thread began to panic since.
    #[inline(always)]
    pub(super) fn panics(self) -> bool {
        std::thread::panicking() && self.0 & PANICKING == 0
    }
}

/// Makes a type around a [`Handle`] and a type that its object has room for a message: as
/// `message_by_handle`, but `from_handle` may refuse.
macro_rules! message_of_value {
    ($type:ident) => {
        // SAFETY: as the handle, which is all that is written.
        unsafe impl<T: $crate::Plain> $crate::message::Message for $type<T> {
            type Archived = $crate::object::ArchivedHandle;
            type Resolver = ();

            fn write_parts(
                this: &Self,
                encoder: &mut $crate::message::Encoder,
            ) -> std::result::Result<(), $crate::message::EncodeError> {
                $crate::message::Message::write_parts(&this.handle, encoder)
            }

            fn write_root(this: &Self, (): (), out: rkyv::Place<Self::Archived>) {
                $crate::message::Message::write_root(&this.handle, (), out);
            }

            fn read(
                archived: &Self::Archived,
                decoder: &mut $crate::message::Decoder,
            ) -> std::result::Result<Self, $crate::message::DecodeError> {
                $type::from_handle($crate::message::Message::read(archived, decoder)?)
                    .ok_or_else(|| $crate::message::DecodeError::new("it holds a handle to a lock around another type"))
            }
        }
    };
}
pub(super) use message_of_value;
