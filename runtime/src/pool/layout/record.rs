//! What a worker writes down of an item, where a batch asks for it: see `record.rs` of the pool.

use std::sync::atomic::{AtomicU32, AtomicU64};

/// The record of one item, on a line of its own. Written by the worker that holds the item's chunk, `bytes_in` by the caller before
/// the job is published. All zero: nothing was written.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub(in crate::pool) struct ItemRecord {
    /// Nanoseconds of the monotonic clock when the item began, at its last try; 0: it did not, or nobody looked at the clock.
    pub(in crate::pool) began: AtomicU64,
    /// The same for its end. Written after all else but `outcome`.
    pub(in crate::pool) ended: AtomicU64,
    /// Nanoseconds of CPU time that the worker used meanwhile, all its threads together.
    pub(in crate::pool) cpu: AtomicU64,
    /// In KiB: the worker's peak so far; and above it, in the upper half, by how much this item raised it.
    pub(in crate::pool) rss: AtomicU64,
    pub(in crate::pool) bytes_in: AtomicU64,
    pub(in crate::pool) bytes_out: AtomicU64,
    /// The worker's process; and in the upper half its seat.
    pub(in crate::pool) worker: AtomicU64,
    /// See [`outcome`].
    pub(in crate::pool) outcome: AtomicU32,
}

/// Values of [`ItemRecord::outcome`].
pub(in crate::pool) mod outcome {
    /// The task returned a value.
    pub(in crate::pool) const VALUE: u32 = 1;
    /// The task returned an `Err`; or, in a flow, the item ended its way.
    pub(in crate::pool) const REFUSED: u32 = 2;
    /// There is no value: see the fault record.
    pub(in crate::pool) const FAULT: u32 = 3;
}

/// Values of the job header's `recording`.
pub(in crate::pool) mod recording {
    /// No records.
    pub(in crate::pool) const NOTHING: u32 = 0;
    /// Only how each item ended.
    pub(in crate::pool) const OUTCOMES: u32 = 1;
    /// That, by whom it was run, and when.
    pub(in crate::pool) const TIMES: u32 = 2;
    /// All of it.
    pub(in crate::pool) const ALL: u32 = 3;
}
