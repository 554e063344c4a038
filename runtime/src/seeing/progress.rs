//! How far a run is, told again and again by a thread that lives as long as the run.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// So often a watcher is told.
const INTERVAL: Duration = Duration::from_millis(100);
/// The rate is that of so long before now.
const RATE_OVER: Duration = Duration::from_secs(10);

/// How far a batch is; see [`Batch::progress_with`](crate::Batch::progress_with).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// Items that are over, whether with a value or not, also those that a journal had.
    pub done: u64,
    /// How many there are, where the input says so.
    pub total: Option<u64>,
    /// Those among `done` that failed: without a value, or the task returned an `Err`; of a flow, those that a stage ended.
    pub failed: u64,
    /// Runs that were lost with their worker and are tried again.
    pub retried: u64,
    /// The time since the batch began.
    pub elapsed: Duration,
    /// Items a second, over the last ten seconds; in the last call, over the whole.
    pub rate: f64,
    /// How long the rest takes at that rate, where `total` is known.
    pub eta: Option<Duration>,
    /// What the workers do that are at this batch, by their number.
    pub workers: Vec<WorkerProgress>,
    /// This is the last call: the batch is over.
    pub is_over: bool,
}

/// What a worker does; see [`Progress`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerProgress {
    /// Its number; see [`worker_id`](crate::process::worker_id).
    pub id: usize,
    /// Its process.
    pub pid: u32,
    /// The item that it runs, by its index in the batch.
    pub item: Option<usize>,
    /// How long it has been at it, to a few milliseconds; of short items, at this batch.
    pub since: Duration,
    /// Items that it has finished, of all batches.
    pub items: u64,
    /// What the task said of itself with [`task::progress`](crate::task::progress): what is done, and of how much.
    pub progress: Option<(u64, u64)>,
}

/// How far a run is, without times.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) retried: u64,
    pub(crate) workers: Vec<WorkerProgress>,
}

impl WorkerProgress {
    pub(crate) fn new(id: usize, pid: u32) -> WorkerProgress {
        WorkerProgress { id, pid, item: None, since: Duration::ZERO, items: 0, progress: None }
    }
}

type Callback = Arc<Mutex<dyn FnMut(&Progress) + Send>>;

/// Who is to be told.
#[derive(Clone)]
pub(crate) enum Watcher {
    Call(Callback),
    #[cfg(feature = "progress")]
    Bar(super::ProgressBar),
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Watcher::Call(_) => f.write_str("Call"),
            #[cfg(feature = "progress")]
            Watcher::Bar(bar) => bar.fmt(f),
        }
    }
}

impl Watcher {
    pub(crate) fn call(callback: impl FnMut(&Progress) + Send + 'static) -> Watcher {
        Watcher::Call(Arc::new(Mutex::new(callback)))
    }

    /// What tells it of one run.
    fn teller(&self) -> Box<dyn FnMut(&Progress)> {
        match self {
            Watcher::Call(callback) => {
                let callback = callback.clone();
                Box::new(move |progress| {
                    // A callback that has panicked is not called again: what it kept is half done.
                    if let Ok(mut callback) = callback.lock() {
                        callback(progress);
                    }
                })
            }
            #[cfg(feature = "progress")]
            Watcher::Bar(bar) => {
                let mut drawn = bar.draw();
                Box::new(move |progress| drawn.update(progress))
            }
        }
    }
}

/// Asks how far a run is, beside what its meter was told.
pub(crate) type Gauge = Box<dyn Fn() -> Reading + Send + Sync>;

/// Tells a watcher how far one run is, from now until it is dropped.
pub(crate) struct Meter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    watcher: Watcher,
    /// The process in which that thread is.
    process: u32,
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").field("watcher", &self.watcher).finish_non_exhaustive()
    }
}

struct Shared {
    begun: Instant,
    gauge: Option<Gauge>,
    state: Mutex<State>,
    /// Signalled when the run is over.
    over: Condvar,
}

#[derive(Debug, Default)]
struct State {
    told: Reading,
    total: Option<u64>,
    is_over: bool,
}

impl Meter {
    /// Begins, if somebody is to be told.
    pub(crate) fn begin(watcher: Option<&Watcher>, total: Option<u64>) -> Option<Meter> {
        watcher.map(|watcher| Meter::with_gauge(watcher, total, None))
    }

    /// As `begin`, with somebody to ask.
    pub(crate) fn with_gauge(watcher: &Watcher, total: Option<u64>, gauge: Option<Gauge>) -> Meter {
        let state = Mutex::new(State { total, ..State::default() });
        let shared = Arc::new(Shared { begun: Instant::now(), gauge, state, over: Condvar::new() });
        let (mine, told) = (shared.clone(), watcher.clone());
        let thread = std::thread::Builder::new().name("offspring-progress".into()).spawn(move || mine.tell(&told));
        // Where no thread is to be had, the end is told all the same.
        Meter { shared, thread: thread.ok(), watcher: watcher.clone(), process: std::process::id() }
    }

    /// So many more items are over, of which so many have failed.
    pub(crate) fn done(&self, items: u64, failed: u64) {
        let mut state = self.shared.state();
        state.told.done += items;
        state.told.failed += failed;
    }

    /// How many items there are.
    pub(crate) fn set_total(&self, total: Option<u64>) {
        self.shared.state().total = total;
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if std::process::id() != self.process {
            // In a `fork` that the program made itself there is no such thread, and its locks may be held for ever.
            return std::mem::forget(self.thread.take());
        }
        self.shared.state().is_over = true;
        self.shared.over.notify_all();
        match self.thread.take() {
            // A callback that drops the batch it is told of.
            Some(thread) if thread.thread().id() == std::thread::current().id() => {}
            // Its panics are caught.
            Some(thread) => drop(thread.join()),
            None => self.shared.tell(&self.watcher),
        }
    }
}

impl Shared {
    /// Nothing panics while it holds the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the watcher until the run is over.
    fn tell(&self, watcher: &Watcher) {
        let mut samples: VecDeque<(Instant, u64)> = VecDeque::from([(self.begun, 0)]);
        // Unwind safety: after a panic neither of them is used again.
        let Ok(mut teller) = catch_unwind(AssertUnwindSafe(|| watcher.teller())) else { return };
        loop {
            let is_over = {
                let state = self.state();
                let wait = self.over.wait_timeout_while(state, INTERVAL, |state| !state.is_over);
                wait.unwrap_or_else(PoisonError::into_inner).0.is_over
            };
            let progress = self.look(&mut samples, is_over);
            if catch_unwind(AssertUnwindSafe(|| teller(&progress))).is_err() || is_over {
                return;
            }
        }
    }

    fn look(&self, samples: &mut VecDeque<(Instant, u64)>, is_over: bool) -> Progress {
        let mut reading = self.gauge.as_ref().map_or_else(Reading::default, |gauge| gauge());
        let total = {
            let state = self.state();
            reading.done += state.told.done;
            reading.failed += state.told.failed;
            reading.retried += state.told.retried;
            state.total
        };
        let Reading { done, failed, retried, workers } = reading;
        let (now, elapsed) = (Instant::now(), self.begun.elapsed());
        // A chunk that is begun anew has not gone back for those who watch.
        let done = if is_over { done } else { samples.back().map_or(done, |(_, before)| done.max(*before)) };
        samples.push_back((now, done));
        while samples.len() > 2 && samples.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= RATE_OVER) {
            samples.pop_front();
        }
        let (from, before) = match samples.front() {
            Some(first) if !is_over => *first,
            _ => (self.begun, 0),
        };
        let seconds = now.duration_since(from).as_secs_f64();
        let rate = if seconds > 0.0 { done.saturating_sub(before) as f64 / seconds } else { 0.0 };
        let left = total.map(|total| total.saturating_sub(done) as f64 / rate);
        let eta = left.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let total = total.map(|total| total.max(done));
        Progress { done, total, failed, retried, elapsed, rate, eta, workers, is_over }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_tells_what_it_is_told_and_the_end_last() {
        let seen: Arc<Mutex<Vec<Progress>>> = Arc::default();
        let kept = seen.clone();
        let watcher = Watcher::call(move |progress| kept.lock().unwrap().push(progress.clone()));
        let meter = Meter::begin(Some(&watcher), Some(10)).unwrap();
        meter.done(4, 1);
        while seen.lock().unwrap().last().is_none_or(|last| last.done < 4) {
            std::thread::yield_now();
        }
        meter.done(6, 0);
        drop(meter);
        let seen = seen.lock().unwrap();
        let last = seen.last().unwrap();
        assert_eq!((last.done, last.total, last.failed, last.retried), (10, Some(10), 1, 0));
        assert!(last.is_over && last.eta == Some(Duration::ZERO) && last.rate > 0.0, "{last:?}");
        assert!(seen[..seen.len() - 1].iter().all(|progress| !progress.is_over));
        let first = seen.iter().find(|progress| progress.done == 4).unwrap();
        assert!(first.eta.is_some(), "{first:?}");
    }

    #[test]
    fn a_watcher_that_panics_ends_nothing_and_is_not_called_again() {
        let calls = Arc::new(Mutex::new(0));
        let counted = calls.clone();
        let watcher = Watcher::call(move |_| {
            *counted.lock().unwrap() += 1;
            panic!("not me");
        });
        for _ in 0..2 {
            drop(Meter::begin(Some(&watcher), None));
        }
        assert_eq!(*calls.lock().unwrap(), 1);
    }
}
