//! The ring of published jobs, the sleeping workers, and the hazard pointers that keep a job alive while it is looked at.
//!
//! The pool's process alone publishes and clears entries (under its private lock); workers read them. An entry is the job's
//! block id, or 0. A worker names the job in its seat *before* it reads the entry a second time; the pool clears the entry
//! *before* it reads the seats. Both are sequentially consistent, so either the worker sees the entry gone or the pool sees
//! the job named, and keeps it.
//!
//! Sleeping is the same handshake: a worker sets its idle bit, then looks for work again; a publisher stores the entry, then
//! looks at the idle bits. Whoever clears a bit owes that worker a wake-up; only the pool's process does, and if that dies
//! the workers die with it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering::*};

use super::admission::IN_LANE;
use super::bell;
use crate::arena::BlockId;
use crate::pool::layout::{ControlView, RING};

impl<'a> ControlView<'a> {
    fn entry(&self, seq: u64) -> &'a AtomicU64 {
        &self.ring[seq as usize % RING]
    }

    /// Publishes a job. `None` when the ring is full. The caller holds the pool's private lock.
    pub(in crate::pool) fn publish(&self, job: BlockId) -> Option<u64> {
        let tail = self.control.tail.0.load(Relaxed);
        if tail - self.control.head.0.load(Acquire) >= RING as u64 {
            return None;
        }
        // A job of one lap back may still stand here, but it was passed: all its chunks are claimed or done.
        self.entry(tail).store(job.raw(), SeqCst);
        self.control.tail.0.store(tail + 1, SeqCst);
        Some(tail)
    }

    /// Takes a job out of the ring. Afterwards no worker that does not name it yet can begin to use it.
    pub(in crate::pool) fn clear(&self, seq: u64, job: BlockId) {
        if seq & IN_LANE != 0 {
            return self.clear_lane(seq);
        }
        let _ = self.entry(seq).compare_exchange(job.raw(), 0, SeqCst, Relaxed);
    }

    /// The jobs that seats name.
    pub(in crate::pool) fn named(&self) -> HashSet<u64> {
        self.seats.iter().map(|seat| seat.job.load(SeqCst)).filter(|&job| job != 0).collect()
    }

    /// The oldest entry that may have work. Whoever finds that it has none passes it, so the head moves on.
    pub(in crate::pool) fn oldest(&self) -> Option<(u64, BlockId)> {
        loop {
            let head = self.control.head.0.load(SeqCst);
            if head >= self.control.tail.0.load(SeqCst) {
                return None;
            }
            match BlockId::from_raw(self.entry(head).load(SeqCst)) {
                Some(job) => return Some((head, job)),
                None => self.pass(head),
            }
        }
    }

    /// Is there an entry that was not passed?
    pub(in crate::pool) fn has_entries(&self) -> bool {
        self.control.head.0.load(SeqCst) < self.control.tail.0.load(SeqCst)
    }

    /// The jobs that may have work, oldest first.
    pub(in crate::pool) fn entries(&self) -> impl Iterator<Item = BlockId> + use<'a> {
        let this = *self;
        let range = this.control.head.0.load(SeqCst)..this.control.tail.0.load(SeqCst);
        range.filter_map(move |seq| BlockId::from_raw(this.entry(seq).load(SeqCst)))
    }

    /// Is `job` still published under `seq`? Asked after the seat named it.
    pub(in crate::pool) fn still_published(&self, seq: u64, job: BlockId) -> bool {
        if seq & IN_LANE != 0 {
            return self.stands_in_lane(seq);
        }
        self.entry(seq).load(SeqCst) == job.raw()
    }

    /// Notes that the entry `seq` has no free chunk left. If it ever has again, the job is published anew.
    pub(in crate::pool) fn pass(&self, seq: u64) {
        if seq & IN_LANE != 0 {
            return self.pass_lane(seq);
        }
        let passed = self.control.head.0.compare_exchange(seq, seq + 1, SeqCst, Relaxed).is_ok();
        if passed && self.control.room_bell.load(SeqCst) != 0 {
            bell::ring_word(&self.control.watch_bell);
        }
    }

    /// Wakes at most `most` sleeping workers; returns how many.
    pub(in crate::pool) fn wake(&self, most: usize) -> usize {
        let mut woken = 0;
        for (at, word) in self.control.idle.0.iter().enumerate().take(self.seats.len().div_ceil(64)) {
            let mut bits = word.load(SeqCst);
            while bits != 0 && woken < most {
                let bit = bits & bits.wrapping_neg();
                bits &= !bit;
                if word.fetch_and(!bit, SeqCst) & bit == 0 {
                    continue;
                }
                if let Some(seat) = self.seats.get(at * 64 + bit.trailing_zeros() as usize) {
                    // All of them: a thread of the worker may have gone to sleep there, too; see `current.rs`.
                    bell::ring_word(&seat.bell);
                    woken += 1;
                }
            }
        }
        woken
    }

    /// Marks the worker of `seat` as sleeping, or not. Was it marked so before?
    pub(in crate::pool) fn set_idle(&self, seat: usize, idle: bool) -> bool {
        let (word, bit) = (&self.control.idle.0[seat / 64], 1 << (seat % 64));
        let before = match idle {
            true => word.fetch_or(bit, SeqCst),
            false if word.load(Relaxed) & bit != 0 => word.fetch_and(!bit, SeqCst),
            false => 0,
        };
        before & bit != 0
    }
}
