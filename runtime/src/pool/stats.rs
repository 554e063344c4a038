//! What a pool can tell about itself.

use std::sync::atomic::Ordering::Relaxed;

use super::core::Core;

/// A worker of a pool; see [`Pool::workers`](super::Pool::workers).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// Its process.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// Items it has finished.
    pub items: u64,
    /// Is it in a chunk now?
    pub busy: bool,
}

/// Counts of a pool; see [`Pool::stats`](super::Pool::stats).
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

pub(super) fn workers(core: &Core) -> Vec<WorkerInfo> {
    if !core.is_here() {
        return Vec::new();
    }
    let control = core.estate.control();
    let inner = core.lock();
    let mut workers: Vec<WorkerInfo> = inner
        .crew
        .members()
        .map(|worker| {
            let seat = control.seats.iter().find(|seat| seat.owner.load(Relaxed) == worker.owner().raw());
            WorkerInfo {
                pid: worker.pid(),
                name: worker.name().to_owned(),
                items: seat.map_or(0, |seat| seat.items.load(Relaxed)),
                busy: seat.is_some_and(|seat| seat.job.load(Relaxed) != 0),
            }
        })
        .collect();
    workers.sort_by_key(|worker| worker.pid);
    workers
}

pub(super) fn stats(core: &Core) -> PoolStats {
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
