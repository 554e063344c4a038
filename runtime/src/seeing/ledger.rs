//! What was measured in a pool, gathered in bounded memory.
//!
//! Counts and distributions hold any number of items. Of single runs the timeline keeps some ten thousand: beyond that, neighbours on one worker
//! that are short against the whole are told as one, so that the picture stays right and long runs stay what they are.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::spread::Spread;

/// Runs that the timeline keeps at most.
const MOST_RUNS: usize = 20_000;
/// Kills, retries and the like, and batches, that are kept at most; what comes later is counted.
const MOST_INCIDENTS: usize = 10_000;
/// The slowest items of each task that are kept.
const SLOWEST: usize = 20;

/// How a run of an item ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RunEnd {
    /// With a value.
    Value,
    /// The task returned an `Err`; or, in a flow, a stage ended the item's way.
    Refused,
    /// The task panicked, or its result could not be sent.
    Fault,
    /// Its worker died.
    Died,
    /// It ran too long, and was ended.
    TimedOut,
    /// It was cancelled, and ended by force.
    Cancelled,
}

/// One run of one item.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) task: usize,
    pub(crate) item: Option<usize>,
    pub(crate) worker: u32,
    pub(crate) tries: u32,
    pub(crate) began: u64,
    pub(crate) ended: u64,
    pub(crate) waited: u64,
    pub(crate) cpu: u64,
    pub(crate) end: RunEnd,
    /// More than one: short runs, one after the other, told as one. `busy` is then less than from `began` to `ended`.
    pub(crate) items: u64,
    pub(crate) busy: u64,
}

/// What was measured of one item that is over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) began: u64,
    pub(crate) ended: u64,
    pub(crate) waited: u64,
    pub(crate) cpu: u64,
    pub(crate) peak_kib: u64,
    pub(crate) raised_kib: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) worker: u32,
    pub(crate) tries: u32,
    pub(crate) end: RunEnd,
}

/// One of the slowest items.
#[derive(Debug, Clone)]
pub(crate) struct Slow {
    pub(crate) item: Option<usize>,
    pub(crate) measured: Measured,
    pub(crate) input: Option<String>,
}

/// What was measured of a task.
#[derive(Debug, Clone, Default)]
pub(crate) struct TaskBook {
    pub(crate) name: String,
    pub(crate) values: u64,
    pub(crate) refused: u64,
    pub(crate) lost: u64,
    pub(crate) not_run: u64,
    pub(crate) retried: u64,
    pub(crate) wall: Spread,
    pub(crate) cpu: Spread,
    pub(crate) wait: Spread,
    pub(crate) peak: Spread,
    pub(crate) bytes_in: Spread,
    pub(crate) bytes_out: Spread,
    pub(crate) slowest: Vec<Slow>,
}

/// What is known of a worker.
#[derive(Debug, Clone, Default)]
pub(crate) struct WorkerBook {
    pub(crate) name: String,
    pub(crate) began: u64,
    pub(crate) ended: Option<u64>,
    pub(crate) status: String,
    pub(crate) items: u64,
    pub(crate) busy: u64,
    pub(crate) cpu: u64,
    pub(crate) peak_kib: u64,
}

/// What happened to a worker or an item.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) at: u64,
    pub(crate) worker: u32,
    pub(crate) task: Option<usize>,
    pub(crate) item: Option<usize>,
    pub(crate) what: What,
    pub(crate) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Died,
    TimedOut,
    Cancelled,
    Retried,
}

/// A batch that is over.
#[derive(Debug, Clone)]
pub(crate) struct BatchBook {
    pub(crate) task: usize,
    pub(crate) began: u64,
    pub(crate) ended: u64,
    pub(crate) items: u64,
}

/// All that was measured, at one time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Books {
    /// Nanoseconds of the monotonic clock from which on all is counted; 0: nothing was asked for.
    pub(crate) origin: u64,
    pub(crate) tasks: Vec<TaskBook>,
    numbers: HashMap<Arc<str>, usize>,
    pub(crate) workers: BTreeMap<u32, WorkerBook>,
    pub(crate) runs: Vec<Run>,
    /// Gaps shorter than this are closed between short runs.
    grain: u64,
    pub(crate) events: Vec<Event>,
    pub(crate) batches: Vec<BatchBook>,
    /// Events and batches beyond those that are kept.
    pub(crate) left_out: u64,
}

/// Where what is measured is gathered.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    is_on: AtomicBool,
    books: Mutex<Books>,
}

impl Ledger {
    /// Begins to gather, if it has not.
    pub(crate) fn begin(&self, now: u64) {
        if self.is_on.load(Acquire) {
            return;
        }
        let mut books = self.books();
        if books.origin == 0 {
            books.origin = now;
        }
        self.is_on.store(true, Release);
    }

    /// Is anything gathered?
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Acquire)
    }

    /// The books. Nothing panics while they are held.
    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    /// The number of a task.
    pub(crate) fn task(&mut self, name: &Arc<str>) -> usize {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        self.tasks.push(TaskBook { name: name.to_string(), ..TaskBook::default() });
        self.numbers.insert(name.clone(), self.tasks.len() - 1);
        self.tasks.len() - 1
    }

    /// An item that is over, and was measured. `input` is asked for its input in short, if it is among the slowest.
    pub(crate) fn measured(
        &mut self,
        task: usize,
        item: Option<usize>,
        measured: Measured,
        input: impl FnOnce() -> Option<String>,
    ) {
        let wall = measured.ended.saturating_sub(measured.began);
        let book = &mut self.tasks[task];
        match measured.end {
            RunEnd::Value => book.values += 1,
            RunEnd::Refused => book.refused += 1,
            _ => book.lost += 1,
        }
        book.wall.add(wall);
        book.cpu.add(measured.cpu);
        book.wait.add(measured.waited);
        book.peak.add(measured.peak_kib.saturating_mul(1024));
        book.bytes_in.add(measured.bytes_in);
        book.bytes_out.add(measured.bytes_out);
        book.slow(item, measured, input);
        let worker = self.workers.entry(measured.worker).or_default();
        worker.items += 1;
        worker.busy += wall;
        worker.cpu += measured.cpu;
        worker.peak_kib = worker.peak_kib.max(measured.peak_kib);
        let Measured { began, ended, waited, cpu, worker, tries, end, .. } = measured;
        self.run(Run { task, item, worker, tries, began, ended, waited, cpu, end, items: 1, busy: wall });
    }

    /// An item without a value, which its record says to have begun then, in that worker: it may be among the
    /// slowest all the same.
    pub(crate) fn lost(
        &mut self,
        task: usize,
        item: Option<usize>,
        (worker, began): (u32, u64),
        input: impl FnOnce() -> Option<String>,
    ) {
        let is_it = |run: &&Run| run.worker == worker && run.began == began && run.task == task && run.items == 1;
        let Some(run) = self.runs.iter().rev().find(is_it) else { return };
        let Run { ended, waited, tries, end, .. } = *run;
        // What it used went with its worker.
        let (cpu, peak_kib, raised_kib, bytes_in, bytes_out) = Default::default();
        let measured =
            Measured { began, ended, waited, cpu, peak_kib, raised_kib, bytes_in, bytes_out, worker, tries, end };
        self.tasks[task].slow(item, measured, input);
    }

    /// A run on the timeline.
    pub(crate) fn run(&mut self, run: Run) {
        self.runs.push(run);
        if self.runs.len() >= MOST_RUNS {
            self.thin();
        }
    }

    /// A run that ended with its worker.
    pub(crate) fn killed(&mut self, run: Run) {
        let worker = self.workers.entry(run.worker).or_default();
        worker.busy += run.busy;
        self.run(run);
    }

    /// Tells neighbours on one worker as one, until half as many runs are left.
    fn thin(&mut self) {
        self.runs.sort_by_key(|run| (run.worker, run.began));
        while self.runs.len() > MOST_RUNS / 2 {
            let reached = self.runs.iter().map(|run| run.ended).max().unwrap_or(0).saturating_sub(self.origin);
            if self.grain > reached {
                // Nothing is short any more: single incidents, which are dear. The oldest go.
                let spare = self.runs.len() - MOST_RUNS / 2;
                self.runs.sort_by_key(|run| run.ended);
                self.runs.drain(..spare);
                self.left_out += spare as u64;
                return;
            }
            let grain = self.grain.max(1000);
            self.grain = grain;
            let is_short = |run: &Run| {
                matches!(run.end, RunEnd::Value | RunEnd::Refused) && run.ended.saturating_sub(run.began) < 16 * grain
            };
            self.runs.dedup_by(|next, last| {
                let near = next.worker == last.worker
                    && next.task == last.task
                    && next.end == last.end
                    && next.began.saturating_sub(last.ended) < grain;
                if !near || !is_short(next) || !is_short(last) {
                    return false;
                }
                last.ended = last.ended.max(next.ended);
                last.items += next.items;
                last.busy += next.busy;
                last.cpu += next.cpu;
                last.waited = last.waited.max(next.waited);
                last.tries = last.tries.max(next.tries);
                true
            });
            if self.runs.len() > MOST_RUNS / 2 {
                self.grain *= 2;
            }
        }
    }

    /// Something happened.
    pub(crate) fn event(&mut self, event: Event) {
        if self.events.len() < MOST_INCIDENTS { self.events.push(event) } else { self.left_out += 1 }
    }

    /// A batch is over.
    pub(crate) fn batch(&mut self, batch: BatchBook) {
        if self.batches.len() < MOST_INCIDENTS { self.batches.push(batch) } else { self.left_out += 1 }
    }
}

impl TaskBook {
    /// An item that is over: it may be among the slowest.
    fn slow(&mut self, item: Option<usize>, measured: Measured, input: impl FnOnce() -> Option<String>) {
        let length = |measured: &Measured| measured.ended.saturating_sub(measured.began);
        let wall = length(&measured);
        if self.slowest.len() < SLOWEST || self.slowest.last().is_some_and(|last| length(&last.measured) < wall) {
            let at = self.slowest.partition_point(|slow| length(&slow.measured) >= wall);
            self.slowest.insert(at, Slow { item, measured, input: input() });
            self.slowest.truncate(SLOWEST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(worker: u32, began: u64, ended: u64) -> Measured {
        Measured {
            began,
            ended,
            waited: 5,
            cpu: ended - began,
            peak_kib: 10,
            raised_kib: 0,
            bytes_in: 8,
            bytes_out: 8,
            worker,
            tries: 1,
            end: RunEnd::Value,
        }
    }

    #[test]
    fn any_number_of_short_runs_is_kept_in_bounded_memory_and_nothing_is_lost() {
        let mut books = Books { origin: 1, ..Books::default() };
        let task = books.task(&"t".into());
        let (mut now, count) = ([1u64; 2], 300_000u64);
        for item in 0..count {
            let worker = (item % 2) as usize;
            let length = if item == 100_000 { 50_000_000 } else { 100 };
            books.measured(
                task,
                Some(item as usize),
                measured(worker as u32, now[worker], now[worker] + length),
                || Some(format!("{item}")),
            );
            now[worker] += length + 10;
        }
        assert!(books.runs.len() < MOST_RUNS);
        assert_eq!(books.runs.iter().map(|run| run.items).sum::<u64>(), count);
        let busy = (count - 1) * 100 + 50_000_000;
        assert_eq!(books.runs.iter().map(|run| run.busy).sum::<u64>(), busy);
        // The long one is still told by itself.
        assert!(books.runs.iter().any(|run| run.item == Some(100_000) && run.items == 1 && run.busy == 50_000_000));
        assert_eq!((books.tasks[task].values, books.tasks[task].wall.count()), (count, count));
        assert_eq!(books.tasks[task].slowest[0].input.as_deref(), Some("100000"));
        assert_eq!(books.tasks[task].slowest.len(), SLOWEST);
    }

    #[test]
    fn incidents_are_bounded_too() {
        let mut books = Books { origin: 1, ..Books::default() };
        let task = books.task(&"t".into());
        for at in 0..50_000u64 {
            let (worker, began, ended) = (at as u32, at * 10, at * 10 + 9);
            let end = RunEnd::Died;
            let run =
                Run { task, item: None, worker, tries: 1, began, ended, waited: 0, cpu: 0, end, items: 1, busy: 9 };
            books.killed(run);
            let (what, text) = (What::Died, String::new());
            books.event(Event { at, worker, task: None, item: None, what, text });
        }
        assert!(books.runs.len() < MOST_RUNS && books.events.len() == MOST_INCIDENTS);
        let left_out = (50_000 - books.runs.len()) + (50_000 - MOST_INCIDENTS);
        assert_eq!(books.left_out, left_out as u64);
    }
}
