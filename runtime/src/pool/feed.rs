//! The caller's side of a batch: turns its items into windows, a few ahead of the workers, and keeps them in order.

use std::collections::{BTreeSet, VecDeque};
use std::marker::PhantomData;
use std::sync::Arc;

use super::core::{Core, Phase};
use super::estimate::Outlook;
use super::job::Bell;
use super::window::{self, Plan, Window};
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

    /// Were all chunks reported?
    pub(super) fn is_given_out(&self) -> bool {
        self.reported.below >= self.window.job().chunks()
    }
}

/// How a batch is to be run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) chunk: Option<usize>,
    pub(super) retries: u32,
    /// Pull from the input only what workers need.
    pub(super) lazy: bool,
}

/// A batch in progress. Dropped before its end, it cancels what is left.
#[derive(Debug)]
pub(super) struct Feed<F, M, I: Iterator, R> {
    pub(super) core: Arc<Core>,
    pub(super) plan: Plan,
    pub(super) steps: VecDeque<Step<R>>,
    items: I,
    run: Run,
    next: usize,
    made: usize,
    ended: bool,
    types: PhantomData<fn(F, M)>,
}

impl<F, M, I> Feed<F, M, I, F::Output>
where
    F: TaskFn<M>,
    I: Iterator,
    I::Item: Accept<M>,
{
    /// Begins a batch.
    pub(super) fn new(core: &Arc<Core>, mut plan: Plan, items: I, run: Run) -> Result<Self, TaskError> {
        plan.retries = run.retries;
        plan.bell = Some(Bell::new(plan.arena).map_err(|error| plan.no_memory(None, &error))?);
        core.begin_batch(|| plan.context(None))?;
        let core = core.clone();
        Ok(Feed { core, plan, steps: VecDeque::new(), items, run, next: 0, made: 0, ended: false, types: PhantomData })
    }

    /// Publishes windows until the workers have enough to do.
    pub(super) fn fill(&mut self) -> Result<(), TaskError> {
        if !self.ended && self.core.is_hopeless() {
            self.ended = true;
            return Err(self.core.hopeless_error(self.plan.context(Some(self.next))));
        }
        while !self.ended && self.has_room() {
            let workers = self.core.workers();
            let outlook = Outlook {
                workers,
                nanos: self.core.estimates.of(self.plan.task),
                remaining: self.items.size_hint(),
                stride: self.plan.stride(),
                chunk: self.run.chunk,
                made: self.made,
                lazy: self.run.lazy,
                most: self
                    .core
                    .options
                    .limits
                    .max_tasks
                    .map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX)),
            };
            let built = match window::build::<F, M, I>(&self.plan, &outlook, &mut self.items, Some(self.next)) {
                Ok(built) => built,
                // Memory comes back when the windows before are done.
                Err(error) if self.steps.is_empty() => {
                    self.ended = true;
                    return Err(error);
                }
                Err(_) => return Ok(()),
            };
            let first = self.next;
            self.next += built.items + usize::from(built.failed.is_some());
            self.made += 1;
            self.ended = built.ended;
            if let Some(window) = built.window {
                self.core.publish(window.job());
                self.steps.push_back(Step::Window(Flight { window, first, done: 0, reported: Reported::default() }));
            }
            if let Some(error) = built.failed {
                self.steps.push_back(Step::Failed(error));
            }
        }
        Ok(())
    }

    /// Two windows, or two chunks a worker, whichever is more.
    fn has_room(&mut self) -> bool {
        if self.steps.len() >= MOST_WINDOWS {
            return false;
        }
        let enough = 2 * self.core.workers() + 2;
        let (mut windows, mut chunks, mut finished, mut pending) = (0, 0, 0, 0);
        let most_pending = self.plan.arena.budget() / 4;
        for step in self.steps.iter_mut().rev() {
            let Step::Window(flight) = step else { continue };
            if flight.is_done() {
                finished += flight.window.job().size();
                if finished > if self.run.lazy { MOST_LAZY_BYTES } else { MOST_BYTES } {
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
                flight.window.job().cancel(Phase::Open);
                self.core.detach(flight.window.job());
            }
        }
        self.core.end_batch();
    }
}
