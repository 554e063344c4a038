//! Permits to run, shared by a tree of workers: so many processes at a time, however deeply pools are nested.
//!
//! A permit is a word that names its holder, or 0. It is taken and given back by one CAS, so there is no count that a kill could leave
//! wrong: an audit frees the words that name the dead. Everything else is a hint:
//!
//! ```text
//! holders   0 -> me by CAS; me -> 0 by the holder, or by the audit of its process; ancestor -> me (see below)
//! waiting   1 before a sleep, after which the words are looked at again; 0 by whoever wakes all sleepers
//! bell      raised before sleepers are woken
//! gatherer  0 -> me by CAS while several permits are gathered: nobody else takes one meanwhile, so two of them cannot block each other
//! ```
//! `waiting` is set before the words are read again, and a word is freed before `waiting` is read, all sequentially consistent: so no
//! sleeper is missed. One who was killed between freeing a word and waking the sleepers is covered by the audit, which wakes all.
//!
//! # Why a tree of pools cannot block itself
//!
//! A worker has a permit while it runs a task, and gives it back while it waits for the results of other workers ([`pause`]). So whoever has one
//! can go on, and gives it back at the end. A task may still wait for its own workers in a way that this library does not see: through a socket, or by
//! sleeping until a handle is ready. So a worker that has to wait long looks at its ancestors: if one has a permit and has used hardly any CPU time
//! between two looks, its permit is taken over. Should that one have slept for another reason, there is one running process too many for a
//! while, which does no harm.
//!
//! # Invariants of the unsafe code here
//! Permits lie in a block that the tree's first pool keeps until the last worker of the tree is gone; they are atomics only.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::*};
use std::time::{Duration, Instant};

use crate::arena::{Arena, BlockId, Owner, SLOTS, mutant};
use crate::sys::{futex, proc};

/// The first wait after which a worker looks at its ancestors, and the longest.
const LOOK_AFTER: Duration = Duration::from_millis(50);
const LOOK_AT_MOST: Duration = Duration::from_secs(1);

/// A seeded mistake: a permit is taken before it says by whom; see `arena::mutants`.
pub(crate) const ANONYMOUS: u32 = 105;

/// In which of a slot's words a process says of which permits it takes: the block's id.
const SLOT_WORD: usize = 7;

/// Permits in shared memory. All zero but for `limit` is a valid beginning.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Permits {
    /// How many there are.
    pub(crate) limit: AtomicU32,
    bell: AtomicU32,
    waiting: AtomicU32,
    gatherer: AtomicU32,
    holders: [AtomicU32; SLOTS],
}

impl Permits {
    fn words(&self) -> &[AtomicU32] {
        &self.holders[..(self.limit.load(Relaxed) as usize).clamp(1, SLOTS)]
    }

    /// How many nobody has.
    pub(crate) fn free(&self) -> usize {
        self.words().iter().filter(|word| word.load(Relaxed) == 0).count()
    }

    /// Does somebody wait for one?
    #[inline]
    pub(crate) fn are_wanted(&self) -> bool {
        self.waiting.load(Relaxed) != 0
    }

    /// Takes one, if one is free. Looks at place `hint` first.
    fn try_take(&self, me: Owner, hint: usize) -> Option<usize> {
        let gatherer = self.gatherer.load(SeqCst);
        if gatherer != 0 && gatherer != me.raw() {
            return None;
        }
        let words = self.words();
        (0..words.len()).map(|index| (hint + index) % words.len()).find(|&at| {
            if mutant(ANONYMOUS) {
                let taken = words[at].compare_exchange(0, u32::MAX, SeqCst, Relaxed).is_ok();
                if taken {
                    words[at].store(me.raw(), SeqCst);
                }
                return taken;
            }
            words[at].load(SeqCst) == 0 && words[at].compare_exchange(0, me.raw(), SeqCst, Relaxed).is_ok()
        })
    }

    /// Gives one back; nothing happens if it was taken over.
    pub(crate) fn give_back(&self, me: Owner, at: usize) {
        if self.holders[at].compare_exchange(me.raw(), 0, SeqCst, Relaxed).is_ok() {
            self.wake();
        }
    }

    fn wake(&self) {
        if self.waiting.swap(0, SeqCst) != 0 {
            self.bell.fetch_add(1, SeqCst);
            futex::wake_all(&self.bell);
        }
    }

    /// Changes how many there are.
    pub(crate) fn resize(&self, limit: usize) {
        self.limit.store(limit as u32, SeqCst);
        self.waiting.store(1, SeqCst);
        self.wake();
    }

    /// Sleeps until one may be free or the deadline has passed. `ready` is asked after the sleep was announced.
    fn sleep<T>(&self, deadline: Option<Instant>, ready: impl Fn() -> Option<T>) -> Option<T> {
        let seen = self.bell.load(SeqCst);
        self.waiting.store(1, SeqCst);
        let got = ready();
        if got.is_none() {
            futex::wait(&self.bell, seen, deadline);
        }
        got
    }

    /// Takes one, and waits for it as long as that takes.
    pub(crate) fn take(&self, arena: &'static Arena, me: Owner, hint: usize) -> usize {
        if let Some(at) = self.try_take(me, hint) {
            return at;
        }
        let mut ancestors = Ancestors::default();
        let mut patience = LOOK_AFTER;
        loop {
            let deadline = Instant::now() + patience;
            if let Some(at) = self.sleep(Some(deadline), || self.try_take(me, hint)).or_else(|| self.try_take(me, hint))
            {
                return at;
            }
            if Instant::now() >= deadline {
                if let Some(at) = ancestors.take_over(self, arena, me) {
                    return at;
                }
                patience = (patience * 2).min(LOOK_AT_MOST);
            }
        }
    }

    /// Takes more, until there are `count`, all at once in the eyes of others. `mine` are those that it has.
    ///
    /// Looks at its ancestors as [`take`](Self::take) does: one of them may wait for this task, unseen. And there may be fewer by and by.
    pub(crate) fn gather(&self, arena: &'static Arena, me: Owner, mine: &mut Vec<usize>, count: usize) {
        let mut ancestors = Ancestors::default();
        let mut patience = LOOK_AFTER;
        while mine.len() < count.min(self.words().len()) {
            if self.gatherer.load(SeqCst) == me.raw() {
                let deadline = Instant::now() + patience;
                let enough = || mine.len() >= count.min(self.words().len());
                let got = self.try_take(me, 0).or_else(|| {
                    // Looked at again after the sleep was announced: somebody may have made them fewer.
                    self.sleep(Some(deadline), || self.try_take(me, 0).map(Some).or_else(|| enough().then_some(None)))
                        .flatten()
                });
                mine.extend(got);
                if got.is_none() && Instant::now() >= deadline {
                    mine.extend(ancestors.take_over(self, arena, me));
                    patience = (patience * 2).min(LOOK_AT_MOST);
                }
            } else if self.gatherer.compare_exchange(0, me.raw(), SeqCst, Relaxed).is_err() {
                // Another gathers, and may need what this one has.
                mine.drain(..).for_each(|at| self.give_back(me, at));
                let _: Option<()> = self.sleep(None, || (self.gatherer.load(SeqCst) == 0).then_some(()));
            }
        }
        if self.gatherer.compare_exchange(me.raw(), 0, SeqCst, Relaxed).is_ok() {
            // Those who could not take one meanwhile look again.
            self.waiting.store(1, SeqCst);
            self.wake();
        }
    }

    /// Frees what a dead process had. Repeatable.
    pub(crate) fn forget(&self, dead: Owner) {
        for word in self.holders.iter().chain([&self.gatherer]) {
            let _ = word.compare_exchange(dead.raw(), 0, SeqCst, Relaxed);
        }
        self.waiting.store(1, SeqCst);
        self.wake();
    }
}

/// What a waiting worker knows of its ancestors.
#[derive(Default)]
struct Ancestors {
    /// CPU time at the last look, and when that was.
    seen: Vec<(Owner, Duration, Instant)>,
    /// When the first look was.
    since: Option<Instant>,
}

/// So long an ancestor that is busy is left its permit: it may be one that asks for a result over and over.
const BUSY_AT_MOST: Duration = Duration::from_secs(2);

impl Ancestors {
    /// Takes the permit of an ancestor that has one and has used less than an eighth of a CPU since the last look; after a while, of any: it may
    /// spin until this very task is done.
    fn take_over(&mut self, permits: &Permits, arena: &'static Arena, me: Owner) -> Option<usize> {
        let clock = Instant::now();
        let is_desperate = clock - *self.since.get_or_insert(clock) > BUSY_AT_MOST;
        let mut now = Vec::new();
        let mut above = arena.slots().parent_of(me);
        while let Some(ancestor) = above.filter(|_| now.len() < SLOTS) {
            let pid = arena.slots().get(ancestor).map(|slot| slot.pid.load(Relaxed));
            let time = pid.and_then(proc::cpu_time);
            let held = permits.holders.iter().position(|word| word.load(SeqCst) == ancestor.raw());
            if let (Some(time), Some(at)) = (time, held) {
                let before = self.seen.iter().find(|(owner, ..)| *owner == ancestor);
                let is_idle =
                    before.is_some_and(|(_, used, at)| time.saturating_sub(*used) * 8 <= clock.duration_since(*at));
                if (is_idle || is_desperate)
                    && permits.holders[at].compare_exchange(ancestor.raw(), me.raw(), SeqCst, Relaxed).is_ok()
                {
                    return Some(at);
                }
            }
            now.extend(time.map(|time| (ancestor, time, clock)));
            above = arena.slots().parent_of(ancestor).filter(|parent| *parent != ancestor);
        }
        self.seen = now;
        None
    }
}

/// This process's part in the permits of its tree.
struct Membership {
    arena: &'static Arena,
    permits: &'static Permits,
    block: BlockId,
    me: Owner,
}

static MEMBERSHIP: OnceLock<Membership> = OnceLock::new();

thread_local! {
    /// The permits that this thread has. Only the thread that runs a worker's tasks ever has any.
    static HELD: Cell<Held> = const { Cell::new(Held::Nothing) };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Nothing,
    /// One, at this place.
    One(usize),
    /// So many.
    Several(usize),
}

/// The permits of the tree that this process is a worker of, and the block that they lie in.
pub(crate) fn of_this_tree() -> Option<(&'static Permits, BlockId)> {
    MEMBERSHIP.get().map(|mine| (mine.permits, mine.block))
}

/// Makes this process, a worker, one that takes part.
pub(crate) fn join(arena: &'static Arena, permits: &'static Permits, block: BlockId) {
    if let Some(slot) = arena.slots().get(arena.me()) {
        // Before the first permit is taken: the audit finds it by this.
        slot.words[SLOT_WORD].store(block.raw(), SeqCst);
    }
    _ = MEMBERSHIP.set(Membership { arena, permits, block, me: arena.me() });
}

/// What the audit of a dead process does: the permits it had are free.
pub(crate) fn forget(arena: &'static Arena, dead: Owner) {
    let block = arena.slots().get(dead).and_then(|slot| BlockId::from_raw(slot.words[SLOT_WORD].load(SeqCst)));
    if let Some(permits) = block.and_then(|block| at(arena, block)) {
        permits.forget(dead);
    }
}

/// Takes a permit for this thread, if it has none.
pub(crate) fn take() {
    if let Some(mine) = MEMBERSHIP.get()
        && HELD.get() == Held::Nothing
    {
        HELD.set(Held::One(mine.permits.take(mine.arena, mine.me, mine.me.slot())));
    }
}

/// Takes as many as there are up to `count`, for a task that uses so many CPUs.
pub(crate) fn gather(count: usize) {
    let Some(mine) = MEMBERSHIP.get() else { return };
    let mut have: Vec<usize> = match HELD.get() {
        Held::One(at) => vec![at],
        _ => vec![],
    };
    mine.permits.gather(mine.arena, mine.me, &mut have, count.max(1));
    HELD.set(Held::Several(have.len()));
}

/// Gives back what this thread has.
pub(crate) fn give_back() {
    let Some(mine) = MEMBERSHIP.get() else { return };
    match HELD.replace(Held::Nothing) {
        Held::Nothing => {}
        Held::One(at) => mine.permits.give_back(mine.me, at),
        Held::Several(_) => (0..SLOTS).for_each(|at| mine.permits.give_back(mine.me, at)),
    }
}

/// Gives the permit to those who wait for one, and waits for another: for a worker between two jobs.
pub(crate) fn let_others() {
    let Some(mine) = MEMBERSHIP.get() else { return };
    let seen = mine.permits.bell.load(SeqCst);
    give_back();
    // Those who were just woken come first. If they do not come, nobody else does either.
    futex::wait(&mine.permits.bell, seen.wrapping_add(1), Some(Instant::now() + Duration::from_micros(200)));
    take();
}

/// While it lives, this thread has no permit; afterwards it has as many as before.
#[derive(Debug)]
pub(crate) struct Paused(Held);

/// Gives back what this thread has while it waits for the work of other processes. Does nothing where it has none.
pub(crate) fn pause() -> Option<Paused> {
    let held = HELD.try_with(Cell::get).unwrap_or(Held::Nothing);
    (held != Held::Nothing).then(|| {
        give_back();
        Paused(held)
    })
}

impl Drop for Paused {
    fn drop(&mut self) {
        match self.0 {
            Held::Nothing => {}
            Held::One(_) => take(),
            Held::Several(count) => gather(count),
        }
    }
}

/// The permits in `block`.
pub(crate) fn at(arena: &'static Arena, block: BlockId) -> Option<&'static Permits> {
    let block = arena.resolve(block).filter(|block| block.capacity >= size_of::<Permits>())?;
    // SAFETY: large enough (just checked), aligned as all blocks are, of atomics, for which any bytes are valid. Who has this id is a worker of
    // the tree, which does not outlive the block, or audits one (and then reads and writes whatever is there now: words that name the dead).
    Some(unsafe { block.ptr.cast::<Permits>().as_ref() })
}

/// Has this thread a permit?
pub(crate) fn is_held() -> bool {
    HELD.try_with(Cell::get).is_ok_and(|held| held != Held::Nothing)
}
