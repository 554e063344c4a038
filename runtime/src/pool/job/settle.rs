//! What becomes of a job whose workers die, or that is given up.

use std::collections::HashMap;
use std::sync::atomic::Ordering::*;
use std::time::{Duration, Instant};

use super::errand::Ending;
use super::{Delayed, Job};
use crate::arena::{Owner, mutant};
use crate::pool::layout::{self, Seat, attention};
use crate::pool::protocol::bell;
use crate::pool::protocol::claim::{self, Chunk};
use crate::pool::protocol::mutants;
use crate::pool::watching::account::Attempt;
use crate::pool::worker::run;
use crate::process::Death;
use crate::seeing::RunEnd;
use crate::sys::clock;
use crate::task::{Grain, TaskError};

/// What is to be done after the death of a worker.
#[derive(Debug, Default)]
pub(in crate::pool) struct Settled {
    /// There are free chunks for others.
    pub(in crate::pool) more: bool,
    /// A chunk is to be tried again, but not before.
    pub(in crate::pool) due: Option<Instant>,
    /// The whole errand is to be given up.
    pub(in crate::pool) ending: Option<Ending>,
}

/// Doublings of the delay between tries.
const MOST_DOUBLINGS: u32 = 10;
/// The longest delay. What is longer is no different to anybody, and must not overflow.
const LONGEST_DELAY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl Job {
    /// Gives up all chunks that no worker has claimed, and asks those who have to stop after their current item. With `by_force`, the
    /// caller then kills them.
    pub(in crate::pool) fn cancel(&self, why: Ending, by_force: bool) {
        let mut losses = self.losses();
        losses.why.get_or_insert(why);
        losses.by_force |= by_force;
        self.cancelled.store(true, SeqCst);
        let delayed = std::mem::take(&mut losses.delayed);
        drop(losses);
        let view = self.view();
        for Delayed { chunk, dead, after, .. } in delayed {
            claim::release(&view, chunk, dead, after);
        }
        view.header.attention.fetch_or(attention::STOP, SeqCst);
        (0..view.words.len()).for_each(|chunk| claim::cancel(&view, chunk));
    }

    /// Notes that the worker of `item` is about to be killed because it ran longer than `limit`; or that it was not, after all.
    pub(in crate::pool) fn note_overrun(&self, item: usize, limit: Option<Duration>) {
        let mut losses = self.losses();
        match limit {
            Some(limit) => drop(losses.overrun.insert(item, limit)),
            None => drop(losses.overrun.remove(&item)),
        }
    }

    /// Frees the chunks whose next try is due. `true` when there are some.
    pub(in crate::pool) fn release_due(&self, now: Instant) -> bool {
        let due: Vec<Delayed> = self.losses().delayed.extract_if(.., |delayed| delayed.due <= now).collect();
        let view = self.view();
        for Delayed { chunk, dead, after, .. } in &due {
            claim::release(&view, *chunk, *dead, *after);
            if self.cancelled.load(SeqCst) {
                claim::cancel(&view, *chunk);
            }
        }
        !due.is_empty() && claim::rewind(&view)
    }

    /// Are there chunks whose next try is not due yet?
    pub(in crate::pool) fn is_delayed(&self) -> bool {
        self.crashed.load(SeqCst) && !self.losses().delayed.is_empty()
    }

    /// Settles what the dead worker of `seat` had in hand here. `note` gets what is known of the item that it was running, before
    /// anybody else can run it or the batch can be over.
    pub(in crate::pool) fn settle(
        &self,
        seat: &Seat,
        dead: Owner,
        death: &Death,
        note: &mut dyn FnMut(Attempt),
    ) -> Settled {
        let view = self.view();
        let mut settled = Settled::default();
        // First: a caller that sees a word below changed sees this, and checks what it reads.
        self.crashed.store(true, SeqCst);
        if let Some(remains) = claim::remains(&view, seat, dead) {
            let len = view.range(remains.chunk).len();
            let (mut next, mut tries) = (remains.next, 0);
            if let Some(running) = remains.running {
                let item = view.range(remains.chunk).start + running;
                let again = self.lose(item, death);
                self.attempt(item, again).into_iter().for_each(note);
                if again {
                    (next, tries) = (running, self.losses().tries.get(&item).copied().unwrap_or(0));
                } else {
                    self.losses().stages.insert(item, remains.stage);
                    view.skip(item);
                }
                settled.ending = self.judge(running > remains.start, death);
                if let Some(ending) = &settled.ending {
                    // Now: the pool's process ends the rest of the batch, but this chunk must not kill another one before.
                    self.cancel(ending.clone(), false);
                }
            }
            if let (None, Some(last)) = (remains.running, next.checked_sub(1)) {
                self.close_record(view.range(remains.chunk).start + last);
            }
            let by_chunk = matches!(self.shape.grain, Grain::Chunk { .. });
            if by_chunk {
                // Nothing of it stands until all of it does.
                next = remains.start;
            }
            let cancelled = self.cancelled.load(SeqCst);
            let after = match next {
                _ if next >= len && !by_chunk => Chunk::Done { end: len },
                _ if cancelled => Chunk::Done { end: next },
                _ => Chunk::Free { start: next, tries },
            };
            if matches!(after, Chunk::Done { .. }) {
                self.losses().ended += 1;
            }
            match self.next_try(tries).filter(|_| !cancelled) {
                Some(due) => {
                    settled.due = Some(due);
                    let mut losses = self.losses();
                    losses.delayed.push(Delayed { chunk: remains.chunk, dead, after, due });
                }
                None => claim::release(&view, remains.chunk, dead, after),
            }
            if self.cancelled.load(SeqCst) {
                // Cancelled meanwhile: what was just released has no taker.
                self.release_due(settled.due.unwrap_or_else(Instant::now));
                claim::cancel(&view, remains.chunk);
            }
        }
        settled.more = claim::rewind(&view);
        run::give_back(self.arena(), &view);
        bell::ring(self.arena(), &view);
        settled
    }

    /// Tells the errand that not all items of this finished job have killed their workers.
    pub(in crate::pool) fn tell_progress(&self) {
        if !self.crashed.load(SeqCst) || self.losses().lost.len() < self.view().items() {
            self.errand.note_progress();
        }
    }

    /// When an item that was begun so often is tried again, if not at once.
    fn next_try(&self, tries: u32) -> Option<Instant> {
        let delay = self.errand.policy.retry_delay;
        if tries == 0 || delay.is_zero() {
            return None;
        }
        let delay = delay.saturating_mul(1 << (tries - 1).min(MOST_DOUBLINGS)).min(LONGEST_DELAY);
        Instant::now().checked_add(delay)
    }

    /// Is the errand to be given up, as worker after worker dies of it?
    fn judge(&self, finished_some: bool, death: &Death) -> Option<Ending> {
        let progress = {
            let mut losses = self.losses();
            let done = self.done_chunks().saturating_sub(losses.ended);
            done > std::mem::replace(&mut losses.done, done) || finished_some
        };
        let deaths = self.errand.note_death(progress)?;
        let last = match &death.note {
            Some(note) => format!("{}: {note}", death.status),
            None => death.status.to_string(),
        };
        Some(Ending::CrashLimit { deaths, last: last.into() })
    }

    /// Decides about the item that a dead worker was running. `true`: it is to be tried again.
    fn lose(&self, item: usize, death: &Death) -> bool {
        let mut losses = self.losses();
        if losses.lost.contains_key(&item)
            || layout::faults(self.arena(), &self.view()).iter().any(|fault| fault.item == item)
        {
            return false;
        }
        let tries = losses.tries.entry(item).or_insert(0);
        *tries += 1;
        let (tries, context) = (*tries, self.context(item));
        let cancelled = self.cancelled.load(SeqCst);
        let overrun = losses.overrun.remove(&item);
        let error = match (&losses.why, overrun) {
            (_, Some(limit)) => TaskError::TimedOut { context, limit, worker: death.pid, tries },
            (Some(why), None) if losses.by_force => why.error(context),
            _ if tries <= self.errand.policy.retries && !cancelled => {
                self.errand.retried.fetch_add(1, Relaxed);
                return true;
            }
            _ => death.as_error(context, tries),
        };
        if !error.is_cancelled() {
            self.errand.note_failures(1);
        }
        losses.lost.insert(item, error);
        false
    }

    /// What is known of the run that ended with its worker, if it is not over all the same.
    fn attempt(&self, item: usize, again: bool) -> Option<Attempt> {
        let losses = self.losses();
        let tries = losses.tries.get(&item).copied().unwrap_or(1);
        let end = match losses.lost.get(&item) {
            None if again => RunEnd::Died,
            Some(error) if error.is_timed_out() => RunEnd::TimedOut,
            Some(error) if error.is_cancelled() || error.is_pool_closed() => RunEnd::Cancelled,
            Some(_) => RunEnd::Died,
            None => {
                drop(losses);
                self.close_record(item);
                return None;
            }
        };
        let began = self.view().records.get(item).map_or(0, |record| record.read().began);
        let waited = began.saturating_sub(self.published());
        Some(Attempt { item: self.context(item).item, began, waited, tries, end, again })
    }

    /// Says when an item was over whose worker died before it could.
    fn close_record(&self, item: usize) {
        if let Some(record) = self.view().records.get(item).filter(|_| !mutant(mutants::RECORD_OPEN)) {
            record.close(clock::monotonic_nanos());
        }
    }

    /// How often items were begun by workers that died.
    pub(in crate::pool) fn tries(&self) -> HashMap<usize, u32> {
        self.losses().tries.clone()
    }
}
