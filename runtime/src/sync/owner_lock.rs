//! A lock whose word names its holder, so that a dead holder is known and its work can be finished.
//!
//! ```text
//! word   0 -> holder                       by the holder's CAS
//!        holder -> holder | WAITERS        by whoever is about to sleep
//!        holder [| WAITERS] -> 0           by the holder, who wakes one sleeper if the bit was set
//!        dead [| WAITERS] -> taker | WAITERS   by whoever finds the holder's process gone; it then finishes the work
//! ```
//! A holder killed between its last store and its wake leaves sleepers behind with a free word. They look again after a
//! bounded time, as they must anyway: the thread that sleeps here may be the very one that audits dead processes.
//! So a wait here has a timer, but only while somebody holds a lock that is meant to be held for a microsecond.

use std::time::{Duration, Instant};

use crate::arena::ThreadId;
use crate::sync::prim::{AtomicU32, Ordering};
use crate::sync::wait;
use crate::sys::futex;

const WAITERS: u32 = 1 << 31;

/// How a lock was got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Got {
    /// From nobody.
    Free,
    /// From a thread of a dead process, in the middle of whatever it did: finish that first.
    FromDead(ThreadId),
}

/// The lock's word. All zero is an unlocked lock.
#[repr(transparent)]
#[derive(Debug, Default)]
pub(crate) struct OwnerLock(AtomicU32);

impl OwnerLock {
    /// Locks if nobody has it.
    #[inline]
    pub(crate) fn try_lock(&self, me: ThreadId) -> bool {
        self.0.compare_exchange(0, me.raw(), Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Locks. `is_dead` says whether the process of a thread is gone for good.
    #[inline]
    pub(crate) fn lock(&self, me: ThreadId, is_dead: impl Fn(ThreadId) -> bool) -> Got {
        match self.0.compare_exchange(0, me.raw(), Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => Got::Free,
            Err(seen) => self.lock_slow(me, seen, is_dead),
        }
    }

    #[cold]
    fn lock_slow(&self, me: ThreadId, mut seen: u32, is_dead: impl Fn(ThreadId) -> bool) -> Got {
        let mut mine = me.raw();
        let mut nap = Duration::from_millis(1);
        loop {
            if seen == 0 {
                match self.0.compare_exchange(0, mine, Ordering::Acquire, Ordering::Relaxed) {
                    Ok(_) => return Got::Free,
                    Err(now) => seen = now,
                }
                continue;
            }
            if wait::spin_while(&self.0, seen) {
                seen = self.0.load(Ordering::Relaxed);
                continue;
            }
            if let Some(holder) = ThreadId::from_raw(seen & !WAITERS)
                && is_dead(holder)
                && self.take_over(holder, me)
            {
                return Got::FromDead(holder);
            }
            if seen & WAITERS == 0 {
                if let Err(now) = self.0.compare_exchange(seen, seen | WAITERS, Ordering::Relaxed, Ordering::Relaxed) {
                    seen = now;
                    continue;
                }
                seen |= WAITERS;
            }
            futex::wait(&self.0, seen, Some(Instant::now() + nap));
            nap = (nap * 2).min(Duration::from_millis(50));
            // One sleeper is woken at a time, so who slept must pass the bit on for the others.
            mine = me.raw() | WAITERS;
            seen = self.0.load(Ordering::Relaxed);
        }
    }

    /// Makes `me` the holder in the place of `dead`; `false` if `dead` does not hold the lock (any more).
    pub(crate) fn take_over(&self, dead: ThreadId, me: ThreadId) -> bool {
        [dead.raw(), dead.raw() | WAITERS]
            .into_iter()
            .any(|held| self.0.compare_exchange(held, me.raw() | WAITERS, Ordering::Acquire, Ordering::Relaxed).is_ok())
    }

    /// Unlocks. Only the holder may call this.
    #[inline]
    pub(crate) fn unlock(&self) {
        if self.0.swap(0, Ordering::Release) & WAITERS != 0 {
            self.wake_one();
        }
    }

    #[cold]
    fn wake_one(&self) {
        futex::wake(&self.0, 1);
    }

    /// The holder, dead or alive.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn holder(&self) -> Option<ThreadId> {
        ThreadId::from_raw(self.0.load(Ordering::Acquire) & !WAITERS)
    }

    /// Wakes all sleepers, which look at the word again: for an audit, which cannot know whether a dead holder did.
    pub(crate) fn wake_all(&self) {
        futex::wake_all(&self.0);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn threads_exclude_each_other() {
        let shared = Arc::new((OwnerLock::default(), AtomicU32::new(0)));
        let threads: Vec<_> = (0..4)
            .map(|index| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    let me = ThreadId::new(index, 1).unwrap();
                    for _ in 0..20_000 {
                        assert_eq!(shared.0.lock(me, |_| false), Got::Free);
                        let count = shared.1.load(Ordering::Relaxed);
                        shared.1.store(count + 1, Ordering::Relaxed);
                        shared.0.unlock();
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(shared.1.load(Ordering::Relaxed), 80_000);
        assert_eq!(shared.0.holder(), None);
    }

    #[test]
    fn the_lock_of_a_dead_holder_is_taken_over_once() {
        let lock = OwnerLock::default();
        let (dead, me) = (ThreadId::new(1, 1).unwrap(), ThreadId::new(2, 1).unwrap());
        assert_eq!(lock.lock(dead, |_| false), Got::Free);
        assert_eq!(lock.lock(me, |holder| holder == dead), Got::FromDead(dead));
        assert!(!lock.take_over(dead, me));
        lock.unlock();
        assert_eq!(lock.lock(me, |_| true), Got::Free);
        lock.unlock();
    }
}
