//! Locks in the arenas of a stage, for the single-step killer.
#![allow(missing_docs, clippy::missing_errors_doc)]

use super::{Barrier, BoundedSemaphore, Condvar, Event, Mutex, Once, ReentrantMutex, RwLock, Semaphore, SyncError};
use crate::Plain;
use crate::object::{Handle, Role};
use crate::testing::Arena;

/// A lock that several members of a stage have.
pub trait OnStage: Sized {
    /// The same lock as another member has it.
    fn open(&self, member: Arena) -> Self;
}

macro_rules! on_stage {
    ($([$($generics:tt)*] $type:ty: $handle:ident => $make:expr;)*) => {$(
        impl<$($generics)*> OnStage for $type {
            #[allow(clippy::expect_used, reason = "for tests")]
            fn open(&self, member: Arena) -> Self {
                let $handle = Handle::open(member.inner(), self.handle.id(), Role::Plain).expect("a live object");
                $make
            }
        }
    )*};
}

on_stage! {
    [T: Plain] Mutex<T>: handle => Mutex::from_handle(handle).expect("one of this type");
    [T: Plain] RwLock<T>: handle => RwLock::from_handle(handle).expect("one of this type");
    [] ReentrantMutex: handle => ReentrantMutex { handle };
    [] Condvar: handle => Condvar { handle };
    [] Semaphore: handle => Semaphore { handle };
    [] Event: handle => Event { handle };
    [] Barrier: handle => Barrier { handle };
    [] Once: handle => Once { handle };
}

pub fn mutex<T: Plain>(arena: Arena, value: T) -> Result<Mutex<T>, SyncError> {
    Mutex::in_arena(arena.inner(), value)
}

pub fn rwlock<T: Plain>(arena: Arena, value: T) -> Result<RwLock<T>, SyncError> {
    RwLock::in_arena(arena.inner(), value)
}

pub fn semaphore(arena: Arena, permits: usize) -> Result<Semaphore, SyncError> {
    Semaphore::in_arena(arena.inner(), permits, false)
}

pub fn bounded_semaphore(arena: Arena, permits: usize) -> Result<BoundedSemaphore, SyncError> {
    BoundedSemaphore::in_arena(arena.inner(), permits)
}

pub fn barrier(arena: Arena, parties: usize) -> Result<Barrier, SyncError> {
    Barrier::in_arena(arena.inner(), parties)
}

pub fn reentrant(arena: Arena) -> Result<ReentrantMutex, SyncError> {
    ReentrantMutex::in_arena(arena.inner())
}

pub fn condvar(arena: Arena) -> Result<Condvar, SyncError> {
    Condvar::in_arena(arena.inner())
}

pub fn event(arena: Arena) -> Result<Event, SyncError> {
    Event::in_arena(arena.inner())
}

pub fn once(arena: Arena) -> Result<Once, SyncError> {
    Once::in_arena(arena.inner())
}
