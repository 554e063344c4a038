//! What the kernels in `raw/` are made of. They name nothing else, so that `tests/loom` can compile the same files with loom's
//! atomics, a futex made of loom's parts, and no clock.

use std::time::{Duration, Instant};

pub(crate) use super::wait::spin_until;
pub(crate) use crate::sys::futex::{Wait, wait, wait_among, wake, wake_all, wake_among};
pub(crate) use std::sync::atomic::{AtomicU32, Ordering};

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
