//! The caller's side of a batch: turns its items into windows, a few ahead of the workers, and keeps them in order.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

use super::ahead::Upstream;
use super::bell;
use super::core::{Core, Phase};
use super::errand::{Ending, Errand};
use super::estimate::Outlook;
use super::interrupt;
use super::window::{self, Payload, Window};
use crate::task::{Accept, TaskError, TaskFn};

/// Windows beyond which a batch waits for its oldest, so that one slow item cannot make the results pile up.
const MOST_WINDOWS: usize = 512;
/// The same in bytes of finished windows, for a batch that pulls from its input only what workers need.
const MOST_LAZY_BYTES: usize = 1 << 20;
/// The same for a batch that is wanted whole.
const MOST_BYTES: usize = 64 << 20;

/// A window in flight, or the reason why there is none for an item.
#[derive(Debug)]
pub(super) enum Step<R> {
    /// Published.
    Window(Flight<R>),
    /// The item could not be encoded.
    Failed(TaskError),
}

/// A published window.
#[derive(Debug)]
pub(super) struct Flight<R> {
    pub(super) window: Window<R>,
    /// The first item's index in the batch.
    pub(super) first: usize,
    /// How far its chunks are known to be done.
    done: usize,
    /// Chunks that `newly_done` has reported.
    reported: Reported,
}

/// A set of chunks that fills up roughly in order.
#[derive(Debug, Default)]
struct Reported {
    /// All below this are in the set.
    below: usize,
    /// So are these.
    beyond: BTreeSet<usize>,
}

impl<R> Flight<R> {
    fn is_done(&mut self) -> bool {
        self.window.job().all_done(&mut self.done)
    }

    /// Are there chunks that `newly_done` would report?
    pub(super) fn has_news(&self) -> bool {
        let job = self.window.job();
        (self.reported.below..job.claimed()).any(|chunk| !self.reported.beyond.contains(&chunk) && job.is_done(chunk))
    }

    /// The chunks that were done since this was last asked.
    pub(super) fn newly_done(&mut self) -> Vec<usize> {
        let job = self.window.job();
        let new: Vec<usize> = (self.reported.below..job.claimed())
            .filter(|chunk| !self.reported.beyond.contains(chunk) && job.is_done(*chunk))
            .collect();
        self.reported.beyond.extend(&new);
        while self.reported.beyond.remove(&self.reported.below) {
            self.reported.below += 1;
        }
        new
    }

    /// How many chunks were reported.
    pub(super) fn reported(&self) -> usize {
        self.reported.below + self.reported.beyond.len()
    }

    /// Were all chunks reported?
    pub(super) fn is_given_out(&self) -> bool {
        self.reported.below >= self.window.job().chunks()
    }
}

/// A batch in progress. Dropped before its end, it cancels what is left.
pub(super) struct Feed<F, M, I: Iterator, R> {
    pub(super) core: Arc<Core>,
    pub(super) errand: Arc<Errand>,
    pub(super) steps: VecDeque<Step<R>>,
    /// The input panicked, after the items that were published.
    pub(super) panic: Option<Payload>,
    items: I,
    /// Where the input is read by another thread.
    upstream: Option<Arc<dyn Upstream>>,
    next: usize,
    made: usize,
    /// Nothing more is pulled from the input.
    closed: bool,
    /// The input itself has no more.
    exhausted: bool,
    types: PhantomData<fn(F, M)>,
}

impl<F, M, I: Iterator, R> fmt::Debug for Feed<F, M, I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("task", &self.errand.name).field("next", &self.next).finish_non_exhaustive()
    }
}

impl<F, M, I> Feed<F, M, I, F::Output>
where
    F: TaskFn<M>,
    I: Iterator,
    I::Item: Accept<M>,
{
    /// Begins a batch.
    pub(super) fn new(
        core: &Arc<Core>,
        errand: Arc<Errand>,
        items: I,
        upstream: Option<Arc<dyn Upstream>>,
    ) -> Result<Self, TaskError> {
        core.begin_batch(|| errand.context(None))?;
        // From here on dropping it ends the batch.
        let feed = Feed {
            core: core.clone(),
            errand,
            steps: VecDeque::new(),
            panic: None,
            items,
            upstream,
            next: 0,
            made: 0,
            closed: false,
            exhausted: false,
            types: PhantomData,
        };
        core.attend(&feed.errand)?;
        Ok(feed)
    }

    /// Publishes windows until the workers have enough to do.
    pub(super) fn fill(&mut self) -> Result<(), TaskError> {
        if !self.closed && self.core.is_hopeless() {
            self.closed = true;
            return Err(self.core.hopeless_error(self.errand.context(Some(self.next))));
        }
        if interrupt::interrupted() {
            self.errand.end(Ending::Pool(Phase::Interrupted));
        }
        while !self.closed && !self.errand.is_over() && self.has_room() {
            if self.upstream.is_some() && self.items.size_hint().0 == 0 && !self.upstream_has_ended() {
                return Ok(());
            }
            let workers = self.core.workers();
            let outlook = Outlook {
                workers,
                nanos: self.core.estimates.of(self.errand.task),
                remaining: self.items.size_hint(),
                stride: self.errand.stride(),
                chunk: self.errand.policy.chunk,
                made: self.made,
                lazy: self.errand.lazy,
                most: self
                    .core
                    .options
                    .limits
                    .max_tasks
                    .map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX)),
            };
            let built = match window::build::<F, M, I>(&self.errand, &outlook, &mut self.items, Some(self.next)) {
                Ok(built) => built,
                // Memory comes back when the windows before are done.
                Err(error) if self.steps.is_empty() => {
                    self.closed = true;
                    return Err(error);
                }
                Err(_) => return Ok(()),
            };
            let first = self.next;
            self.next += built.items + usize::from(built.failed.is_some());
            self.made += 1;
            let panic = built.panic;
            self.exhausted = built.ended && self.upstream_has_ended();
            self.panic = match &self.upstream {
                Some(upstream) if self.exhausted => panic.or_else(|| upstream.take_panic()),
                _ => panic,
            };
            self.closed = self.exhausted || self.panic.is_some();
            if let Some(window) = built.window {
                self.core.publish(window.job());
                // Given up since it was looked at above: nobody may have seen this window yet.
                if let Some(ending) = self.errand.ending() {
                    window.job().cancel(ending, false);
                }
                self.steps.push_back(Step::Window(Flight { window, first, done: 0, reported: Reported::default() }));
            }
            if let Some(error) = built.failed {
                self.errand.note_failures(1);
                self.core.look_at_failures(&self.errand);
                self.steps.push_back(Step::Failed(error));
            }
        }
        Ok(())
    }

    /// Has whoever reads the input read all of it? Where nobody else does, what the input says holds.
    fn upstream_has_ended(&self) -> bool {
        self.upstream.as_ref().is_none_or(|upstream| upstream.has_ended())
    }

    /// The input whose next items would be taken over now.
    pub(super) fn input_to_wait_for(&mut self) -> Option<Arc<dyn Upstream>> {
        let wanted = !self.closed && !self.errand.is_over() && self.upstream.is_some() && self.has_room();
        self.upstream.clone().filter(|_| wanted)
    }

    /// Waits for input, where nothing is under way. `Some(false)`: none will come; `None`: none came until the deadline.
    pub(super) fn wait_for_input(&mut self, deadline: Option<Instant>) -> Option<bool> {
        let Some(input) = self.input_to_wait_for() else { return Some(false) };
        let bell = self.errand.bell.clone()?;
        let (core, errand) = (&self.core, &self.errand);
        let there = || input.has_items() || input.has_ended() || errand.is_over() || core.is_hopeless();
        bell::wait_until(bell.word(), deadline, || (), || there().then_some(true))
    }

    /// Has the input no more items?
    pub(super) fn has_ended(&self) -> bool {
        self.exhausted
    }

    /// Waits until all windows are done, and gives the first item's error that is not for the sake of another's.
    pub(super) fn first_cause(&mut self) -> Option<TaskError> {
        let core = self.core.clone();
        self.steps.iter().find_map(|step| match step {
            Step::Failed(error) => Some(error.clone()),
            Step::Window(flight) => {
                let job = flight.window.job();
                job.wait_all(None, || core.is_hopeless());
                job.first_cause()
            }
        })
    }

    /// Two windows, or two chunks a worker, whichever is more.
    fn has_room(&mut self) -> bool {
        if self.steps.len() >= MOST_WINDOWS {
            return false;
        }
        let enough = 2 * self.core.workers() + 2;
        let (mut windows, mut chunks, mut finished, mut pending) = (0, 0, 0, 0);
        let most_pending = self.errand.arena.budget() / 4;
        for step in self.steps.iter_mut().rev() {
            let Step::Window(flight) = step else { continue };
            if flight.is_done() {
                finished += flight.window.job().size();
                if finished > if self.errand.lazy { MOST_LAZY_BYTES } else { MOST_BYTES } {
                    return false;
                }
                continue;
            }
            windows += 1;
            pending += flight.window.job().size();
            if pending > most_pending {
                return false;
            }
            chunks += flight.window.job().chunks() - flight.done;
            if windows >= 2 && chunks >= enough {
                return false;
            }
        }
        true
    }

    /// The oldest step.
    pub(super) fn front(&self) -> Option<&Step<F::Output>> {
        self.steps.front()
    }

    /// Takes the oldest step.
    pub(super) fn pop(&mut self) -> Option<Step<F::Output>> {
        self.steps.pop_front()
    }

    /// The index that the next item pulled from the input gets.
    pub(super) fn next_item(&self) -> usize {
        self.next
    }
}

impl<F, M, I: Iterator, R> Drop for Feed<F, M, I, R> {
    fn drop(&mut self) {
        for step in self.steps.drain(..) {
            if let Step::Window(flight) = step
                && self.core.is_here()
            {
                flight.window.job().cancel(Ending::Cancelled, false);
                self.core.ring_runners(flight.window.job());
                self.core.detach(flight.window.job());
            }
        }
        self.core.end_batch();
    }
}
