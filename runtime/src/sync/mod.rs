//! Locks and their friends in shared memory, for all processes and threads of a family.
//!
//! All of them are handles: small values whose clones are the same thing, in this process and in every other one. They are
//! [messages](crate::Message), so they can be arguments and results of tasks, fields of messages, items of queues; guards and
//! permits are not. What they are lives as long as any handle or any message that holds one.
//!
//! | | |
//! | --- | --- |
//! | [`Mutex`], [`RwLock`] | one at a time, or one writer and many readers, around a [`Plain`](crate::Plain) value |
//! | [`ReentrantMutex`] | one thread at a time, which may lock it again |
//! | [`Condvar`] | wait under a mutex until somebody has changed what it guards |
//! | [`Semaphore`], [`BoundedSemaphore`] | so many at a time |
//! | [`Event`] | a flag to wait for |
//! | [`Barrier`] | wait for each other |
//! | [`Once`] | done once in a family |
//!
//! A process may be killed while it holds or waits for any of them: no survivor waits for ever, and each says what becomes
//! of it. Nothing here uses timers or CPU while it waits. Signals neither shorten nor end a wait.
mod barrier;
mod common;
mod condvar;
mod error;
mod event;
pub(crate) mod mutants;
mod mutex;
mod once;
pub(crate) mod owner_lock;
pub(crate) mod permits;
pub(crate) mod prim;
pub(crate) mod raw;
mod reentrant;
mod rwlock;
mod semaphore;
#[cfg(feature = "testing")]
pub(crate) mod testing;
pub(crate) mod wait;

pub use barrier::{Barrier, BarrierWaitResult};
pub use condvar::{Condvar, WaitTimeoutResult};
pub use error::SyncError;
pub use event::Event;
pub use mutex::{Mutex, MutexGuard};
pub use once::Once;
pub use reentrant::{ReentrantMutex, ReentrantMutexGuard};
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use semaphore::{BoundedSemaphore, Permit, Semaphore};

pub(crate) use barrier::BarrierKind;
pub(crate) use condvar::CondvarKind;
pub(crate) use event::EventKind;
pub(crate) use mutex::MutexKind;
pub(crate) use once::OnceKind;
pub(crate) use owner_lock::OwnerLock;
pub(crate) use reentrant::ReentrantKind;
pub(crate) use rwlock::RwLockKind;
pub(crate) use semaphore::SemaphoreKind;
