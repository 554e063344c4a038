//! The kernels of the locks: protocols over a few words in shared memory, without anything around them.
//!
//! A thread is named by a number that is not 0 and has bit 31 clear (`ThreadId::raw`). Nothing is kept that names a sleeper
//! who must be told: a waker wakes whoever sleeps on a word, and whoever was woken looks again. So a kill of a waiter costs
//! nobody anything but the wake it consumed, and the audit of a dead process wakes all sleepers of the objects it had.
//!
//! `README.md` beside this folder says for each what a kill between any two stores leaves behind.

mod barrier;
mod condition;
mod event;
mod mutex;
mod rwlock;
mod semaphore;

pub(crate) use barrier::{Meeting, RawBarrier};
pub(crate) use condition::RawCondition;
pub(crate) use event::RawEvent;
pub(crate) use mutex::RawMutex;
pub(crate) use rwlock::{NoEntry, RawRwLock};
pub(crate) use semaphore::{MOST, RawSemaphore};

use crate::sync::prim::AtomicU32;

/// Why a lock was not got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotGot {
    /// The deadline passed.
    Timeout,
    /// The calling thread has it already: it would wait for itself.
    Mine,
}

/// A lock under which several words change together, for the kernels that need one: the object's, with its redo record. A kill leaves
/// all of a change or nothing, once the lock was taken over.
pub(crate) trait Place {
    type Error;
    type Locked<'a>
    where
        Self: 'a;
    /// A word, and what it is to be.
    type Set: Copy;

    fn lock(&self) -> Result<Self::Locked<'_>, Self::Error>;

    fn set(word: &AtomicU32, value: u32) -> Self::Set;

    /// Stores all, in this order.
    fn store(locked: &Self::Locked<'_>, sets: &[Self::Set]);
}
