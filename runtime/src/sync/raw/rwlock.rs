//! One writer, or any number of readers.
//!
//! Each process counts its readers in a cell of its own, so readers of different processes write no common word, and what a dead
//! process read is one store to undo. A writer has the mutex of the writers, closes the gate, and waits until the cells say that
//! nobody is inside.
//!
//! ```text
//! cell   low half: readers inside; high half: readers who found the gate closed and wait
//! gate   CLOSED        by the writer who has the mutex; cleared by it
//!        READERS       by a reader about to sleep on the gate; whoever opens it wakes them
//!        WRITER        by the writer about to sleep on `drain`; readers who leave then raise `drain` and wake it
//!        WRITING       by the writer when nobody is inside: from here on it may have changed something
//! ```
//! Turns: a writer does not close the gate before those have come in who waited when the last one opened it, and new readers
//! wait once it is closed. So neither kind can keep the other out.

use super::{NotGot, RawMutex};
use crate::sync::prim::{AtomicU32, Ordering, Wait, full_fence, spin_until, wait, wake, wake_all};
use std::time::Instant;

const CLOSED: u32 = 1;
const READERS: u32 = 2;
const WRITER: u32 = 4;
const WRITING: u32 = 8;

const INSIDE: u32 = 0xffff;
const PENDING: u32 = 0x1_0000;
/// More guards of one process than this are refused: far below what a half of a cell holds.
const MOST: u32 = 50_000;

/// All zero is an unlocked lock.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct RawRwLock<const SLOTS: usize, const WORDS: usize> {
    writers: RawMutex,
    gate: AtomicU32,
    /// Raised when a reader leaves while a writer sleeps.
    drain: AtomicU32,
    /// Which cells were ever used, one bit each: a writer looks at no others.
    used: [AtomicU32; WORDS],
    cells: [AtomicU32; SLOTS],
}

/// Why a reader was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoEntry {
    NotGot(NotGot),
    /// This process has too many readers.
    TooMany,
}

impl<const SLOTS: usize, const WORDS: usize> RawRwLock<SLOTS, WORDS> {
    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        let zeroed = || AtomicU32::new(0);
        RawRwLock {
            writers: RawMutex::default(),
            gate: zeroed(),
            drain: zeroed(),
            used: std::array::from_fn(|_| zeroed()),
            cells: std::array::from_fn(|_| zeroed()),
        }
    }

    fn is_closed(&self) -> bool {
        self.gate.load(Ordering::Acquire) & CLOSED != 0
    }

    /// The cell of a process, noted as used.
    fn cell(&self, slot: usize) -> &AtomicU32 {
        let (word, bit) = (&self.used[slot / 32], 1 << (slot % 32));
        if word.load(Ordering::Relaxed) & bit == 0 {
            word.fetch_or(bit, Ordering::SeqCst);
            full_fence();
        }
        &self.cells[slot]
    }

    /// Whether `is_free` holds for all cells. Loads after a fence.
    fn all(&self, is_free: impl Fn(u32) -> bool) -> bool {
        full_fence();
        self.used.iter().enumerate().all(|(at, word)| {
            let mut bits = word.load(Ordering::Acquire);
            while bits != 0 {
                let slot = at * 32 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if self.cells.get(slot).is_some_and(|cell| !is_free(cell.load(Ordering::Acquire))) {
                    return false;
                }
            }
            true
        })
    }

    /// After a change of a cell that a writer may wait for.
    fn tell_writer(&self) {
        full_fence();
        if self.gate.load(Ordering::Relaxed) & WRITER != 0 {
            self.drain.fetch_add(1, Ordering::AcqRel);
            wake(&self.drain, 1);
        }
    }

    #[inline]
    pub(crate) fn try_read(&self, slot: usize) -> Result<bool, NoEntry> {
        let cell = self.cell(slot);
        if cell.fetch_add(1, Ordering::SeqCst) & INSIDE >= MOST {
            self.leave(cell, 1);
            return Err(NoEntry::TooMany);
        }
        full_fence();
        if self.is_closed() {
            self.leave(cell, 1);
            return Ok(false);
        }
        Ok(true)
    }

    fn leave(&self, cell: &AtomicU32, count: u32) {
        cell.fetch_sub(count, Ordering::SeqCst);
        self.tell_writer();
    }

    #[inline]
    pub(crate) fn read(&self, me: u32, slot: usize, deadline: Option<Instant>) -> Result<(), NoEntry> {
        if self.try_read(slot)? { Ok(()) } else { self.read_slow(me, slot, deadline) }
    }

    #[cold]
    fn read_slow(&self, me: u32, slot: usize, deadline: Option<Instant>) -> Result<(), NoEntry> {
        if self.writers.holder() == me {
            return Err(NoEntry::NotGot(NotGot::Mine));
        }
        let cell = self.cell(slot);
        cell.fetch_add(PENDING, Ordering::SeqCst);
        loop {
            full_fence();
            let gate = self.gate.load(Ordering::Acquire);
            if gate & CLOSED == 0 {
                cell.fetch_add(1u32.wrapping_sub(PENDING), Ordering::SeqCst);
                full_fence();
                if !self.is_closed() {
                    self.tell_writer();
                    return Ok(());
                }
                cell.fetch_add(PENDING.wrapping_sub(1), Ordering::SeqCst);
                self.tell_writer();
                continue;
            }
            if spin_until(|| !self.is_closed()) {
                continue;
            }
            if gate & READERS == 0
                && self.gate.compare_exchange(gate, gate | READERS, Ordering::AcqRel, Ordering::Relaxed).is_err()
            {
                continue;
            }
            if wait(&self.gate, gate | READERS, deadline) == Wait::TimedOut {
                self.leave(cell, PENDING);
                return Err(NoEntry::NotGot(NotGot::Timeout));
            }
        }
    }

    /// A reader of this process leaves.
    #[inline]
    pub(crate) fn read_unlock(&self, slot: usize) {
        self.leave(&self.cells[slot], 1);
    }

    pub(crate) fn try_write(&self, me: u32) -> bool {
        if !self.writers.try_lock(me) {
            return false;
        }
        if self.all(|cell| cell / PENDING == 0) {
            self.gate.fetch_or(CLOSED, Ordering::SeqCst);
            if self.all(|cell| cell & INSIDE == 0) {
                self.gate.fetch_or(WRITING, Ordering::AcqRel);
                return true;
            }
            self.open();
        }
        self.writers.unlock(me);
        false
    }

    pub(crate) fn write(&self, me: u32, deadline: Option<Instant>) -> Result<(), NotGot> {
        self.writers.lock(me, deadline)?;
        if self.drained(|cell| cell / PENDING == 0, deadline) {
            self.gate.fetch_or(CLOSED, Ordering::SeqCst);
            if self.drained(|cell| cell & INSIDE == 0, deadline) {
                self.gate.fetch_or(WRITING, Ordering::AcqRel);
                return Ok(());
            }
            self.open();
        }
        self.writers.unlock(me);
        Err(NotGot::Timeout)
    }

    /// Waits until `is_free` holds for all cells.
    fn drained(&self, is_free: impl Fn(u32) -> bool + Copy, deadline: Option<Instant>) -> bool {
        if self.all(is_free) || spin_until(|| self.all(is_free)) {
            return true;
        }
        let free = loop {
            let seen = self.drain.load(Ordering::Acquire);
            self.gate.fetch_or(WRITER, Ordering::SeqCst);
            if self.all(is_free) {
                break true;
            }
            if wait(&self.drain, seen, deadline) == Wait::TimedOut {
                break self.all(is_free);
            }
        };
        self.gate.fetch_and(!WRITER, Ordering::AcqRel);
        free
    }

    fn open(&self) {
        if self.gate.swap(0, Ordering::AcqRel) & READERS != 0 {
            wake_all(&self.gate);
        }
    }

    /// Only the writer, `me`, may call this.
    pub(crate) fn write_unlock(&self, me: u32) {
        self.open();
        self.writers.unlock(me);
    }

    /// The writer, `me`, becomes a reader, with no other writer in between.
    pub(crate) fn downgrade(&self, me: u32, slot: usize) {
        self.cell(slot).fetch_add(1, Ordering::SeqCst);
        self.write_unlock(me);
    }

    /// Whether there is a writer inside, and how many readers are.
    pub(crate) fn state(&self) -> (bool, usize) {
        let readers = self.cells.iter().map(|cell| (cell.load(Ordering::Acquire) & INSIDE) as usize).sum();
        (self.gate.load(Ordering::Acquire) & WRITING != 0, readers)
    }

    /// Lets out all readers of the process in `slot`, which is gone. Repeatable. The caller wakes all afterwards.
    pub(crate) fn recover_readers(&self, slot: usize) {
        self.cells[slot].store(0, Ordering::SeqCst);
        self.drain.fetch_add(1, Ordering::AcqRel);
    }

    /// Lets out a dead writer; calls `held` before what it changed can be seen, if it was inside. Repeatable. The caller wakes
    /// all afterwards. `keep_gate` is a seeded mistake.
    pub(crate) fn recover_writer(&self, is_dead: impl Fn(u32) -> bool, keep_gate: bool, held: impl Fn()) {
        self.writers.recover(is_dead, || {
            if self.gate.load(Ordering::Acquire) & WRITING != 0 {
                held();
            }
            if !keep_gate {
                self.gate.swap(0, Ordering::AcqRel);
            }
        });
    }

    /// Wakes all who sleep here, who then look again.
    pub(crate) fn wake_sleepers(&self) {
        self.writers.wake_sleepers();
        wake_all(&self.gate);
        wake_all(&self.drain);
    }
}
