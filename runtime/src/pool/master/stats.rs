//! What a pool can tell about itself.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::core::Core;
use crate::arena::BlockId;
use crate::status::Usage;
use crate::sys::{clock, proc};

/// A worker of a pool; see [`Pool::workers`](crate::Pool::workers).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// Its process.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// Its number; see [`worker_id`](crate::process::worker_id). `None` while it starts.
    pub id: Option<usize>,
    /// What it does.
    pub status: WorkerStatus,
    /// The task that it runs, if it runs one.
    pub task: Option<String>,
    /// How long it has been at that, to a few milliseconds. Of short tasks in a long batch: how long it has been at the batch.
    pub since: Duration,
    /// Items it has finished.
    pub items: u64,
    /// Is it in a chunk now?
    pub busy: bool,
    /// How far the task that it runs says it is, with [`task::progress`](crate::task::progress): what is done, and of how much.
    pub progress: Option<(u64, u64)>,
    /// CPU time and memory so far. `None` where /proc does not tell, or when it has just ended.
    pub usage: Option<Usage>,
    /// Bytes of memory that it has in use now, what it shares with others included; 0 where that is unknown.
    pub rss: u64,
}

/// What a worker does; see [`WorkerInfo`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WorkerStatus {
    /// It is being set up: its initializer may be at work.
    Starting,
    /// It has nothing to do.
    Idle,
    /// It runs a task.
    Busy,
}

/// Counts of a pool; see [`Pool::stats`](crate::Pool::stats).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Workers alive now.
    pub workers: usize,
    /// Workers started so far, replacements included.
    pub started: u64,
    /// Items finished by the workers that are alive.
    pub items: u64,
    /// Chunks they claimed.
    pub claims: u64,
    /// How often they went to sleep in the kernel.
    pub sleeps: u64,
}

pub(in crate::pool) fn workers(core: &Core) -> Vec<WorkerInfo> {
    if !core.is_here() {
        return Vec::new();
    }
    let control = core.estate.control();
    let now = clock::coarse_nanos();
    let inner = core.lock();
    let mut workers: Vec<WorkerInfo> = inner
        .crew
        .members()
        .map(|worker| {
            let at = control.seats.iter().position(|seat| seat.owner.load(Relaxed) == worker.owner().raw());
            let seat = at.map(|at| &control.seats[at]);
            let job = seat.and_then(|seat| BlockId::from_raw(seat.job.load(Relaxed)));
            let status = match (seat.map(|seat| seat.ready.load(Relaxed)), job) {
                (None | Some(0), _) => WorkerStatus::Starting,
                (_, Some(_)) => WorkerStatus::Busy,
                (_, None) => WorkerStatus::Idle,
            };
            let since = seat.map(|seat| seat.since.load(Relaxed)).filter(|since| *since > 0).unwrap_or(now);
            let usage = proc::in_use(worker.pid());
            WorkerInfo {
                pid: worker.pid(),
                name: worker.name().to_owned(),
                id: at,
                status,
                task: job.and_then(|job| inner.jobs.get(&job)).map(|job| job.context(0).task.to_string()),
                since: Duration::from_nanos(now.saturating_sub(since)),
                items: seat.map_or(0, |seat| seat.items.load(Relaxed)),
                busy: job.is_some(),
                progress: seat.zip(job).and_then(|(seat, job)| seat.said.of(seat, job)),
                usage: usage.map(|usage| Usage { user: usage.user, system: usage.system, max_rss: usage.max_rss }),
                rss: usage.map_or(0, |usage| usage.rss),
            }
        })
        .collect();
    workers.sort_by_key(|worker| worker.pid);
    workers
}

pub(in crate::pool) fn stats(core: &Core) -> PoolStats {
    if !core.is_here() {
        return PoolStats::default();
    }
    let control = core.estate.control();
    let inner = core.lock();
    let mut stats =
        PoolStats { workers: inner.crew.members().count(), started: inner.crew.started(), ..PoolStats::default() };
    for seat in control.seats.iter().filter(|seat| seat.owner.load(Relaxed) != 0) {
        stats.items += seat.items.load(Relaxed);
        stats.claims += seat.claims.load(Relaxed);
        stats.sleeps += u64::from(seat.sleeps.load(Relaxed));
    }
    stats
}
