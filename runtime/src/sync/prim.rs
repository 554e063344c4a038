//! What the kernels in `raw/` are made of. They name nothing else, so that `tests/loom` can compile the same files with loom's
//! atomics, a futex made of loom's parts, and no clock.

use std::time::{Duration, Instant};

use super::permits;
pub(crate) use super::wait::spin_until;
use crate::sys::futex;
pub(crate) use crate::sys::futex::{Wait, wake, wake_all, wake_among};
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// As [`futex::wait`]. In a task, a worker of another pool may run meanwhile, such as the one that is waited for.
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Option<Instant>) -> Wait {
    let _paused = permits::is_held().then(permits::pause);
    futex::wait(word, expected, deadline)
}

/// As [`futex::wait_among`]; see [`wait`].
pub(crate) fn wait_among(kinds: u32, word: &AtomicU32, expected: u32, deadline: Option<Instant>) -> Wait {
    let _paused = permits::is_held().then(permits::pause);
    futex::wait_among(kinds, word, expected, deadline)
}

/// Orders what the caller stored by a read-modify-write before, and what it loads after, for all who do the same.
///
/// loom knows no order of SeqCst operations, only of SeqCst fences; and where a read-modify-write is a full barrier, a fence
/// after it would be a second one.
#[inline(always)]
pub(crate) fn full_fence() {
    if cfg!(target_arch = "x86_64") {
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
    } else {
        std::sync::atomic::fence(Ordering::SeqCst);
    }
}

/// Since when somebody waits.
#[derive(Debug)]
pub(crate) struct Patience(Instant);

impl Patience {
    /// How long a waiter is passed by others before the lock is kept for it.
    const LIMIT: Duration = Duration::from_millis(1);

    pub(crate) fn new() -> Patience {
        Patience(Instant::now())
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.elapsed() >= Patience::LIMIT
    }
}
