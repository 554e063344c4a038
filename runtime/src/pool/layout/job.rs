//! The job block: one window of a batch, or one submitted call.

use std::mem::{align_of, size_of};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::{ItemRecord, Line};
use crate::arena::{Arena, ArenaError, Block, BlockId};
use crate::task::{Grain, SlotLayout, TaskEntry, TaskId};

/// The head of a job block.
#[repr(C, align(64))]
#[derive(Debug)]
pub(in crate::pool) struct JobHeader {
    // Written before publication, then read only.
    pub(in crate::pool) task: u32,
    pub(in crate::pool) measure: u32,
    pub(in crate::pool) items: u64,
    pub(in crate::pool) chunk: u64,
    pub(in crate::pool) chunks: u64,
    pub(in crate::pool) inputs_at: u64,
    pub(in crate::pool) input_stride: u64,
    pub(in crate::pool) outputs_at: u64,
    pub(in crate::pool) output_stride: u64,
    /// Output slots: one an item, or one a chunk.
    pub(in crate::pool) outputs: u64,
    /// Words of bits for items to leave out.
    pub(in crate::pool) skips: u64,
    pub(in crate::pool) skips_at: u64,
    /// Where the caller's doorbell lies in the arena: in this header, or in a block that all jobs of a batch share.
    pub(in crate::pool) bell: u64,
    /// Where this header lies in the arena.
    pub(in crate::pool) here: u64,
    /// The first item's index in the batch; [`NO_INDEX`] for a single call.
    pub(in crate::pool) first: u64,
    /// Nanoseconds that an item may run; 0: as long as it likes.
    pub(in crate::pool) limit: u64,
    /// Where the level of the batch's cancel token lies in the arena, or 0.
    pub(in crate::pool) token: u64,
    /// So many failed items end the batch; 0: no number does.
    pub(in crate::pool) most_failures: u64,
    /// What workers write down of each item; see [`recording`](super::recording). And where, or 0.
    pub(in crate::pool) recording: u64,
    pub(in crate::pool) records_at: u64,
    /// The number under which the batch's output is kept, or 0.
    pub(in crate::pool) output: u64,
    /// The next chunk to try. A hint: the chunk's word decides.
    pub(in crate::pool) cursor: Line<AtomicU64>,
    /// What the caller waits for; see [`want`].
    pub(in crate::pool) want: Line<AtomicU64>,
    /// What a worker has to see to before each item; see [`attention`].
    pub(in crate::pool) attention: AtomicU32,
    /// Its number among the watched jobs plus 1, or 0: nobody is told of its chunks; see `watch.rs`.
    pub(in crate::pool) notify: AtomicU32,
    /// Workers inside; only says when a caller is worth waking.
    pub(in crate::pool) inside: AtomicU32,
    /// Nanoseconds spent in chunks, and items they had, where `measure` is set.
    pub(in crate::pool) busy: AtomicU64,
    pub(in crate::pool) busy_items: AtomicU64,
    /// Position of the newest fault record, or 0.
    pub(in crate::pool) faults: AtomicU64,
    /// Position of the newest record of what tasks said, or 0; see `told.rs`.
    pub(in crate::pool) told: AtomicU64,
    /// Bytes that were spilled for inputs and outputs.
    pub(in crate::pool) spilled: AtomicU64,
    /// Whether the inputs refer to objects. What they refer to is given back when all chunks are done.
    pub(in crate::pool) lent: AtomicU32,
    /// A doorbell for jobs that have no batch.
    pub(in crate::pool) own_bell: AtomicU32,
}

/// Value of [`JobHeader::first`] for a call that belongs to no batch.
pub(in crate::pool) const NO_INDEX: u64 = u64::MAX;

/// Bits of [`JobHeader::attention`]. As long as there is none, an item costs one load of this word.
pub(in crate::pool) mod attention {
    /// End before the next item: nobody wants it. The one that runs is asked to end.
    pub(in crate::pool) const STOP: u32 = 1;
    /// The seat says since when each item runs.
    pub(in crate::pool) const TIMED: u32 = 2;
    /// Failed items are counted, and the batch ends after some.
    pub(in crate::pool) const JUDGED: u32 = 4;
    /// Each item has a record.
    pub(in crate::pool) const RECORDED: u32 = 8;
    /// The worker marks which item writes to its standard streams.
    pub(in crate::pool) const MARKED: u32 = 16;
}

/// Values of [`JobHeader::want`]; anything else is a chunk's index plus 1.
pub(in crate::pool) mod want {
    /// Nobody waits.
    pub(in crate::pool) const NOTHING: u64 = 0;
    /// Ring after each chunk.
    pub(in crate::pool) const ANY: u64 = u64::MAX;
    /// Ring when the last worker leaves.
    pub(in crate::pool) const ALL: u64 = u64::MAX - 1;
}

const _: () = assert!(size_of::<JobHeader>().is_multiple_of(64) && align_of::<JobHeader>() == 64);

/// A job block as its processes see it.
#[derive(Debug, Clone, Copy)]
pub(in crate::pool) struct JobView<'a> {
    pub(in crate::pool) id: BlockId,
    pub(in crate::pool) header: &'a JobHeader,
    pub(in crate::pool) words: &'a [AtomicU64],
    /// A bit for each item, set when it is to be left out; none where items are committed one by one.
    pub(in crate::pool) skips: &'a [AtomicU64],
    /// One for each item, or none.
    pub(in crate::pool) records: &'a [ItemRecord],
    items: usize,
    chunk: usize,
    inputs: NonNull<u8>,
    input_stride: usize,
    outputs: NonNull<u8>,
    output_stride: usize,
    output_slots: usize,
}

/// The shape of a job.
#[derive(Debug, Clone, Copy)]
pub(in crate::pool) struct JobShape {
    pub(in crate::pool) task: TaskId,
    /// Item slots there is room for; the offsets follow from this and the first `chunk`.
    pub(in crate::pool) capacity: usize,
    /// Words there is room for.
    pub(in crate::pool) words: usize,
    /// Items there are.
    pub(in crate::pool) items: usize,
    /// Items of a chunk.
    pub(in crate::pool) chunk: usize,
    /// Do workers measure how long chunks take?
    pub(in crate::pool) measure: bool,
    pub(in crate::pool) input: SlotLayout,
    pub(in crate::pool) output: SlotLayout,
    /// What is committed at once.
    pub(in crate::pool) grain: Grain,
    /// The inputs came as one piece, slots and data: its length, and how many slots before the first item's are in it.
    pub(in crate::pool) piece: Option<(usize, usize)>,
    /// Is there room for a record of each item?
    pub(in crate::pool) records: bool,
}

impl JobShape {
    /// A shape with room for `items` items in chunks of `chunk`.
    pub(in crate::pool) fn new(
        (task, entry): (TaskId, &TaskEntry),
        items: usize,
        chunk: usize,
        measure: bool,
    ) -> JobShape {
        let (input, output, grain) = (entry.input(), entry.output(), entry.grain());
        let words = items.div_ceil(chunk);
        let (piece, records) = (None, false);
        JobShape { task, capacity: items, words, items, chunk, measure, input, output, grain, piece, records }
    }

    /// The same with room for records.
    pub(in crate::pool) fn with_records(self, records: bool) -> JobShape {
        JobShape { records, ..self }
    }

    fn chunks(&self) -> usize {
        self.items.div_ceil(self.chunk)
    }

    /// Output slots there is room for.
    fn output_slots(&self) -> usize {
        match self.grain {
            Grain::Item => self.capacity,
            Grain::Chunk { .. } => self.words,
        }
    }

    /// Words of bits for items to leave out.
    fn skips(&self) -> usize {
        match self.grain {
            Grain::Item => 0,
            Grain::Chunk { .. } => self.capacity.div_ceil(64),
        }
    }

    /// Offsets of inputs, outputs and records, and the whole size; `None` when it does not fit in memory at all.
    fn offsets(&self) -> Option<(usize, usize, usize, usize)> {
        let words_end = size_of::<JobHeader>().checked_add(self.words.checked_add(self.skips())?.checked_mul(8)?)?;
        let inputs = words_end.checked_next_multiple_of(self.input.align.max(64))?;
        let slots = self.capacity.checked_mul(self.input.size)?;
        let (inputs, inputs_end) = match self.piece {
            None => (inputs, inputs.checked_add(slots)?),
            Some((len, before)) => {
                let first = inputs.checked_add(before.checked_mul(self.input.size)?)?;
                (first, inputs.checked_add(len)?.max(first.checked_add(slots)?))
            }
        };
        let outputs = inputs_end.checked_next_multiple_of(self.output.align.max(64))?;
        let end = outputs.checked_add(self.output_slots().checked_mul(self.output.size)?)?.max(outputs + 1);
        if !self.records {
            return Some((inputs, outputs, 0, end));
        }
        let records = end.checked_next_multiple_of(align_of::<ItemRecord>())?;
        let end = records.checked_add(self.capacity.checked_mul(size_of::<ItemRecord>())?)?;
        Some((inputs, outputs, records, end))
    }
}

/// What a job's header says beside its shape.
#[derive(Debug, Clone, Copy)]
pub(in crate::pool) struct JobTerms {
    /// Position of the caller's doorbell, or 0 for the job's own.
    pub(in crate::pool) bell: u64,
    pub(in crate::pool) first: u64,
    pub(in crate::pool) limit: u64,
    pub(in crate::pool) token: u64,
    pub(in crate::pool) most_failures: u64,
    pub(in crate::pool) recording: u32,
    pub(in crate::pool) output: u64,
    pub(in crate::pool) attention: u32,
}

/// Allocates a job block whose chunks are all free.
pub(in crate::pool) fn new_job(arena: &'static Arena, shape: &JobShape, terms: &JobTerms) -> Result<Block, ArenaError> {
    let Some((inputs_at, outputs_at, records_at, size)) = shape.offsets() else {
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
        outputs: shape.output_slots() as u64,
        skips: shape.skips() as u64,
        skips_at: (size_of::<JobHeader>() + shape.words * 8) as u64,
        bell: if terms.bell == 0 { own_bell } else { terms.bell },
        here: block.pos(),
        first: terms.first,
        limit: terms.limit,
        token: terms.token,
        most_failures: terms.most_failures,
        recording: terms.recording.into(),
        records_at: records_at as u64,
        output: terms.output,
        cursor: Line::default(),
        want: Line::default(),
        attention: AtomicU32::new(terms.attention),
        notify: AtomicU32::new(0),
        inside: AtomicU32::new(0),
        busy: AtomicU64::new(0),
        busy_items: AtomicU64::new(0),
        faults: AtomicU64::new(0),
        told: AtomicU64::new(0),
        spilled: AtomicU64::new(0),
        lent: AtomicU32::new(0),
        own_bell: AtomicU32::new(0),
    };
    let base = block.as_ptr();
    // SAFETY: the block is `size` bytes or more, 64-byte aligned, and nobody else knows its id yet; the words follow the
    // header, and a zero word is a free chunk; the words of bits follow all words there is room for; so do the records, of which zero is
    // a valid one.
    unsafe {
        base.cast::<JobHeader>().write(header);
        base.add(size_of::<JobHeader>()).write_bytes(0, (shape.words + shape.skips()) * 8);
        if shape.records {
            base.add(records_at).write_bytes(0, shape.capacity * size_of::<ItemRecord>());
        }
    }
    Ok(block)
}

/// Makes a job that is not yet published shorter than it was made for.
pub(in crate::pool) fn shorten_job(block: &mut Block, shape: &mut JobShape, items: usize, chunk: usize) {
    shape.items = items.min(shape.capacity);
    // As many words as there are have to do.
    shape.chunk = chunk.max(shape.items.div_ceil(shape.words));
    // SAFETY: `new_job` wrote the header; the block is ours alone (`&mut`) and not published, so nobody else reads it.
    let header = unsafe { &mut *block.as_ptr().cast::<JobHeader>() };
    header.items = shape.items as u64;
    header.chunk = shape.chunk as u64;
    header.chunks = shape.chunks() as u64;
}

/// Where the word [`JobHeader::attention`] lies of the job whose header lies at `here`.
pub(in crate::pool) fn attention_of(here: u64) -> u64 {
    here + std::mem::offset_of!(JobHeader, attention) as u64
}

impl<'a> JobView<'a> {
    /// The pool's own view: of a block that [`new_job`] made with this shape, whatever a worker may have written since.
    pub(in crate::pool) fn of(block: &'a Block, shape: &JobShape) -> Self {
        let (inputs_at, outputs_at, records_at, size) = shape.offsets().unwrap_or((0, 0, 0, usize::MAX));
        assert!(size <= block.capacity(), "a job's shape was changed after it was made");
        let base = block.as_ptr();
        // SAFETY: the block is alive for 'a and large enough for this shape (just checked); `new_job` initialised header and
        // words, which are atomics or no longer written; the offsets are multiples of the alignments. Records are atomics, zeroed.
        unsafe {
            let records = if shape.records { shape.items } else { 0 };
            Self {
                id: block.id(),
                header: &*base.cast::<JobHeader>(),
                words: std::slice::from_raw_parts(base.add(size_of::<JobHeader>()).cast::<AtomicU64>(), shape.chunks()),
                skips: std::slice::from_raw_parts(
                    base.add(size_of::<JobHeader>()).cast::<AtomicU64>().add(shape.words),
                    shape.skips(),
                ),
                records: std::slice::from_raw_parts(base.add(records_at).cast::<ItemRecord>(), records),
                items: shape.items,
                chunk: shape.chunk,
                inputs: NonNull::new_unchecked(base.add(inputs_at)),
                input_stride: shape.input.size,
                outputs: NonNull::new_unchecked(base.add(outputs_at)),
                output_stride: shape.output.size,
                output_slots: shape.output_slots(),
            }
        }
    }

    /// A worker's view of the job block at `base`. `None` when its header makes no sense.
    ///
    /// # Safety
    ///
    /// `base` is the start of a block of `capacity` bytes made by [`new_job`], which lives for `'a`.
    pub(in crate::pool) unsafe fn new(id: BlockId, base: NonNull<u8>, capacity: usize) -> Option<Self> {
        if capacity < size_of::<JobHeader>() {
            return None;
        }
        // SAFETY: large enough (just checked), aligned (all blocks are), alive for 'a and published, so its plain fields
        // are no longer written (contract).
        let header = unsafe { base.cast::<JobHeader>().as_ref() };
        let chunks = usize::try_from(header.chunks).ok()?;
        let fits = |at: u64, stride: u64, slots: u64| {
            slots.checked_mul(stride).and_then(|len| len.checked_add(at)).is_some_and(|end| end <= capacity as u64)
        };
        let words_end = chunks.checked_mul(8)?.checked_add(size_of::<JobHeader>())?;
        let skips = usize::try_from(header.skips).ok()?;
        let skips_at = usize::try_from(header.skips_at).ok()?;
        let records = if header.records_at == 0 { 0 } else { header.items };
        let skips_end = skips.checked_mul(8)?.checked_add(skips_at)?;
        if words_end > capacity
            || skips_end > capacity
            || !skips_at.is_multiple_of(8)
            || header.chunk == 0
            || header.items.div_ceil(header.chunk) != header.chunks
            || !fits(header.inputs_at, header.input_stride, header.items)
            || !fits(header.outputs_at, header.output_stride, header.outputs)
            || !fits(header.records_at, size_of::<ItemRecord>() as u64, records)
            || !header.records_at.is_multiple_of(align_of::<ItemRecord>() as u64)
        {
            return None;
        }
        // SAFETY: all of them lie inside the block, aligned (just checked); `records_at` is 0 where there is none, which is aligned too.
        unsafe {
            Some(Self {
                id,
                header,
                words: std::slice::from_raw_parts(
                    base.add(size_of::<JobHeader>()).cast::<AtomicU64>().as_ptr(),
                    chunks,
                ),
                skips: std::slice::from_raw_parts(base.add(skips_at).cast::<AtomicU64>().as_ptr(), skips),
                records: std::slice::from_raw_parts(
                    base.add(header.records_at as usize).cast::<ItemRecord>().as_ptr(),
                    records as usize,
                ),
                items: header.items as usize,
                chunk: header.chunk as usize,
                inputs: base.add(header.inputs_at as usize),
                input_stride: header.input_stride as usize,
                outputs: base.add(header.outputs_at as usize),
                output_stride: header.output_stride as usize,
                output_slots: header.outputs as usize,
            })
        }
    }

    /// Items of a chunk.
    pub(in crate::pool) fn chunk(&self) -> usize {
        self.chunk
    }

    /// How many items the job has.
    pub(in crate::pool) fn items(&self) -> usize {
        self.items
    }

    /// The items of chunk `chunk`.
    pub(in crate::pool) fn range(&self, chunk: usize) -> std::ops::Range<usize> {
        let lo = chunk * self.chunk;
        lo..(lo + self.chunk).min(self.items)
    }

    /// Says that `item` is to be left out from now on. Of no effect where items are committed one by one.
    pub(in crate::pool) fn skip(&self, item: usize) {
        if let Some(word) = self.skips.get(item / 64) {
            word.fetch_or(1 << (item % 64), Ordering::SeqCst);
        }
    }

    /// The bits of these items, the first item's first. Empty if none is to be left out.
    pub(in crate::pool) fn skips_of(&self, items: std::ops::Range<usize>) -> Vec<AtomicU64> {
        let bit = |item: usize| {
            self.skips.get(item / 64).is_some_and(|word| word.load(Ordering::Acquire) & 1 << (item % 64) != 0)
        };
        let words = items.start / 64..items.end.div_ceil(64);
        let none = self.skips.get(words).is_none_or(|words| words.iter().all(|word| word.load(Ordering::Acquire) == 0));
        if none {
            return Vec::new();
        }
        let bits = vec![0u64; items.len().div_ceil(64)];
        let mut bits: Vec<AtomicU64> = bits.into_iter().map(AtomicU64::new).collect();
        for (at, item) in items.enumerate() {
            *bits[at / 64].get_mut() |= u64::from(bit(item)) << (at % 64);
        }
        bits
    }

    /// Where the input slots lie.
    pub(in crate::pool) fn inputs(&self) -> *mut u8 {
        self.inputs.as_ptr()
    }

    /// Where the output slots lie.
    pub(in crate::pool) fn outputs(&self) -> *mut u8 {
        self.outputs.as_ptr()
    }

    /// Where the archived input of `item` lies.
    pub(in crate::pool) fn input(&self, item: usize) -> *mut u8 {
        assert!(item < self.items);
        // SAFETY: all item slots lie inside the block (checked when the view was made).
        unsafe { self.inputs.as_ptr().add(item * self.input_stride) }
    }

    /// Where the archived output of `slot` lies: of that item, or of that chunk where those are committed as a whole.
    pub(in crate::pool) fn output(&self, slot: usize) -> *mut u8 {
        assert!(slot < self.output_slots);
        // SAFETY: as in `input`.
        unsafe { self.outputs.as_ptr().add(slot * self.output_stride) }
    }
}
