//! What is in use, counted anew at each call: nothing is added up on the way.

use std::sync::atomic::Ordering;

use super::Arena;
use super::class::{blocks_of_class, size_of_class};
use super::granule::Kind;
use super::header::State;
use super::layout::GRANULE_SHIFT;

/// What is in use in an arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ledger {
    /// Blocks that somebody relies on.
    pub(crate) blocks: u64,
    /// Their capacity in bytes.
    pub(crate) bytes: u64,
    /// Bytes of granules in use, by large blocks and by spans of small ones: what blocks occupy, spare room included.
    pub(crate) granule_bytes: u64,
    /// Bytes of free granules that keep their pages.
    pub(crate) warm_bytes: u64,
    /// The budget that `granule_bytes + warm_bytes` stays below.
    pub(crate) budget: u64,
    /// Processes that have a slot.
    pub(crate) processes: usize,
    /// Threads that have a record.
    pub(crate) threads: usize,
}

impl Arena {
    /// What is in use. Takes time in proportion to that; counts are exact while nobody changes anything.
    pub(crate) fn ledger(&'static self) -> Ledger {
        let head = self.map.head();
        let (mut blocks, mut bytes) = (0, 0);
        if self.check().is_ok() {
            self.settle();
            self.visit_live(|capacity| {
                blocks += 1;
                bytes += capacity as u64;
            });
        }
        Ledger {
            blocks,
            bytes,
            granule_bytes: u64::from(head.used.load(Ordering::Relaxed)) << GRANULE_SHIFT,
            warm_bytes: u64::from(head.warm.load(Ordering::Relaxed)) << GRANULE_SHIFT,
            budget: head.budget.load(Ordering::Relaxed),
            processes: self.slots().all().count(),
            threads: self.count_threads(),
        }
    }

    /// Sets how many bytes the family may use. What is in use already stays.
    pub(crate) fn set_budget(&self, bytes: u64) {
        self.map.head().budget.store(bytes, Ordering::Relaxed);
    }

    fn visit_live(&self, mut visit: impl FnMut(usize)) {
        let high = self.map.head().high.load(Ordering::Relaxed).min(self.map.layout.granule_count());
        for granule in self.map.layout.first_granule()..high {
            match self.kind(granule) {
                Kind::Nothing | Kind::Retired => {}
                Kind::Large => {
                    let header = &self.map.granule(granule).header;
                    if State::from_raw(header.state.load(Ordering::Acquire)).is_live() {
                        visit(header.len.load(Ordering::Relaxed) as usize);
                    }
                }
                Kind::Span(_) => {
                    let meta = self.map.granule(granule);
                    let class = meta.class.load(Ordering::Relaxed) as usize;
                    let touched = (meta.touched.load(Ordering::Acquire) as usize).min(blocks_of_class(class));
                    for index in 0..touched {
                        let state = self.map.header(granule, index).state.load(Ordering::Acquire);
                        if State::from_raw(state).is_live() {
                            visit(size_of_class(class).unwrap_or(0));
                        }
                    }
                }
            }
        }
    }
}
