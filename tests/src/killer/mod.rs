//! The single-step killer: SIGKILL at every instruction of an operation, then the survivors' view.
//!
//! A single-threaded process, the *stage*, sets up shared memory and forks from itself
//!
//! - *victims*, which prepare, call [`stepped`] around one operation, and are stepped through it with `PTRACE_SINGLESTEP`;
//! - *survivors*, one for each kill, which audit the dead and verify what they find.
//!
//! At instruction k the victim gets a twin (a `clone` injected at exactly that instruction), the victim is killed with
//! SIGKILL and reaped, a survivor judges, the shared memory is put back as it was, and the twin goes on to k + 1. So a
//! sweep of n instructions steps n times and not n²/2 times, and every kill is a real one.
//!
//! A survivor's judgement has three parts: it must come in time (nobody hangs), a second audit must change nothing, and
//! what `verify` reports, the *view*, must be that of an operation that never happened or of one that happened once.
//!
//! What counts as one instruction: a `rep` string instruction, a reading of the clock in the vdso (stepped slowly, it starts
//! over for ever), and on aarch64 a whole load-exclusive/store-exclusive loop
//! (an exclusive store after a trap never succeeds, so stepping through one would never end). The kill states inside these
//! are the same as those around them, save for bytes that nobody can see yet.
#![allow(unsafe_code)]

pub mod accounts;
mod arch;
mod duel;
mod memory;
mod runner;
mod sleeper;
mod stage;
mod sweep;
mod trace;
pub mod vyukov;

pub use duel::{Fate, audit_sweep, duel};
pub use memory::{Memory, Region};
pub use sleeper::sleeper_sweep;
pub use stage::{calm, in_child};
pub use sweep::{Bad, Mode, Play, Role, Survivor, Sweep, sweep};

unsafe extern "C" {
    fn offspring_killer_begin();
    fn offspring_killer_end();
}

/// Runs `operation` between the two markers that the killer looks for; a victim calls this once.
///
/// Outside the killer the markers are breakpoints that nobody expects: SIGTRAP ends the process.
pub fn stepped<T>(operation: impl FnOnce() -> T) -> T {
    trace::at_begin();
    // SAFETY: the markers are a breakpoint and a return; they touch no register and no memory.
    unsafe { offspring_killer_begin() };
    let value = operation();
    // SAFETY: as above.
    unsafe { offspring_killer_end() };
    value
}
