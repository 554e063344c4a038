//! What must hold whenever nothing is under way: for tests.

use std::sync::atomic::Ordering;

use super::Arena;
use super::class::blocks_of_class;
use super::granule::Kind;
use super::header::{Stage, State};
use super::layout::GRANULE_SHIFT;

impl Arena {
    /// Checks the metadata against itself. Only meaningful while no living process changes it.
    pub(crate) fn check_metadata(&self) -> Result<(), String> {
        let (head, layout) = (self.map.head(), &self.map.layout);
        if let Some(holder) = head.lock.0.holder() {
            return Err(format!("the granule lock is held by {holder:?}"));
        }
        if head.redo.op.load(Ordering::Relaxed) != 0 {
            return Err("a redo record was left".into());
        }
        let high = head.high.load(Ordering::Relaxed);
        let (mut used, mut warm, mut owned, mut retired) = (0, 0, 0, 0);
        let mut run_end = layout.first_granule();
        for granule in layout.first_granule()..layout.granule_count() {
            let mask = 1 << (granule % 64);
            let is_used = self.map.used((granule / 64) as usize).load(Ordering::Relaxed) & mask != 0;
            let is_warm = self.map.warm((granule / 64) as usize).load(Ordering::Relaxed) & mask != 0;
            used += u32::from(is_used);
            warm += u32::from(is_warm);
            if is_used && is_warm {
                return Err(format!("granule {granule} is both used and warm"));
            }
            if granule >= high && (is_used || is_warm) {
                return Err(format!("granule {granule} lies above the high-water mark {high}"));
            }
            let kind = self.kind(granule);
            let run = match kind {
                Kind::Nothing => 0,
                Kind::Span(_) => {
                    self.check_span(granule)?;
                    1
                }
                Kind::Retired => {
                    let count = (self.map.granule(granule).header.len.load(Ordering::Relaxed) >> GRANULE_SHIFT) as u32;
                    retired += count;
                    count
                }
                Kind::Large => {
                    let header = &self.map.granule(granule).header;
                    if !State::from_raw(header.state.load(Ordering::Relaxed)).is_live() {
                        return Err(format!("the large block in granule {granule} is not live"));
                    }
                    (header.len.load(Ordering::Relaxed) >> GRANULE_SHIFT) as u32
                }
            };
            if run > 0 && granule < run_end {
                return Err(format!("the run at granule {granule} overlaps the one that ends at {run_end}"));
            }
            owned += run;
            run_end = run_end.max(granule + run);
            if is_used != (granule < run_end) {
                return Err(format!(
                    "granule {granule} ({kind:?}) is used: {is_used}, in a run: {}",
                    granule < run_end
                ));
            }
        }
        let counted = (head.used.load(Ordering::Relaxed), head.warm.load(Ordering::Relaxed));
        if counted != (used - retired, warm) || owned != used {
            return Err(format!(
                "counted (used, warm) {counted:?}, found {:?}, in runs {owned}, retired {retired}",
                (used, warm)
            ));
        }
        Ok(())
    }

    /// Whoever frees a block of another's span tells the owner.
    fn check_span(&self, granule: u32) -> Result<(), String> {
        let meta = self.map.granule(granule);
        let touched = meta.touched.load(Ordering::Relaxed) as usize;
        for index in 0..touched.min(blocks_of_class(meta.class.load(Ordering::Relaxed) as usize)) {
            let state = State::from_raw(self.map.header(granule, index).state.load(Ordering::Relaxed));
            let told = meta.remote[index / 64].load(Ordering::Relaxed) >> (index % 64) & 1 != 0;
            if state.stage == Stage::Given && !told {
                return Err(format!("the owner of granule {granule} does not know that block {index} was freed"));
            }
        }
        Ok(())
    }
}
