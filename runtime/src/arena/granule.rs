//! Granules: runs of 64 KiB for spans and large blocks, out of two bitmaps under one owner lock.
//!
//! Every change is first described completely in the redo record, in absolute values; then `op` is stored, then the change
//! is made *from the record*, then `op` is cleared. Whoever takes the lock over from the dead does the same from the record:
//! doing it twice, or from the middle, ends in the same state. `op` still 0 means that nothing was changed.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::Release};
use std::time::Duration;

use super::header::{Children, OWNED, Stage, State};
use super::id::{BlockId, Owner, ThreadId};
use super::layout::{GRANULE, GRANULE_SHIFT, SPAN_BLOCKS};
use super::{Arena, ArenaError, mutant, mutants, step};
use crate::sync::owner_lock::Got;
use crate::sys::clock::coarse_seconds;

/// What a granule is: the values of the table `kinds`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing starts here: it is free, or in the middle of a run.
    Nothing,
    /// A large block starts here.
    Large,
    /// A span in which this process allocates.
    Span(Owner),
    /// A large block that nobody may have again starts here. Its pages are gone, and it is not charged.
    Retired,
}

const LARGE: u32 = 1;
const RETIRED: u32 = 2;

impl Kind {
    pub(crate) fn from_raw(raw: u32) -> Kind {
        match (raw, Owner::from_raw(raw)) {
            (_, Some(owner)) => Kind::Span(owner),
            (LARGE, None) => Kind::Large,
            (RETIRED, None) => Kind::Retired,
            _ => Kind::Nothing,
        }
    }
}

const OP_NONE: u32 = 0;
const OP_LARGE: u32 = 1;
const OP_SPAN: u32 = 2;
const OP_FREE: u32 = 3;
const OP_SHRINK: u32 = 4;
const OP_RETIRE: u32 = 5;
const OP_ROOT: u32 = 6;

/// What [`Granules::take`] takes a run for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    /// A large block that stands in this entry of the caller's hold table.
    Large { hold: u32 },
    /// A span of this size class.
    Span { class: u32 },
}

/// A run that was taken.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) first: u32,
    /// The generation of the large block, or the last one used in the granule before it became a span.
    pub(crate) generation: u32,
    /// The granules of the run that may hold old bytes; the others read as zeros. Only filled when asked for.
    pub(crate) warm: Vec<u32>,
}

/// The granules, locked.
pub(crate) struct Granules {
    arena: &'static Arena,
}

impl Drop for Granules {
    fn drop(&mut self) {
        self.arena.map.head().lock.0.unlock();
    }
}

impl Arena {
    /// Locks the granules, and finishes what a dead holder of the lock had begun.
    pub(crate) fn granules(&'static self) -> Result<Granules, ArenaError> {
        let me = self.thread()?.id;
        let got = self.map.head().lock.0.lock(me, |holder| self.is_dead_thread(holder));
        let granules = Granules { arena: self };
        if let Got::FromDead(_) = got {
            granules.redo();
        }
        Ok(granules)
    }

    /// Whether the process of this thread is gone, so that its locks may be taken over. A record that was returned is that of
    /// a dead process: threads that end hold no such locks.
    pub(crate) fn is_dead_thread(&self, thread: ThreadId) -> bool {
        self.owner_of_thread(thread).is_none_or(|owner| !self.is_alive(owner))
    }

    /// Takes the granule lock, from a dead process if one holds it, and finishes its work. For the audit.
    ///
    /// Whose lock it is does not matter: the record that the audited process left may have come into the hands of an auditor
    /// that died in turn, and must be carried out before the hold table is walked.
    pub(crate) fn recover_granules(&'static self) -> Result<(), ArenaError> {
        drop(self.granules()?);
        // The dead may have unlocked without waking.
        self.map.head().lock.0.wake_all();
        Ok(())
    }

    /// The error of an allocation of `needed` bytes.
    pub(crate) fn out_of_memory(&self, needed: u64) -> ArenaError {
        let head = self.map.head();
        let granules = u64::from(head.used.load(Relaxed)) + u64::from(head.warm.load(Relaxed));
        ArenaError::OutOfMemory { needed, used: granules << GRANULE_SHIFT, budget: head.budget.load(Relaxed) }
    }

    fn kind_of(&self, granule: u32) -> Kind {
        Kind::from_raw(self.map.kind(granule).load(std::sync::atomic::Ordering::Acquire))
    }

    /// What starts in `granule`; `Nothing` for a number out of range.
    pub(crate) fn kind(&self, granule: u32) -> Kind {
        if granule < self.map.layout.granule_count() { self.kind_of(granule) } else { Kind::Nothing }
    }
}

impl Granules {
    /// Takes `count` granules, or says that the budget or the mapping has no room for them.
    ///
    /// Runs with warm pages come first, as the first touch of a page costs far more than a reused one.
    pub(crate) fn take(&self, count: u32, purpose: Purpose, want_warm: bool) -> Result<Run, ArenaError> {
        let head = self.arena.map.head();
        let refused = || self.arena.out_of_memory(u64::from(count) << GRANULE_SHIFT);
        let first = self.find(count).ok_or_else(refused)?;
        let used = u64::from(head.used.load(Relaxed)) + u64::from(count);
        let warm = u64::from(head.warm.load(Relaxed).saturating_sub(self.count_warm(first, count)));
        if (used + warm) << GRANULE_SHIFT > head.budget.load(Relaxed) {
            return Err(refused());
        }
        Ok(self.take_at(first, count, purpose, want_warm))
    }

    /// Takes the `count` granules from `first`, all of them free, whatever the budget says.
    pub(crate) fn take_at(&self, first: u32, count: u32, purpose: Purpose, want_warm: bool) -> Run {
        let map = &self.arena.map;
        let head = map.head();
        let (used, warm) = (head.used.load(Relaxed), head.warm.load(Relaxed));
        let reused = self.count_warm(first, count);
        let warm_granules = if want_warm { self.warm_in(first, count) } else { Vec::new() };
        let before = map.granule(first).generation.load(Relaxed);
        let (op, detail, generation) = match purpose {
            Purpose::Large { hold } => (OP_LARGE, hold, BlockId::next_generation(before)),
            Purpose::Span { class } => (OP_SPAN, class, before),
        };
        let redo = &head.redo;
        redo.first.store(first, Relaxed);
        redo.count.store(count, Relaxed);
        redo.generation.store(generation, Relaxed);
        redo.owner.store(self.arena.me.raw(), Relaxed);
        redo.detail.store(detail, Relaxed);
        redo.used.store(used + count, Relaxed);
        redo.warm.store(warm.saturating_sub(reused), Relaxed);
        redo.high.store(head.high.load(Relaxed).max(first + count), Relaxed);
        self.commit(op);
        Run { first, generation, warm: warm_granules }
    }

    /// Gives the run of `count` granules from `first` back: the large block or span that starts there. With `keep` its pages
    /// stay for the next one; without, the caller has punched them out.
    pub(crate) fn give(&self, first: u32, count: u32, keep: bool) {
        self.record_free(first, count, keep);
        self.arena.map.head().redo.generation.store(self.arena.map.granule(first).generation.load(Relaxed), Relaxed);
        self.commit(OP_FREE);
    }

    /// Takes the large block that starts at `first` out of circulation for good; the caller has punched its pages out.
    pub(crate) fn retire(&self, first: u32, count: u32) {
        self.record_free(first, count, false);
        self.arena.map.head().redo.generation.store(self.arena.map.granule(first).generation.load(Relaxed), Relaxed);
        self.commit(OP_RETIRE);
    }

    /// Makes the block `id`, which entry `hold` of this process names, the family's root block, if there is none yet.
    pub(crate) fn root(&self, hold: u32, id: BlockId) -> bool {
        let head = self.arena.map.head();
        if head.root.load(Relaxed) != 0 {
            return false;
        }
        head.redo.block.store(id.raw(), Relaxed);
        head.redo.owner.store(self.arena.me.raw(), Relaxed);
        head.redo.detail.store(hold, Relaxed);
        self.commit(OP_ROOT);
        true
    }

    /// Cuts the large block that starts at `head` to `left` of its `count` granules. The rest keeps its pages.
    pub(crate) fn cut(&self, head: u32, count: u32, left: u32) {
        self.record_free(head + left, count - left, true);
        self.arena.map.head().redo.detail.store(head, Relaxed);
        self.commit(OP_SHRINK);
    }

    fn record_free(&self, first: u32, count: u32, keep: bool) {
        let head = self.arena.map.head();
        let redo = &head.redo;
        let warm = head.warm.load(Relaxed);
        redo.first.store(first, Relaxed);
        redo.count.store(count, Relaxed);
        redo.used.store(head.used.load(Relaxed).saturating_sub(count), Relaxed);
        redo.warm.store(if keep { warm + count } else { warm }, Relaxed);
        redo.high.store(head.high.load(Relaxed), Relaxed);
        redo.keep.store(u32::from(keep), Relaxed);
    }

    fn commit(&self, op: u32) {
        let redo = &self.arena.map.head().redo;
        if mutant(mutants::REDO_LATE) {
            self.apply(op);
        }
        step();
        redo.op.store(op, Release);
        step();
        if mutant(mutants::REDO_CLEARED_EARLY) {
            redo.op.store(OP_NONE, Release);
            step();
        }
        if mutant(mutants::UNLOCK_EARLY) {
            self.arena.map.head().lock.0.unlock();
            step();
        }
        self.apply(op);
        step();
        redo.op.store(OP_NONE, Release);
        step();
    }

    /// Finishes what the record says, if it says anything.
    fn redo(&self) {
        let redo = &self.arena.map.head().redo;
        let op = redo.op.load(std::sync::atomic::Ordering::Acquire);
        if op != OP_NONE {
            self.apply(op);
        }
        step();
        redo.op.store(OP_NONE, Release);
    }

    /// Makes the change that the record describes: absolute stores only, so that it can be repeated.
    fn apply(&self, op: u32) {
        let map = &self.arena.map;
        let (head, redo) = (map.head(), &map.head().redo);
        if op == OP_ROOT {
            let (id, owner) = (BlockId::from_raw(redo.block.load(Relaxed)), Owner::from_raw(redo.owner.load(Relaxed)));
            if let (Some(id), Some(owner)) = (id, owner)
                && let Some(found) = self.arena.locate(id.pos())
                && redo.detail.load(Relaxed) < map.layout.holds_each as u32
            {
                found.header.state.store(State::held_by(id.generation(), OWNED).raw(), Release);
                head.root.store(id.raw(), Release);
                map.hold(owner.slot(), redo.detail.load(Relaxed)).block.store(0, Release);
            }
            return;
        }
        let (first, count) = (redo.first.load(Relaxed), redo.count.load(Relaxed));
        let in_range = first >= map.layout.first_granule()
            && first.checked_add(count).is_some_and(|end| end <= map.layout.granule_count());
        if !in_range || count == 0 {
            return;
        }
        let generation = redo.generation.load(Relaxed);
        let detail = redo.detail.load(Relaxed);
        let granule = map.granule(first);
        match op {
            OP_LARGE => {
                let (Some(owner), Some(id)) = (
                    Owner::from_raw(redo.owner.load(Relaxed)),
                    BlockId::new(u64::from(first) << GRANULE_SHIFT, generation),
                ) else {
                    return;
                };
                map.hold(owner.slot(), detail).block.store(id.raw(), Release);
                step();
                granule.generation.store(generation, Relaxed);
                granule.header.len.store(u64::from(count) * GRANULE, Relaxed);
                granule.header.next.store(0, Relaxed);
                granule.header.children.store(Children::none(generation).raw(), Relaxed);
                granule.header.state.store(State::held(generation, owner).raw(), Release);
                map.kind(first).store(LARGE, Release);
            }
            OP_SPAN => {
                granule.class.store(detail, Relaxed);
                granule.touched.store(0, Relaxed);
                for word in &granule.remote {
                    word.store(0, Relaxed);
                }
                map.kind(first).store(redo.owner.load(Relaxed), Release);
            }
            OP_FREE => {
                if self.arena.kind_of(first) == Kind::Large {
                    granule.header.state.store(State::new(generation, Stage::Free).raw(), Release);
                }
                map.kind(first).store(0, Release);
            }
            OP_RETIRE => {
                map.kind(first).store(RETIRED, Release);
                granule.header.state.store(State::new(generation, Stage::Free).raw(), Release);
            }
            OP_SHRINK if detail < first && detail >= map.layout.first_granule() => {
                map.granule(detail).header.len.store(u64::from(first - detail) * GRANULE, Release);
            }
            _ => return,
        }
        let free = matches!(op, OP_FREE | OP_SHRINK);
        let keep = free && redo.keep.load(Relaxed) != 0;
        set_bits(|word| map.used(word), first, count, !free);
        set_bits(|word| map.warm(word), first, count, keep);
        if keep {
            granule.freed_at.store(coarse_seconds(), Relaxed);
        }
        head.used.store(redo.used.load(Relaxed), Relaxed);
        head.warm.store(redo.warm.load(Relaxed), Relaxed);
        head.high.store(redo.high.load(Relaxed), Relaxed);
    }

    /// A free run of `count` granules.
    fn find(&self, count: u32) -> Option<u32> {
        let map = &self.arena.map;
        let head = map.head();
        let (low, high) = (map.layout.first_granule(), head.high.load(Relaxed).min(map.layout.granule_count()));
        let used = head.used.load(Relaxed);
        if head.warm.load(Relaxed) >= count
            && let Some(first) = find_run(|word| !map.warm(word).load(Relaxed), low, high, count)
        {
            return Some(first);
        }
        if (high - low).saturating_sub(used) >= count
            && let Some(first) = find_run(|word| map.used(word).load(Relaxed), low, high, count)
        {
            return Some(first);
        }
        // The free granules just below `high` belong to the run, too.
        let mut first = high;
        while first > low && !bit(|word| map.used(word), first - 1) {
            first -= 1;
        }
        (map.layout.granule_count() - first >= count).then_some(first)
    }

    fn count_warm(&self, first: u32, count: u32) -> u32 {
        let mut warm = 0;
        for_words(first, count, |word, mask| {
            warm += (self.arena.map.warm(word).load(Relaxed) & mask).count_ones();
        });
        warm
    }

    fn warm_in(&self, first: u32, count: u32) -> Vec<u32> {
        (first..first + count).filter(|granule| bit(|word| self.arena.map.warm(word), *granule)).collect()
    }

    /// A warm run of at least `least` granules that was freed `age` ago or earlier: its first granule and length.
    pub(crate) fn oldest_warm(&self, least: u32, age: Duration, from: u32) -> Option<(u32, u32)> {
        let map = &self.arena.map;
        let high = map.head().high.load(Relaxed).min(map.layout.granule_count());
        let now = coarse_seconds();
        let mut at = from.max(map.layout.first_granule());
        while let Some(first) = find_run(|word| !map.warm(word).load(Relaxed), at, high, least) {
            let mut end = first + least;
            while end < high && bit(|word| map.warm(word), end) {
                end += 1;
            }
            if u64::from(now.wrapping_sub(map.granule(first).freed_at.load(Relaxed))) >= age.as_secs() {
                return Some((first, end - first));
            }
            at = end;
        }
        None
    }
}

/// Calls `visit` with every word of a bitmap that has bits of the run, and the mask of those bits.
fn for_words(first: u32, count: u32, mut visit: impl FnMut(usize, u64)) {
    let (mut at, end) = (first, first + count);
    while at < end {
        let bits = (64 - at % 64).min(end - at);
        let mask = (u64::MAX >> (64 - bits)) << (at % 64);
        visit((at / 64) as usize, mask);
        at += bits;
    }
}

/// Sets or clears the bits of a run. The lock makes this process the only writer.
fn set_bits<'a>(words: impl Fn(usize) -> &'a AtomicU64, first: u32, count: u32, on: bool) {
    for_words(first, count, |index, mask| {
        let word = words(index);
        let old = word.load(Relaxed);
        word.store(if on { old | mask } else { old & !mask }, Relaxed);
    });
}

fn bit<'a>(words: impl Fn(usize) -> &'a AtomicU64, index: u32) -> bool {
    words((index / 64) as usize).load(Relaxed) >> (index % 64) & 1 != 0
}

/// The first run of `count` clear bits in `[low, high)`.
fn find_run(words: impl Fn(usize) -> u64, low: u32, high: u32, count: u32) -> Option<u32> {
    let mut at = low;
    let mut start = low;
    while at < high {
        let rest = words((at / 64) as usize) >> (at % 64);
        let left = 64 - at % 64;
        let clear = rest.trailing_zeros().min(left);
        if at + clear - start >= count && at + clear <= high {
            return Some(start);
        }
        if clear == left {
            at += left;
            continue;
        }
        at += clear;
        if at.min(high) - start >= count {
            return Some(start);
        }
        at += (!(rest >> clear)).trailing_zeros().min(left - clear);
        start = at;
    }
    (high > start && high - start >= count).then_some(start)
}

const _: () = assert!(SPAN_BLOCKS == 1024);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_found_as_by_a_plain_search() {
        let mut seed = 7u64;
        for _ in 0..2000 {
            let words: Vec<u64> = (0..4)
                .map(|_| {
                    seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    let word = (seed >> 7) & (seed >> 11) & (seed >> 23);
                    if seed >> 62 == 0 { 0 } else { word }
                })
                .collect();
            let clear = |at: u32| words[(at / 64) as usize] >> (at % 64) & 1 == 0;
            let (low, high) = ((seed >> 40) as u32 % 100, 256 - (seed >> 50) as u32 % 70);
            for count in [1, 2, 5, 17, 64, 70, 130] {
                let plain = (low..high).find(|start| start + count <= high && (*start..start + count).all(clear));
                assert_eq!(find_run(|word| words[word], low, high, count), plain, "{words:x?} {low} {high} {count}");
            }
        }
    }
}
