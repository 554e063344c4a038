//! A worker process: takes a seat, looks for jobs, sleeps when there are none.
#![allow(unsafe_code)]

pub(crate) mod current;
pub(in crate::pool) mod record;
pub(in crate::pool) mod recycle;
pub(in crate::pool) mod run;

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::*;
use std::time::{Duration, Instant};

use crate::arena::{self, Arena, BlockId, Owner};
use crate::pool::layout::{ControlView, Seat, orders, state};
use crate::pool::options::hook::{self, Returns};
use crate::pool::options::limits;
use crate::pool::options::state as pool_state;
use crate::pool::protocol::admission::{Absent, IN_LANE, Pick, Turn};
use crate::seeing::output::{Marks, Nonce};
use crate::sync::{permits, wait};
use crate::sys::{clock, futex};
use crate::task::{always_capture_backtraces, install_panic_hook};
use recycle::Rules;
use run::Worker;

/// Exit codes of a worker that could not work.
mod code {
    pub(super) const NO_POOL: i32 = 120;
    pub(super) const NO_SETUP: i32 = 123;
    /// The initializer failed; what it left in the seat says why.
    pub(super) const NOT_INITIALIZED: i32 = 124;
}

/// Exit code of a worker that found no seat: there are fewer of them than when it was started.
pub(in crate::pool) const NO_SEAT: i32 = 121;
/// Exit code of a worker that could not make sense of a published job: shared memory was trampled on.
pub(in crate::pool) const NO_JOB: i32 = 122;

/// A worker that has been idle for so long gives back the shared memory it has in store.
const TIDY_AFTER: Duration = Duration::from_millis(100);

/// This worker's seat plus 1.
static SEAT: AtomicUsize = AtomicUsize::new(0);

/// The number of the worker that this process is: 0 to the pool's workers less 1. `None` in a process that is no worker.
///
/// No two workers of a pool have the same number at the same time; the one that replaces a dead worker may get its number. So it tells apart
/// what workers keep for themselves: a file, a port, a device.
///
/// ```
/// use offspring::{Pool, process, task};
///
/// #[task]
/// fn number(_: u64) -> Option<usize> {
///     process::worker_id()
/// }
///
/// let pool = Pool::builder().workers(2).build()?;
/// assert!(pool.map(number, 0..10)?.into_iter().all(|number| matches!(number, Some(0 | 1))));
/// assert_eq!(process::worker_id(), None);
/// # Ok::<(), offspring::Error>(())
/// ```
pub fn worker_id() -> Option<usize> {
    SEAT.load(Relaxed).checked_sub(1)
}

/// The whole life of a worker of the pool whose control block is `boot`. Returns its exit code.
pub(crate) fn main(boot: BlockId) -> i32 {
    let Ok(arena) = arena::family() else { return code::NO_POOL };
    let Some(block) = arena.resolve(boot) else { return code::NO_POOL };
    // SAFETY: the pool's process started this one with the id of its control block, which it keeps until this process is
    // gone and audited.
    let control: Option<ControlView<'static>> = unsafe { ControlView::new(block.ptr, block.capacity) };
    let Some(control) = control else { return code::NO_POOL };
    let me = arena::me();
    let Some(at) = sit_down(&control, me) else { return NO_SEAT };
    SEAT.store(at + 1, Relaxed);
    let seat: &'static Seat = &control.seats[at];
    seat.since.store(clock::coarse_nanos(), Relaxed);
    if control.control.rules.pin.load(Acquire) != 0 {
        limits::pin(at);
    }
    if control.control.rules.backtraces.load(Acquire) != 0 {
        always_capture_backtraces();
    }
    let Ok(rules) = Rules::of(&control) else { return code::NO_SETUP };
    let state = pool_state::of_worker(arena, &control);
    let block = BlockId::from_raw(control.control.permits.load(Acquire));
    let permits = block.and_then(|block| permits::at(arena, block));
    if let (Some(permits), Some(block)) = (permits, block) {
        permits::join(arena, permits, block);
    }
    let nonce = Nonce::from_words(control.control.nonce.each_ref().map(|word| word.load(Acquire)));
    let marks = if nonce == Nonce::default() { None } else { Marks::install(nonce) };
    // For the life of this process.
    let marks = marks.map(|marks| &*Box::leak(Box::new(marks)));
    let now = Some(current::install(arena, seat));
    let records = control.control.records.load(Acquire);
    if records != 0 {
        crate::seeing::records::install(arena, records, at);
    }
    let (leaving, aside, single, crowded, permitted) = (false, false, false, false, 0);
    let mut worker =
        Worker { arena, me, seat, at, state, rules, leaving, aside, single, crowded, permits, permitted, now, marks };
    install_panic_hook(crate::process::note_panic);
    let initializer = &control.control.initializer;
    if !hook::run(arena, initializer, seat, &mut worker.state, Returns::Checked) {
        return code::NOT_INITIALIZED;
    }
    seat.ready.store(1, SeqCst);
    while !worker.leaving
        && let Some(found) = next_job(arena, &control, at)
    {
        worker.permitted = clock::coarse_nanos();
        if worker.work_on(&control, found.entry, found.job).is_none() {
            return NO_JOB;
        }
        if found.entry & IN_LANE != 0 {
            control.give_back(at);
        }
        if found.slots > 1 {
            permits::give_back();
        } else if worker.crowded {
            permits::let_others();
        }
    }
    permits::give_back();
    seat.since.store(clock::coarse_nanos(), Relaxed);
    // Its own failure is a result like any other.
    hook::run(arena, &control.control.finalizer, seat, &mut worker.state, Returns::Kept);
    0
}

fn sit_down(control: &ControlView<'_>, me: Owner) -> Option<usize> {
    let limit = control.control.limit.load(SeqCst) as usize;
    let vacant = |seat: &Seat| seat.owner.compare_exchange(0, me.raw(), SeqCst, Relaxed).is_ok();
    let at = control.seats.iter().take(limit).position(vacant)?;
    // Whoever lowers the limit orders those beyond it to leave; but perhaps before this one sat down.
    if at >= control.control.limit.load(SeqCst) as usize {
        control.seats[at].orders.fetch_or(orders::LEAVE, SeqCst);
    }
    Some(at)
}

/// While memory is short, it is looked at so often.
const SHORT: Duration = Duration::from_millis(50);
/// While a job waits for memory that the system lacks, it is looked at so often.
const PATIENCE: Duration = Duration::from_millis(100);

/// The job that this worker is to turn to now, if there is one that it may begin.
fn choose(arena: &'static Arena, control: &ControlView<'_>, at: usize) -> Option<Pick> {
    let in_ring = || control.oldest().map(|(entry, job)| Pick { entry, job, slots: 1 });
    let pick = |turn| control.pick(arena, at, turn).ok();
    pick(Turn::Before).or_else(in_ring).or_else(|| pick(Turn::Any))
}

/// A job that may have free chunks, and that this worker may begin; sleeps while there is none. `None` once the worker is to end.
fn next_job(arena: &'static Arena, control: &ControlView<'_>, at: usize) -> Option<Pick> {
    next_job_while(arena, control, at, None)
}

/// The same for one that has been idle for so long that it has nothing left to do in its sleep.
#[cfg(feature = "testing")]
pub(in crate::pool) fn next_job_of_idle(arena: &'static Arena, control: &ControlView<'_>, at: usize) -> Option<Pick> {
    next_job_while(arena, control, at, Some(Idle { tidy_at: None, end_at: None }))
}

fn next_job_while(arena: &'static Arena, control: &ControlView<'_>, at: usize, mut idle: Option<Idle>) -> Option<Pick> {
    let seat = &control.seats[at];
    let is_asked_to_leave = || seat.orders.load(SeqCst) & orders::LEAVE != 0;
    loop {
        if is_asked_to_leave() {
            return None;
        }
        if control.has_entries() || control.has_lanes() {
            if control.is_short_of_memory(at) {
                permits::give_back();
                futex::wait(&seat.bell, seat.bell.load(SeqCst), Some(Instant::now() + SHORT));
                continue;
            }
            permits::take();
            // What there was may have been taken while this one waited.
            if let Some(pick) = choose(arena, control, at) {
                if pick.slots > 1 {
                    permits::gather(pick.slots as usize);
                }
                return Some(pick);
            }
        }
        if control.control.state.load(SeqCst) == state::DRAIN && !control.has_lanes() {
            return None;
        }
        if wait::spin_until(|| control.has_entries()) {
            continue;
        }
        permits::give_back();
        let idle = idle.get_or_insert_with(|| Idle::since_now(control, seat));
        let seen = seat.bell.load(SeqCst);
        control.set_idle(at, true);
        // Looked at again after the bit is set: a publisher that missed the bit has stored its entry before.
        let mut deadline = idle.next();
        let mut stays = control.has_entries() || is_asked_to_leave();
        if control.has_lanes() {
            // The same with those who give back what a job waits for.
            control.lanes.waiting.store(1, SeqCst);
            match control.pick(arena, at, Turn::Any) {
                Ok(pick) => {
                    control.set_idle(at, false);
                    permits::take();
                    if pick.slots > 1 {
                        permits::gather(pick.slots as usize);
                    }
                    return Some(pick);
                }
                // Whoever gives something back rings.
                Err(Absent::Nothing) => {}
                Err(Absent::Memory) => {
                    let look = Instant::now() + PATIENCE;
                    deadline = Some(deadline.map_or(look, |deadline| deadline.min(look)));
                }
            }
        } else {
            stays |= control.control.state.load(SeqCst) != state::RUN;
        }
        if !stays {
            seat.sleeps.fetch_add(1, Relaxed);
            futex::wait(&seat.bell, seen, deadline);
        }
        // Whoever chose this worker to be woken has cleared the bit before, and counts on it. What is published after it was cleared here
        // counts on others; if there are none, the end of this process has another one started.
        let chosen = !control.set_idle(at, false);
        if !chosen && idle.is_over() && !control.has_entries() && !control.has_lanes() {
            return None;
        }
        idle.tidy(arena);
    }
}

/// An idle time: what is to be done in it, and when.
struct Idle {
    tidy_at: Option<Instant>,
    end_at: Option<Instant>,
}

impl Idle {
    fn since_now(control: &ControlView<'_>, seat: &Seat) -> Idle {
        let now = Instant::now();
        seat.since.store(clock::coarse_nanos(), Relaxed);
        let timeout = Some(control.control.rules.idle_timeout.load(Acquire)).filter(|nanos| *nanos > 0);
        Idle {
            tidy_at: Some(now + TIDY_AFTER),
            end_at: timeout.and_then(|nanos| now.checked_add(Duration::from_nanos(nanos))),
        }
    }

    /// When there is something to be done; `None`: nothing more, however long it lasts.
    fn next(&self) -> Option<Instant> {
        self.tidy_at.into_iter().chain(self.end_at).min()
    }

    fn is_over(&self) -> bool {
        self.end_at.is_some_and(|end| Instant::now() >= end)
    }

    /// Gives back what is in store, once, if it is time.
    fn tidy(&mut self, arena: &'static Arena) {
        if self.tidy_at.is_some_and(|at| Instant::now() >= at) {
            self.tidy_at = None;
            arena.tidy();
        }
    }
}
