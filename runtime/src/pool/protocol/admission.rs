//! Tasks that say what they need, and tasks that come before others.
//!
//! Most jobs go through the ring, first come, first served, and never come here. A job with needs or a priority stands in a *lane*
//! instead. A worker that looks for work takes the first lane, by priority and then by age, whose needs are free; what it takes stands in its
//! seat's *grant*. So how much is free is never counted: it is what there is less the sum of the grants, and the grant of a worker that dies is
//! cleared with its seat. Looking and taking happen under an owner lock, which any worker takes over from a dead one: nothing is
//! half done under it but that worker's own grant.
//!
//! A lane whose needs are not free keeps them from lanes behind it, so that a large task is not starved by small ones; lanes that need something
//! else go on.
//!
//! Entries in lanes have numbers as those in the ring have, with the highest bit set, and the same protocol: a worker names the job in
//! its seat, then looks whether the entry still stands; the pool's process clears the entry, then looks at the seats. Whoever passes an entry does so
//! by CAS of its number, and a job that gets free chunks again gets a new one.
//!
//! Who finds nothing that it may begin sleeps as idle workers do. It sets `waiting` before it looks for the last time; who gives something
//! back clears its grant before it reads `waiting`. Both are sequentially consistent. A worker that is killed in between is covered by the audit,
//! which wakes all.

use std::sync::atomic::Ordering::*;

use super::{bell, mutants};
use crate::ErrorKind;
use crate::arena::{Arena, BlockId, mutant};
use crate::pool::job::errand::Errand;
use crate::pool::layout::{ControlView, KINDS, LANES, Lane, Seat, orders};
use crate::pool::master::core::Core;
use crate::pool::master::waiting::Class;
use crate::sys::{futex, proc};
use crate::task::TaskError;

/// Marks the number of an entry in a lane.
pub(in crate::pool) const IN_LANE: u64 = 1 << 63;

/// What each task of a job needs, and when it is its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Needs {
    pub(crate) slots: u32,
    pub(crate) memory: u64,
    pub(crate) tokens: Vec<(String, u32)>,
    pub(crate) priority: i32,
}

impl Default for Needs {
    fn default() -> Needs {
        Needs { slots: 1, memory: 0, tokens: Vec::new(), priority: 0 }
    }
}

/// The same with the pool's own numbers for kinds of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) struct Demand {
    slots: u32,
    memory: u64,
    tokens: [u32; KINDS],
    pub(in crate::pool) priority: i32,
}

impl Demand {
    /// What kinds of things it competes for.
    pub(in crate::pool) fn class(&self) -> Class {
        class_of(self.slots, self.memory, self.tokens)
    }
}

fn class_of(slots: u32, memory: u64, tokens: [u32; KINDS]) -> Class {
    let kinds = tokens.into_iter().enumerate().map(|(kind, count)| Class::from(count > 0) << kind);
    kinds.sum::<Class>() << 2 | Class::from(memory > 0) << 1 | Class::from(slots > 1)
}

impl Needs {
    /// Nothing special: the ring will do.
    pub(in crate::pool) fn is_plain(&self) -> bool {
        *self == Needs::default()
    }

    /// What this is in a pool with these resources. `Err`: why the pool can never meet it.
    pub(in crate::pool) fn demand(&self, resources: &Resources, slots: usize) -> Result<Demand, String> {
        let mut tokens = [0u32; KINDS];
        for (name, count) in &self.tokens {
            let Some(kind) = resources.tokens.iter().position(|(known, _)| known == name) else {
                return Err(format!(
                    "the task needs `{name}`, which this pool does not have: give it some with `Pool::builder().resource({name:?}, ..)`"
                ));
            };
            tokens[kind] = tokens[kind].saturating_add(*count);
            let most = resources.tokens[kind].1;
            if tokens[kind] > most {
                return Err(format!("the task needs {} of `{name}`, and this pool has {most}", tokens[kind]));
            }
        }
        if self.slots as usize > slots {
            return Err(format!("the task needs {} slots, and this pool has {slots}", self.slots));
        }
        if self.memory > resources.memory.unwrap_or(u64::MAX) {
            let most = resources.memory.unwrap_or(u64::MAX);
            return Err(format!(
                "the task needs {} bytes of memory, and the tasks of this pool may have {most} together",
                self.memory
            ));
        }
        Ok(Demand { slots: self.slots.max(1), memory: self.memory, tokens, priority: self.priority })
    }
}

/// What a pool has of what tasks may need.
#[derive(Debug, Clone, Default)]
pub(in crate::pool) struct Resources {
    pub(in crate::pool) tokens: Vec<(String, u32)>,
    pub(in crate::pool) memory: Option<u64>,
    pub(in crate::pool) keep_free: Option<u64>,
}

impl Resources {
    /// Tells the workers. Before the first worker starts.
    pub(in crate::pool) fn announce(&self, control: &ControlView<'_>) {
        for (word, (_, count)) in control.lanes.tokens.iter().zip(&self.tokens) {
            word.store(*count, Release);
        }
        control.lanes.memory.store(self.memory.unwrap_or(u64::MAX), Release);
        control.lanes.keep_free.store(self.keep_free.unwrap_or(0), Release);
    }
}

impl Core {
    /// Sees that what the tasks of a batch or call need can ever be met.
    pub(in crate::pool) fn admit(&self, errand: &Errand) -> Result<(), TaskError> {
        let needs = &errand.policy.needs;
        if needs.is_plain() {
            return Ok(());
        }
        let slots = self.estate.permits().map_or(1, |permits| permits.limit.load(Relaxed) as usize);
        match needs.demand(&self.options.limits.resources, slots) {
            Ok(demand) => {
                _ = errand.demand.set(demand);
                Ok(())
            }
            Err(reason) => {
                Err(TaskError::NoWorker { context: errand.context(None), reason, kind: ErrorKind::InvalidInput })
            }
        }
    }
}

/// A lane that a worker may take a chunk of.
#[derive(Debug, Clone, Copy)]
pub(in crate::pool) struct Pick {
    pub(in crate::pool) entry: u64,
    pub(in crate::pool) job: BlockId,
    pub(in crate::pool) slots: u32,
}

/// Why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) enum Absent {
    /// There is no job, or what its tasks need is in use in this pool: whoever gives it back has sleepers look again.
    Nothing,
    /// The system is short of memory, which may come back from anywhere, and nobody tells.
    Memory,
}

/// Which lanes are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) enum Turn {
    /// Those that come before the ring.
    Before,
    /// All: the ring has nothing.
    Any,
}

/// The first rank of lanes that come after the ring: those of negative priority.
const AFTER_RING: u64 = 1 << 63;

pub(in crate::pool) fn rank(priority: i32, age: u64) -> u64 {
    // The highest priority first: 0 and more below the middle, the negative ones above.
    let turn = (i64::from(i32::MAX) - i64::from(priority)) as u64;
    turn << 32 | age & 0xffff_ffff
}

impl<'a> ControlView<'a> {
    fn lane(&self, entry: u64) -> &'a Lane {
        &self.lanes.lanes[entry as usize % LANES]
    }

    /// Puts a job into a lane. `None` when all are taken. The caller holds the pool's private lock; `number` is another with each call.
    pub(in crate::pool) fn publish_in_lane(
        &self,
        job: BlockId,
        demand: &Demand,
        rank: u64,
        number: u64,
    ) -> Option<u64> {
        let (at, lane) = self.lanes.lanes.iter().enumerate().find(|(_, lane)| lane.entry.load(SeqCst) == 0)?;
        let entry = IN_LANE | (number * LANES as u64 + at as u64) & !IN_LANE;
        lane.job.store(job.raw(), SeqCst);
        lane.rank.store(rank, SeqCst);
        lane.slots.store(demand.slots, SeqCst);
        lane.memory.store(demand.memory, SeqCst);
        lane.tokens.iter().zip(demand.tokens).for_each(|(word, count)| word.store(count, SeqCst));
        self.lanes.used.store(1, SeqCst);
        lane.entry.store(entry, SeqCst);
        if demand.priority > 0 {
            // Those who are at something else look up after their chunk.
            self.seats.iter().for_each(|seat| _ = seat.orders.fetch_or(orders::LOOK, SeqCst));
        }
        Some(entry)
    }

    /// Those that are taken, for the pool's process, which alone writes them: which, rank and class.
    fn taken_lanes(&self) -> impl Iterator<Item = (u64, u64, Class)> {
        let seen = |lane: &Lane| {
            let tokens = std::array::from_fn(|kind| lane.tokens[kind].load(SeqCst));
            let class = class_of(lane.slots.load(SeqCst), lane.memory.load(SeqCst), tokens);
            (lane.entry.load(SeqCst), lane.rank.load(SeqCst), class)
        };
        self.lanes.lanes.iter().map(seen).filter(|(entry, ..)| *entry != 0)
    }

    /// Is there a lane for another job?
    pub(in crate::pool) fn has_vacant_lane(&self) -> bool {
        self.lanes.lanes.iter().any(|lane| lane.entry.load(SeqCst) == 0)
    }

    /// How many lanes jobs of this class have.
    pub(in crate::pool) fn lanes_of(&self, class: Class) -> usize {
        self.taken_lanes().filter(|(.., other)| *other == class).count()
    }

    /// The entry whose turn comes last, and after `rank`, of a class that has other lanes.
    pub(in crate::pool) fn dispensable_lane(&self, rank: u64) -> Option<u64> {
        let taken: Vec<(u64, u64, Class)> = self.taken_lanes().collect();
        let has_others = |class: Class| taken.iter().filter(|(.., other)| *other == class).count() > 1;
        let last = taken.iter().filter(|(_, other, class)| *other > rank && has_others(*class));
        last.max_by_key(|(_, rank, _)| *rank).map(|(entry, ..)| *entry)
    }

    /// Takes the job of this entry out of its lane, if it still stands there. Workers that are at it go on.
    pub(in crate::pool) fn take_out_of_lane(&self, entry: u64) -> Option<BlockId> {
        let lane = self.lane(entry);
        let job = BlockId::from_raw(lane.job.load(SeqCst));
        lane.entry.compare_exchange(entry, 0, SeqCst, Relaxed).ok().and(job)
    }

    /// Takes a job out of its lane.
    pub(in crate::pool) fn clear_lane(&self, entry: u64) {
        let _ = self.lane(entry).entry.compare_exchange(entry, 0, SeqCst, Relaxed);
        if !self.has_lanes() {
            self.lanes.used.store(0, SeqCst);
        }
    }

    /// Does the entry still stand?
    pub(in crate::pool) fn stands_in_lane(&self, entry: u64) -> bool {
        self.lane(entry).entry.load(SeqCst) == entry
    }

    /// Notes that the job of this entry has no free chunk left. If it ever has again, it gets a new entry.
    pub(in crate::pool) fn pass_lane(&self, entry: u64) {
        let passed = self.lane(entry).entry.compare_exchange(entry, 0, SeqCst, Relaxed).is_ok();
        if passed && self.control.room_bell.load(SeqCst) != 0 {
            bell::ring_word(&self.control.watch_bell);
        }
    }

    /// Is there a job in a lane that may have work?
    pub(in crate::pool) fn has_lanes(&self) -> bool {
        self.lanes.used.load(SeqCst) != 0 && self.lanes.lanes.iter().any(|lane| lane.entry.load(SeqCst) != 0)
    }

    /// The jobs in lanes that may have work.
    pub(in crate::pool) fn jobs_in_lanes(&self) -> impl Iterator<Item = BlockId> + use<'a> {
        let lanes = if self.lanes.used.load(SeqCst) == 0 { &[] } else { &self.lanes.lanes[..] };
        let is_used = |lane: &&Lane| lane.entry.load(SeqCst) != 0;
        lanes.iter().filter(is_used).filter_map(|lane| BlockId::from_raw(lane.job.load(SeqCst)))
    }

    /// Takes what the first lane needs that can be had, for the worker of seat `at`. That worker has nothing yet.
    pub(in crate::pool) fn pick(&self, arena: &'static Arena, at: usize, turn: Turn) -> Result<Pick, Absent> {
        if self.lanes.used.load(SeqCst) == 0 {
            return Err(Absent::Nothing);
        }
        let me = arena.thread().map_err(|_| Absent::Nothing)?.id;
        // From a dead one there is nothing to finish: see the module's text.
        let _ = self.lanes.lock.lock(me, |holder| arena.is_dead_thread(holder));
        let picked = self.pick_locked(at, turn);
        self.lanes.lock.unlock();
        picked
    }

    fn pick_locked(&self, at: usize, turn: Turn) -> Result<Pick, Absent> {
        let (lanes, mut absent) = (self.lanes, Absent::Nothing);
        let last = if turn == Turn::Before { AFTER_RING } else { u64::MAX };
        let mut found: Vec<(u64, u64, &Lane)> = Vec::with_capacity(LANES);
        for lane in &lanes.lanes {
            let (entry, rank) = (lane.entry.load(SeqCst), lane.rank.load(SeqCst));
            if entry != 0 && rank < last {
                found.push((rank, entry, lane));
            }
        }
        found.sort_unstable_by_key(|(rank, ..)| *rank);
        let (mut taken, mut taken_memory) = ([0u64; KINDS], 0u64);
        for grant in &lanes.grants[..self.seats.len()] {
            taken.iter_mut().zip(&grant.tokens).for_each(|(sum, word)| *sum += u64::from(word.load(SeqCst)));
            taken_memory = taken_memory.saturating_add(grant.memory.load(SeqCst));
        }
        let (mut reserved, mut memory_is_reserved) = ([false; KINDS], false);
        for (_, entry, lane) in found {
            let wanted: [u64; KINDS] = std::array::from_fn(|kind| u64::from(lane.tokens[kind].load(SeqCst)));
            let memory = lane.memory.load(SeqCst);
            let has_tokens = (0..KINDS).all(|kind| {
                wanted[kind] == 0
                    || !reserved[kind] && taken[kind] + wanted[kind] <= u64::from(lanes.tokens[kind].load(SeqCst))
            });
            let fits = memory == 0 || !memory_is_reserved && self.fits_in_memory(memory, taken_memory);
            // Asked last: it costs a look at the system's figures.
            let has_memory = fits && (memory == 0 || !has_tokens || self.has_memory(memory, taken_memory));
            if fits && !has_memory {
                absent = Absent::Memory;
            }
            // Read again: the fields are of this entry if it is still there.
            if lane.entry.load(SeqCst) != entry {
                continue;
            }
            if has_tokens && has_memory {
                let grant = &lanes.grants[at];
                if mutant(mutants::TOKENS_COUNTED) {
                    lanes.tokens.iter().zip(wanted).for_each(|(word, count)| _ = word.fetch_sub(count as u32, SeqCst));
                }
                grant.tokens.iter().zip(wanted).for_each(|(word, count)| word.store(count as u32, SeqCst));
                grant.memory.store(memory, SeqCst);
                let job = BlockId::from_raw(lane.job.load(SeqCst)).ok_or(absent)?;
                return Ok(Pick { entry, job, slots: lane.slots.load(SeqCst) });
            }
            (0..KINDS).for_each(|kind| reserved[kind] |= wanted[kind] > 0);
            memory_is_reserved |= memory > 0;
        }
        Err(absent)
    }

    /// May the tasks of this pool declare so much more, beside running ones that have declared `taken`?
    fn fits_in_memory(&self, wanted: u64, taken: u64) -> bool {
        taken == 0 || taken.saturating_add(wanted) <= self.lanes.memory.load(SeqCst)
    }

    /// Does the system have it?
    fn has_memory(&self, wanted: u64, taken: u64) -> bool {
        let keep = self.lanes.keep_free.load(Relaxed);
        // Somebody must be first, whatever the system says.
        taken == 0 || proc::available_memory().is_none_or(|available| available >= wanted.saturating_add(keep))
    }

    /// Is there less free memory than is to stay free, and somebody else at work who will give some back?
    ///
    /// Of those that have named a job and not begun, the one in the lowest seat goes on.
    pub(in crate::pool) fn is_short_of_memory(&self, at: usize) -> bool {
        let keep = self.lanes.keep_free.load(Relaxed);
        let goes_first = |seat: &Seat, other: usize| {
            seat.job.load(SeqCst) != 0 && (other < at || seat.progress.load(SeqCst) & 1 == 1)
        };
        let others = || self.seats.iter().enumerate().any(|(other, seat)| other != at && goes_first(seat, other));
        keep > 0 && others() && proc::available_memory().is_some_and(|available| available < keep)
    }

    /// Does a worker that runs a job of this entry stop after one chunk, to give back what it took?
    pub(in crate::pool) fn takes_single_chunks(&self, entry: u64) -> bool {
        let lane = self.lane(entry);
        lane.slots.load(SeqCst) > 1
            || lane.memory.load(SeqCst) > 0
            || lane.tokens.iter().any(|count| count.load(SeqCst) > 0)
    }

    /// The worker of seat `at` needs nothing any more.
    pub(in crate::pool) fn give_back(&self, at: usize) {
        self.clear_grant(at);
        if self.lanes.waiting.swap(0, SeqCst) != 0 {
            self.nudge();
        }
    }

    /// Clears what the worker of seat `at` has.
    pub(in crate::pool) fn clear_grant(&self, at: usize) {
        let grant = &self.lanes.grants[at];
        if mutant(mutants::TOKENS_COUNTED) {
            let taken = grant.tokens.iter().map(|word| word.load(SeqCst));
            self.lanes.tokens.iter().zip(taken).for_each(|(word, count)| _ = word.fetch_add(count, SeqCst));
        }
        grant.tokens.iter().for_each(|word| word.store(0, SeqCst));
        grant.memory.store(0, SeqCst);
    }

    /// Has all sleeping workers look again. Their bits stay, so one who is killed in here leaves nobody who cannot be woken.
    fn nudge(&self) {
        for (at, seat) in self.seats.iter().enumerate() {
            if self.control.idle.0[at / 64].load(SeqCst) >> (at % 64) & 1 == 1 {
                if mutant(mutants::NUDGE_TAKES_BIT) {
                    self.set_idle(at, false);
                }
                seat.bell.fetch_add(1, SeqCst);
                futex::wake(&seat.bell, 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_go_by_priority_then_by_age() {
        let mut ranks = [rank(0, 2), rank(5, 9), rank(-1, 0), rank(0, 1), rank(i32::MAX, 7), rank(i32::MIN, 3)];
        ranks.sort_unstable();
        assert_eq!(ranks, [rank(i32::MAX, 7), rank(5, 9), rank(0, 1), rank(0, 2), rank(-1, 0), rank(i32::MIN, 3)]);
        assert!(rank(0, u64::MAX) < AFTER_RING && rank(-1, 0) >= AFTER_RING);
    }

    #[test]
    fn what_a_pool_can_never_meet_is_said() {
        let resources = Resources { tokens: vec![("gpu".into(), 2)], memory: Some(100), keep_free: None };
        let ask = |needs: Needs| needs.demand(&resources, 4);
        assert!(ask(Needs { tokens: vec![("gpu".into(), 2)], ..Needs::default() }).is_ok());
        for needs in [
            Needs { tokens: vec![("gpu".into(), 3)], ..Needs::default() },
            Needs { tokens: vec![("gpu".into(), 1), ("gpu".into(), 2)], ..Needs::default() },
            Needs { tokens: vec![("tpu".into(), 1)], ..Needs::default() },
            Needs { slots: 5, ..Needs::default() },
            Needs { memory: 101, ..Needs::default() },
        ] {
            assert!(ask(needs).is_err());
        }
    }
}
