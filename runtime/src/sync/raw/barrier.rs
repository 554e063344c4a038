//! A number of threads that wait for each other, round after round.
//!
//! All words change under a lock, `phase` last; sleepers sleep on `phase`.

use super::Place;
use crate::arena::mutant;
use crate::sync::mutants;
use crate::sync::prim::{AtomicU32, Ordering, Wait, spin_until, wait, wake_all};
use std::time::Instant;

const BROKEN: u32 = 1;
/// The phase counts rounds from this bit on.
const ROUND: u32 = 2;
/// How far back a phase counts.
pub(crate) const LONG_AGO: u32 = 1 << 31;

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meeting {
    /// All came, this one last.
    Last,
    /// All came.
    Met,
    /// The barrier was or got broken.
    Broken,
    /// The deadline came first, and this one broke it.
    TimedOut,
}

/// All zero but for `parties` is a new one.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct RawBarrier {
    /// Rounds, and whether it is broken.
    phase: AtomicU32,
    parties: AtomicU32,
    /// Who wait in this round.
    waiting: AtomicU32,
    /// How often a round was ended by a break or a reset, and the last phase that was.
    breaks: AtomicU32,
    broken: AtomicU32,
    /// The phase after the last reset.
    since: AtomicU32,
}

impl RawBarrier {
    /// Before anybody else knows of it.
    pub(crate) fn init(&self, parties: u32) {
        self.parties.store(parties, Ordering::Relaxed);
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.phase.load(Ordering::Acquire) & BROKEN != 0
    }

    pub(crate) fn parties(&self) -> u32 {
        self.parties.load(Ordering::Relaxed)
    }

    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Acquire)
    }

    /// Ends the round for all who wait, and all rounds to come. The caller wakes all afterwards.
    fn break_it<P: Place>(&self, locked: &P::Locked<'_>, also: Option<P::Set>) {
        let phase = self.phase.load(Ordering::Relaxed);
        let sets = [
            P::set(&self.breaks, self.breaks.load(Ordering::Relaxed).wrapping_add(1)),
            P::set(&self.broken, phase),
            P::set(&self.waiting, 0),
            // Whoever sees this word changed sees the others changed.
            P::set(&self.phase, phase | BROKEN),
        ];
        match also {
            Some(also) => P::store(locked, &[sets[0], sets[1], sets[2], also, sets[3]]),
            None => P::store(locked, &sets),
        }
    }

    /// Breaks it, if it is whole.
    pub(crate) fn abort<P: Place>(&self, place: &P) -> Result<(), P::Error> {
        let locked = place.lock()?;
        if !self.is_broken() {
            self.break_it::<P>(&locked, None);
        }
        drop(locked);
        self.wake_sleepers();
        Ok(())
    }

    /// Makes it whole, with nobody there. Who wait find it broken.
    pub(crate) fn reset<P: Place>(&self, place: &P) -> Result<(), P::Error> {
        let locked = place.lock()?;
        let phase = self.phase.load(Ordering::Relaxed);
        let next = (phase & !BROKEN).wrapping_add(ROUND);
        let anybody = self.waiting.load(Ordering::Relaxed) != 0;
        let breaks = self.breaks.load(Ordering::Relaxed).wrapping_add(anybody.into());
        let broken = if anybody { phase } else { self.broken.load(Ordering::Relaxed) };
        P::store(
            &locked,
            &[
                P::set(&self.breaks, breaks),
                P::set(&self.broken, broken),
                P::set(&self.waiting, 0),
                P::set(&self.since, next),
                P::set(&self.phase, next),
            ],
        );
        drop(locked);
        self.wake_sleepers();
        Ok(())
    }

    /// Waits until all are there. `note` says, of a phase, how it is noted that the caller waited in it.
    pub(crate) fn wait<P: Place>(
        &self,
        place: &P,
        note: impl Fn(u32) -> P::Set,
        deadline: Option<Instant>,
    ) -> Result<Meeting, P::Error> {
        let locked = place.lock()?;
        let phase = self.phase.load(Ordering::Relaxed);
        if phase & BROKEN != 0 {
            return Ok(Meeting::Broken);
        }
        let breaks = self.breaks.load(Ordering::Relaxed);
        let there = self.waiting.load(Ordering::Relaxed) + 1;
        if there >= self.parties() {
            let next = phase.wrapping_add(ROUND);
            // Whoever has not been here for so many rounds takes no part any more: `since` must not be a whole lap behind.
            let since = self.since.load(Ordering::Relaxed);
            let since = if next.wrapping_sub(since) > LONG_AGO { next.wrapping_sub(LONG_AGO) } else { since };
            P::store(
                &locked,
                &[note(phase), P::set(&self.waiting, 0), P::set(&self.since, since), P::set(&self.phase, next)],
            );
            drop(locked);
            self.wake_sleepers();
            return Ok(Meeting::Last);
        }
        if mutant(mutants::BARRIER_IN_TWO_STEPS) {
            P::store(&locked, &[P::set(&self.waiting, there)]);
        }
        P::store(&locked, &[note(phase), P::set(&self.waiting, there)]);
        drop(locked);
        if !spin_until(|| self.phase.load(Ordering::Acquire) != phase) {
            while self.phase.load(Ordering::Acquire) == phase {
                if wait(&self.phase, phase, deadline) == Wait::TimedOut && self.give_up(place, phase)? {
                    return Ok(Meeting::TimedOut);
                }
            }
        }
        let broken = self.breaks.load(Ordering::Acquire) != breaks && self.was_broken(place, phase, breaks)?;
        Ok(if broken { Meeting::Broken } else { Meeting::Met })
    }

    /// The time of a wait in this phase is over: breaks the barrier, if it is not too late for that.
    #[cold]
    fn give_up<P: Place>(&self, place: &P, phase: u32) -> Result<bool, P::Error> {
        let locked = place.lock()?;
        if self.phase.load(Ordering::Relaxed) != phase {
            return Ok(false);
        }
        self.break_it::<P>(&locked, None);
        drop(locked);
        self.wake_sleepers();
        Ok(true)
    }

    /// Something was broken since a wait began, in `phase`, when there had been `breaks`: was it that round?
    #[cold]
    fn was_broken<P: Place>(&self, place: &P, phase: u32, breaks: u32) -> Result<bool, P::Error> {
        let _locked = place.lock()?;
        let since = self.breaks.load(Ordering::Relaxed).wrapping_sub(breaks);
        // Of several, only the last is known: then it is safer to say so.
        Ok(since > 1 || self.broken.load(Ordering::Relaxed) == phase)
    }

    /// A process that waited last in phase `at` is dead, and is noted as `gone` from now on: breaks the barrier if it waited in this round,
    /// or has taken part since the last reset and did not end well. Repeatable. The caller has the lock, and
    /// [makes all look](RawBarrier::wake_sleepers) afterwards.
    pub(crate) fn recover<P: Place>(
        &self,
        locked: &P::Locked<'_>,
        at: u32,
        ended_well: impl Fn() -> bool,
        gone: P::Set,
    ) {
        let (phase, since) = (self.phase.load(Ordering::Relaxed), self.since.load(Ordering::Relaxed));
        // Counted back from now: phases wrap around.
        let (age, reset) = (phase.wrapping_sub(at), phase.wrapping_sub(since));
        if age > reset || phase & BROKEN != 0 {
            return;
        }
        if at == phase || !ended_well() {
            self.break_it::<P>(locked, Some(gone));
        }
    }

    /// Makes all who sleep look again. They wait for nothing but the word.
    pub(crate) fn wake_sleepers(&self) {
        wake_all(&self.phase);
    }

    /// In this phase, as after very many rounds.
    #[cfg(test)]
    pub(crate) fn set_phase(&self, phase: u32) {
        self.phase.store(phase, Ordering::Relaxed);
        self.since.store(phase.saturating_sub(LONG_AGO), Ordering::Relaxed);
    }
}
