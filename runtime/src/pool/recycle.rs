//! When a worker ends by itself: after so many items, above a memory mark. And what bounds the CPU time of a chunk.
//!
//! Looked at before each claim, and only where the pool has such rules: without, it is one test of a local. A worker that leaves has no
//! chunk in hand, so nothing is lost; the pool's process replaces it as it does the dead.

use std::sync::atomic::Ordering::*;
use std::time::Duration;

use super::layout::{ControlView, Seat};
use crate::Signal;
use crate::sys::{clock, proc, timer::CpuTimer};

/// How often the memory in use is looked at, in nanoseconds: it costs some microseconds.
const MEMORY_EVERY: u64 = 10_000_000;

/// The rules of this worker.
#[derive(Debug, Default)]
pub(super) struct Rules {
    any: bool,
    max_tasks: Option<u64>,
    recycle_above: Option<u64>,
    cpu_time: Option<(CpuTimer, Duration)>,
    /// When the memory in use was last looked at.
    looked: u64,
}

impl Rules {
    /// Those that the pool's control block states. A CPU time limit that cannot be set is an error.
    pub(super) fn of(control: &ControlView<'_>) -> std::io::Result<Rules> {
        let words = &control.control.rules;
        let value = |word: &std::sync::atomic::AtomicU64| Some(word.load(Acquire)).filter(|value| *value > 0);
        let cpu_time = match value(&words.cpu_time) {
            Some(nanos) => Some((CpuTimer::new(Signal::XCPU)?, Duration::from_nanos(nanos))),
            None => None,
        };
        let (max_tasks, recycle_above) = (value(&words.max_tasks), value(&words.recycle_above));
        let any = max_tasks.is_some() || recycle_above.is_some() || cpu_time.is_some();
        Ok(Rules { any, max_tasks, recycle_above, cpu_time, looked: 0 })
    }

    /// May the worker of `seat` take another chunk, of so many items?
    #[inline]
    pub(super) fn let_go_on(&mut self, seat: &Seat, chunk: u64) -> bool {
        !self.any || self.look(seat, chunk)
    }

    #[cold]
    fn look(&mut self, seat: &Seat, chunk: u64) -> bool {
        let done = seat.items.load(Relaxed);
        // A worker that would take none at all would be replaced by one that takes none.
        if done > 0 && self.max_tasks.is_some_and(|most| done.saturating_add(chunk) > most) {
            return false;
        }
        if let Some(mark) = self.recycle_above.filter(|_| done > 0) {
            let now = clock::coarse_nanos();
            if now.wrapping_sub(self.looked) >= MEMORY_EVERY {
                self.looked = now;
                if proc::private_memory().is_some_and(|used| used > mark) {
                    return false;
                }
            }
        }
        if let Some((timer, limit)) = &self.cpu_time {
            timer.set(*limit);
        }
        true
    }
}
