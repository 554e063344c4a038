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

use std::time::Instant;

use super::mutants;
use crate::arena::mutant;
// All that a bell is made of comes from there, so that `tests/loom` can compile this file with loom's atomics.
use crate::sync::prim::{self, AtomicU32, Ordering, Wait, full_fence};

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
        full_fence();
        seen
    }

    /// Sleeps until somebody has rung since `seen` was armed. `false` if the deadline came first.
    pub(crate) fn sleep(&self, seen: u32, deadline: Option<Instant>) -> bool {
        prim::wait(&self.0, seen, deadline) != Wait::TimedOut
    }

    /// Tries, after a first attempt in vain, until there is an outcome: `attempt` gives it, or `None` while there is none;
    /// `spin` looks on for a moment and says whether there may be one. `None` when the time is up.
    #[cold]
    #[inline(never)]
    pub(crate) fn wait<T, E>(
        &self,
        deadline: Option<Instant>,
        spin: impl Fn() -> bool,
        mut attempt: impl FnMut() -> Result<Option<T>, E>,
    ) -> Result<Option<T>, E> {
        // Who fails may have been woken for what somebody else can have.
        let mut attempt = || attempt().inspect_err(|_| self.ring());
        loop {
            if !spin() {
                let seen = self.arm();
                if let Some(outcome) = attempt()? {
                    return Ok(Some(outcome));
                }
                if !self.sleep(seen, deadline) {
                    return attempt();
                }
            }
            if let Some(outcome) = attempt()? {
                return Ok(Some(outcome));
            }
        }
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
        if prim::wake(&self.0, 1) == 0
            && now & ARMED != 0
            && self.0.compare_exchange(now, now.wrapping_add(ONE) & !ARMED, Ordering::SeqCst, Ordering::Relaxed).is_ok()
        {
            // Whoever fell asleep in between, when the word was still `now`.
            prim::wake_all(&self.0);
        }
    }

    /// Wakes all sleepers, and those who are about to sleep.
    pub(crate) fn ring_all(&self) {
        self.0.fetch_add(ONE, Ordering::SeqCst);
        prim::wake_all(&self.0);
    }
}
