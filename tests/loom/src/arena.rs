//! As in the runtime, and deaths at a step.
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

#[allow(dead_code, reason = "models do not use all of it")]
#[path = "../../../runtime/src/arena/id.rs"]
pub(crate) mod id;
#[path = "../../../runtime/src/arena/redo.rs"]
pub(crate) mod redo;

pub(crate) use id::ThreadId;

/// The mistakes that the redo journal can make.
pub(crate) mod mutants {
    pub(crate) const JOURNAL_LATE: u32 = 10;
    pub(crate) const JOURNAL_CLEARED_EARLY: u32 = 11;
    pub(crate) const GUARD_UNNAMED: u32 = 12;
    pub(crate) const JOURNAL_UNFENCED: u32 = 14;
}

thread_local! {
    static CHOSEN: Cell<u32> = const { Cell::new(0) };
}

pub(crate) fn mutant(number: u32) -> bool {
    CHOSEN.get() == number
}

/// Makes mistake `number` in the models that this thread runs from now on.
pub(crate) fn choose_mutant(number: u32) {
    CHOSEN.set(number);
}

loom::thread_local! {
    /// How many steps this thread of a model has left.
    static LEFT: Cell<Option<u32>> = Cell::new(None);
}

struct Killed;

/// Where a process may be killed.
pub(crate) fn step() {
    let killed = LEFT.with(|left| match left.get() {
        Some(0) => true,
        some => {
            left.set(some.map(|some| some - 1));
            false
        }
    });
    if killed {
        resume_unwind(Box::new(Killed));
    }
}

/// Runs `life`, which ends at its step `end` if it has so many.
pub(crate) fn kill_at(end: u32, life: impl FnOnce()) {
    LEFT.with(|left| left.set(Some(end)));
    let ended = catch_unwind(AssertUnwindSafe(life));
    LEFT.with(|left| left.set(None));
    if let Err(why) = ended
        && !why.is::<Killed>()
    {
        resume_unwind(why);
    }
}
