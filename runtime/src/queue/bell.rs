//! A word to sleep on until something has changed that another process changes.
//!
//! ```text
//! word   n, nobody sleeps -> n, somebody may       by who is about to sleep
//!        n -> n + 1                                by who has changed something, if somebody may sleep
//!        n + 1, somebody may -> n + 2, nobody      by the same, when there was nobody to wake
//! ```
//! Who waits: arm, look, sleep while the word is what it was when armed. Who changes: change, look whether the bell is armed,
//! ring. Both have a full barrier between the two steps, so one of them sees the other.
//!
//! One ring wakes one sleeper. Who is killed between its change and its ring, and who is killed between being woken and
//! taking what there is, leaves others asleep: the audit of a dead process rings all bells of its queues for everybody.

use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::time::Instant;

use super::mutants;
use crate::arena::mutant;
use crate::sys::futex;

/// Somebody may sleep.
const ARMED: u32 = 1;
const ONE: u32 = 2;

/// All zero is a bell that nobody listens to.
#[repr(transparent)]
#[derive(Debug, Default)]
pub(crate) struct Bell(AtomicU32);

impl Bell {
    /// Announces a sleep. What the caller looks at next was changed before a ring, or the sleep will end at once.
    pub(crate) fn arm(&self) -> u32 {
        let seen = self.0.fetch_or(ARMED, Ordering::SeqCst) | ARMED;
        fence(Ordering::SeqCst);
        seen
    }

    /// Sleeps until somebody has rung since `seen` was armed. `false` if the deadline came first.
    pub(crate) fn sleep(&self, seen: u32, deadline: Option<Instant>) -> bool {
        futex::wait(&self.0, seen, deadline) != futex::Wait::TimedOut
    }

    /// Whether somebody may sleep. A full barrier stands between the caller's change and this.
    #[inline]
    pub(crate) fn is_armed(&self) -> bool {
        self.0.load(Ordering::SeqCst) & ARMED != 0
    }

    /// Wakes one sleeper if there may be one.
    #[inline]
    pub(crate) fn ring(&self) {
        if self.is_armed() && !mutant(mutants::NO_RING) {
            self.wake_one();
        }
    }

    #[cold]
    fn wake_one(&self) {
        let now = self.0.fetch_add(ONE, Ordering::SeqCst).wrapping_add(ONE);
        if futex::wake(&self.0, 1) == 0
            && now & ARMED != 0
            && self.0.compare_exchange(now, now.wrapping_add(ONE) & !ARMED, Ordering::SeqCst, Ordering::Relaxed).is_ok()
        {
            // Whoever fell asleep in between, when the word was still `now`.
            futex::wake_all(&self.0);
        }
    }

    /// Wakes all sleepers, and those who are about to sleep.
    pub(crate) fn ring_all(&self) {
        self.0.fetch_add(ONE, Ordering::SeqCst);
        futex::wake_all(&self.0);
    }
}
