//! A flag that many wait for.
//!
//! The word holds the flag, whether somebody sleeps, and how often the flag was set: who waits is let go by the set that it
//! waited for, even if the flag was cleared before it looked.

use crate::sync::prim::{AtomicU32, Ordering, Wait, spin_until, wait, wake_all};
use std::time::Instant;

const SET: u32 = 1;
const WAITERS: u32 = 2;
const ROUND: u32 = 4;

/// All zero is an event that is not set.
#[repr(transparent)]
#[derive(Debug, Default)]
pub(crate) struct RawEvent(AtomicU32);

impl RawEvent {
    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst) & SET != 0
    }

    /// Whether this call set it.
    pub(crate) fn set(&self) -> bool {
        let next = |word: u32| (word & SET == 0).then_some((word & !WAITERS).wrapping_add(ROUND) | SET);
        match self.0.fetch_update(Ordering::SeqCst, Ordering::Acquire, next) {
            Ok(before) => {
                if before & WAITERS != 0 {
                    wake_all(&self.0);
                }
                true
            }
            Err(_) => false,
        }
    }

    pub(crate) fn clear(&self) {
        self.0.fetch_and(!SET, Ordering::AcqRel);
    }

    /// Waits until it is, or was, set; `false` if `deadline` came first.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> bool {
        let begin = self.0.load(Ordering::Acquire);
        let done = |word: u32| word & SET != 0 || word / ROUND != begin / ROUND;
        if spin_until(|| done(self.0.load(Ordering::Acquire))) {
            return true;
        }
        loop {
            let seen = self.0.load(Ordering::Acquire);
            if done(seen) {
                return true;
            }
            if seen & WAITERS == 0
                && self.0.compare_exchange(seen, seen | WAITERS, Ordering::AcqRel, Ordering::Acquire).is_err()
            {
                continue;
            }
            if wait(&self.0, seen | WAITERS, deadline) == Wait::TimedOut {
                return done(self.0.load(Ordering::Acquire));
            }
        }
    }

    /// Wakes all who sleep here, who then look again.
    pub(crate) fn wake_sleepers(&self) {
        wake_all(&self.0);
    }
}
