//! The control block: a pool's state, seats and ring.

use std::mem::{align_of, size_of};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::Line;
use crate::arena::{Arena, ArenaError, Block};

/// Most workers of one pool: the family's process slots.
pub(in crate::pool) const MAX_SEATS: usize = 1024;
/// Jobs that can be in the ring at once; more wait in the pool's private memory. 8 bytes of address space each.
pub(in crate::pool) const RING: usize = 1 << 16;

/// Values of [`Control::state`].
pub(in crate::pool) mod state {
    /// Workers take jobs and sleep when there are none.
    pub(in crate::pool) const RUN: u32 = 0;
    /// Workers end as soon as they find no job.
    pub(in crate::pool) const DRAIN: u32 = 1;
}

/// The head of a control block.
#[repr(C, align(64))]
#[derive(Debug)]
pub(in crate::pool) struct Control {
    /// See [`state`].
    pub(in crate::pool) state: AtomicU32,
    /// How many seats follow.
    pub(in crate::pool) seats: AtomicU32,
    /// The task that makes the workers' state plus 1, or 0; and where its input slot lies in the arena.
    pub(in crate::pool) state_task: AtomicU32,
    pub(in crate::pool) state_input: AtomicU64,
    /// Rung when a chunk of a watched job is done; see `watch.rs`.
    pub(in crate::pool) watch_bell: AtomicU32,
    /// Nonzero: jobs wait for room in the ring, so ring the bell above when an entry is passed.
    pub(in crate::pool) room_bell: AtomicU32,
    /// Sequence number of the oldest job that may have work. A hint: it only ever skips entries that have none.
    pub(in crate::pool) head: Line<AtomicU64>,
    /// Sequence number that the next published job gets. Written by the pool's process under its private lock.
    pub(in crate::pool) tail: Line<AtomicU64>,
    /// One bit a seat: its worker sleeps, or is about to.
    pub(in crate::pool) idle: Line<[AtomicU64; MAX_SEATS / 64]>,
}

/// What one worker says of itself, for the pool's audit after its death. Written by the worker alone, on lines of its own.
#[repr(C, align(64))]
#[derive(Debug)]
pub(in crate::pool) struct Seat {
    /// The process that sits here, as [`Owner`](crate::arena::Owner); 0: nobody.
    pub(in crate::pool) owner: AtomicU32,
    /// The futex word this worker sleeps on.
    pub(in crate::pool) bell: AtomicU32,
    /// The job block in use; stored before the job is touched, cleared after.
    pub(in crate::pool) job: AtomicU64,
    /// The chunk claimed, or about to be.
    pub(in crate::pool) chunk: AtomicU64,
    /// `i << 1 | 1`: item `i` of the chunk is running; `i << 1`: those before `i` are done and none is running.
    pub(in crate::pool) progress: AtomicU64,
    /// 1 once the worker is set up and looks for work.
    pub(in crate::pool) ready: AtomicU32,
    /// How often the worker went to sleep in the kernel.
    pub(in crate::pool) sleeps: AtomicU32,
    /// Chunks claimed.
    pub(in crate::pool) claims: AtomicU64,
    /// Items finished.
    pub(in crate::pool) items: AtomicU64,
}

const _: () = {
    assert!(size_of::<Seat>() == 64);
    assert!(size_of::<Control>().is_multiple_of(64) && align_of::<Control>() == 64);
};

/// A control block as its processes see it.
#[derive(Debug, Clone, Copy)]
pub(in crate::pool) struct ControlView<'a> {
    pub(in crate::pool) control: &'a Control,
    pub(in crate::pool) seats: &'a [Seat],
    pub(in crate::pool) ring: &'a [AtomicU64],
}

fn control_layout(seats: usize) -> (usize, usize, usize) {
    let seats_at = size_of::<Control>();
    let ring_at = seats_at + seats * size_of::<Seat>();
    (seats_at, ring_at, ring_at + RING * size_of::<AtomicU64>())
}

/// The pool's own view of its control block.
pub(in crate::pool) fn control_of(block: &Block, seats: usize) -> ControlView<'_> {
    let (seats_at, ring_at, end) = control_layout(seats);
    assert!(end <= block.capacity(), "a pool's size was changed after it was made");
    let base = block.as_ptr();
    // SAFETY: the block is alive and large enough for this many seats (just checked); `new_control` zeroed it, and a zero
    // is valid for all of it; all fields are atomics.
    unsafe {
        ControlView {
            control: &*base.cast::<Control>(),
            seats: std::slice::from_raw_parts(base.add(seats_at).cast::<Seat>(), seats),
            ring: std::slice::from_raw_parts(base.add(ring_at).cast::<AtomicU64>(), RING),
        }
    }
}

/// Allocates a control block with `seats` vacant seats.
pub(in crate::pool) fn new_control(arena: &'static Arena, seats: usize) -> Result<Block, ArenaError> {
    let block = arena.alloc_zeroed(control_layout(seats).2)?;
    // SAFETY: the block is at least this large, 64-byte aligned and zeroed, which is a valid `Control`; nobody else has its id.
    let control = unsafe { &*block.as_ptr().cast::<Control>() };
    control.seats.store(seats as u32, Ordering::Release);
    Ok(block)
}

impl<'a> ControlView<'a> {
    /// A view of the control block at `base`.
    ///
    /// # Safety
    ///
    /// `base` is the start of a block of `capacity` bytes made by [`new_control`], which lives for `'a`.
    pub(in crate::pool) unsafe fn new(base: NonNull<u8>, capacity: usize) -> Option<Self> {
        if capacity < size_of::<Control>() {
            return None;
        }
        // SAFETY: blocks are 64-byte aligned, this one is large enough (just checked) and lives for 'a (contract); all
        // fields are atomics, so sharing it with other processes is no data race.
        let control = unsafe { base.cast::<Control>().as_ref() };
        let seats = control.seats.load(Ordering::Acquire) as usize;
        let (seats_at, ring_at, end) = control_layout(seats);
        if seats > MAX_SEATS || end > capacity {
            return None;
        }
        // SAFETY: as above; both arrays lie inside the block (just checked), at multiples of 64 from its aligned start.
        unsafe {
            Some(Self {
                control,
                seats: std::slice::from_raw_parts(base.add(seats_at).cast::<Seat>().as_ptr(), seats),
                ring: std::slice::from_raw_parts(base.add(ring_at).cast::<AtomicU64>().as_ptr(), RING),
            })
        }
    }
}
