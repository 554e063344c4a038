//! A process replaces what a structure has, under the lock of its redo journal, and dies at a step of that; another one wants
//! the lock, and a third audits the dead. Deaths are known to all as the kernel makes them known: after all that the dead did.
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use loom::thread;

use crate::arena::id::{BlockId, Owner, Pos, ThreadId};
use crate::arena::redo::{Action, Ground, Guarded};
use crate::arena::{choose_mutant, kill_at, mutants};
use crate::sync::prim::{AtomicU32, AtomicU64, Ordering};

/// Processes: who replaces, who takes, who audits. Their thread records have the same numbers.
const WRITER: usize = 0;
const TAKER: usize = 1;
const AUDITOR: usize = 2;
/// Blocks: what the structure has first, what it is to have, and the writer's plan.
const OLD: usize = 0;
const NEW: usize = 1;
const PLAN: usize = 2;

/// Positions: of the structure's words, which are the block that it has, and how often it was replaced, twice.
const CELL: Pos = 0;
const COUNT: Pos = 8;
const COUNT_TOO: Pos = 16;
/// Of the lock, for the audit.
const HERE: Pos = 24;
/// Of the blocks.
const BLOCKS: Pos = 64;

/// In a header, for a block that is the structure's.
const OWNED: u64 = 3;
const FREE: u64 = 0;

struct World {
    guarded: Guarded,
    words: [AtomicU64; 3],
    /// Whose each block is.
    headers: [AtomicU64; 3],
    /// Of each process, the blocks in its hands.
    holds: [[AtomicU64; 2]; 3],
    /// Where each thread has a lock, or wants it.
    building: [AtomicU64; 3],
    dead: [AtomicU32; 3],
    plan: [AtomicU64; 10],
}

fn owner(process: usize) -> Owner {
    Owner::new(process, 1).unwrap()
}

fn thread_of(process: usize) -> ThreadId {
    ThreadId::new(process, 1).unwrap()
}

fn block(number: usize) -> BlockId {
    BlockId::new(BLOCKS + 128 * number as Pos, 1).unwrap()
}

impl World {
    fn new() -> Arc<World> {
        let word = |value| AtomicU64::new(value);
        let held = u64::from(owner(WRITER).raw());
        Arc::new(World {
            guarded: Guarded::default(),
            words: [word(block(OLD).raw()), word(0), word(0)],
            headers: [word(OWNED), word(held), word(held)],
            holds: [[word(block(NEW).raw()), word(0)], [word(0), word(0)], [word(0), word(0)]],
            building: Default::default(),
            dead: Default::default(),
            plan: Default::default(),
        })
    }

    fn lock(&self, process: usize) {
        self.guarded.lock(thread_of(process), &self.building[process], HERE, self);
    }

    fn unlock(&self, process: usize) {
        self.guarded.unlock(&self.building[process]);
    }

    /// The writer's life: the new block for the old one.
    fn replace(&self, planned: bool) {
        self.lock(WRITER);
        let mut actions = vec![
            Action::Store(CELL, block(NEW).raw()),
            Action::Give(0, block(NEW)),
            Action::Store(COUNT, 1),
            Action::Store(COUNT_TOO, 1),
        ];
        if self.words[0].load(Ordering::Relaxed) == block(OLD).raw() {
            actions.push(Action::Take(1, block(OLD)));
        }
        if planned {
            self.guarded.apply_plan(owner(WRITER), block(PLAN), &actions, self);
        } else {
            self.guarded.apply(owner(WRITER), &actions, self);
        }
        self.unlock(WRITER);
    }

    /// Another one looks, and takes what is there.
    fn take_out(&self) {
        self.lock(TAKER);
        let seen = [CELL, COUNT, COUNT_TOO].map(|pos| self.word(pos).unwrap().load(Ordering::Relaxed));
        let has = if seen[1] == 0 { OLD } else { NEW };
        assert_eq!(seen, [block(has).raw(), seen[1], seen[1]], "half of a change");
        self.guarded.apply(owner(TAKER), &[Action::Store(CELL, 0), Action::Take(0, block(has))], self);
        self.unlock(TAKER);
    }

    fn die(&self, process: usize) {
        self.dead[process].store(1, Ordering::Release);
    }

    /// As the audit of a dead process does: what it had begun first, then what it held.
    fn audit(&self, dead: usize) {
        let at = self.building[dead].load(Ordering::Acquire);
        if at != 0 {
            assert_eq!(at, HERE);
            self.guarded.recover(thread_of(AUDITOR), &self.building[AUDITOR], at, self);
        }
        for entry in &self.holds[dead] {
            let id = entry.load(Ordering::Acquire);
            if let Some(at) = [OLD, NEW].into_iter().find(|at| block(*at).raw() == id) {
                if self.headers[at].load(Ordering::Acquire) == u64::from(owner(dead).raw()) {
                    self.headers[at].store(FREE, Ordering::Release);
                }
                entry.store(0, Ordering::Release);
            }
        }
        if dead == WRITER {
            // Somebody else has that memory now.
            self.headers[PLAN].store(FREE, Ordering::Release);
            self.plan.iter().for_each(|word| word.store(u64::MAX, Ordering::Relaxed));
        }
    }

    /// When all is over: each block is somebody's, or free; nothing is the dead writer's.
    fn check(&self, taker_died: bool) {
        if taker_died {
            // Whatever it came to: the lock can be had.
            self.lock(AUDITOR);
            self.unlock(AUDITOR);
        }
        let word = |pos| self.word(pos).unwrap().load(Ordering::Relaxed);
        let (cell, count) = (word(CELL), word(COUNT));
        assert_eq!(word(COUNT_TOO), count, "half of a change");
        for (at, replaced) in [(OLD, 0), (NEW, 1)] {
            let id = block(at).raw();
            let header = self.headers[at].load(Ordering::Relaxed);
            let held = |process: usize| self.holds[process].iter().any(|entry| entry.load(Ordering::Relaxed) == id);
            let is = [header == OWNED, header == u64::from(owner(TAKER).raw()), header == FREE];
            let found = [cell == id, held(TAKER), cell != id && !held(TAKER)];
            assert_eq!(is, found, "block {at} is not where its header says, {cell:x}");
            assert!(!held(WRITER) && !(taker_died && held(TAKER)), "block {at} is held by the dead");
            // The one that is there, or was there when the other one took it.
            let wanted = count == replaced && !taker_died;
            assert!(!(wanted && header == FREE), "block {at} is lost");
        }
        if !taker_died {
            assert_ne!(self.holds[TAKER][0].load(Ordering::Relaxed), 0, "nothing was taken");
        }
    }
}

impl Ground for World {
    fn word(&self, pos: Pos) -> Option<&AtomicU64> {
        match pos {
            0..24 => self.words.get(pos as usize / 8),
            _ => self.plan.get((pos - block(PLAN).pos()) as usize / 8),
        }
    }

    fn hold(&self, owner: Owner, hold: u32) -> &AtomicU64 {
        &self.holds[owner.slot()][hold as usize]
    }

    fn mark(&self, id: BlockId, owner: Option<Owner>) {
        let at = [OLD, NEW, PLAN].into_iter().find(|at| block(*at) == id).expect("a block");
        self.headers[at].store(owner.map_or(OWNED, |owner| u64::from(owner.raw())), Ordering::Release);
    }

    fn is_dead(&self, thread: ThreadId) -> bool {
        self.dead[thread.index()].load(Ordering::Acquire) == 1
    }
}

fn model(preemptions: usize, body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(body);
}

/// How many steps the writer has when it is first; that the last one is its end is checked below.
const STEPS: u32 = 13;

/// The writer dies at `end`, the other one takes, the audit comes when it may.
fn one_dies(end: u32, planned: bool) {
    let world = World::new();
    let [writer, taker] = [WRITER, TAKER].map(|process| {
        let world = world.clone();
        thread::spawn(move || {
            if process == TAKER {
                return world.take_out();
            }
            kill_at(end, || world.replace(planned));
            world.die(WRITER);
        })
    });
    writer.join().unwrap();
    world.audit(WRITER);
    taker.join().unwrap();
    world.check(false);
}

/// The writer died at `end`; the other one comes, and dies at `second`, while the first one is audited.
fn both_die(end: u32, second: u32, planned: bool) {
    let world = World::new();
    kill_at(end, || world.replace(planned));
    world.die(WRITER);
    let taker = {
        let world = world.clone();
        thread::spawn(move || {
            kill_at(second, || world.take_out());
            world.die(TAKER);
        })
    };
    world.audit(WRITER);
    taker.join().unwrap();
    world.audit(TAKER);
    world.check(true);
}

#[test]
fn what_the_dead_had_begun_is_finished_once_whoever_comes_first() {
    for end in 0..=STEPS {
        model(2, move || one_dies(end, false));
    }
}

#[test]
fn a_plan_is_carried_out_before_its_memory_is_anybodys() {
    for end in 0..=STEPS {
        model(2, move || one_dies(end, true));
    }
}

#[test]
fn who_dies_while_finishing_for_the_dead_leaves_it_to_the_next() {
    for end in 2..STEPS {
        for second in 0..=STEPS + 8 {
            model(2, move || both_die(end, second, end.is_multiple_of(2)));
        }
    }
}

#[test]
fn the_writer_has_as_many_steps_as_the_models_kill_it_at() {
    for (end, done) in [(STEPS - 1, false), (STEPS, true)] {
        model(0, move || {
            let world = World::new();
            kill_at(end, || world.replace(false));
            assert_eq!(world.building[WRITER].load(Ordering::Relaxed) == 0, done);
        });
    }
}

#[test]
fn a_record_that_comes_late_or_goes_early_and_a_lock_without_a_name_are_found() {
    for mutant in [mutants::JOURNAL_LATE, mutants::JOURNAL_CLEARED_EARLY, mutants::GUARD_UNNAMED] {
        choose_mutant(mutant);
        let found = catch_unwind(AssertUnwindSafe(|| {
            for end in 0..=STEPS {
                model(2, move || one_dies(end, false));
            }
        }));
        choose_mutant(0);
        assert!(found.is_err(), "mutant {mutant} was not found");
    }
}
