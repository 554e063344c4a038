//! What running tasks say: notes and values for handles, on a list of the job, as faults are.
//!
//! A record is a child of the job's block before the list names it, so a worker that is killed leaves a whole record or none. What
//! exceeds the number of notes of a run goes to one record that is written over: two places for a text, and a word that says which of
//! them holds the last one, stored after it.

use std::mem::{offset_of, size_of};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::*};

use super::JobView;
use crate::arena::{Arena, ArenaError, Block, mutant};
use crate::message::{DecodeError, EncodeError, Encoder};
use crate::object::Spill;
use crate::pool::protocol::mutants;
use crate::task::{Emission, LONGEST_NOTE, reader_at};

/// The head of a record.
#[repr(C)]
struct Head {
    next: u64,
    item: u64,
    /// [`NOTE`], [`LAST`] or [`VALUE`].
    kind: u64,
    /// Bytes of a note, or the number of what reads a value.
    word: u64,
}

const NOTE: u64 = 0;
const LAST: u64 = 1;
const VALUE: u64 = 2;

/// Where the value of a record begins, aligned for any.
const BODY: usize = 64;
const _: () = assert!(size_of::<Head>() <= BODY);

/// The last note of a run that has many.
#[repr(C)]
#[derive(Debug)]
pub(in crate::pool) struct LastNote {
    head: [u64; 4],
    /// 0: none; else the place that holds it, plus 1, above its length in the lower half.
    which: AtomicU64,
    texts: [[AtomicU8; LONGEST_NOTE]; 2],
}

/// What a record says.
pub(in crate::pool) enum Told {
    Note(String),
    /// What reads the value, and where it lies.
    Value {
        reader: u64,
        slot: *const u8,
    },
}

/// Puts a complete record on the job's list.
fn push(job: &JobView<'_>, block: Block) -> Result<(), ArenaError> {
    let (base, pos) = (block.as_ptr(), block.pos());
    // A large job is freed as soon as it may be.
    job.header.spilled.fetch_add(block.capacity() as u64, Relaxed);
    if mutant(mutants::TOLD_UNOWNED) {
        job.header.told.swap(pos, AcqRel);
        return block.adopt_into(job.id);
    }
    block.adopt_into(job.id)?;
    let mut next = job.header.told.load(Acquire);
    loop {
        // SAFETY: the record's head; the job keeps the block alive, and nobody else knows the record yet.
        unsafe { (&raw mut (*base.cast::<Head>()).next).write(next) };
        match job.header.told.compare_exchange(next, pos, AcqRel, Acquire) {
            Ok(_) => return Ok(()),
            Err(now) => next = now,
        }
    }
}

/// Writes a note about item `item` of the job.
pub(in crate::pool) fn push_note(
    arena: &'static Arena,
    job: &JobView<'_>,
    item: usize,
    text: &str,
) -> Result<(), ArenaError> {
    let block = arena.alloc(size_of::<Head>() + text.len())?;
    let head = Head { next: 0, item: item as u64, kind: NOTE, word: text.len() as u64 };
    // SAFETY: the block is large enough and aligned, and ours alone.
    unsafe {
        block.as_ptr().cast::<Head>().write(head);
        block.as_ptr().add(size_of::<Head>()).copy_from_nonoverlapping(text.as_ptr(), text.len());
    }
    push(job, block)
}

/// Makes a place for the last note about item `item`, that can be written over and over.
pub(in crate::pool) fn push_last(
    arena: &'static Arena,
    job: &JobView<'_>,
    item: usize,
) -> Result<&'static LastNote, ArenaError> {
    let block = arena.alloc_zeroed(size_of::<LastNote>())?;
    let base = block.as_ptr();
    // SAFETY: the block is large enough, aligned, zeroed, which is a valid `LastNote`, and ours alone.
    unsafe { base.cast::<Head>().write(Head { next: 0, item: item as u64, kind: LAST, word: 0 }) };
    push(job, block)?;
    // SAFETY: as above; the job keeps it. The caller uses it while it runs an item of the job, which lives meanwhile.
    Ok(unsafe { &*base.cast::<LastNote>() })
}

impl LastNote {
    /// Writes the last note.
    pub(in crate::pool) fn write(&self, text: &str) {
        let before = (self.which.load(Relaxed) >> 32) as usize;
        let place = usize::from(before == 1);
        if mutant(mutants::NOTE_LATE) {
            self.which.store((place as u64 + 1) << 32 | text.len() as u64, Release);
        }
        self.texts[place].iter().zip(text.bytes()).for_each(|(to, from)| to.store(from, Relaxed));
        self.which.store((place as u64 + 1) << 32 | text.len() as u64, Release);
    }

    fn read(&self) -> Option<String> {
        let which = self.which.load(Acquire);
        let text = self.texts.get(((which >> 32) as usize).checked_sub(1)?)?;
        let bytes: Vec<u8> = text.iter().take(which as u32 as usize).map(|byte| byte.load(Relaxed)).collect();
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Why a value was not handed on.
#[derive(Debug)]
pub(in crate::pool) enum NotTold {
    Memory(ArenaError),
    Encode(EncodeError),
    /// Its type is not known to all processes.
    Foreign,
}

/// Writes a value that item `item` of the job has emitted.
pub(in crate::pool) fn push_value(
    arena: &'static Arena,
    job: &JobView<'_>,
    item: usize,
    value: &dyn Emission,
) -> Result<(), NotTold> {
    let reader = value.reader().ok_or(NotTold::Foreign)?;
    let block = arena.alloc(BODY + value.slot().size).map_err(NotTold::Memory)?;
    let mut encoder = Encoder::new(Box::new(Spill::new(arena, block.id())));
    // SAFETY: the block is large enough, aligned to 64 and ours alone; what is spilled lies in the same mapping.
    unsafe {
        block.as_ptr().cast::<Head>().write(Head { next: 0, item: item as u64, kind: VALUE, word: reader });
        value.write(&mut encoder, block.as_ptr().add(BODY)).map_err(NotTold::Encode)?;
    }
    drop(encoder);
    push(job, block).map_err(NotTold::Memory)
}

/// Where the job's newest record lies; 0: nowhere.
pub(in crate::pool) fn newest(job: &JobView<'_>) -> u64 {
    job.header.told.load(Acquire)
}

/// The records of a job from `newest` back to `until`, which is left out; newest first. What a worker may have spoiled ends the walk.
pub(in crate::pool) fn told(
    arena: &Arena,
    job: &JobView<'_>,
    newest: u64,
    until: u64,
    mut each: impl FnMut(usize, Told),
) {
    // A spoiled list may be a circle.
    let mut left = arena.readable().len() / 64;
    let mut pos = newest;
    while pos != 0 && pos != until && left > 0 {
        left -= 1;
        let Some(at) = arena.at(pos, size_of::<Head>()) else { return };
        if !at.cast::<Head>().is_aligned() {
            return;
        }
        // SAFETY: inside the mapping and aligned (just checked); plain numbers, written before the push that `newest` acquired.
        let Head { next, item, kind, word } = unsafe { at.cast::<Head>().read() };
        pos = next;
        let Ok(item) = usize::try_from(item) else { return };
        if item >= job.items() {
            continue;
        }
        let told = match kind {
            NOTE => {
                let len = usize::try_from(word).unwrap_or(usize::MAX).min(LONGEST_NOTE);
                let start = arena.pos_of(at.as_ptr()).map(|pos| pos + size_of::<Head>() as u64);
                let Some(bytes) = start.and_then(|start| arena.at(start, len)) else { return };
                // SAFETY: inside the mapping (just checked), and no longer written.
                let bytes = unsafe { std::slice::from_raw_parts(bytes.as_ptr(), len) };
                Some(Told::Note(String::from_utf8_lossy(bytes).into_owned()))
            }
            LAST => {
                let pos = arena.pos_of(at.as_ptr());
                let Some(last) = pos.and_then(|pos| arena.at(pos, size_of::<LastNote>())) else { return };
                // SAFETY: inside the mapping and aligned; what may change meanwhile are atomics.
                unsafe { last.cast::<LastNote>().as_ref() }.read().map(Told::Note)
            }
            VALUE => {
                let start = arena.pos_of(at.as_ptr()).map(|pos| pos + BODY as u64);
                let Some(slot) = start.and_then(|start| arena.at(start, 1)) else { return };
                Some(Told::Value { reader: word, slot: slot.as_ptr().cast_const() })
            }
            _ => return,
        };
        told.into_iter().for_each(|told| each(item, told));
    }
}

/// Makes a value of a record again; with `check`, what lies there is checked before.
///
/// # Safety
/// The record was found by [`told`] on a job's list; without `check` no worker has died in that job.
pub(in crate::pool) unsafe fn read_value(
    arena: &Arena,
    reader: u64,
    slot: *const u8,
    check: bool,
) -> Option<Result<Box<dyn std::any::Any + Send>, DecodeError>> {
    let reader = reader_at(reader)?;
    // SAFETY: the number was written by `push_value`, of the type that it wrote there; the whole arena is readable.
    Some(unsafe { reader(slot, check.then(|| arena.readable())) })
}

const _: () = assert!(offset_of!(LastNote, which) == size_of::<Head>());
