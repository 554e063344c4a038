//! A number of permits, which change together with a note of who has them.
//!
//! All words change under a lock, but for `heir` and `raised`, which may also be changed by an audit. Sleepers sleep on `raised`, of three
//! kinds (futex bit sets): those who want one permit, of whom as many are woken as there are new permits; those who want several, who all
//! look; and the heir, who always looks.

use super::Place;
use crate::arena::mutant;
use crate::sync::mutants;
use crate::sync::prim::{AtomicU32, Ordering, Patience, Wait, spin_until, wait_among, wake_all, wake_among};
use std::time::Instant;

/// More permits than this are not counted.
pub(crate) const MOST: u32 = u32::MAX / 4;

/// What sleepers wait for.
const ONE: u32 = 1;
const SEVERAL: u32 = 2;
const HEIR: u32 = 4;

/// All zero is a semaphore without permits.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct RawSemaphore {
    available: AtomicU32,
    /// Raised with every change that sleepers may wait for; they sleep on it.
    raised: AtomicU32,
    /// 0: nobody sleeps. Otherwise a number that every sleeper raises.
    sleeps: AtomicU32,
    /// A thread that waited for too long: nobody else takes permits before.
    heir: AtomicU32,
}

impl RawSemaphore {
    /// Before anybody else knows of it.
    pub(crate) fn init(&self, permits: u32) {
        self.available.store(permits, Ordering::Relaxed);
    }

    pub(crate) fn available(&self) -> u32 {
        self.available.load(Ordering::Acquire)
    }

    fn raise<P: Place>(&self) -> P::Set {
        P::set(&self.raised, self.raised.load(Ordering::Relaxed).wrapping_add(1))
    }

    /// Takes permits if they are there and nobody is to have them before. `me` is the caller if it may be the heir, else 0; `held` is how
    /// many its process has.
    fn take<P: Place>(&self, locked: &P::Locked<'_>, held: &AtomicU32, want: u32, me: u32) -> bool {
        let heir = self.heir.load(Ordering::Relaxed);
        let available = self.available.load(Ordering::Relaxed);
        if available < want || heir != 0 && heir != me {
            return false;
        }
        if mutant(mutants::SEMAPHORE_IN_TWO_STEPS) {
            P::store(locked, &[P::set(&self.available, available - want)]);
        }
        P::store(
            locked,
            &[
                P::set(&self.available, available - want),
                P::set(held, held.load(Ordering::Relaxed) + want),
                P::set(&self.heir, 0),
                // Others may have been kept waiting by the heir.
                if heir == 0 { P::set(&self.heir, 0) } else { self.raise::<P>() },
            ],
        );
        true
    }

    /// Takes permits if they are there and nobody waits for them already.
    pub(crate) fn try_acquire<P: Place>(&self, place: &P, held: &AtomicU32, want: u32) -> Result<bool, P::Error> {
        let locked = place.lock()?;
        Ok(self.take::<P>(&locked, held, want, 0))
    }

    /// Waits for permits; `false` if the deadline came first.
    pub(crate) fn acquire<P: Place>(
        &self,
        place: &P,
        held: &AtomicU32,
        want: u32,
        me: u32,
        deadline: Option<Instant>,
    ) -> Result<bool, P::Error> {
        let mut patience: Option<Patience> = None;
        loop {
            let locked = place.lock()?;
            let is_heir = self.heir.load(Ordering::Relaxed) == me;
            if self.take::<P>(&locked, held, want, me) {
                drop(locked);
                if is_heir {
                    self.wake(place, MOST);
                }
                return Ok(true);
            }
            let is_heir = is_heir || patience.as_ref().is_some_and(Patience::is_over) && self.become_heir(me);
            let seen = self.raised.load(Ordering::Relaxed);
            self.sleeps.store(self.sleeps.load(Ordering::Relaxed).wrapping_add(1).max(1), Ordering::Release);
            drop(locked);
            patience.get_or_insert_with(Patience::new);
            if spin_until(|| self.raised.load(Ordering::Acquire) != seen) {
                continue;
            }
            let kind = match (is_heir, want) {
                (true, _) => HEIR,
                (false, 1) => ONE,
                (false, _) => SEVERAL,
            };
            if wait_among(kind, &self.raised, seen, deadline) == Wait::TimedOut {
                return self.give_up(place, held, want, me);
            }
        }
    }

    fn become_heir(&self, me: u32) -> bool {
        self.heir.compare_exchange(0, me, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// A last look, as permits may have come with the end of the time; then the way is free for others.
    fn give_up<P: Place>(&self, place: &P, held: &AtomicU32, want: u32, me: u32) -> Result<bool, P::Error> {
        let locked = place.lock()?;
        let is_heir = self.heir.load(Ordering::Relaxed) == me;
        let got = self.take::<P>(&locked, held, want, me);
        if is_heir && !got {
            P::store(&locked, &[P::set(&self.heir, 0), self.raise::<P>()]);
        }
        drop(locked);
        if is_heir {
            self.wake(place, MOST);
        }
        Ok(got)
    }

    /// Adds permits, of which `held` has `back` fewer then; `false`, and nothing is changed, if there would be too many. The caller
    /// [wakes](RawSemaphore::wake) when it has unlocked.
    pub(crate) fn add<P: Place>(&self, locked: &P::Locked<'_>, permits: u32, held: Option<&AtomicU32>) -> bool {
        let available = self.available.load(Ordering::Relaxed).checked_add(permits).filter(|sum| *sum <= MOST);
        let Some(available) = available else { return false };
        let available = P::set(&self.available, available);
        match held {
            Some(held) => {
                let left = held.load(Ordering::Relaxed).saturating_sub(permits);
                P::store(locked, &[available, P::set(held, left), self.raise::<P>()]);
            }
            None => P::store(locked, &[available, self.raise::<P>()]),
        }
        true
    }

    /// Wakes those who may find that there are permits now: as many of those who want one, and all others.
    pub(crate) fn wake<P: Place>(&self, place: &P, permits: u32) {
        let sleeps = self.sleeps.load(Ordering::Acquire);
        if sleeps == 0 {
            return;
        }
        if wake_among(ONE, &self.raised, permits) + wake_among(SEVERAL | HEIR, &self.raised, u32::MAX) == 0
            && let Ok(locked) = place.lock()
            && self.sleeps.load(Ordering::Relaxed) == sleeps
        {
            // The next ones need not be looked for. But those that are counted may be about to sleep: somebody else may have
            // taken what was released before them. They look again, as nobody would wake them.
            P::store(&locked, &[P::set(&self.sleeps, 0), self.raise::<P>()]);
            drop(locked);
            wake_all(&self.raised);
        }
    }

    /// What the dead process held is there again, and a dead heir is none. Repeatable. The caller has the lock, and
    /// [makes all look](RawSemaphore::wake_sleepers) afterwards.
    pub(crate) fn recover<P: Place>(&self, locked: &P::Locked<'_>, held: &AtomicU32, is_dead: impl Fn(u32) -> bool) {
        let count = held.load(Ordering::Relaxed);
        if count != 0 && !mutant(mutants::SEMAPHORE_PERMITS_KEPT) {
            let available = self.available.load(Ordering::Relaxed).saturating_add(count);
            P::store(locked, &[P::set(&self.available, available), P::set(held, 0)]);
        }
        let heir = self.heir.load(Ordering::Relaxed);
        if heir != 0 && is_dead(heir) {
            self.heir.store(0, Ordering::Release);
        }
    }

    /// Makes all who sleep, or are about to, look again.
    pub(crate) fn wake_sleepers(&self) {
        self.raised.fetch_add(1, Ordering::AcqRel);
        wake_all(&self.raised);
    }

    /// Is the heir from now on, if there is none: what a waiter comes to that is passed by others.
    #[cfg(loom)]
    pub(crate) fn inherit(&self, me: u32) {
        self.become_heir(me);
    }

    /// Counts a sleeper, as `acquire` does before it sleeps, and says what it would sleep on.
    #[cfg(test)]
    pub(crate) fn count_sleeper(&self) -> u32 {
        self.sleeps.store(1, Ordering::Release);
        self.raised.load(Ordering::Relaxed)
    }

    /// Whether one that was counted would sleep, and no release would look for it.
    #[cfg(test)]
    pub(crate) fn is_forgotten(&self, seen: u32) -> bool {
        self.raised.load(Ordering::Acquire) == seen && self.sleeps.load(Ordering::Acquire) == 0
    }
}
