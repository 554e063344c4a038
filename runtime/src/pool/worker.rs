//! A worker process: takes a seat, looks for jobs, sleeps when there are none.
#![allow(unsafe_code)]

use std::sync::atomic::Ordering::*;

use super::layout::{ControlView, Seat, state};
use super::run::Worker;
use super::state as pool_state;
use crate::arena::{self, BlockId, Owner};
use crate::sync::wait;
use crate::sys::futex;
use crate::task::install_panic_hook;

/// Exit codes of a worker that could not work.
mod code {
    pub(super) const NO_POOL: i32 = 120;
    pub(super) const NO_SEAT: i32 = 121;
}

/// Exit code of a worker that could not make sense of a published job: shared memory was trampled on.
pub(super) const NO_JOB: i32 = 122;

/// The whole life of a worker of the pool whose control block is `boot`. Returns its exit code.
pub(crate) fn main(boot: BlockId) -> i32 {
    let Ok(arena) = arena::family() else { return code::NO_POOL };
    let Some(block) = arena.resolve(boot) else { return code::NO_POOL };
    // SAFETY: the pool's process started this one with the id of its control block, which it keeps until this process is
    // gone and audited.
    let Some(control) = (unsafe { ControlView::new(block.ptr, block.capacity) }) else { return code::NO_POOL };
    let me = arena::me();
    let Some(at) = sit_down(control.seats, me) else { return code::NO_SEAT };
    let seat = &control.seats[at];
    let mut worker = Worker { arena, me, seat, state: pool_state::of_worker(arena, &control) };
    install_panic_hook(crate::process::note_panic);
    seat.ready.store(1, SeqCst);
    while let Some((seq, job)) = next_job(&control, at) {
        if worker.work_on(&control, seq, job).is_none() {
            return NO_JOB;
        }
    }
    0
}

fn sit_down(seats: &[Seat], me: Owner) -> Option<usize> {
    seats.iter().position(|seat| seat.owner.compare_exchange(0, me.raw(), SeqCst, Relaxed).is_ok())
}

/// The oldest job that may have free chunks; sleeps while there is none. `None` once the pool drains.
fn next_job(control: &ControlView<'_>, at: usize) -> Option<(u64, BlockId)> {
    let seat = &control.seats[at];
    loop {
        if let Some(found) = control.oldest() {
            return Some(found);
        }
        if control.control.state.load(SeqCst) == state::DRAIN {
            return None;
        }
        if wait::spin_until(|| control.has_entries()) {
            continue;
        }
        let seen = seat.bell.load(SeqCst);
        control.set_idle(at, true);
        // Looked at again after the bit is set: a publisher that missed the bit has stored its entry before.
        if !control.has_entries() && control.control.state.load(SeqCst) == state::RUN {
            seat.sleeps.fetch_add(1, Relaxed);
            futex::wait(&seat.bell, seen, None);
        }
        control.set_idle(at, false);
    }
}
