//! Who runs which chunk: the protocol between a pool's workers, and its audit after a worker's death.
//!
//! A chunk's word is the only truth:
//!
//! ```text
//! FREE(start, tries)     items from `start` on wait for a worker; `start` itself was begun so often by workers that died
//! CLAIMED(owner, start)  by one CAS, which names the owner
//! DONE(end)              by the owner, after the last output was written; or by the audit, or by a cancelling caller (from
//!                        FREE). Items from `end` on were given up: the job was cancelled
//! ```
//!
//! `cursor` only says where to look next. What a SIGKILL leaves behind, and who mends it ([`Job::settle`](crate::pool::job::Job::settle), run by the pool's
//! process when the kernel has let go of the dead one):
//!
//! - after the cursor moved, before the CAS: a free chunk below the cursor. The audit moves the cursor back to the lowest.
//! - after the CAS: a claimed word that names the dead. The seat named the chunk and `progress` before the CAS, so the audit
//!   knows which items are finished (their outputs lie in place), and which one was running: that one is lost or tried
//!   again, as the pool's policy says; the rest goes back to `FREE(next)`.
//! - after a fault record was pushed, before `progress` moved on: the record is looked for, the item counts as finished.
//! - after DONE, before the doorbell: the audit rings it.
//!
//! The audit may itself be repeated: it only stores absolute values, and its CAS from `CLAIMED(dead, ..)` succeeds once.

use std::sync::atomic::{AtomicU64, Ordering::*};

use super::mutants;
use crate::arena::{Owner, mutant};
use crate::pool::layout::{JobView, Seat};
use crate::task::STAGE_SHIFT;

const STATE: u64 = 0b11;
const FREE: u64 = 0;
const CLAIMED: u64 = 1;
const DONE: u64 = 2;
const OWNER_SHIFT: u32 = 2;
const START_SHIFT: u32 = 34;

/// Most items of one chunk: what the start field of a word can hold.
pub(in crate::pool) const MAX_CHUNK: usize = (1 << (64 - START_SHIFT)) - 1;

/// What a chunk's word says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) enum Chunk {
    /// Items from `start` on wait for a worker; `start` was begun `tries` times by workers that died.
    Free { start: usize, tries: u32 },
    /// The process `by` runs the items from `start` on.
    Claimed { by: u32, start: usize },
    /// Nothing is left to do. Items from `end` on were given up.
    Done { end: usize },
}

impl Chunk {
    /// Reads a word.
    pub(in crate::pool) fn load(word: &AtomicU64, order: std::sync::atomic::Ordering) -> Chunk {
        Chunk::from_raw(word.load(order))
    }

    pub(in crate::pool) fn from_raw(raw: u64) -> Chunk {
        let start = (raw >> START_SHIFT) as usize;
        match raw & STATE {
            FREE => Chunk::Free { start, tries: (raw >> OWNER_SHIFT) as u32 },
            CLAIMED => Chunk::Claimed { by: (raw >> OWNER_SHIFT) as u32, start },
            _ => Chunk::Done { end: start },
        }
    }

    fn to_raw(self) -> u64 {
        match self {
            Chunk::Free { start, tries } => FREE | u64::from(tries) << OWNER_SHIFT | (start as u64) << START_SHIFT,
            Chunk::Claimed { by, start } => CLAIMED | u64::from(by) << OWNER_SHIFT | (start as u64) << START_SHIFT,
            Chunk::Done { end } => DONE | (end as u64) << START_SHIFT,
        }
    }
}

/// What a seat's `progress` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) struct Progress {
    /// The item being run, or the first that is not done; counted from the chunk's start.
    pub(in crate::pool) item: usize,
    /// Is it being run?
    pub(in crate::pool) running: bool,
    /// Which task of a program it is at; 0 for a task by itself.
    pub(in crate::pool) stage: u32,
}

impl Progress {
    /// Reads the word.
    pub(in crate::pool) fn of(raw: u64) -> Progress {
        let item = ((raw & ((1 << STAGE_SHIFT) - 1)) >> 1) as usize;
        Progress { item, running: raw & 1 == 1, stage: (raw >> STAGE_SHIFT) as u32 }
    }
}

/// A chunk that the calling worker holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) struct Claim {
    /// Which chunk.
    pub(in crate::pool) chunk: usize,
    /// Its first unfinished item, counted from the chunk's start.
    pub(in crate::pool) start: usize,
}

/// Claims the next free chunk of `job` for the process `me`, whose seat is `seat`.
#[inline]
pub(in crate::pool) fn claim(job: &JobView<'_>, seat: &Seat, me: Owner) -> Option<Claim> {
    let cursor = &job.header.cursor.0;
    let chunks = job.words.len() as u64;
    loop {
        // Looked at before it is changed, so that a drained job's line is only read.
        if cursor.load(Relaxed) >= chunks {
            return None;
        }
        let chunk = cursor.fetch_add(1, SeqCst);
        if chunk >= chunks {
            // Others were faster; keep the overshoot from growing without end.
            cursor.fetch_min(chunks, Relaxed);
            return None;
        }
        let word = &job.words[chunk as usize];
        let mut seen = word.load(Relaxed);
        while let Chunk::Free { start, .. } = Chunk::from_raw(seen) {
            let announce = || {
                seat.chunk.store(chunk, Relaxed);
                seat.claimed_from.store(seen, Relaxed);
                seat.progress.store((start as u64) << 1, Release);
            };
            if !mutant(mutants::CLAIM_FIRST) {
                announce();
            }
            let mine = Chunk::Claimed { by: me.raw(), start }.to_raw();
            match word.compare_exchange(seen, mine, AcqRel, Relaxed) {
                Ok(_) => {
                    if mutant(mutants::CLAIM_FIRST) {
                        announce();
                    }
                    return Some(Claim { chunk: chunk as usize, start });
                }
                Err(now) => seen = now,
            }
        }
    }
}

/// Marks a claimed chunk as done, up to the item `end` (counted from its start).
///
/// Sequentially consistent, as the caller reads `want` next (see `bell.rs`).
pub(in crate::pool) fn commit(job: &JobView<'_>, claim: Claim, end: usize) {
    job.words[claim.chunk].swap(Chunk::Done { end }.to_raw(), SeqCst);
}

/// Gives up a chunk that nobody has claimed. No effect when somebody has, or it is done.
pub(in crate::pool) fn cancel(job: &JobView<'_>, chunk: usize) {
    let word = &job.words[chunk];
    let seen = word.load(Acquire);
    if let Chunk::Free { start, .. } = Chunk::from_raw(seen) {
        let _ = word.compare_exchange(seen, Chunk::Done { end: start }.to_raw(), SeqCst, Relaxed);
    }
}

/// What a dead worker had in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) struct Remains {
    /// The chunk it had claimed.
    pub(in crate::pool) chunk: usize,
    /// The item of the chunk it was running, if it was running one.
    pub(in crate::pool) running: Option<usize>,
    /// The task of a program that it was at.
    pub(in crate::pool) stage: u32,
    /// The first item of the chunk that it had not begun.
    pub(in crate::pool) next: usize,
    /// The first item that its claim was for.
    pub(in crate::pool) start: usize,
}

/// Looks what the dead process `dead` had in hand in `job`, without changing anything.
pub(in crate::pool) fn remains(job: &JobView<'_>, seat: &Seat, dead: Owner) -> Option<Remains> {
    let chunk = usize::try_from(seat.chunk.load(Acquire)).ok()?;
    let word = job.words.get(chunk)?;
    let Chunk::Claimed { by, start } = Chunk::load(word, Acquire) else { return None };
    if by != dead.raw() {
        return None;
    }
    let Progress { item, running, stage } = Progress::of(seat.progress.load(Acquire));
    let len = job.range(chunk).len();
    // A worker whose memory was trampled on may have written anything here: nothing outside the claim is believed.
    let item = item.clamp(start, len);
    Some(Remains {
        chunk,
        running: (running && item < len).then_some(item),
        stage,
        next: (item + usize::from(running)).min(len),
        start,
    })
}

/// Ends the claim of the dead process `dead` on `chunk`: `after` is what becomes of it.
pub(in crate::pool) fn release(job: &JobView<'_>, chunk: usize, dead: Owner, after: Chunk) {
    let Some(word) = job.words.get(chunk) else { return };
    let seen = word.load(Acquire);
    if matches!(Chunk::from_raw(seen), Chunk::Claimed { by, .. } if by == dead.raw()) {
        let _ = word.compare_exchange(seen, after.to_raw(), SeqCst, Relaxed);
    }
}

/// Moves the cursor back to the lowest free chunk. `true` when there is one.
pub(in crate::pool) fn rewind(job: &JobView<'_>) -> bool {
    let end = (job.header.cursor.0.load(SeqCst) as usize).min(job.words.len());
    let free = job.words[..end].iter().position(|word| matches!(Chunk::load(word, Acquire), Chunk::Free { .. }));
    if let Some(free) = free.filter(|_| !mutant(mutants::NO_REWIND)) {
        job.header.cursor.0.fetch_min(free as u64, SeqCst);
    }
    free.is_some() || end < job.words.len()
}

/// Are all chunks done? Looks from `*from` on, and remembers in it how far that was true.
pub(in crate::pool) fn all_done(job: &JobView<'_>, from: &mut usize) -> bool {
    while let Some(word) = job.words.get(*from) {
        if !matches!(Chunk::load(word, SeqCst), Chunk::Done { .. }) {
            return false;
        }
        *from += 1;
    }
    true
}
