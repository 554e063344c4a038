//! How who waits for room looks on before it sleeps: how often, and for how long.
//!
//! Each look fetches a cache line that the other end is writing, which then has to fetch it back: a transfer between
//! processors costs as much as a whole item. So who finds a queue full while somebody takes items looks now and then only,
//! until an eighth of the queue is free. To sleep meanwhile would cost both ends system calls for every few items.

use std::sync::atomic::Ordering;

use super::ring::Ring;
use crate::sync::wait::pause;

/// Pauses between two looks.
const BETWEEN: u32 = 16;
/// So many looks in vain while nobody takes anything are the end.
const IN_VAIN: u32 = 3;
/// So many looks are the end at any rate.
const LOOKS: u32 = 64;

impl Ring<'_> {
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
