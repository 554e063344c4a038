//! Queues in the arenas of a stage, for the single-step killer.
#![allow(missing_docs, clippy::missing_errors_doc)]

use std::marker::PhantomData;

use super::core::{Core, Until};
use super::put::Parcel;
use super::write::with_parcel;
use super::{JoinableQueue, Queue, QueueError};
use crate::message::Message;
use crate::object::{Handle, Role};
use crate::pipe::{Receiver, Sender};
use crate::testing::Arena;

/// Something that several members of a stage have.
pub trait OnStage: Sized {
    /// The same thing as another member has it.
    fn open(&self, member: Arena) -> Self;
}

macro_rules! on_stage {
    ($($type:ident $role:ident;)*) => {$(
        impl<T: Message> OnStage for $type<T> {
            #[allow(clippy::expect_used, reason = "for tests")]
            fn open(&self, member: Arena) -> Self {
                let handle = Handle::open(member.inner(), self.handle().id(), Role::$role).expect("a live object");
                $type::of(handle)
            }
        }
    )*};
}

on_stage! { Queue Plain; JoinableQueue Plain; Sender Sender; Receiver Receiver; }

impl<T: Message> Queue<T> {
    fn handle(&self) -> &Handle<super::QueueKind> {
        &self.handle
    }

    fn of(handle: Handle<super::QueueKind>) -> Self {
        Queue { handle, items: PhantomData }
    }
}

impl<T: Message> JoinableQueue<T> {
    fn handle(&self) -> &Handle<super::QueueKind> {
        &self.core().handle
    }
}

pub fn queue<T: Message>(arena: Arena, capacity: u32) -> Result<Queue<T>, QueueError> {
    Ok(Queue::of(Core::create_in(arena.inner(), capacity, false, Role::Plain)?.into_handle()))
}

pub fn joinable<T: Message>(arena: Arena, capacity: u32) -> Result<JoinableQueue<T>, QueueError> {
    Ok(JoinableQueue::of(Core::create_in(arena.inner(), capacity, true, Role::Plain)?.into_handle()))
}

/// A pipe: the sender in the hands of one member, the receiver in those of another.
pub fn pipe<T: Message>(to: Arena, from: Arena) -> Result<(Sender<T>, Receiver<T>), QueueError> {
    let tx = Sender::of(Core::create_in(from.inner(), 0, false, Role::Sender)?.into_handle());
    let rx = Handle::open(to.inner(), tx.handle().id(), Role::Receiver);
    match rx {
        Ok(rx) => Ok((tx, Receiver::of(rx))),
        Err(_) => Err(QueueError::Closed),
    }
}

/// An item in a block of its own, to be put.
#[derive(Debug)]
pub struct Prepared(Parcel<'static>);

impl<T: Message> Queue<T> {
    /// Writes an item of at least a few kilobytes; the copying of its bytes is nothing that a kill could tear.
    pub fn prepare(&self, item: &T) -> Result<Prepared, QueueError> {
        with_parcel(self.core().arena(), item, true, |parcel| match std::mem::replace(parcel, Parcel::Gone) {
            Parcel::Block(block) => Ok(Prepared(Parcel::Block(block))),
            Parcel::Inline(_) | Parcel::Gone => Err(QueueError::Empty),
        })
    }

    pub fn put_prepared(&self, mut item: Prepared) -> Result<(), QueueError> {
        self.core().put(&mut item.0, Until::Ever)
    }
}

/// What rows need to bring a queue into a state.
impl<T: Message> Queue<T> {
    /// How many bytes of records still go into the newest segment.
    pub fn testing_room(&self) -> u64 {
        self.core().ring().map_or(0, |ring| ring.room())
    }

    /// How many segments are blocks.
    pub fn segments(&self) -> usize {
        self.core().ring().map_or(0, |ring| ring.contents().0.len())
    }

    /// Whether the oldest segment is a block, and has no more items.
    pub fn is_to_leave_block(&self) -> bool {
        self.core().ring().is_ok_and(|ring| ring.is_to_leave_block())
    }
}

impl super::ring::Ring<'_> {
    fn room(&self) -> u64 {
        let side = self.lock_put().ok();
        side.and_then(|side| side.place()).map_or(0, |place| place.segment.len() - place.at)
    }

    fn is_to_leave_block(&self) -> bool {
        let Ok(side) = self.lock_get() else { return false };
        let in_block = side.side.segment.load(std::sync::atomic::Ordering::Relaxed) != 0;
        in_block && side.place().is_some_and(|place| place.head.what == super::records::What::Link)
    }
}
