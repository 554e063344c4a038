//! The kernels of `offspring`'s locks, the bell of its queues, the redo journal, and how shared data is read, compiled with
//! loom's atomics, and models of them: loom runs each with every order of steps that two or three threads can take, up to a
//! number of preemptions.
//!
//! Deaths are played: a thread stops where it stands, and another does what the audit of a dead process does. That a
//! process may die between any two instructions is the single-step killer's part.
#![cfg(all(loom, test))]

pub(crate) mod arena;
pub(crate) mod queue;
pub(crate) mod shared;
pub(crate) mod sync;

pub(crate) mod sys {
    pub(crate) mod futex {
        pub(crate) use crate::sync::prim::{wait, wake, wake_all};
    }
}

mod barrier;
mod bell;
mod condition;
mod event;
mod journal;
mod mutex;
mod place;
mod reading;
mod rwlock;
mod semaphore;
