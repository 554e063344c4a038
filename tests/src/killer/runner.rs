//! Takes a victim from one state that survivors can tell apart to the next.

use super::memory::{Image, Memory};
use super::trace::{Advance, Step, Tracee};

/// An operation of more instructions than this is taken to be an endless loop.
const ENDLESS: usize = 3_000_000;

/// How a victim is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// One instruction.
    Instruction,
    /// One change of the shared memory, found by stepping and comparing.
    Change,
    /// One change of the shared memory, found by its being read-only: many times faster.
    Store,
}

impl Pace {
    /// The fastest way to find changes. On aarch64 an exclusive store that faults could never be repeated.
    pub(super) const CHANGES: Pace = if cfg!(target_arch = "x86_64") { Pace::Store } else { Pace::Change };

    /// What [`Tracee::launch`] is to make read-only.
    pub(super) fn guard(self, memory: &Memory) -> Option<&Memory> {
        (self == Pace::Store).then_some(memory)
    }
}

/// Where a move ended.
#[derive(Debug)]
pub(super) enum Went {
    /// In the next state.
    On,
    /// Asleep in the kernel. This twin stands just before it would fall asleep.
    Asleep(Tracee),
    /// At the end of the operation, with no change since the state before.
    End,
}

/// Moves `live`, whose memory is in `state`, and counts in `at`.
pub(super) fn go(live: &Tracee, pace: Pace, memory: &Memory, state: &Image, at: &mut usize) -> Result<Went, String> {
    loop {
        let before_syscall = match pace {
            Pace::Store => match live.advance(memory)? {
                Advance::Stored => {
                    *at += 1;
                    if memory.same(state) {
                        continue;
                    }
                    return Ok(Went::On);
                }
                Advance::Syscall => true,
                Advance::End => return Ok(Went::End),
                Advance::Failed(why) => return Err(why),
            },
            Pace::Change | Pace::Instruction => live.before_syscall()?,
        };
        // A sleeper cannot be doubled, so it is doubled before.
        let spare = if before_syscall { Some(live.twin()?) } else { None };
        match live.step()? {
            Step::Next => *at += 1,
            Step::End => return Ok(Went::End),
            Step::Failed(why) => return Err(why),
            Step::Asleep => return Ok(Went::Asleep(spare.ok_or("asleep without a system call")?)),
        }
        if *at > if pace == Pace::Instruction { ENDLESS / 30 } else { ENDLESS } {
            return Err("the operation does not end".to_owned());
        }
        if pace == Pace::Instruction || !memory.same(state) {
            return Ok(Went::On);
        }
    }
}
