//! Seeded mistakes of the locks; see `arena::mutants`. They exist in `testing` builds only.

/// The audit frees a dead holder's mutex without a word.
pub(crate) const MUTEX_UNPOISONED: u32 = 301;
/// The audit leaves a reentrant mutex as deep as the dead had locked it.
pub(crate) const REENTRANT_DEPTH_KEPT: u32 = 302;
/// The audit leaves the gate of a dead writer closed.
pub(crate) const RWLOCK_GATE_KEPT: u32 = 303;
/// The audit leaves the readers of a dead process inside.
pub(crate) const RWLOCK_READERS_KEPT: u32 = 304;
/// A permit is taken off the count before it is noted whose it is.
pub(crate) const SEMAPHORE_IN_TWO_STEPS: u32 = 305;
/// The audit keeps the permits of the dead.
pub(crate) const SEMAPHORE_PERMITS_KEPT: u32 = 306;
/// The audit wakes nobody who waits for a condition that the dead had.
pub(crate) const CONDITION_SILENT: u32 = 307;
/// The audit wakes nobody who waits for an event that the dead had.
pub(crate) const EVENT_SILENT: u32 = 308;
/// A barrier counts an arrival and notes whose it is in two steps.
pub(crate) const BARRIER_IN_TWO_STEPS: u32 = 309;
/// A run is done before it has begun.
pub(crate) const ONCE_DONE_FIRST: u32 = 310;

/// All of them, with the operation that shows each.
#[cfg(feature = "testing")]
pub(crate) const ALL: &[(u32, &str)] = &[
    (MUTEX_UNPOISONED, "mutex: audit frees without poison"),
    (REENTRANT_DEPTH_KEPT, "reentrant mutex: audit keeps the depth"),
    (RWLOCK_GATE_KEPT, "rwlock: audit keeps the gate closed"),
    (RWLOCK_READERS_KEPT, "rwlock: audit keeps readers inside"),
    (SEMAPHORE_IN_TWO_STEPS, "semaphore: count and owner in two steps"),
    (SEMAPHORE_PERMITS_KEPT, "semaphore: audit keeps permits"),
    (CONDITION_SILENT, "condition: audit wakes nobody"),
    (EVENT_SILENT, "event: audit wakes nobody"),
    (BARRIER_IN_TWO_STEPS, "barrier: count and owner in two steps"),
    (ONCE_DONE_FIRST, "once: done before it is run"),
];
