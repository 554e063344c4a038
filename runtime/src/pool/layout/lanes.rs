//! Lanes: where jobs stand that are not first come, first served. See `admission.rs`.

use std::sync::atomic::{AtomicU32, AtomicU64};

use super::MAX_SEATS;
use crate::sync::OwnerLock;

/// Jobs that can stand in lanes at once; more wait in the pool's private memory.
pub(in crate::pool) const LANES: usize = 64;
/// Kinds of named tokens of one pool.
pub(in crate::pool) const KINDS: usize = 8;

/// The lanes of a pool. All zero is a valid beginning.
#[repr(C, align(64))]
#[derive(Debug)]
pub(in crate::pool) struct Lanes {
    /// Nonzero: there may be jobs in lanes. Written by the pool's process.
    pub(in crate::pool) used: AtomicU32,
    /// A worker sleeps that found no job it may begin: see `admission.rs`.
    pub(in crate::pool) waiting: AtomicU32,
    /// Held while a worker looks for a job that it may begin.
    pub(in crate::pool) lock: OwnerLock,
    /// How many tokens there are of each kind. Before the first worker starts.
    pub(in crate::pool) tokens: [AtomicU32; KINDS],
    /// Bytes that running tasks may have declared together.
    pub(in crate::pool) memory: AtomicU64,
    /// Bytes of memory that are to stay free.
    pub(in crate::pool) keep_free: AtomicU64,
    pub(in crate::pool) lanes: [Lane; LANES],
    pub(in crate::pool) grants: [Grant; MAX_SEATS],
}

/// A place for a job.
#[repr(C, align(64))]
#[derive(Debug)]
pub(in crate::pool) struct Lane {
    /// The entry's number, or 0: vacant, or its job has no free chunk. Written last by the pool's process, cleared by whoever passes it.
    pub(in crate::pool) entry: AtomicU64,
    pub(in crate::pool) job: AtomicU64,
    /// Lower is first.
    pub(in crate::pool) rank: AtomicU64,
    /// Places among those that run at once.
    pub(in crate::pool) slots: AtomicU32,
    pub(in crate::pool) tokens: [AtomicU32; KINDS],
    pub(in crate::pool) memory: AtomicU64,
}

/// What the worker of a seat has for the chunk that it runs. Written by that worker under the lock, and cleared by it or by the audit.
#[repr(C, align(64))]
#[derive(Debug)]
pub(in crate::pool) struct Grant {
    pub(in crate::pool) tokens: [AtomicU32; KINDS],
    pub(in crate::pool) memory: AtomicU64,
}
