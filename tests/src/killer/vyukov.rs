//! The negative control: Vyukov's bounded queue, which is not kill-safe.
//!
//! Claiming a cell (a CAS on `tail` or `head`) and publishing it (a store to its sequence) are two steps. A process that is
//! killed in between leaves a cell that is neither free nor full: those behind it cannot be reached any more. A killer that
//! finds nothing here finds nothing anywhere.

use super::{Memory, Mode, Play, Sweep, stepped, sweep};
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

const CELLS: usize = 4;

#[derive(Debug)]
struct Cell {
    sequence: AtomicUsize,
    value: AtomicU64,
}

/// The queue, in shared memory.
#[derive(Debug)]
struct Ring {
    cells: [Cell; CELLS],
    head: AtomicUsize,
    tail: AtomicUsize,
}

impl Ring {
    fn init(&self) {
        for (at, cell) in self.cells.iter().enumerate() {
            cell.sequence.store(at, Ordering::Relaxed);
        }
    }

    fn push(&self, value: u64) -> bool {
        loop {
            let at = self.tail.load(Ordering::Relaxed);
            let cell = &self.cells[at % CELLS];
            match cell.sequence.load(Ordering::Acquire).wrapping_sub(at) as isize {
                0 if self.tail.compare_exchange(at, at + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok() => {
                    cell.value.store(value, Ordering::Relaxed);
                    cell.sequence.store(at + 1, Ordering::Release);
                    return true;
                }
                behind if behind < 0 => return false,
                _ => {}
            }
        }
    }

    fn pop(&self) -> Option<u64> {
        loop {
            let at = self.head.load(Ordering::Relaxed);
            let cell = &self.cells[at % CELLS];
            match cell.sequence.load(Ordering::Acquire).wrapping_sub(at + 1) as isize {
                0 if self.head.compare_exchange(at, at + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok() => {
                    let value = cell.value.load(Ordering::Relaxed);
                    cell.sequence.store(at + CELLS, Ordering::Release);
                    return Some(value);
                }
                behind if behind < 0 => return None,
                _ => {}
            }
        }
    }

    /// What a survivor sees: the items, and that the ring can still be filled and emptied.
    fn verify(&self) -> String {
        let items: Vec<u64> = std::iter::from_fn(|| self.pop()).collect();
        for value in 0..CELLS as u64 {
            assert!(self.push(value), "only {value} of {CELLS} cells can be filled");
        }
        let refilled: Vec<u64> = std::iter::from_fn(|| self.pop()).collect();
        assert_eq!(refilled, (0..CELLS as u64).collect::<Vec<_>>(), "what was put is not what comes out");
        format!("{items:?}")
    }
}

/// Sweeps over a push and a pop.
///
/// # Errors
///
/// When there is no memory, or a sweep could not be made.
pub fn control(mode: Mode) -> Result<(Sweep, Sweep), String> {
    let (memory, start) = Memory::zeroed(size_of::<Ring>()).map_err(|error: io::Error| error.to_string())?;
    // SAFETY: the mapping is that long, page-aligned and zeroed, is never unmapped, and a `Ring` is made of atomics.
    let ring = unsafe { &*start.cast::<Ring>() };
    ring.init();
    ring.push(10);
    ring.push(11);
    let play = |victim: &dyn Fn()| {
        sweep(
            &Play { memory: &memory, victim, other: None, died: &|_| {}, audit: &|_, _| {}, verify: &|| ring.verify() },
            mode,
        )
    };
    let push = play(&|| assert!(stepped(|| ring.push(12))))?;
    let pop = play(&|| assert_eq!(stepped(|| ring.pop()), Some(10)))?;
    Ok((push, pop))
}
