//! What is written down of each item, where a batch asks for it: by its worker into shared memory, read by the pool's process when the job
//! is over.
//!
//! Nothing of this is on the way of items that nobody asked about: records hang on `attention` (see `README.md`). An item's record is
//! whole before the seat's progress goes on to the next item, so of an item that counts as finished it is never missing; the one exception
//! is the last of a chunk, whose end [`Job::settle`](crate::pool::job::Job::settle) writes down for a worker that was killed in between.

use std::cell::Cell;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::message::{Encoder, Written};
use crate::pool::layout::{ItemRecord, JobView, outcome, recording};
use crate::sys::clock;
use crate::sys::usage::{self, InProcess};

/// Writes the records of the items that a worker runs of one job.
#[derive(Debug)]
pub(in crate::pool) struct Recorder<'j> {
    records: &'j [ItemRecord],
    /// Clocks are read, too.
    timed: bool,
    /// What the process uses is asked for, too.
    all: bool,
    /// Bytes of an output slot.
    slot: u64,
    /// As it stands in the records.
    worker: u64,
    /// The item whose record is not whole.
    open: Cell<Option<usize>>,
    /// As it was when that item began.
    before: Cell<(u64, InProcess)>,
    written: Cell<Written>,
}

impl<'j> Recorder<'j> {
    /// `None` where nothing is to be written down.
    pub(in crate::pool) fn of(job: &JobView<'j>, seat: usize) -> Option<Recorder<'j>> {
        let level = job.header.recording;
        if level == u64::from(recording::NOTHING) || job.records.is_empty() {
            return None;
        }
        Some(Recorder {
            records: job.records,
            timed: level >= u64::from(recording::TIMES),
            all: level == u64::from(recording::ALL),
            slot: job.header.output_stride,
            worker: u64::from(std::process::id()) | (seat as u64) << 32,
            open: Cell::new(None),
            before: Cell::default(),
            written: Cell::default(),
        })
    }

    /// `item` of the job is about to begin.
    pub(in crate::pool) fn begin(&self, item: usize, encoder: &Encoder) {
        let Some(record) = self.records.get(item) else { return };
        self.open.set(Some(item));
        record.outcome.store(0, Relaxed);
        if !self.timed {
            return;
        }
        record.ended.store(0, Relaxed);
        record.worker.store(self.worker, Relaxed);
        self.written.set(encoder.written());
        // If there is something, it was read a moment ago, for the end of the item before.
        if self.before.get().0 == 0 {
            self.before.set(self.now());
        }
        record.began.store(self.before.get().0, Release);
    }

    /// The time, and what the process has used if that is asked for.
    fn now(&self) -> (u64, InProcess) {
        (clock::monotonic_nanos(), if self.all { usage::in_process() } else { InProcess::default() })
    }

    /// The item at hand has no value.
    pub(in crate::pool) fn fault(&self) {
        if let Some(record) = self.open.get().and_then(|item| self.records.get(item)) {
            record.outcome.store(outcome::FAULT, Relaxed);
        }
    }

    /// The item at hand is over; `refused`: by an error of its task.
    pub(in crate::pool) fn end(&self, refused: bool, encoder: &Encoder) {
        let Some(record) = self.open.take().and_then(|item| self.records.get(item)) else { return };
        if self.timed {
            let (_, before) = self.before.get();
            let (now, used) = self.now();
            self.before.set((now, used));
            record.cpu.store(used.cpu.saturating_sub(before.cpu), Relaxed);
            let (peak, raised) = (used.peak_kib.min(u32::MAX.into()), used.peak_kib.saturating_sub(before.peak_kib));
            record.rss.store(peak | raised.min(u32::MAX.into()) << 32, Relaxed);
            record.bytes_out.store(self.slot + encoder.written_since(self.written.get()), Relaxed);
            record.ended.store(now, Release);
        }
        let seen = record.outcome.load(Relaxed);
        if seen == 0 {
            record.outcome.store(if refused { outcome::REFUSED } else { outcome::VALUE }, Release);
        }
    }

    /// The worker has done something else since.
    pub(in crate::pool) fn pause(&self) {
        self.before.set(Default::default());
    }

    /// This item of a program has ended its way.
    pub(in crate::pool) fn mishap(&self, item: usize) {
        if let Some(record) = self.records.get(item) {
            record.outcome.store(outcome::REFUSED, Release);
        }
    }
}

/// A record, read.
#[derive(Debug, Clone, Copy)]
pub(in crate::pool) struct Read {
    pub(in crate::pool) began: u64,
    pub(in crate::pool) ended: u64,
    pub(in crate::pool) cpu: u64,
    pub(in crate::pool) peak_kib: u64,
    pub(in crate::pool) raised_kib: u64,
    pub(in crate::pool) bytes_in: u64,
    pub(in crate::pool) bytes_out: u64,
    pub(in crate::pool) worker: u32,
    pub(in crate::pool) outcome: u32,
}

impl ItemRecord {
    /// What it says. Another worker may be writing it again, if it is not done: then half of this and half of that.
    pub(in crate::pool) fn read(&self) -> Read {
        let outcome = self.outcome.load(Acquire);
        let (ended, began) = (self.ended.load(Acquire), self.began.load(Acquire));
        let rss = self.rss.load(Relaxed);
        Read {
            began,
            ended,
            cpu: self.cpu.load(Relaxed),
            peak_kib: rss & u64::from(u32::MAX),
            raised_kib: rss >> 32,
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            worker: self.worker.load(Relaxed) as u32,
            outcome,
        }
    }

    /// Its worker died after the item was finished, and before it could say so.
    pub(in crate::pool) fn close(&self, at: u64) {
        if self.began.load(Acquire) != 0 && self.ended.load(Acquire) == 0 {
            self.ended.store(at, Release);
        }
    }
}
