//! Where everything lies that a pool and its workers share.
//!
//! Two kinds of block. The *control* block of a pool holds its state, a seat for each worker and the ring of published jobs:
//!
//! ```text
//! Control | Seat x MAX_SEATS | ring: AtomicU64 x RING | Lanes
//! ```
//!
//! A *job* block holds one window of a batch, or one submitted call:
//!
//! ```text
//! JobHeader | word x chunks | [skip bit x items] | input slot x items | output slot x items [or chunks] | [ItemRecord x items]
//! ```
//!
//! # Invariants
//!
//! - Both are owned by the pool's process and freed by it alone: a control block after its last worker is gone and audited,
//!   a job block after no seat names it any more (`Seat::job` is a hazard pointer; see `ring.rs`).
//! - All fields are atomics, or are written before the block's id is published and never after. All bit patterns are valid.
//! - Input slots are written before publication; output slot `i` only by the process that holds the claim of `i`'s chunk,
//!   and read by the pool only after that chunk's word says done.
//! - Offsets in a header are checked against the block's capacity each time a view is made.
#![allow(unsafe_code)]

mod control;
mod fault;
mod job;
mod lanes;
mod record;
mod told;

use std::mem::size_of;
use std::sync::atomic::{AtomicU32, AtomicU64};

pub(super) use control::{ControlView, HookWords, MAX_SEATS, NEWS, RING, Seat, control_of, new_control, orders, state};
pub(super) use fault::{Fault, faults, push_fault};
pub(super) use job::{JobShape, JobTerms, JobView, NO_INDEX, attention, attention_of, new_job, shorten_job, want};
pub(super) use lanes::{KINDS, LANES, Lane, Lanes};
pub(super) use record::{ItemRecord, outcome, recording};
pub(super) use told::{LastNote, NotTold, Told, newest, push_last, push_note, push_value, read_value, told};

use crate::arena::{Arena, ArenaError, Block};

/// A value on cache lines of its own.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub(in crate::pool) struct Line<T>(pub(in crate::pool) T);

/// The futex word at `pos`, if that lies in the arena.
pub(super) fn word_at(arena: &Arena, pos: u64) -> Option<&AtomicU32> {
    let at = arena.at(pos, size_of::<AtomicU32>())?;
    // SAFETY: inside the mapping (just checked), which is never unmapped while the arena lives; an atomic is valid for any
    // bytes. Alignment is checked.
    at.cast::<AtomicU32>().is_aligned().then(|| unsafe { at.cast::<AtomicU32>().as_ref() })
}

/// What the jobs of one batch share: a block of its own.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct BatchBlock {
    /// The caller's doorbell.
    pub(super) bell: AtomicU32,
    /// Failed items that workers have counted. A worker that is killed may have counted one less.
    pub(super) failures: AtomicU64,
}

/// Allocates what the jobs of one batch share.
pub(super) fn new_batch(arena: &'static Arena) -> Result<Block, ArenaError> {
    arena.alloc_zeroed(size_of::<BatchBlock>())
}

/// What a block made by [`new_batch`] holds.
pub(super) fn batch_of(block: &Block) -> &BatchBlock {
    assert!(block.capacity() >= size_of::<BatchBlock>());
    // SAFETY: blocks are aligned to 64 bytes and live as long as their handle; this one is large enough (just checked), and atomics are
    // valid for any bytes.
    unsafe { &*block.as_ptr().cast::<BatchBlock>() }
}

/// What the jobs of the batch share whose doorbell lies at `pos`.
pub(super) fn batch_at(arena: &Arena, pos: u64) -> Option<&BatchBlock> {
    let at = arena.at(pos, size_of::<BatchBlock>())?.cast::<BatchBlock>();
    if !at.is_aligned() {
        return None;
    }
    // SAFETY: inside the mapping and aligned (just checked), which is never unmapped while the arena lives; atomics are valid for any
    // bytes.
    Some(unsafe { at.as_ref() })
}
