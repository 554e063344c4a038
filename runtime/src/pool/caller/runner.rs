//! What is behind the calls of a pool and of a batch: one batch, or one call, with its options.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use super::ahead::Ahead;
use super::feed::{Feed, Step};
use super::handle::TaskHandle;
use super::imap::{Imap, ImapUnordered};
use super::view::Views;
use crate::ErrorKind;
use crate::pool::job::Bell;
use crate::pool::job::errand::Errand;
use crate::pool::job::estimate::Outlook;
use crate::pool::job::window;
use crate::pool::master::core::Core;
use crate::pool::options::policy::{CancelLevel, Policy};
use crate::task::{Accept, Role, TaskError, TaskFn, registry};

/// What became of the items of a [`map_with`](crate::Pool::map_with).
///
/// ```
/// use offspring::{Pool, task};
///
/// #[task]
/// fn half(x: u64) -> u64 {
///     assert!(x % 2 == 0, "{x} is odd");
///     x / 2
/// }
///
/// let tally = Pool::new()?.map_with(half, 0..4, |_index, _result| ())?;
/// assert_eq!((tally.items, tally.failed, tally.panicked), (4, 2, 0));
/// # Ok::<(), offspring::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Tally {
    /// Results that were handed to the callback.
    pub items: usize,
    /// Those among them that are errors; a task's own `Err` is a value.
    pub failed: usize,
    /// Calls of the callback that panicked.
    pub panicked: usize,
}

/// A pool and how it is to run something.
#[derive(Debug, Clone, Copy)]
pub(in crate::pool) struct Runner<'a> {
    pub(in crate::pool) core: &'a Arc<Core>,
    pub(in crate::pool) policy: &'a Policy,
}

impl Runner<'_> {
    /// What is to be done with `F`, or the panic with the cure where `F` is no task. With the error where memory ran out.
    #[track_caller]
    fn errand<F: 'static>(self, lazy: bool) -> (Arc<Errand>, Option<TaskError>) {
        let entry = task_of::<F>();
        let arena = self.core.estate.arena;
        let (bell, failed) = match Bell::new(arena) {
            Ok(bell) => (Some(bell), None),
            Err(error) => (None, Some(error)),
        };
        let errand = Errand::new(arena, entry, self.policy.clone(), lazy, bell);
        let error = failed.map(|error| errand.no_memory(None, &error));
        (Arc::new(errand), error)
    }

    /// Begins a batch.
    #[track_caller]
    fn feed<F, M, I>(self, items: I, lazy: bool) -> Result<Feed<F, M, I, F::Output>, TaskError>
    where
        F: TaskFn<M>,
        I: Iterator,
        I::Item: Accept<M>,
    {
        match self.errand::<F>(lazy) {
            (_, Some(error)) => Err(error),
            (errand, None) => Feed::new(self.core, errand, items, None),
        }
    }

    #[track_caller]
    pub(in crate::pool) fn map<F, M, I>(self, _: F, items: I) -> Result<Vec<F::Output>, TaskError>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::Item: Accept<M>,
    {
        let mut out = Vec::new();
        let core = self.core;
        let mut feed = self.feed::<F, M, _>(items.into_iter(), false)?;
        if feed.journal.is_some() {
            feed.record_all(|result| result.map(|value| out.push(value)))?;
            return all_of(&feed).map(|()| out);
        }
        whole(feed, |_, step| match step {
            Step::Window(flight) => {
                let reader = flight.window.reader();
                flight.window.job().hand_over(0..reader.items());
                reader.read_all(&mut out)?;
                core.finish(flight.window.job());
                Ok(())
            }
            Step::Failed(error) => Err(error),
            // There is none without a journal.
            Step::Known(_) => Ok(()),
        })?;
        Ok(out)
    }

    #[track_caller]
    pub(in crate::pool) fn try_map<F, M, I>(
        self,
        _: F,
        items: I,
    ) -> Result<Vec<Result<F::Output, TaskError>>, TaskError>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::Item: Accept<M>,
    {
        let mut out = Vec::new();
        let core = self.core;
        let mut feed = self.feed::<F, M, _>(items.into_iter(), false)?;
        if feed.journal.is_some() {
            feed.record_all(|result| {
                out.push(result);
                Ok(())
            })?;
            return Ok(out);
        }
        collect(&mut feed, |_, step| {
            match step {
                Step::Window(flight) => {
                    let reader = flight.window.reader();
                    flight.window.job().hand_over(0..reader.items());
                    out.extend((0..reader.items()).map(|item| reader.read(item)));
                    core.finish(flight.window.job());
                }
                Step::Failed(error) => out.push(Err(error)),
                Step::Known(_) => {}
            }
            Ok(())
        })?;
        Ok(out)
    }

    #[track_caller]
    pub(in crate::pool) fn map_in_place<F, M, I>(self, _: F, items: I) -> Result<Views<F::Output>, TaskError>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::Item: Accept<M>,
    {
        let mut out = Views::new();
        let core = self.core;
        let feed = self.feed::<F, M, _>(items.into_iter(), false)?;
        if feed.journal.is_some() {
            return Err(TaskError::NotSendable {
                context: feed.errand.context(None),
                reason: "results in shared memory cannot come from a journal: use `map`, or leave the journal out"
                    .into(),
                kind: ErrorKind::InvalidInput,
            });
        }
        whole(feed, |_, step| match step {
            Step::Window(flight) => {
                let reader = flight.window.reader();
                flight.window.job().hand_over(0..reader.items());
                reader.check_all()?;
                core.strike(flight.window.job());
                out.push(flight.window, core.estate.clone());
                Ok(())
            }
            Step::Failed(error) => Err(error),
            Step::Known(_) => Ok(()),
        })?;
        Ok(out)
    }

    #[track_caller]
    pub(in crate::pool) fn map_with<F, M, I>(
        self,
        task: F,
        items: I,
        callback: impl FnMut(usize, Result<F::Output, TaskError>),
    ) -> Result<Tally, TaskError>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::Item: Accept<M>,
    {
        let mut results = self.imap_unordered(task, items);
        results.refuse()?;
        Ok(hand_out(results, callback))
    }

    #[track_caller]
    pub(in crate::pool) fn imap<F, M, I>(self, _: F, items: I) -> Imap<F, M, I::IntoIter>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::Item: Accept<M>,
    {
        Imap::new(self.feed(items.into_iter(), true))
    }

    #[track_caller]
    pub(in crate::pool) fn imap_unordered<F, M, I>(self, _: F, items: I) -> ImapUnordered<F, M, I::IntoIter>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::Item: Accept<M>,
    {
        ImapUnordered::new(self.feed(items.into_iter(), true))
    }

    #[track_caller]
    pub(in crate::pool) fn imap_ahead<F, M, I>(self, _: F, items: I) -> Imap<F, M, Ahead<I::Item>>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::IntoIter: Send + 'static,
        I::Item: Accept<M> + Send + 'static,
    {
        let (errand, error) = self.errand::<F>(true);
        let begin = || {
            let bell = match (error, &errand.bell) {
                (None, Some(bell)) => bell.clone(),
                (Some(error), _) => return Err(error),
                (None, None) => return Err(TaskError::PoolClosed { context: errand.context(None) }),
            };
            self.core.check_open(|| errand.context(None))?;
            let (items, upstream) = Ahead::start(items.into_iter(), bell).map_err(|error| TaskError::NoWorker {
                context: errand.context(None),
                reason: format!("no thread could be started that reads the input: {error}"),
                kind: ErrorKind::Limit,
            })?;
            Feed::new(self.core, errand.clone(), items, Some(upstream))
        };
        Imap::new(begin())
    }

    #[track_caller]
    pub(in crate::pool) fn submit<F, M, A>(self, _: F, input: A) -> Result<TaskHandle<F::Output>, TaskError>
    where
        F: TaskFn<M>,
        A: Accept<M>,
    {
        let errand = Errand::new(self.core.estate.arena, task_of::<F>(), self.policy.clone(), false, None);
        let errand = Arc::new(errand);
        self.core.check_open(|| errand.context(None))?;
        self.core.attend(&errand)?;
        if let Some(ending) = errand.ending() {
            return Err(ending.error(errand.context(None)));
        }
        let mut built = window::build::<F, M, _>(&errand, &Outlook::SINGLE, &mut std::iter::once(input), None)?;
        if let Some(panic) = built.panic.take() {
            resume_unwind(panic);
        }
        match (built.window, built.failed) {
            (_, Some(error)) => Err(error),
            (Some(window), None) => {
                self.core.publish(window.job());
                // By a token, since it was looked at.
                if let Some(ending) = errand.ending() {
                    self.core.cancel_job(window.job(), ending, CancelLevel::Cooperative);
                }
                Ok(TaskHandle::new(self.core.clone(), window))
            }
            (None, None) => Err(TaskError::PoolClosed { context: errand.context(None) }),
        }
    }
}

/// Hands out results to a callback; a panic of it is its own.
pub(crate) fn hand_out<R>(
    results: impl Iterator<Item = (usize, Result<R, TaskError>)>,
    mut callback: impl FnMut(usize, Result<R, TaskError>),
) -> Tally {
    let mut tally = Tally::default();
    for (index, result) in results {
        tally.items += 1;
        tally.failed += usize::from(result.is_err());
        // Unwind safety: what the callback leaves half done is its own, and is lent to nobody but itself.
        if catch_unwind(AssertUnwindSafe(|| callback(index, result))).is_err() {
            tally.panicked += 1;
        }
    }
    tally
}

/// The task that `F` is, or the panic that names the cure when it is none.
#[track_caller]
fn task_of<F: 'static>() -> (crate::task::TaskId, &'static crate::task::TaskEntry) {
    match registry::entry_of::<F>(Role::Task) {
        Ok(found) => found,
        Err(error) => panic!("{error}"),
    }
}

/// Runs the whole batch, and gives its windows, done, in order to `take`. Its first error ends it.
fn collect<F, M, I>(
    feed: &mut Feed<F, M, I, F::Output>,
    mut take: impl FnMut(&mut Feed<F, M, I, F::Output>, Step<F::Output>) -> Result<(), TaskError>,
) -> Result<(), TaskError>
where
    F: TaskFn<M>,
    I: Iterator,
    I::Item: Accept<M>,
{
    let core = feed.core.clone();
    loop {
        feed.fill()?;
        if let Some(panic) = feed.panic.take() {
            resume_unwind(panic);
        }
        if let Some(Step::Window(flight)) = feed.front() {
            let job = flight.window.job();
            if !job.wait_all(None, || core.is_hopeless()) {
                return Err(core.hopeless_error(job.context(0)));
            }
        }
        let Some(step) = feed.pop() else { return feed.close_journal() };
        let job = match &step {
            Step::Window(flight) => Some(flight.window.job().clone()),
            Step::Failed(_) | Step::Known(_) => None,
        };
        if let Err(error) = take(feed, step) {
            job.iter().for_each(|job| core.finish(job));
            let cause = job.and_then(|job| job.first_cause());
            return Err(if error.is_stopped() { cause.unwrap_or(error) } else { error });
        }
    }
}

/// As [`collect`], where only all results together are of use.
fn whole<F, M, I>(
    mut feed: Feed<F, M, I, F::Output>,
    take: impl FnMut(&mut Feed<F, M, I, F::Output>, Step<F::Output>) -> Result<(), TaskError>,
) -> Result<(), TaskError>
where
    F: TaskFn<M>,
    I: Iterator,
    I::Item: Accept<M>,
{
    match collect(&mut feed, take) {
        // The batch was stopped after a failure further on: that is what the caller wants to know.
        Err(error) if error.is_stopped() => Err(feed.first_cause().unwrap_or(error)),
        Err(error) => Err(error),
        Ok(()) => all_of(&feed),
    }
}

/// What was not read of the input has no results: the error that says so.
fn all_of<F, M, I>(feed: &Feed<F, M, I, F::Output>) -> Result<(), TaskError>
where
    F: TaskFn<M>,
    I: Iterator,
    I::Item: Accept<M>,
{
    match feed.errand.ending() {
        Some(ending) if !feed.has_ended() => Err(ending.error(feed.errand.context(Some(feed.next_item())))),
        _ => Ok(()),
    }
}
