//! What of a queue lies in shared memory; `README.md` says who may write which word, and when.

use std::sync::atomic::{AtomicU32, AtomicU64};

use super::bell::Bell;
use crate::sync::OwnerLock;

/// The fixed part of a queue. All zero is an empty, open, unbounded queue.
#[repr(C)]
pub(crate) struct Shared {
    pub(super) calm: Calm,
    pub(super) put: Put,
    pub(super) get: Get,
    pub(super) jobs: Jobs,
}

/// Read by everybody, written when somebody sleeps or at the end.
#[repr(C, align(64))]
pub(super) struct Calm {
    /// How many items may wait; 0: any number. Never changed.
    pub(super) capacity: AtomicU32,
    /// See [`CLOSED`] and [`JOINABLE`].
    pub(super) flags: AtomicU32,
    /// Rung when there is something to take, or nothing any more.
    pub(super) items: Bell,
    /// Rung when there is room.
    pub(super) space: Bell,
    /// Rung when no item is waiting or being worked on.
    pub(super) idle: Bell,
    /// How often a job may be handed out; 0: any number of times. Never changed.
    pub(super) most_tries: AtomicU32,
}

/// No puts any more. Set under the put lock.
pub(super) const CLOSED: u32 = 1;
/// Items that were taken are remembered until they are done. Never changed.
pub(super) const JOINABLE: u32 = 2;

/// Changed under `lock` only.
#[repr(C, align(64))]
pub(super) struct Put {
    pub(super) lock: OwnerLock,
    /// What [`Redo`] says that this side is doing.
    pub(super) op: AtomicU32,
    /// The newest segment: a block's id, 0 for the one in the queue's own block.
    pub(super) segment: AtomicU64,
    /// Where in it the next record begins.
    pub(super) at: AtomicU64,
    /// How many items were put, as far as `at` says; for whoever wants to know without the lock.
    pub(super) count: AtomicU32,
    /// What `Get::count` was when it was last looked at.
    pub(super) seen: AtomicU32,
    pub(super) redo: Redo,
}

/// Changed under `lock` only.
#[repr(C, align(64))]
pub(super) struct Get {
    pub(super) lock: OwnerLock,
    pub(super) op: AtomicU32,
    /// The oldest segment.
    pub(super) segment: AtomicU64,
    /// Where in it the oldest record begins.
    pub(super) at: AtomicU64,
    /// How many items were taken, as far as `at` says.
    pub(super) count: AtomicU32,
    _spare: AtomicU32,
    pub(super) redo: Redo,
}

/// A change of several words under a lock; means something while the side's `op` is not 0.
#[repr(C, align(64))]
pub(super) struct Redo {
    /// The block that moves.
    pub(super) block: AtomicU64,
    /// The hold entry that it leaves or enters: whose, 32 bits, and which one.
    pub(super) entry: AtomicU64,
    /// The side's `segment` and `at`: to be, or as they were.
    pub(super) segment: AtomicU64,
    pub(super) at: AtomicU64,
    /// What changes: where in the segment a record begins, or where in the arena an entry of the jobs' table stands.
    pub(super) place: AtomicU64,
    /// The record's header to be, or how many jobs there will have been done.
    pub(super) word: AtomicU64,
}

/// Of joinable queues: what was taken and is not done. Changed under the get lock.
#[repr(C, align(64))]
pub(super) struct Jobs {
    /// The newest part of the table, 0 if there is none; each part names the one before.
    pub(super) table: AtomicU64,
    /// How many jobs were done.
    pub(super) done: AtomicU32,
    /// Whether there may be items that came back.
    pub(super) returned: AtomicU32,
}
