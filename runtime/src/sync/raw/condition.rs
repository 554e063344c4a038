//! What waiters of a condition sleep on: a number that each notification raises.
//!
//! A notifier changes the number and wakes; it waits for nobody. A waiter that was killed took at most one wake with it, which
//! the audit makes good.

use crate::sync::prim::{AtomicU32, Ordering, Wait, spin_until, wait, wake, wake_all};
use std::time::Instant;

/// All zero is a condition that nobody was told of.
#[repr(transparent)]
#[derive(Debug, Default)]
pub(crate) struct RawCondition(AtomicU32);

impl RawCondition {
    /// To be called under the lock that guards the condition, before it is let go: what to wait for.
    pub(crate) fn ticket(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    /// Sleeps until there was a notification after `ticket`, or for no reason; `false` if `deadline` came first.
    pub(crate) fn wait(&self, ticket: u32, deadline: Option<Instant>) -> bool {
        let told = || self.0.load(Ordering::Acquire) != ticket;
        spin_until(told) || wait(&self.0, ticket, deadline) != Wait::TimedOut || told()
    }

    pub(crate) fn notify_one(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
        wake(&self.0, 1);
    }

    pub(crate) fn notify_all(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
        wake_all(&self.0);
    }
}
