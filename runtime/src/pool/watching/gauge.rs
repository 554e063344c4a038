//! How far a batch is, for those who are told: counted from what workers write anyway, so that being watched costs an item nothing.
//!
//! Only where a task's own result says whether it failed do workers look at each item, and write that down (`record.rs`).

use std::collections::HashMap;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::pool::job::Job;
use crate::pool::job::errand::Errand;
use crate::pool::layout::{ControlView, outcome};
use crate::pool::master::core::Core;
use crate::pool::protocol::claim::{Chunk, Progress as Place};
use crate::seeing::WorkerProgress;
use crate::seeing::progress::{Meter, Reading};
use crate::sys::clock;

/// The jobs of a batch that is watched.
#[derive(Debug, Default)]
pub(in crate::pool) struct Gauge(Mutex<Jobs>);

#[derive(Debug, Default)]
struct Jobs {
    /// Those that are not over.
    live: Vec<Weak<Job>>,
    /// What became of the others, and of items that were in no job.
    over: Reading,
}

impl Gauge {
    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job is about to be published.
    pub(in crate::pool) fn add(&self, job: &Arc<Job>) {
        self.lock().live.push(Arc::downgrade(job));
    }

    /// An item that needs no job is over.
    pub(in crate::pool) fn count(&self, failed: bool) {
        let mut jobs = self.lock();
        jobs.over.done += 1;
        jobs.over.failed += u64::from(failed);
    }

    /// A job is over, and its memory about to go.
    pub(in crate::pool) fn close(&self, job: &Arc<Job>) {
        let mut jobs = self.lock();
        let before = jobs.live.len();
        jobs.live.retain(|live| live.strong_count() > 0 && live.as_ptr() != Arc::as_ptr(job));
        if jobs.live.len() < before {
            let (done, failed) = look(job, &HashMap::new());
            jobs.over.done += done;
            jobs.over.failed += failed;
        }
    }

    fn read(&self, core: &Core, errand: &Errand) -> Reading {
        let control = core.estate.control();
        let jobs = self.lock();
        let mut reading = jobs.over.clone();
        let live: Vec<Arc<Job>> = jobs.live.iter().filter_map(Weak::upgrade).collect();
        let places = places(&control);
        for job in &live {
            let (done, failed) = look(job, &places);
            reading.done += done;
            reading.failed += failed;
        }
        reading.retried = errand.retried.load(Relaxed);
        reading.workers = workers(core, &control, &live);
        reading
    }
}

/// Begins to tell how far the batch is, if somebody wants to know.
pub(in crate::pool) fn watch(core: &Arc<Core>, errand: &Arc<Errand>) -> Option<Meter> {
    let watcher = errand.policy.progress.as_ref()?;
    let gauge = errand.gauge.get_or_init(Arc::default).clone();
    let (core, errand) = (Arc::downgrade(core), Arc::downgrade(errand));
    // The batch keeps both as long as its meter runs.
    let read = move || match (core.upgrade(), errand.upgrade()) {
        (Some(core), Some(errand)) if core.is_here() => gauge.read(&core, &errand),
        _ => gauge.lock().over.clone(),
    };
    Some(Meter::with_gauge(watcher, None, Some(Box::new(read))))
}

/// How far the workers are: by job and chunk, the items that are done of it.
fn places(control: &ControlView<'_>) -> HashMap<(u64, u64), usize> {
    let place = |seat: &crate::pool::layout::Seat| {
        let chunk = (seat.job.load(Acquire), seat.chunk.load(Relaxed));
        (chunk, Place::of(seat.progress.load(Relaxed)).item)
    };
    control.seats.iter().filter(|seat| seat.job.load(Relaxed) != 0).map(place).collect()
}

/// How many items of a job are over, and how many of them have failed.
fn look(job: &Job, places: &HashMap<(u64, u64), usize>) -> (u64, u64) {
    let view = job.view();
    let (mut done, mut failed) = (0, 0);
    for (chunk, word) in view.words.iter().enumerate() {
        let range = view.range(chunk);
        let over = match Chunk::load(word, Acquire) {
            Chunk::Done { end } => end,
            Chunk::Free { start, .. } => start,
            Chunk::Claimed { start, .. } => {
                places.get(&(job.id().raw(), chunk as u64)).map_or(start, |item| (*item).max(start))
            }
        };
        let over = over.min(range.len());
        done += over as u64;
        if over > 0 && !view.records.is_empty() {
            let records = view.records.get(range.start..range.start + over).unwrap_or_default();
            failed += records.iter().filter(|record| record.outcome.load(Acquire) == outcome::REFUSED).count() as u64;
        }
    }
    (done, failed + job.count_lost() as u64)
}

fn workers(core: &Core, control: &ControlView<'_>, live: &[Arc<Job>]) -> Vec<WorkerProgress> {
    let now = clock::coarse_nanos();
    let mut workers = Vec::new();
    for (id, seat) in control.seats.iter().enumerate() {
        let at = seat.job.load(Acquire);
        let Some(job) = live.iter().find(|job| job.id().raw() == at) else { continue };
        let Some(process) = core.lock().crew.member(seat.owner.load(Relaxed)) else { continue };
        let place = Place::of(seat.progress.load(Relaxed));
        let chunk = usize::try_from(seat.chunk.load(Relaxed)).ok().filter(|chunk| *chunk < job.chunks());
        let item = chunk.filter(|_| place.running).map(|chunk| job.view().range(chunk).start + place.item);
        let mut worker = WorkerProgress::new(id, process.pid());
        worker.item = item.and_then(|item| job.context(item).item);
        worker.since = Duration::from_nanos(now.saturating_sub(seat.since.load(Relaxed)));
        worker.items = seat.items.load(Relaxed);
        worker.progress = seat.said.of(seat, job.id());
        workers.push(worker);
    }
    workers
}
