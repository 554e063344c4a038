//! When a worker ends by itself: after so many items, above a memory mark. And what bounds the CPU time of a chunk.
//!
//! Looked at before each claim, and only where the pool has such rules: without, it is one test of a local. A worker that leaves has no
//! chunk in hand, so nothing is lost; the pool's process replaces it as it does the dead.

use std::sync::atomic::Ordering::*;
use std::time::Duration;

use crate::Signal;
use crate::pool::layout::ControlView;
use crate::sys::{clock, proc, timer::CpuTimer};

/// How often the memory in use is looked at, in nanoseconds: it costs some microseconds.
const MEMORY_EVERY: u64 = 10_000_000;

/// What the rules say to another chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) enum Verdict {
    /// Take it.
    Go,
    /// Not now.
    Wait,
    /// None any more.
    Leave,
}

/// The rules of this worker.
#[derive(Debug, Default)]
pub(in crate::pool) struct Rules {
    any: bool,
    max_tasks: Option<u64>,
    recycle_above: Option<u64>,
    cpu_time: Option<(CpuTimer, Duration)>,
    /// Is memory to stay free?
    keeps_free: bool,
    /// When memory was last looked at.
    looked: u64,
}

impl Rules {
    /// Those that the pool's control block states. A CPU time limit that cannot be set is an error.
    pub(in crate::pool) fn of(control: &ControlView<'_>) -> std::io::Result<Rules> {
        let words = &control.control.rules;
        let value = |word: &std::sync::atomic::AtomicU64| Some(word.load(Acquire)).filter(|value| *value > 0);
        let cpu_time = match value(&words.cpu_time) {
            Some(nanos) => Some((CpuTimer::new(Signal::XCPU)?, Duration::from_nanos(nanos))),
            None => None,
        };
        let (max_tasks, recycle_above) = (value(&words.max_tasks), value(&words.recycle_above));
        let keeps_free = control.lanes.keep_free.load(Acquire) > 0;
        let any = max_tasks.is_some() || recycle_above.is_some() || cpu_time.is_some() || keeps_free;
        Ok(Rules { any, max_tasks, recycle_above, cpu_time, keeps_free, looked: 0 })
    }

    /// May this worker, whose seat is number `at`, take another chunk, of so many items?
    #[inline]
    pub(in crate::pool) fn say(&mut self, control: &ControlView<'_>, at: usize, chunk: u64) -> Verdict {
        if self.any { self.look(control, at, chunk) } else { Verdict::Go }
    }

    /// The worker turns to a job.
    #[inline]
    pub(in crate::pool) fn begin(&mut self) {
        if self.keeps_free {
            self.looked = 0;
        }
    }

    #[cold]
    fn look(&mut self, control: &ControlView<'_>, at: usize, chunk: u64) -> Verdict {
        let done = control.seats[at].items.load(Relaxed);
        // A worker that would take none at all would be replaced by one that takes none.
        if done > 0 && self.max_tasks.is_some_and(|most| done.saturating_add(chunk) > most) {
            return Verdict::Leave;
        }
        if self.recycle_above.is_some() || self.keeps_free {
            let now = clock::coarse_nanos();
            if now.wrapping_sub(self.looked) >= MEMORY_EVERY {
                self.looked = now;
                let is_above = |mark| proc::private_memory().is_some_and(|used| used > mark);
                if done > 0 && self.recycle_above.is_some_and(is_above) {
                    return Verdict::Leave;
                }
                if self.keeps_free && control.is_short_of_memory(at) {
                    return Verdict::Wait;
                }
            }
        }
        if let Some((timer, limit)) = &self.cpu_time {
            timer.set(*limit);
        }
        Verdict::Go
    }
}
