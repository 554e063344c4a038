//! What a process knows of its own blocks: private memory, shared by its threads, lost with it and rebuilt by the audit
//! from what the arena says.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::hold::HoldList;
use super::small::Spans;

#[derive(Default)]
pub(crate) struct Local {
    /// Locked before `holds`, and both before the granule lock.
    pub(crate) spans: Mutex<Spans>,
    pub(crate) holds: Mutex<HoldList>,
    /// Hold entries whose end could not be decided or reached yet; tried again by `Arena::settle`.
    pub(crate) deferred: Mutex<Vec<u32>>,
    /// Hold entries of objects that nobody refers to any more, to be destroyed by `Arena::reap`.
    pub(crate) doomed: Mutex<Vec<u32>>,
    /// Keeps the threads of this process from auditing the same dead process at once.
    pub(crate) auditing: Mutex<()>,
}

/// Locks a mutex of [`Local`]. None of them is held while anything can panic half-way through a change.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
