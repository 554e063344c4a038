//! The caller's side of a batch: turns its items into windows, a few ahead of the workers, and keeps them in order.

mod flight;
mod intake;
mod news;

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use crate::journal::{self, Known, Running};
use crate::pool::caller::ahead::Upstream;
use crate::pool::ending::interrupt;
use crate::pool::job::errand::{Ending, Errand};
use crate::pool::job::estimate::{CHUNK_NANOS, Outlook};
use crate::pool::job::window::{self, Payload};
use crate::pool::master::core::Core;
use crate::pool::master::phase::Phase;
use crate::pool::protocol::bell;
use crate::pool::watching::gauge;
use crate::seeing::progress::Meter;
use crate::sys::clock;
use crate::task::{Accept, Grain, TaskError, TaskFn};
use flight::{Flight, Reported};
use intake::Admission;
pub(in crate::pool) use news::News;

/// Windows beyond which a batch waits for its oldest, so that one slow item cannot make the results pile up.
const MOST_WINDOWS: usize = 512;
/// The same in bytes of finished windows, for a batch that pulls from its input only what workers need.
const MOST_LAZY_BYTES: usize = 1 << 20;
/// The same for a batch that is wanted whole.
const MOST_BYTES: usize = 64 << 20;

/// A window in flight, or the reason why there is none for an item.
#[derive(Debug)]
pub(in crate::pool) enum Step<R> {
    /// Published.
    Window(Flight<R>),
    /// The item could not be encoded.
    Failed(TaskError),
    /// The item's result is in the journal.
    Known(Known),
}

/// A batch in progress. Dropped before its end, it cancels what is left.
pub(in crate::pool) struct Feed<F, M, I: Iterator, R> {
    pub(in crate::pool) core: Arc<Core>,
    pub(in crate::pool) errand: Arc<Errand>,
    pub(in crate::pool) steps: VecDeque<Step<R>>,
    /// The input panicked, after the items that were published.
    pub(in crate::pool) panic: Option<Payload>,
    items: I,
    /// The next item, if the journal was asked about it already.
    held: Option<(I::Item, Running)>,
    /// Where finished items are kept.
    pub(in crate::pool) journal: Option<Box<journal::Run>>,
    /// Where the input is read by another thread.
    upstream: Option<Arc<dyn Upstream>>,
    next: usize,
    made: usize,
    /// Tells how far it is, if somebody wants to know.
    meter: Option<Meter>,
    /// When it began, in nanoseconds of the monotonic clock, where that is measured; else 0.
    began: u64,
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
    pub(in crate::pool) fn new(
        core: &Arc<Core>,
        errand: Arc<Errand>,
        items: I,
        upstream: Option<Arc<dyn Upstream>>,
    ) -> Result<Self, TaskError> {
        let journal = match &errand.policy.journal {
            Some(journal) => Some(Box::new(journal::Run::begin(journal, errand.entry)?)),
            None => None,
        };
        core.begin_batch(|| errand.context(None))?;
        let (meter, account) = (gauge::watch(core, &errand), errand.policy.account);
        let began = if account { clock::monotonic_nanos() } else { 0 };
        // From here on dropping it ends the batch.
        let feed = Feed {
            core: core.clone(),
            errand,
            steps: VecDeque::new(),
            panic: None,
            journal,
            items,
            held: None,
            upstream,
            next: 0,
            made: 0,
            meter,
            began,
            closed: false,
            exhausted: false,
            types: PhantomData,
        };
        feed.tell_total();
        core.attend(&feed.errand)?;
        Ok(feed)
    }

    /// How many items there are, where that is known.
    fn tell_total(&self) {
        let Some(meter) = &self.meter else { return };
        let held = usize::from(self.held.is_some());
        let total = match self.items.size_hint() {
            _ if self.closed => Some(self.next),
            (least, Some(most)) if least == most => self.next.checked_add(least).map(|total| total + held),
            _ => None,
        };
        meter.set_total(total.map(|total| total as u64));
    }

    /// Publishes windows until the workers have enough to do.
    pub(in crate::pool) fn fill(&mut self) -> Result<(), TaskError> {
        let filled = self.fill_up();
        self.tell_total();
        filled
    }

    fn fill_up(&mut self) -> Result<(), TaskError> {
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
                chunk_nanos: match self.errand.entry.grain() {
                    Grain::Item => CHUNK_NANOS,
                    Grain::Chunk { nanos } => nanos,
                },
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
            let mut admission = Admission::<I, M, F::Output> {
                items: &mut self.items,
                journal: self.journal.as_deref_mut(),
                held: self.held.take(),
                next: self.next,
                running: Vec::new(),
                refused: None,
                marker: PhantomData,
            };
            if admission.journal.is_some() {
                // What is recorded needs no window, and may be much.
                let looked = catch_unwind(AssertUnwindSafe(|| admission.look()));
                let (refused, is_over) = (admission.refused.take(), !matches!(looked, Ok(Some(()))));
                if refused.is_some() || is_over {
                    drop(admission);
                    self.next += usize::from(refused.is_some());
                    self.exhausted = is_over && self.upstream_has_ended();
                    self.panic = looked.err();
                    self.closed = self.exhausted || self.panic.is_some();
                    self.push_refused(refused);
                    if is_over && !self.closed {
                        return Ok(());
                    }
                    continue;
                }
            }
            let built = match window::build::<F, M, _>(&self.errand, &outlook, &mut admission, Some(self.next)) {
                Ok(built) => built,
                // Memory comes back when the windows before are done. The item that was looked at waits for it.
                Err(error) if self.steps.is_empty() => {
                    self.closed = true;
                    return Err(error);
                }
                Err(_) => {
                    self.held = admission.held.take();
                    return Ok(());
                }
            };
            let (running, refused) = (admission.running, admission.refused);
            let first = self.next;
            self.next += built.items + usize::from(built.failed.is_some()) + usize::from(refused.is_some());
            self.made += 1;
            let panic = built.panic;
            self.exhausted = built.ended && refused.is_none() && self.upstream_has_ended();
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
                let reported = Reported::default();
                self.steps.push_back(Step::Window(Flight { window, first, running, done: 0, reported }));
            }
            self.push_refused(built.failed.map(Step::Failed));
            self.push_refused(refused);
        }
        Ok(())
    }

    /// Puts what no worker gets in its place among the windows.
    fn push_refused(&mut self, step: Option<Step<F::Output>>) {
        let Some(step) = step else { return };
        if let Some(gauge) = self.errand.gauge.get() {
            gauge.count(matches!(step, Step::Failed(_)));
        }
        if let Step::Failed(_) = step {
            self.errand.note_failures(1);
            self.core.look_at_failures(&self.errand);
        }
        self.steps.push_back(step);
    }

    /// The result of an item that the journal has.
    pub(in crate::pool) fn recall(&mut self, known: Known) -> Result<F::Output, TaskError> {
        match &mut self.journal {
            Some(journal) => journal.recall(known),
            None => Err(TaskError::Cancelled { context: self.errand.context(None) }),
        }
    }

    /// Waits until the journal has everything on disk.
    pub(in crate::pool) fn close_journal(&mut self) -> Result<(), TaskError> {
        self.journal.take().map_or(Ok(()), |journal| journal.finish())
    }

    /// Has whoever reads the input read all of it? Where nobody else does, what the input says holds.
    fn upstream_has_ended(&self) -> bool {
        self.upstream.as_ref().is_none_or(|upstream| upstream.has_ended())
    }

    /// The input whose next items would be taken over now.
    pub(in crate::pool) fn input_to_wait_for(&mut self) -> Option<Arc<dyn Upstream>> {
        let wanted = !self.closed && !self.errand.is_over() && self.upstream.is_some() && self.has_room();
        self.upstream.clone().filter(|_| wanted)
    }

    /// Waits for input, where nothing is under way. `Some(false)`: none will come; `None`: none came until the deadline.
    pub(in crate::pool) fn wait_for_input(&mut self, deadline: Option<Instant>) -> Option<bool> {
        let Some(input) = self.input_to_wait_for() else { return Some(false) };
        let bell = self.errand.bell.clone()?;
        let (core, errand) = (&self.core, &self.errand);
        let there = || input.has_items() || input.has_ended() || errand.is_over() || core.is_hopeless();
        bell::wait_until(bell.word(), deadline, || (), || there().then_some(true))
    }

    /// Has the input no more items?
    pub(in crate::pool) fn has_ended(&self) -> bool {
        self.exhausted
    }

    /// Waits until all windows are done, and gives the first item's error that is not for the sake of another's.
    pub(in crate::pool) fn first_cause(&mut self) -> Option<TaskError> {
        let core = self.core.clone();
        self.steps.iter().find_map(|step| match step {
            Step::Failed(error) => Some(error.clone()),
            Step::Known(_) => None,
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
    pub(in crate::pool) fn front(&self) -> Option<&Step<F::Output>> {
        self.steps.front()
    }

    /// Takes the oldest step.
    pub(in crate::pool) fn pop(&mut self) -> Option<Step<F::Output>> {
        self.steps.pop_front()
    }

    /// The index that the next item pulled from the input gets.
    pub(in crate::pool) fn next_item(&self) -> usize {
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
        // Told to the end, while all that is counted is still there.
        self.meter = None;
        if self.began != 0 {
            self.core.note_batch(&self.errand, self.began, self.next);
        }
        self.core.end_batch();
    }
}
