//! The control block: a pool's state, seats and ring.

use std::mem::{align_of, size_of};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::{Lanes, Line};
use crate::arena::{Arena, ArenaError, Block, BlockId};

/// Most workers of one pool: the family's process slots.
pub(in crate::pool) const MAX_SEATS: usize = 1024;
/// Jobs that can be in the ring at once; more wait in the pool's private memory. 8 bytes of address space each.
pub(in crate::pool) const RING: usize = 1 << 16;

/// Numbers for watched jobs; beyond, some share one.
pub(in crate::pool) const NEWS: usize = 4096;

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
    /// How many of the seats were ever in use: those from here on are vacant.
    pub(in crate::pool) seats: AtomicU32,
    /// Workers in seats from here on leave; see `Pool::resize`.
    pub(in crate::pool) limit: AtomicU32,
    /// The task that makes the workers' state plus 1, or 0; and where its input slot lies in the arena.
    pub(in crate::pool) state_task: AtomicU32,
    pub(in crate::pool) state_input: AtomicU64,
    /// The same for what a worker runs first and last.
    pub(in crate::pool) initializer: HookWords,
    pub(in crate::pool) finalizer: HookWords,
    /// The block of the tree's permits to run; see `sync::permits`.
    pub(in crate::pool) permits: AtomicU64,
    /// What a worker is to look to; see `recycle.rs`.
    pub(in crate::pool) rules: RuleWords,
    /// How workers mark which item writes; zeros: they do not. See `seeing::output`.
    pub(in crate::pool) nonce: [AtomicU64; 2],
    /// Where workers find what to do with log records, or 0. See `seeing::records`.
    pub(in crate::pool) records: AtomicU64,
    /// Rung when there is something for the watching thread of the pool's process; see `watch.rs`.
    pub(in crate::pool) watch_bell: AtomicU32,
    /// Nonzero: jobs wait for room in the ring, so ring the bell above when an entry is passed.
    pub(in crate::pool) room_bell: AtomicU32,
    /// Sequence number of the oldest job that may have work. A hint: it only ever skips entries that have none.
    pub(in crate::pool) head: Line<AtomicU64>,
    /// Sequence number that the next published job gets. Written by the pool's process under its private lock.
    pub(in crate::pool) tail: Line<AtomicU64>,
    /// One bit a seat: its worker sleeps, or is about to.
    pub(in crate::pool) idle: Line<[AtomicU64; MAX_SEATS / 64]>,
    /// A bit is set when a chunk is done of a watched job with that number; see `watch.rs`.
    pub(in crate::pool) news: Line<[AtomicU64; NEWS / 64]>,
}

/// A task that each worker runs once.
#[repr(C)]
#[derive(Debug)]
pub(in crate::pool) struct HookWords {
    /// Its number plus 1, or 0.
    pub(in crate::pool) task: AtomicU32,
    /// Where its input slot lies in the arena.
    pub(in crate::pool) input: AtomicU64,
}

/// What workers look to by themselves. 0: not at all.
#[repr(C)]
#[derive(Debug)]
pub(in crate::pool) struct RuleWords {
    /// Most items of one worker.
    pub(in crate::pool) max_tasks: AtomicU64,
    /// Bytes of private memory above which a worker ends between two chunks.
    pub(in crate::pool) recycle_above: AtomicU64,
    /// Nanoseconds of CPU time of one chunk.
    pub(in crate::pool) cpu_time: AtomicU64,
    /// Nanoseconds after which an idle worker ends.
    pub(in crate::pool) idle_timeout: AtomicU64,
    /// 1: each worker stays on a CPU of its own.
    pub(in crate::pool) pin: AtomicU32,
    /// 1: panics are told with their backtrace.
    pub(in crate::pool) backtraces: AtomicU32,
}

/// Bits of [`Seat::orders`].
pub(in crate::pool) mod orders {
    /// End after the current chunk.
    pub(in crate::pool) const LEAVE: u32 = 1;
    /// Leave the job after the current chunk, and look for the first one again.
    pub(in crate::pool) const LOOK: u32 = 2;
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
    /// What the pool's process asks of this worker, looked at after each chunk: see [`orders`]. Written by both.
    pub(in crate::pool) orders: AtomicU32,
    /// Nanoseconds of the monotonic clock when the worker began what it does; see `stats.rs`.
    pub(in crate::pool) since: AtomicU64,
    /// A block of the pool's process that a result of the seat's worker can be made part of; its id, or 0.
    pub(in crate::pool) anchor: AtomicU64,
    /// The block of such a result, or 0: the worker has adopted it into the anchor before.
    pub(in crate::pool) result: AtomicU64,
    /// The word of the chunk when it was claimed: how often its first item was tried before.
    pub(in crate::pool) claimed_from: AtomicU64,
    /// Nanoseconds of the monotonic clock when the current item began, where items are timed; else 0. Names that run of the item, as no
    /// two of a seat begin at once.
    pub(in crate::pool) began: AtomicU64,
    /// The run that is to end, by its `began`, or 0. Written by the pool's process.
    pub(in crate::pool) interrupt: AtomicU64,
    /// What the task last said of how far it is; see `Pool::workers`.
    pub(in crate::pool) said: Said,
}

/// How far a task says it is, and which run of it that was. Written by the worker; a reader compares the run with what the seat runs.
#[repr(C)]
#[derive(Debug)]
pub(in crate::pool) struct Said {
    pub(in crate::pool) done: AtomicU64,
    pub(in crate::pool) total: AtomicU64,
    /// The words `job`, `chunk` and `progress` of the seat when it was said.
    pub(in crate::pool) job: AtomicU64,
    pub(in crate::pool) chunk: AtomicU64,
    pub(in crate::pool) progress: AtomicU64,
}

impl Said {
    /// What the worker of this seat said of the run that it is at, if that is one of job `job`.
    pub(in crate::pool) fn of(&self, seat: &Seat, job: BlockId) -> Option<(u64, u64)> {
        let (acquire, relaxed) = (Ordering::Acquire, Ordering::Relaxed);
        let is_now = self.job.load(acquire) == job.raw()
            && seat.job.load(relaxed) == job.raw()
            && self.chunk.load(relaxed) == seat.chunk.load(relaxed)
            && self.progress.load(relaxed) == seat.progress.load(relaxed);
        is_now.then(|| (self.done.load(relaxed), self.total.load(relaxed)))
    }
}

const _: () = {
    assert!(size_of::<Seat>() == 192 && LANES_AT.is_multiple_of(64));
    assert!(size_of::<Control>().is_multiple_of(64) && align_of::<Control>() == 64);
};

/// A control block as its processes see it.
#[derive(Debug, Clone, Copy)]
pub(in crate::pool) struct ControlView<'a> {
    pub(in crate::pool) control: &'a Control,
    pub(in crate::pool) seats: &'a [Seat],
    pub(in crate::pool) ring: &'a [AtomicU64],
    pub(in crate::pool) lanes: &'a Lanes,
}

/// Where the parts of a control block lie, and its length. There is address space for all seats, as a pool may be resized.
const SEATS_AT: usize = size_of::<Control>();
const RING_AT: usize = SEATS_AT + MAX_SEATS * size_of::<Seat>();
const LANES_AT: usize = RING_AT + RING * size_of::<AtomicU64>();
const LEN: usize = LANES_AT + size_of::<Lanes>();

/// The pool's own view of its control block.
pub(in crate::pool) fn control_of(block: &Block, seats: usize) -> ControlView<'_> {
    assert!(LEN <= block.capacity() && seats <= MAX_SEATS, "this is no pool's control block");
    let base = block.as_ptr();
    // SAFETY: the block is alive and large enough (just checked); `new_control` zeroed it, and a zero
    // is valid for all of it; all fields are atomics.
    unsafe {
        ControlView {
            control: &*base.cast::<Control>(),
            seats: std::slice::from_raw_parts(base.add(SEATS_AT).cast::<Seat>(), seats),
            ring: std::slice::from_raw_parts(base.add(RING_AT).cast::<AtomicU64>(), RING),
            lanes: &*base.add(LANES_AT).cast::<Lanes>(),
        }
    }
}

/// Allocates a control block for `seats` workers at first.
pub(in crate::pool) fn new_control(arena: &'static Arena, seats: usize) -> Result<Block, ArenaError> {
    let block = arena.alloc_zeroed(LEN)?;
    // SAFETY: the block is at least this large, 64-byte aligned and zeroed, which is a valid `Control`; nobody else has its id.
    let control = unsafe { &*block.as_ptr().cast::<Control>() };
    control.seats.store(seats as u32, Ordering::Release);
    control.limit.store(seats as u32, Ordering::Release);
    Ok(block)
}

impl<'a> ControlView<'a> {
    /// A view of the control block at `base`.
    ///
    /// # Safety
    ///
    /// `base` is the start of a block of `capacity` bytes made by [`new_control`], which lives for `'a`.
    pub(in crate::pool) unsafe fn new(base: NonNull<u8>, capacity: usize) -> Option<Self> {
        if capacity < LEN {
            return None;
        }
        // SAFETY: blocks are 64-byte aligned, this one is large enough (just checked) and lives for 'a (contract); all
        // fields are atomics, so sharing it with other processes is no data race.
        let control = unsafe { base.cast::<Control>().as_ref() };
        let seats = control.seats.load(Ordering::Acquire) as usize;
        if seats > MAX_SEATS {
            return None;
        }
        // SAFETY: as above; both arrays lie inside the block (just checked), at multiples of 64 from its aligned start.
        unsafe {
            Some(Self {
                control,
                seats: std::slice::from_raw_parts(base.add(SEATS_AT).cast::<Seat>().as_ptr(), seats),
                ring: std::slice::from_raw_parts(base.add(RING_AT).cast::<AtomicU64>().as_ptr(), RING),
                lanes: base.add(LANES_AT).cast::<Lanes>().as_ref(),
            })
        }
    }
}
