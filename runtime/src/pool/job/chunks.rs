//! The chunks of a job: which are claimed and done, and waiting for them.

use std::sync::atomic::Ordering::*;
use std::time::Instant;

use super::Job;
use crate::pool::layout::{Seat, want};
use crate::pool::protocol::bell;
use crate::pool::protocol::claim::{self, Chunk};

impl Job {
    /// How many chunks there are.
    pub(in crate::pool) fn chunks(&self) -> usize {
        self.view().words.len()
    }

    /// Chunks from here on were never claimed.
    pub(in crate::pool) fn claimed(&self) -> usize {
        // A cancelled or rewound job has its cursor anywhere.
        if self.cancelled.load(SeqCst) || self.crashed.load(SeqCst) {
            return self.chunks();
        }
        (self.view().header.cursor.0.load(SeqCst) as usize).min(self.chunks())
    }

    /// Are all chunks done? Remembers in `from` how far that was true.
    pub(in crate::pool) fn all_done(&self, from: &mut usize) -> bool {
        claim::all_done(&self.view(), from)
    }

    /// Is this chunk done?
    pub(in crate::pool) fn is_done(&self, chunk: usize) -> bool {
        matches!(Chunk::load(&self.view().words[chunk], SeqCst), Chunk::Done { .. })
    }

    /// Was this chunk, which is done, given up before its end?
    pub(in crate::pool) fn is_given_up(&self, chunk: usize) -> bool {
        let view = self.view();
        !matches!(Chunk::load(&view.words[chunk], SeqCst), Chunk::Done { end } if end == view.range(chunk).len())
    }

    /// How many chunks are done.
    pub(in crate::pool) fn done_chunks(&self) -> usize {
        self.view().words.iter().filter(|word| matches!(Chunk::load(word, SeqCst), Chunk::Done { .. })).count()
    }

    /// Says that the caller waits for all chunks, or for one.
    pub(in crate::pool) fn say_wanted(&self, chunk: Option<usize>) {
        let wanted = match chunk {
            Some(chunk) => chunk as u64 + 1,
            None if self.crashed.load(SeqCst) => want::ANY,
            None => want::ALL,
        };
        self.view().header.want.0.store(wanted, SeqCst);
    }

    /// Says that the caller waits for any chunk.
    pub(in crate::pool) fn say_any_wanted(&self) {
        self.view().header.want.0.store(want::ANY, SeqCst);
    }

    /// Says that the caller no longer waits.
    pub(in crate::pool) fn say_nothing_wanted(&self) {
        self.view().header.want.0.store(want::NOTHING, Relaxed);
    }

    /// Waits until all chunks are done. `false` when the deadline passed before, or `give_up` said so.
    pub(in crate::pool) fn wait_all(&self, deadline: Option<Instant>, give_up: impl Fn() -> bool) -> bool {
        let mut from = 0;
        let done = bell::wait_until(
            self.bell(),
            deadline,
            || self.say_wanted(None),
            || match self.all_done(&mut from) {
                true => Some(true),
                false => give_up().then_some(false),
            },
        );
        // What is wanted stays: another thread may wait for the same job.
        done.unwrap_or(false)
    }

    /// Makes a waiting caller look again.
    pub(in crate::pool) fn ring(&self) {
        bell::ring(self.arena(), &self.view());
    }

    /// How many chunks no worker has claimed, and some may.
    pub(in crate::pool) fn unclaimed(&self) -> u64 {
        if self.cancelled.load(SeqCst) {
            return 0;
        }
        let view = self.view();
        (view.words.len() as u64).saturating_sub(view.header.cursor.0.load(SeqCst))
    }

    /// Is the worker of `seat`, which names this job, free for more: as it has done the last that it will do here, or as it is about to
    /// claim the first chunk of all, which [`unclaimed`](Self::unclaimed) counts?
    pub(in crate::pool) fn is_open_to(&self, seat: &Seat) -> bool {
        let view = self.view();
        if view.header.cursor.0.load(SeqCst) == 0 {
            return true;
        }
        let last = usize::try_from(seat.chunk.load(SeqCst)).ok();
        let word = last.and_then(|chunk| view.words.get(chunk).map(|word| Chunk::load(word, SeqCst)));
        // The seat names a chunk before it is claimed.
        matches!(word, Some(Chunk::Done { .. })) && self.unclaimed() == 0
    }

    /// Does this process run a chunk of this job now?
    pub(in crate::pool) fn is_run_by(&self, runner: u32) -> bool {
        self.runners().contains(&runner)
    }

    /// Which processes run chunks of this job now.
    pub(in crate::pool) fn runners(&self) -> Vec<u32> {
        let claimed = |word| match Chunk::load(word, SeqCst) {
            Chunk::Claimed { by, .. } => Some(by),
            _ => None,
        };
        self.view().words.iter().filter_map(claimed).collect()
    }
}
