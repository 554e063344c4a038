//! How many items a chunk and a window get: from measured task times, so that a chunk lasts about a millisecond, the tail
//! of a batch balances, and a batch over endless input holds little in memory.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use crate::pool::job::Job;
use crate::pool::protocol::claim::MAX_CHUNK;
use crate::task::TaskId;

/// What a chunk should last, in nanoseconds: long against the cost of a claim (0.1 us), short against what a user waits for.
pub(crate) const CHUNK_NANOS: u64 = 1_000_000;
/// What a window of a lazy batch should last on each worker.
const WINDOW_TIME: Duration = Duration::from_millis(4);
/// Chunks that each worker should get of a batch whose length is known, so that the last ones balance.
const CHUNKS_PER_WORKER: usize = 8;
/// The same where a chunk's result is dear by itself, so that chunks are to be longer than [`CHUNK_NANOS`].
const LONG_CHUNKS_PER_WORKER: usize = 3;
/// Bytes of slots and data that one window may hold before it is closed.
pub(in crate::pool) const WINDOW_BYTES: usize = 4 << 20;
/// The same for a batch that pulls from its input only what workers need.
const LAZY_WINDOW_BYTES: usize = 256 << 10;

/// Mean task times seen by a pool.
#[derive(Debug, Default)]
pub(in crate::pool) struct Estimates(Mutex<HashMap<TaskId, f64>>);

impl Estimates {
    /// Nanoseconds an item of this task takes, as far as known.
    pub(in crate::pool) fn of(&self, task: TaskId) -> Option<f64> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get(&task).copied()
    }

    /// Takes in what the workers measured in `job`.
    pub(in crate::pool) fn learn(&self, job: &Job) {
        let Some((nanos, items)) = job.measured() else { return };
        let mean = nanos as f64 / items as f64;
        let mut known = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        known.entry(job.task()).and_modify(|old| *old = *old * 0.5 + mean * 0.5).or_insert(mean);
    }
}

/// What is known when the next window is shaped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outlook {
    /// Most workers.
    pub(crate) workers: usize,
    /// Mean nanoseconds an item, if known.
    pub(crate) nanos: Option<f64>,
    /// What a chunk should last, in nanoseconds.
    pub(crate) chunk_nanos: u64,
    /// Items still to come: at least this many, and not more than that, if known.
    pub(crate) remaining: (usize, Option<usize>),
    /// Bytes of the two slots of an item.
    pub(crate) stride: usize,
    /// The caller's own choice of chunk.
    pub(crate) chunk: Option<usize>,
    /// Windows made before in this batch.
    pub(crate) made: usize,
    /// Only what workers need may be pulled from the input.
    pub(crate) lazy: bool,
    /// Most items that a worker may do at all, so also of one chunk.
    pub(crate) most: usize,
}

impl Outlook {
    /// One call by itself.
    pub(crate) const SINGLE: Outlook = Outlook {
        workers: 1,
        nanos: None,
        chunk_nanos: CHUNK_NANOS,
        remaining: (1, Some(1)),
        stride: 0,
        chunk: Some(1),
        made: 0,
        lazy: false,
        most: usize::MAX,
    };

    /// Most items of the next window.
    pub(crate) fn window(&self) -> usize {
        let bytes = if self.lazy { LAZY_WINDOW_BYTES } else { WINDOW_BYTES } / (self.stride + 8);
        let time = match self.nanos {
            Some(nanos) if self.lazy => (WINDOW_TIME.as_nanos() as f64 / nanos.max(0.1)) as usize * self.workers,
            Some(_) => usize::MAX,
            // Nothing is known: a few items first, then more and more while nothing has come back.
            None => (2 * self.workers) << (2 * self.made).min(8),
        };
        let chunk = self.chunk.map_or(0, |chunk| chunk.saturating_mul(if self.lazy { 2 * self.workers } else { 1 }));
        let known = self.remaining.1.unwrap_or(usize::MAX);
        bytes.min(time.max(chunk)).max(self.workers.min(bytes)).min(known).max(1)
    }

    /// Items of a chunk in a window of `items`.
    pub(crate) fn chunk(&self, items: usize) -> usize {
        if let Some(chunk) = self.chunk {
            return chunk.clamp(1, MAX_CHUNK);
        }
        let Some(nanos) = self.nanos else { return 1 };
        let time = (self.chunk_nanos as f64 / nanos.max(0.1)) as usize;
        // What is left of the whole batch where that is known, else of this window.
        let rest = if self.remaining.1 == Some(self.remaining.0) { self.remaining.0.max(items) } else { items };
        let chunks = if self.chunk_nanos > CHUNK_NANOS { LONG_CHUNKS_PER_WORKER } else { CHUNKS_PER_WORKER };
        time.min(rest.div_ceil(self.workers * chunks)).min(self.most).clamp(1, MAX_CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: Outlook = Outlook {
        workers: 2,
        nanos: Some(1.0),
        chunk_nanos: CHUNK_NANOS,
        remaining: (1_000_000, Some(1_000_000)),
        stride: 16,
        chunk: None,
        made: 0,
        lazy: false,
        most: usize::MAX,
    };

    #[test]
    fn a_chunk_is_no_more_than_a_worker_may_do() {
        let few = Outlook { most: 7, ..TINY };
        assert_eq!(few.chunk(few.window()), 7);
    }

    #[test]
    fn tiny_tasks_get_large_chunks_that_still_balance() {
        let chunk = TINY.chunk(TINY.window());
        assert!((10_000..=62_500).contains(&chunk), "{chunk}");
    }

    #[test]
    fn chunks_with_dear_results_are_fewer() {
        let dear = Outlook { chunk_nanos: 200 * CHUNK_NANOS, ..TINY };
        assert!(dear.chunk(dear.window()) > 2 * TINY.chunk(TINY.window()));
    }

    #[test]
    fn unknown_tasks_start_with_single_items() {
        let unknown = Outlook { nanos: None, ..TINY };
        assert_eq!(unknown.chunk(unknown.window()), 1);
        assert!(unknown.window() <= 8);
    }

    #[test]
    fn long_tasks_are_dispatched_singly_and_pulled_sparingly() {
        let long = Outlook { nanos: Some(1e9), lazy: true, remaining: (0, None), ..TINY };
        assert_eq!(long.chunk(100), 1);
        assert_eq!(long.window(), 2);
    }

    #[test]
    fn large_slots_bound_the_window() {
        let large = Outlook { stride: 1 << 20, ..TINY };
        assert!(large.window() <= 4);
        assert_eq!(Outlook { stride: 1 << 30, ..TINY }.window(), 1);
    }
}
