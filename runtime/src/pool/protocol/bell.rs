//! How a caller learns that chunks are done: one doorbell a batch, rung only when the caller said what it waits for.
//!
//! Caller: store `want`, look at the words, sleep while the doorbell has the value read before. Worker: store DONE, look at
//! `want`, ring. All four accesses are sequentially consistent, so at least one side sees the other (a store buffer test).
//! A worker that is killed between DONE and the ring is covered by the audit, which rings for every death.

use std::sync::atomic::{AtomicU32, Ordering::*};
use std::time::Instant;

use crate::arena::Arena;
use crate::pool::layout::{self, ControlView, JobView, NEWS, want};
use crate::sync::{permits, wait};
use crate::sys::futex;

/// Rings the doorbell of the batch that `job` belongs to.
pub(in crate::pool) fn ring(arena: &Arena, job: &JobView<'_>) {
    if let Some(bell) = layout::word_at(arena, job.header.bell) {
        ring_word(bell);
    }
}

pub(in crate::pool) fn ring_word(bell: &AtomicU32) {
    bell.fetch_add(1, SeqCst);
    futex::wake(bell, u32::MAX);
}

/// Tells the caller that `chunk` is done, if that is what it waits for; and the pool's process, if the job is watched.
#[inline]
pub(in crate::pool) fn chunk_done(arena: &Arena, control: &ControlView<'_>, job: &JobView<'_>, chunk: usize) {
    let want = job.header.want.0.load(SeqCst);
    if want == want::ANY || want == chunk as u64 + 1 {
        ring(arena, job);
    }
    let notify = job.header.notify.load(SeqCst);
    if notify != 0 {
        tell(control, notify);
    }
}

/// Tells the pool's process of the watched job with this number: a bit that is set twice says no more than once.
#[cold]
fn tell(control: &ControlView<'_>, number: u32) {
    let bit = (number - 1) as usize % NEWS;
    control.control.news.0[bit / 64].fetch_or(1 << (bit % 64), SeqCst);
    ring_word(&control.control.watch_bell);
}

/// Notes that a worker begins to look for chunks in `job`.
pub(in crate::pool) fn enter(job: &JobView<'_>) {
    job.header.inside.fetch_add(1, Relaxed);
}

/// Notes that a worker found no more chunks in `job`; the last one to leave rings.
pub(in crate::pool) fn leave(arena: &Arena, job: &JobView<'_>) {
    if job.header.inside.fetch_sub(1, SeqCst) == 1 && job.header.want.0.load(SeqCst) != want::NOTHING {
        ring(arena, job);
    }
}

/// Sleeps until `ready` gives a value or the deadline passes. `say` stores what is wanted before each look.
pub(in crate::pool) fn wait_until<T>(
    bell: &AtomicU32,
    deadline: Option<Instant>,
    mut say: impl FnMut(),
    mut ready: impl FnMut() -> Option<T>,
) -> Option<T> {
    let mut _paused = None;
    loop {
        let seen = bell.load(SeqCst);
        if let Some(value) = ready() {
            return Some(value);
        }
        say();
        if let Some(value) = ready() {
            return Some(value);
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return None;
        }
        // In a task: a worker of another pool may run meanwhile, such as the one that is waited for.
        if permits::is_held() && !wait::spin_while(bell, seen) {
            _paused = permits::pause();
        }
        wait::wait_while(bell, seen, deadline);
    }
}
