//! One holder at a time, named by the word.
//!
//! ```text
//! word   0 -> holder                       by the holder's CAS
//!        holder -> holder | WAITERS        by whoever is about to sleep
//!        holder -> 0                       by the holder: nobody sleeps
//!        holder | WAITERS -> 0             by the holder, who then wakes one sleeper; no heir
//!        holder | WAITERS -> RESERVED      by the holder, who then wakes the heir
//!        RESERVED -> heir | WAITERS        by the heir
//!        RESERVED -> 0                     by whoever finds that there is no heir any more, and wakes one sleeper
//!        dead [| WAITERS] -> 0             by the audit, which then wakes all
//! heir   0 -> waiter                       by a waiter who was passed by others for too long
//!        waiter -> 0                       by itself, when it has the lock or gives up; by the audit, when it is dead
//! ```
//! Who was woken takes the word with WAITERS set, as one sleeper is woken at a time. Who gives up has set WAITERS in a word
//! that was held, so its share of the wakes is passed on.

use super::NotGot;
use crate::sync::prim::{
    AtomicU32, Ordering, Patience, Wait, full_fence, spin_until, wait_among, wake_all, wake_among,
};
use std::time::Instant;

const WAITERS: u32 = 1 << 31;
/// Free, but only for the heir.
const RESERVED: u32 = WAITERS;

/// Sleepers of the word are of two kinds.
const QUEUE: u32 = 1;
const HEIR: u32 = 2;

/// All zero is an unlocked lock.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct RawMutex {
    word: AtomicU32,
    heir: AtomicU32,
}

impl RawMutex {
    #[inline]
    pub(crate) fn try_lock(&self, me: u32) -> bool {
        self.word.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    #[inline]
    pub(crate) fn lock(&self, me: u32, deadline: Option<Instant>) -> Result<(), NotGot> {
        if self.try_lock(me) { Ok(()) } else { self.lock_slow(me, deadline) }
    }

    #[cold]
    fn lock_slow(&self, me: u32, deadline: Option<Instant>) -> Result<(), NotGot> {
        let mut mine = me;
        let mut patience = None;
        loop {
            let seen = self.word.load(Ordering::Relaxed);
            if seen == 0 {
                if self.word.compare_exchange(0, mine, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                    return Ok(());
                }
                continue;
            }
            if seen & !WAITERS == me {
                return Err(NotGot::Mine);
            }
            if spin_until(|| self.word.load(Ordering::Relaxed) == 0) {
                continue;
            }
            if !self.ask_for_wake(seen) {
                continue;
            }
            if patience.get_or_insert_with(Patience::new).is_over()
                && self.heir.compare_exchange(0, me, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            {
                return self.wait_as_heir(me, deadline);
            }
            if wait_among(QUEUE, &self.word, seen | WAITERS, deadline) == Wait::TimedOut {
                return Err(NotGot::Timeout);
            }
            mine = me | WAITERS;
        }
    }

    /// Sees to it that a held lock's holder, `seen`, wakes somebody; `false` if the word has changed.
    fn ask_for_wake(&self, seen: u32) -> bool {
        seen & WAITERS != 0
            || self.word.compare_exchange(seen, seen | WAITERS, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn wait_as_heir(&self, me: u32, deadline: Option<Instant>) -> Result<(), NotGot> {
        loop {
            // Pairs with the fences of `unlock_slow`: either the word is seen free here, or the heir is seen there.
            full_fence();
            let seen = self.word.load(Ordering::Relaxed);
            if seen == 0 || seen == RESERVED {
                if self.word.compare_exchange(seen, me | WAITERS, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                    self.heir.store(0, Ordering::Release);
                    return Ok(());
                }
                continue;
            }
            if !self.ask_for_wake(seen) {
                continue;
            }
            if wait_among(HEIR, &self.word, seen | WAITERS, deadline) == Wait::TimedOut {
                let free = self.word.compare_exchange(RESERVED, me | WAITERS, Ordering::Acquire, Ordering::Relaxed);
                self.heir.swap(0, Ordering::AcqRel);
                if free.is_ok() {
                    return Ok(());
                }
                full_fence();
                self.open_reserved();
                return Err(NotGot::Timeout);
            }
        }
    }

    /// Only the holder, `me`, may call this.
    #[inline]
    pub(crate) fn unlock(&self, me: u32) {
        if self.word.compare_exchange(me, 0, Ordering::Release, Ordering::Relaxed).is_err() {
            self.unlock_slow();
        }
    }

    #[cold]
    fn unlock_slow(&self) {
        if self.heir.load(Ordering::Acquire) == 0 {
            self.word.swap(0, Ordering::Release);
            full_fence();
            wake_among(QUEUE, &self.word, 1);
            if self.heir.load(Ordering::Relaxed) != 0 {
                wake_among(HEIR, &self.word, 1);
            }
        } else {
            self.word.swap(RESERVED, Ordering::Release);
            full_fence();
            if self.heir.load(Ordering::Relaxed) == 0 {
                self.open_reserved();
            } else {
                wake_among(HEIR, &self.word, 1);
            }
        }
    }

    /// There is no heir (any more): the lock is anybody's.
    fn open_reserved(&self) {
        if self.word.compare_exchange(RESERVED, 0, Ordering::Release, Ordering::Relaxed).is_ok() {
            wake_among(QUEUE, &self.word, 1);
        }
    }

    /// Who holds it; 0 for nobody.
    #[inline]
    pub(crate) fn holder(&self) -> u32 {
        self.word.load(Ordering::Acquire) & !WAITERS
    }

    /// Takes the lock from a dead holder; calls `held` before it becomes free. Repeatable. The caller wakes all afterwards.
    pub(crate) fn recover(&self, is_dead: impl Fn(u32) -> bool, held: impl Fn()) {
        let heir = self.heir.load(Ordering::Acquire);
        if heir != 0 && is_dead(heir) {
            // It may be somebody else by now only if this was another one's audit, too.
            let _ = self.heir.compare_exchange(heir, 0, Ordering::AcqRel, Ordering::Relaxed);
        }
        loop {
            full_fence();
            let seen = self.word.load(Ordering::Acquire);
            let free = if seen == RESERVED {
                self.heir.load(Ordering::Acquire) == 0
            } else {
                seen != 0 && is_dead(seen & !WAITERS)
            };
            if !free {
                return;
            }
            if seen != RESERVED {
                held();
            }
            if self.word.compare_exchange(seen, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return;
            }
        }
    }

    /// Wakes all who sleep here, who then look again.
    pub(crate) fn wake_sleepers(&self) {
        wake_all(&self.word);
    }
}
