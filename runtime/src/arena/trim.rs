//! Free memory that keeps its pages, and when it loses them.
//!
//! A page that was used before costs a fraction of a fresh one, so freed granules stay warm. They count against the budget;
//! where that has no room left, or where a run of at least 1 MiB was free for seconds, the pages go back to the system. A
//! run that is being trimmed is a block of this process meanwhile: a kill leaves it to the audit like any other.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::cache;
use super::granule::Purpose;
use super::layout::GRANULE_SHIFT;
use super::local::lock;
use super::{Arena, ArenaError, step};
use crate::sys::clock::coarse_seconds;
use crate::sys::mem;

/// Only runs of at least this many granules (1 MiB) are trimmed for their age.
const WORTHWHILE: u32 = 16;
/// How long a run was free before its pages go.
const LONG_FREE: Duration = Duration::from_secs(5);
/// Most granules (64 MiB) that one call gives back for their age, so that no free takes long.
const AT_ONCE: u32 = 1024;

impl Arena {
    /// Does `attempt`, and where it fails for want of memory, again after all was given back that this process can give.
    pub(crate) fn with_room<R>(&'static self, attempt: impl Fn() -> Result<R, ArenaError>) -> Result<R, ArenaError> {
        match attempt() {
            Err(ArenaError::OutOfMemory { .. } | ArenaError::TooManyBlocks { .. }) => {}
            result => return result,
        }
        self.tidy();
        loop {
            match attempt() {
                Err(ArenaError::OutOfMemory { .. }) if self.trim(1, Duration::ZERO, AT_ONCE) > 0 => {}
                result => return result,
            }
        }
    }

    /// Gives back what this process keeps for its next allocations: spans without blocks in use, those included that others
    /// freed all blocks of, and what the calling thread has cached. For a process that is about to be idle.
    pub(crate) fn tidy(&'static self) {
        if self.check().is_ok() {
            self.settle();
            cache::flush(self);
            lock(&self.local.spans).tidy(self);
        }
    }

    /// Gives the pages of free runs of at least `least` granules back that were freed `age` ago or earlier, until `most`
    /// granules are done; says how many were.
    pub(crate) fn trim(&'static self, least: u32, age: Duration, most: u32) -> u32 {
        let (mut done, mut from) = (0, 0);
        while done < most {
            match self.trim_one(least, age, from, most - done) {
                Ok(Some((first, count))) => {
                    done += count;
                    from = first + count;
                }
                Ok(None) | Err(_) => break,
            }
        }
        done
    }

    fn trim_one(
        &'static self,
        least: u32,
        age: Duration,
        from: u32,
        most: u32,
    ) -> Result<Option<(u32, u32)>, ArenaError> {
        let granules = self.granules()?;
        let Some((first, count)) = granules.oldest_warm(least, age, from) else { return Ok(None) };
        let count = count.min(most);
        let hold = lock(&self.local.holds).take(self)?;
        granules.take_at(first, count, Purpose::Large { hold }, false);
        // Other processes need not wait while the kernel frees pages.
        drop(granules);
        let (offset, len) = (u64::from(first) << GRANULE_SHIFT, u64::from(count) << GRANULE_SHIFT);
        let punched = mem::punch(self.memfd.as_fd(), offset, len).is_ok();
        match self.granules() {
            Ok(granules) => granules.give(first, count, !punched),
            Err(error) => {
                lock(&self.local.deferred).push(hold);
                return Err(error);
            }
        }
        step();
        self.my_hold(hold).block.store(0, Ordering::Release);
        lock(&self.local.holds).put(hold);
        Ok(punched.then_some((first, count)))
    }

    /// Trims what was free for long, at most once a second.
    pub(crate) fn trim_now_and_then(&'static self) {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let (now, last) = (coarse_seconds(), LAST.load(Ordering::Relaxed));
        if now != last && LAST.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.trim(WORTHWHILE, LONG_FREE, AT_ONCE);
        }
    }
}
