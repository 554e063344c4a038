//! How who waits for a queue looks on before it sleeps: how often, and for how long.
//!
//! Each look fetches a cache line that the other end is writing, which then has to fetch it back: a transfer between
//! processors costs as much as a whole item. So who finds a queue empty or full, while the other end is at work, should let
//! something gather before it looks again.
//!
//! *For items* that is worth it if many come, and a loss if there is one only (a request and its answer). Now and then a
//! wait is begun with a *lull*, in which nothing is looked at. If several items were then taken without another wait, lulls
//! stay, and become longer; if not, there is none for the next waits. What is noted for that lies in the queue, and is a guess.
//!
//! *For room* a look now and then is all, as long as somebody takes items, until an eighth of the queue is free.

use std::sync::atomic::Ordering;

use super::ring::Ring;
use crate::sync::prim::spin_until;
use crate::sync::wait::pause;

/// How many waits without a lull come before one with.
const PLAIN: u32 = 16;
/// Pauses of a first lull.
const FIRST: u32 = 8;
/// Pauses of the longest lull: less than a microsecond.
const LONGEST: u32 = 32;

/// Pauses between two looks for room.
const BETWEEN: u32 = 16;
/// So many looks in vain while nobody takes anything are the end.
const IN_VAIN: u32 = 3;
/// So many looks are the end at any rate.
const LOOKS: u32 = 64;

/// The next wait: low half, the pauses of its lull; high half, how many waits there were without one.
fn next(pace: u32, taken: u32) -> u32 {
    let (lull, waits) = (pace & 0xffff, pace >> 16);
    match lull {
        0 if waits < PLAIN => (waits + 1) << 16,
        0 => FIRST,
        // More than one, and about as many as come in that time.
        _ if taken >= (lull / 8).max(3) => (lull * 2).min(LONGEST),
        _ => 0,
    }
}

impl Ring<'_> {
    /// Looks for items for a moment; `false` if it is time to sleep.
    pub(super) fn spin_for_item(&self) -> bool {
        let side = &self.shared.get;
        let count = side.count.load(Ordering::Relaxed);
        let taken = count.wrapping_sub(side.waited.load(Ordering::Relaxed));
        let pace = next(side.pace.load(Ordering::Relaxed), taken);
        side.waited.store(count, Ordering::Relaxed);
        side.pace.store(pace, Ordering::Relaxed);
        pause(pace & 0xffff);
        spin_until(|| self.peek())
    }

    /// Looks for room for a moment, and lets it gather; `false` if it is time to sleep.
    pub(super) fn spin_for_room(&self) -> bool {
        let Some(most) = self.capacity() else { return true };
        let taken = || self.shared.get.count.load(Ordering::Relaxed);
        let (mut seen, mut in_vain) = (taken(), 0);
        for _ in 0..LOOKS {
            pause(BETWEEN);
            if self.waiting() < most - most / 8 {
                return true;
            }
            let now = taken();
            in_vain = if now == seen { in_vain + 1 } else { 0 };
            seen = now;
            if in_vain == IN_VAIN {
                break;
            }
        }
        self.has_room()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many pauses there are before each of so many waits, if that many items are taken after each.
    fn lulls(waits: usize, taken: u32) -> Vec<u32> {
        let mut pace = 0;
        std::iter::repeat_with(|| {
            pace = next(pace, taken);
            pace & 0xffff
        })
        .take(waits)
        .collect()
    }

    #[test]
    fn answers_that_come_one_by_one_are_hardly_ever_kept_waiting() {
        let seen = lulls(1000, 1);
        assert!(seen.iter().all(|lull| [0, FIRST].contains(lull)));
        assert!(seen.iter().filter(|lull| **lull > 0).count() <= 1000 / PLAIN as usize);
    }

    #[test]
    fn a_stream_of_items_is_let_gather() {
        assert!(lulls(100, 20)[50..].iter().all(|lull| *lull == LONGEST));
    }
}
