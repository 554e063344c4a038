//! What a pool's workers are given and how far they may go: environment, priority, CPUs, memory, CPU time.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::atomic::Ordering::*;
use std::time::Duration;

use crate::pool::layout::ControlView;
use crate::pool::protocol::admission::Resources;
use crate::process::{ChildSpec, EnvChanges};
use crate::sys::proc;

/// The variables by which numerical libraries are told how many threads to use.
const LIBRARY_THREADS: [&str; 9] = [
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "POLARS_MAX_THREADS",
];

/// What the builder has gathered about workers.
#[derive(Debug, Clone, Default)]
pub(in crate::pool) struct Limits {
    pub(in crate::pool) env: EnvChanges,
    pub(in crate::pool) cwd: Option<PathBuf>,
    pub(in crate::pool) nice: Option<i32>,
    pub(in crate::pool) cpus: Option<Vec<usize>>,
    pub(in crate::pool) pin: bool,
    pub(in crate::pool) backtraces: bool,
    pub(in crate::pool) records: Option<bool>,
    pub(in crate::pool) memory: Option<u64>,
    pub(in crate::pool) cpu_time: Option<Duration>,
    pub(in crate::pool) max_tasks: Option<u64>,
    pub(in crate::pool) recycle_above: Option<u64>,
    pub(in crate::pool) idle_timeout: Option<Duration>,
    pub(in crate::pool) library_threads: Option<usize>,
    pub(in crate::pool) stderr_tail: bool,
    /// Are there pipes in the place of the workers' standard streams?
    pub(in crate::pool) pipes: bool,
    pub(in crate::pool) output_limit: Option<usize>,
    /// What there is of what tasks may need.
    pub(in crate::pool) resources: Resources,
    /// Most workers of the tree that run at once.
    pub(in crate::pool) budget: Option<usize>,
    /// The first option that makes no sense.
    pub(in crate::pool) invalid: Option<String>,
}

impl Limits {
    /// Notes an option that makes no sense; [`build`](crate::PoolBuilder::build) says so.
    pub(in crate::pool) fn refuse(&mut self, reason: String) {
        self.invalid.get_or_insert(reason);
    }

    /// Asks for a worker like that.
    pub(in crate::pool) fn dress(&self, spec: &mut ChildSpec, workers: usize) {
        spec.env = self.env.clone();
        spec.cwd = self.cwd.clone();
        spec.nice = self.nice;
        spec.cpus = self.cpus.clone();
        spec.limits.memory = self.memory;
        spec.stderr_tail = self.stderr_tail;
        spec.library_threads = self.library_threads(workers);
    }

    /// How many threads numerical libraries may use in one of so many workers, by variable; those that the user has set stay.
    fn library_threads(&self, workers: usize) -> Vec<(OsString, OsString)> {
        let share = match self.library_threads {
            Some(threads) => threads,
            None => (crate::process::cpu_count() / workers.max(1)).max(1),
        };
        let is_free = |name: &&&str| {
            let name = OsStr::new(**name);
            !self.env.vars.contains_key(name) && (self.env.clear || std::env::var_os(name).is_none())
        };
        let value = OsString::from(share.to_string());
        LIBRARY_THREADS.iter().filter(is_free).map(|name| (OsString::from(name), value.clone())).collect()
    }

    /// Tells the workers what they look to by themselves. Before the first worker starts.
    pub(in crate::pool) fn announce(&self, control: &ControlView<'_>) {
        let words = &control.control.rules;
        let nanos =
            |time: Option<Duration>| time.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1));
        words.max_tasks.store(self.max_tasks.unwrap_or(0), Release);
        words.recycle_above.store(self.recycle_above.unwrap_or(0), Release);
        words.cpu_time.store(nanos(self.cpu_time), Release);
        words.idle_timeout.store(nanos(self.idle_timeout), Release);
        words.pin.store(self.pin.into(), Release);
        words.backtraces.store(self.backtraces.into(), Release);
    }
}

/// Keeps this worker, at seat `at`, on one of the CPUs that it may use: neighbours on different ones.
pub(in crate::pool) fn pin(at: usize) {
    let Some(allowed) = proc::cpus() else { return };
    let numbers: Vec<usize> = (0..allowed.len() * 64).filter(|cpu| allowed[cpu / 64] >> (cpu % 64) & 1 == 1).collect();
    let Some(&cpu) = numbers.get(at % numbers.len().max(1)) else { return };
    let mut one = [0; 16];
    one[cpu / 64] = 1 << (cpu % 64);
    // It was allowed a moment ago. If that has just changed, the worker stays where it may be.
    _ = proc::set_cpus(&one);
}
