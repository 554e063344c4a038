//! Where everything lies that a pool and its workers share.
//!
//! Two kinds of block. The *control* block of a pool holds its state, a seat for each worker and the ring of published jobs:
//!
//! ```text
//! Control | Seat x seats | ring: AtomicU64 x RING
//! ```
//!
//! A *job* block holds one window of a batch, or one submitted call:
//!
//! ```text
//! JobHeader | word x chunks | input slot x items | output slot x items
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

use std::mem::{align_of, size_of};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use super::mutants;
use crate::arena::{Arena, Block, BlockId, mutant};
use crate::task::{SlotLayout, TaskId};

/// Most workers of one pool: the family's process slots.
pub(super) const MAX_SEATS: usize = 1024;
/// Jobs that can be in the ring at once; more wait in the pool's private memory. 8 bytes of address space each.
pub(super) const RING: usize = 1 << 16;

/// Values of [`Control::state`].
pub(super) mod state {
    /// Workers take jobs and sleep when there are none.
    pub(in crate::pool) const RUN: u32 = 0;
    /// Workers end as soon as they find no job.
    pub(in crate::pool) const DRAIN: u32 = 1;
}

/// A value on cache lines of its own.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub(super) struct Line<T>(pub(super) T);

/// The head of a control block.
#[repr(C, align(64))]
#[derive(Debug)]
pub(super) struct Control {
    /// See [`state`].
    pub(super) state: AtomicU32,
    /// How many seats follow.
    pub(super) seats: AtomicU32,
    /// The task that makes the workers' state plus 1, or 0; and where its input slot lies in the arena.
    pub(super) state_task: AtomicU32,
    pub(super) state_input: AtomicU64,
    /// Sequence number of the oldest job that may have work. A hint: it only ever skips entries that have none.
    pub(super) head: Line<AtomicU64>,
    /// Sequence number that the next published job gets. Written by the pool's process under its private lock.
    pub(super) tail: Line<AtomicU64>,
    /// One bit a seat: its worker sleeps, or is about to.
    pub(super) idle: Line<[AtomicU64; MAX_SEATS / 64]>,
}

/// What one worker says of itself, for the pool's audit after its death. Written by the worker alone, on lines of its own.
#[repr(C, align(64))]
#[derive(Debug)]
pub(super) struct Seat {
    /// The process that sits here, as [`Owner`](crate::arena::Owner); 0: nobody.
    pub(super) owner: AtomicU32,
    /// The futex word this worker sleeps on.
    pub(super) bell: AtomicU32,
    /// The job block in use; stored before the job is touched, cleared after.
    pub(super) job: AtomicU64,
    /// The chunk claimed, or about to be.
    pub(super) chunk: AtomicU64,
    /// `i << 1 | 1`: item `i` of the chunk is running; `i << 1`: those before `i` are done and none is running.
    pub(super) progress: AtomicU64,
    /// 1 once the worker is set up and looks for work.
    pub(super) ready: AtomicU32,
    /// How often the worker went to sleep in the kernel.
    pub(super) sleeps: AtomicU32,
    /// Chunks claimed.
    pub(super) claims: AtomicU64,
    /// Items finished.
    pub(super) items: AtomicU64,
}

/// The head of a job block.
#[repr(C, align(64))]
#[derive(Debug)]
pub(super) struct JobHeader {
    // Written before publication, then read only.
    pub(super) task: u32,
    pub(super) measure: u32,
    pub(super) items: u64,
    pub(super) chunk: u64,
    pub(super) chunks: u64,
    pub(super) inputs_at: u64,
    pub(super) input_stride: u64,
    pub(super) outputs_at: u64,
    pub(super) output_stride: u64,
    /// Where the caller's doorbell lies in the arena: in this header, or in a block that all jobs of a batch share.
    pub(super) bell: u64,
    /// The next chunk to try. A hint: the chunk's word decides.
    pub(super) cursor: Line<AtomicU64>,
    /// What the caller waits for; see [`want`].
    pub(super) want: Line<AtomicU64>,
    /// Nonzero: stop after the current item, nobody wants the rest.
    pub(super) stop: AtomicU32,
    /// Workers inside; only says when a caller is worth waking.
    pub(super) inside: AtomicU32,
    /// Nanoseconds spent in chunks, and items they had, where `measure` is set.
    pub(super) busy: AtomicU64,
    pub(super) busy_items: AtomicU64,
    /// Position of the newest fault record, or 0.
    pub(super) faults: AtomicU64,
    /// Bytes that workers spilled for outputs.
    pub(super) spilled: AtomicU64,
    /// A doorbell for jobs that have no batch.
    pub(super) own_bell: AtomicU32,
}

/// Values of [`JobHeader::want`]; anything else is a chunk's index plus 1.
pub(super) mod want {
    /// Nobody waits.
    pub(in crate::pool) const NOTHING: u64 = 0;
    /// Ring after each chunk.
    pub(in crate::pool) const ANY: u64 = u64::MAX;
    /// Ring when the last worker leaves.
    pub(in crate::pool) const ALL: u64 = u64::MAX - 1;
}

const _: () = {
    assert!(size_of::<Seat>() == 64);
    assert!(size_of::<Control>().is_multiple_of(64) && align_of::<Control>() == 64);
    assert!(size_of::<JobHeader>().is_multiple_of(64) && align_of::<JobHeader>() == 64);
};

/// A control block as its processes see it.
#[derive(Debug, Clone, Copy)]
pub(super) struct ControlView<'a> {
    pub(super) control: &'a Control,
    pub(super) seats: &'a [Seat],
    pub(super) ring: &'a [AtomicU64],
}

fn control_layout(seats: usize) -> (usize, usize, usize) {
    let seats_at = size_of::<Control>();
    let ring_at = seats_at + seats * size_of::<Seat>();
    (seats_at, ring_at, ring_at + RING * size_of::<AtomicU64>())
}

/// The pool's own view of its control block.
pub(super) fn control_of(block: &Block, seats: usize) -> ControlView<'_> {
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
pub(super) fn new_control(arena: &'static Arena, seats: usize) -> Result<Block, crate::arena::ArenaError> {
    let block = arena.alloc_zeroed(control_layout(seats).2)?;
    // SAFETY: the block is at least this large, 64-byte aligned and zeroed, which is a valid `Control`; nobody else has its id.
    let control = unsafe { &*block.as_ptr().cast::<Control>() };
    control.seats.store(seats as u32, std::sync::atomic::Ordering::Release);
    Ok(block)
}

impl<'a> ControlView<'a> {
    /// A view of the control block at `base`.
    ///
    /// # Safety
    ///
    /// `base` is the start of a block of `capacity` bytes made by [`new_control`], which lives for `'a`.
    pub(super) unsafe fn new(base: NonNull<u8>, capacity: usize) -> Option<Self> {
        if capacity < size_of::<Control>() {
            return None;
        }
        // SAFETY: blocks are 64-byte aligned, this one is large enough (just checked) and lives for 'a (contract); all
        // fields are atomics, so sharing it with other processes is no data race.
        let control = unsafe { base.cast::<Control>().as_ref() };
        let seats = control.seats.load(std::sync::atomic::Ordering::Acquire) as usize;
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

/// A job block as its processes see it.
#[derive(Debug, Clone, Copy)]
pub(super) struct JobView<'a> {
    pub(super) id: BlockId,
    pub(super) header: &'a JobHeader,
    pub(super) words: &'a [AtomicU64],
    items: usize,
    chunk: usize,
    inputs: NonNull<u8>,
    input_stride: usize,
    outputs: NonNull<u8>,
    output_stride: usize,
}

/// The shape of a job.
#[derive(Debug, Clone, Copy)]
pub(super) struct JobShape {
    pub(super) task: TaskId,
    /// Item slots there is room for; the offsets follow from this and the first `chunk`.
    pub(super) capacity: usize,
    /// Words there is room for.
    pub(super) words: usize,
    /// Items there are.
    pub(super) items: usize,
    /// Items of a chunk.
    pub(super) chunk: usize,
    /// Do workers measure how long chunks take?
    pub(super) measure: bool,
    pub(super) input: SlotLayout,
    pub(super) output: SlotLayout,
}

impl JobShape {
    /// A shape with room for `items` items in chunks of `chunk`.
    pub(super) fn new(entry: (TaskId, SlotLayout, SlotLayout), items: usize, chunk: usize, measure: bool) -> JobShape {
        let (task, input, output) = entry;
        JobShape { task, capacity: items, words: items.div_ceil(chunk), items, chunk, measure, input, output }
    }

    fn chunks(&self) -> usize {
        self.items.div_ceil(self.chunk)
    }

    /// Offsets of inputs and outputs, and the whole size; `None` when it does not fit in memory at all.
    fn offsets(&self) -> Option<(usize, usize, usize)> {
        let words_end = size_of::<JobHeader>().checked_add(self.words.checked_mul(8)?)?;
        let inputs = words_end.checked_next_multiple_of(self.input.align.max(64))?;
        let inputs_end = inputs.checked_add(self.capacity.checked_mul(self.input.size)?)?;
        let outputs = inputs_end.checked_next_multiple_of(self.output.align.max(64))?;
        let end = outputs.checked_add(self.capacity.checked_mul(self.output.size)?)?;
        Some((inputs, outputs, end.max(outputs + 1)))
    }
}

/// Allocates a job block whose chunks are all free. `bell` is the position of the caller's doorbell, or 0 for the job's own.
pub(super) fn new_job(arena: &'static Arena, shape: &JobShape, bell: u64) -> Result<Block, crate::arena::ArenaError> {
    let Some((inputs_at, outputs_at, size)) = shape.offsets() else {
        return arena.alloc(usize::MAX);
    };
    let block = arena.alloc(size)?;
    let chunks = shape.chunks();
    let own_bell = block.pos() + std::mem::offset_of!(JobHeader, own_bell) as u64;
    let header = JobHeader {
        task: shape.task.as_raw(),
        measure: shape.measure.into(),
        items: shape.items as u64,
        chunk: shape.chunk as u64,
        chunks: chunks as u64,
        inputs_at: inputs_at as u64,
        input_stride: shape.input.size as u64,
        outputs_at: outputs_at as u64,
        output_stride: shape.output.size as u64,
        bell: if bell == 0 { own_bell } else { bell },
        cursor: Line::default(),
        want: Line::default(),
        stop: AtomicU32::new(0),
        inside: AtomicU32::new(0),
        busy: AtomicU64::new(0),
        busy_items: AtomicU64::new(0),
        faults: AtomicU64::new(0),
        spilled: AtomicU64::new(0),
        own_bell: AtomicU32::new(0),
    };
    let base = block.as_ptr();
    // SAFETY: the block is `size` bytes or more, 64-byte aligned, and nobody else knows its id yet; the words follow the
    // header, and a zero word is a free chunk.
    unsafe {
        base.cast::<JobHeader>().write(header);
        base.add(size_of::<JobHeader>()).write_bytes(0, chunks * 8);
    }
    Ok(block)
}

/// Makes a job that is not yet published shorter than it was made for.
pub(super) fn shorten_job(block: &mut Block, shape: &mut JobShape, items: usize, chunk: usize) {
    shape.items = items.min(shape.capacity);
    // As many words as there are have to do.
    shape.chunk = chunk.max(shape.items.div_ceil(shape.words));
    // SAFETY: `new_job` wrote the header; the block is ours alone (`&mut`) and not published, so nobody else reads it.
    let header = unsafe { &mut *block.as_ptr().cast::<JobHeader>() };
    header.items = shape.items as u64;
    header.chunk = shape.chunk as u64;
    header.chunks = shape.chunks() as u64;
}

impl<'a> JobView<'a> {
    /// The pool's own view: of a block that [`new_job`] made with this shape, whatever a worker may have written since.
    pub(super) fn of(block: &'a Block, shape: &JobShape) -> Self {
        let (inputs_at, outputs_at, size) = shape.offsets().unwrap_or((0, 0, usize::MAX));
        assert!(size <= block.capacity(), "a job's shape was changed after it was made");
        let base = block.as_ptr();
        // SAFETY: the block is alive for 'a and large enough for this shape (just checked); `new_job` initialised header and
        // words, which are atomics or no longer written; the offsets are multiples of the alignments.
        unsafe {
            Self {
                id: block.id(),
                header: &*base.cast::<JobHeader>(),
                words: std::slice::from_raw_parts(base.add(size_of::<JobHeader>()).cast::<AtomicU64>(), shape.chunks()),
                items: shape.items,
                chunk: shape.chunk,
                inputs: NonNull::new_unchecked(base.add(inputs_at)),
                input_stride: shape.input.size,
                outputs: NonNull::new_unchecked(base.add(outputs_at)),
                output_stride: shape.output.size,
            }
        }
    }

    /// A worker's view of the job block at `base`. `None` when its header makes no sense.
    ///
    /// # Safety
    ///
    /// `base` is the start of a block of `capacity` bytes made by [`new_job`], which lives for `'a`.
    pub(super) unsafe fn new(id: BlockId, base: NonNull<u8>, capacity: usize) -> Option<Self> {
        if capacity < size_of::<JobHeader>() {
            return None;
        }
        // SAFETY: large enough (just checked), aligned (all blocks are), alive for 'a and published, so its plain fields
        // are no longer written (contract).
        let header = unsafe { base.cast::<JobHeader>().as_ref() };
        let chunks = usize::try_from(header.chunks).ok()?;
        let fits = |at: u64, stride: u64| {
            header
                .items
                .checked_mul(stride)
                .and_then(|len| len.checked_add(at))
                .is_some_and(|end| end <= capacity as u64)
        };
        let words_end = chunks.checked_mul(8)?.checked_add(size_of::<JobHeader>())?;
        if words_end > capacity
            || header.chunk == 0
            || header.items.div_ceil(header.chunk) != header.chunks
            || !fits(header.inputs_at, header.input_stride)
            || !fits(header.outputs_at, header.output_stride)
        {
            return None;
        }
        // SAFETY: all three lie inside the block (just checked).
        unsafe {
            Some(Self {
                id,
                header,
                words: std::slice::from_raw_parts(
                    base.add(size_of::<JobHeader>()).cast::<AtomicU64>().as_ptr(),
                    chunks,
                ),
                items: header.items as usize,
                chunk: header.chunk as usize,
                inputs: base.add(header.inputs_at as usize),
                input_stride: header.input_stride as usize,
                outputs: base.add(header.outputs_at as usize),
                output_stride: header.output_stride as usize,
            })
        }
    }

    /// How many items the job has.
    pub(super) fn items(&self) -> usize {
        self.items
    }

    /// The items of chunk `chunk`.
    pub(super) fn range(&self, chunk: usize) -> std::ops::Range<usize> {
        let lo = chunk * self.chunk;
        lo..(lo + self.chunk).min(self.items)
    }

    /// Where the input slots lie.
    pub(super) fn inputs(&self) -> *mut u8 {
        self.inputs.as_ptr()
    }

    /// Where the output slots lie.
    pub(super) fn outputs(&self) -> *mut u8 {
        self.outputs.as_ptr()
    }

    /// Where the archived input of `item` lies.
    pub(super) fn input(&self, item: usize) -> *mut u8 {
        assert!(item < self.items);
        // SAFETY: all item slots lie inside the block (checked when the view was made).
        unsafe { self.inputs.as_ptr().add(item * self.input_stride) }
    }

    /// Where the archived output of `item` lies.
    pub(super) fn output(&self, item: usize) -> *mut u8 {
        assert!(item < self.items);
        // SAFETY: as in `input`.
        unsafe { self.outputs.as_ptr().add(item * self.output_stride) }
    }
}

/// The futex word at `pos`, if that lies in the arena.
pub(super) fn word_at(arena: &Arena, pos: u64) -> Option<&AtomicU32> {
    let at = arena.at(pos, size_of::<AtomicU32>())?;
    // SAFETY: inside the mapping (just checked), which is never unmapped while the arena lives; an atomic is valid for any
    // bytes. Alignment is checked.
    at.cast::<AtomicU32>().is_aligned().then(|| unsafe { at.cast::<AtomicU32>().as_ref() })
}

/// The first word of a block that is used as a doorbell.
pub(super) fn bell_of(block: &Block) -> &AtomicU32 {
    // SAFETY: blocks are aligned, not empty and live as long as their handle; an atomic is valid for any bytes.
    unsafe { &*block.as_ptr().cast::<AtomicU32>() }
}

/// Why an item has no value, as its worker wrote it down. Followed by `len` bytes.
#[repr(C)]
struct FaultRecord {
    next: u64,
    item: u64,
    worker: u64,
    len: u64,
}

/// A fault record, copied out.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) item: usize,
    pub(super) worker: u32,
    pub(super) bytes: Vec<u8>,
}

/// Writes a fault record into a new child of the job's block and pushes it on the job's list.
pub(super) fn push_fault(
    arena: &'static Arena,
    job: &JobView<'_>,
    fault: &Fault,
) -> Result<(), crate::arena::ArenaError> {
    use std::sync::atomic::Ordering::{AcqRel, Acquire};
    let block = arena.alloc(size_of::<FaultRecord>() + fault.bytes.len())?;
    let (base, pos) = (block.as_ptr(), block.pos());
    let mut next = job.header.faults.load(Acquire);
    let record =
        FaultRecord { next, item: fault.item as u64, worker: fault.worker.into(), len: fault.bytes.len() as u64 };
    // SAFETY: the block is large enough and aligned, and ours alone until the push below.
    unsafe {
        base.cast::<FaultRecord>().write(record);
        base.add(size_of::<FaultRecord>()).copy_from_nonoverlapping(fault.bytes.as_ptr(), fault.bytes.len());
    }
    if mutant(mutants::FAULT_UNOWNED) {
        job.header.faults.swap(pos, AcqRel);
        return block.adopt_into(job.id);
    }
    // The job owns the record before its list names it, so the list never names memory that an audit may free.
    block.adopt_into(job.id)?;
    while let Err(now) = job.header.faults.compare_exchange(next, pos, AcqRel, Acquire) {
        next = now;
        // SAFETY: as above; the job keeps the block alive, and the record is not on the list yet.
        unsafe { (&raw mut (*base.cast::<FaultRecord>()).next).write(next) };
    }
    Ok(())
}

/// The fault records of a job. What a worker may have spoiled ends the walk; no more are read than the job has items.
pub(super) fn faults(arena: &Arena, job: &JobView<'_>) -> Vec<Fault> {
    let mut found = Vec::new();
    let mut pos = job.header.faults.load(std::sync::atomic::Ordering::Acquire);
    while pos != 0 && found.len() < job.items {
        let Some(at) = arena.at(pos, size_of::<FaultRecord>()) else { break };
        if !at.cast::<FaultRecord>().is_aligned() {
            break;
        }
        // SAFETY: inside the mapping and aligned (just checked); plain numbers, written before the push that we acquired.
        let record = unsafe { at.cast::<FaultRecord>().read() };
        let bytes = pos + size_of::<FaultRecord>() as u64;
        let (Ok(len), Ok(item)) = (usize::try_from(record.len), usize::try_from(record.item)) else { break };
        let Some(bytes) = arena.at(bytes, len) else { break };
        // SAFETY: inside the mapping (just checked).
        let bytes = unsafe { std::slice::from_raw_parts(bytes.as_ptr(), len) }.to_vec();
        if item < job.items {
            found.push(Fault { item, worker: record.worker as u32, bytes });
        }
        pos = record.next;
    }
    found
}
