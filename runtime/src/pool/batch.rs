//! `map` and its relatives: one batch of items, with options of its own.

use std::sync::Arc;

use super::core::Core;
use super::feed::{Feed, Run, Step};
use super::imap::{Imap, ImapUnordered};
use super::view::{View, Views};
use super::window::Plan;
use crate::task::{Accept, Role, TaskError, TaskFn, registry};

/// Options for one batch; made by [`Pool::batch`](super::Pool::batch).
///
/// ```
/// use offspring::{Pool, task};
///
/// #[task]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// let pool = Pool::new()?;
/// let squares = pool.batch().chunk_size(64).retries(1).map(square, 0..1000)?;
/// assert_eq!(squares[999], 998_001);
/// # Ok::<(), offspring::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a batch does nothing until `map` or a relative of it is called"]
pub struct Batch<'p> {
    core: &'p Arc<Core>,
    run: Run,
}

/// The plan of a batch of `F`, or the panic that names the cure when `F` is no task.
#[track_caller]
pub(super) fn plan<F: TaskFn<M>, M>(core: &Arc<Core>) -> Plan {
    let (task, entry) = match registry::entry_of::<F>(Role::Task) {
        Ok(found) => found,
        Err(error) => panic!("{error}"),
    };
    Plan { arena: core.estate.arena, task, entry, name: entry.name().into(), retries: core.options.retries, bell: None }
}

impl<'p> Batch<'p> {
    pub(super) fn new(core: &'p Arc<Core>) -> Self {
        Batch { core, run: Run { chunk: None, retries: core.options.retries, lazy: false } }
    }

    /// Items that a worker takes at a time. Without this the pool measures the task and chooses.
    ///
    /// 1 dispatches each item by itself: for tasks whose times differ much.
    ///
    /// # Panics
    ///
    /// If `items` is 0.
    #[doc(alias = "chunksize")]
    #[track_caller]
    pub fn chunk_size(mut self, items: usize) -> Self {
        assert!(items > 0, "a chunk has at least one item: leave `chunk_size` out to let the pool choose");
        self.run.chunk = Some(items);
        self
    }

    /// How often an item is tried again after its worker died while running it; instead of the pool's own setting.
    pub fn retries(mut self, retries: u32) -> Self {
        self.run.retries = retries;
        self
    }

    /// As [`Pool::map`](super::Pool::map), with these options.
    ///
    /// # Errors
    ///
    /// As [`Pool::map`](super::Pool::map).
    #[doc(alias = "starmap")]
    #[track_caller]
    pub fn map<F, M, I>(&self, task: F, items: I) -> Result<Vec<F::Output>, TaskError>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::Item: Accept<M>,
    {
        let mut out = Vec::new();
        self.collect(task, items.into_iter(), |step| match step {
            Step::Window(flight) => {
                flight.window.reader().read_all(&mut out)?;
                self.core.finish(flight.window.job());
                Ok(())
            }
            Step::Failed(error) => Err(error),
        })?;
        Ok(out)
    }

    /// As [`Pool::try_map`](super::Pool::try_map), with these options.
    ///
    /// # Errors
    ///
    /// As [`Pool::try_map`](super::Pool::try_map).
    #[track_caller]
    pub fn try_map<F, M, I>(&self, task: F, items: I) -> Result<Vec<Result<F::Output, TaskError>>, TaskError>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::Item: Accept<M>,
    {
        let mut out = Vec::new();
        self.collect(task, items.into_iter(), |step| {
            match step {
                Step::Window(flight) => {
                    let reader = flight.window.reader();
                    out.extend((0..reader.items()).map(|item| reader.read(item)));
                    self.core.finish(flight.window.job());
                }
                Step::Failed(error) => out.push(Err(error)),
            }
            Ok(())
        })?;
        Ok(out)
    }

    /// As [`Pool::map_in_place`](super::Pool::map_in_place), with these options.
    ///
    /// # Errors
    ///
    /// As [`Pool::map`](super::Pool::map).
    #[track_caller]
    pub fn map_in_place<F, M, I>(&self, task: F, items: I) -> Result<Views<F::Output>, TaskError>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::Item: Accept<M>,
    {
        let mut out = Views::new();
        self.collect(task, items.into_iter(), |step| match step {
            Step::Window(flight) => {
                flight.window.reader().check_all()?;
                self.core.strike(flight.window.job());
                out.push(flight.window, self.core.estate.clone());
                Ok(())
            }
            Step::Failed(error) => Err(error),
        })?;
        Ok(out)
    }

    /// As [`Pool::map_archived`](super::Pool::map_archived), with these options.
    ///
    /// # Errors
    ///
    /// As [`Pool::map`](super::Pool::map).
    #[track_caller]
    pub fn map_archived<F, M, I>(&self, task: F, items: I) -> Result<Vec<View<F::Output>>, TaskError>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::Item: Accept<M>,
    {
        Ok(self.map_in_place(task, items)?.into_views())
    }

    #[track_caller]
    fn collect<F, M, I>(
        &self,
        _: F,
        items: I,
        mut take: impl FnMut(Step<F::Output>) -> Result<(), TaskError>,
    ) -> Result<(), TaskError>
    where
        F: TaskFn<M>,
        I: Iterator,
        I::Item: Accept<M>,
    {
        let plan = plan::<F, M>(self.core);
        let mut feed = Feed::<F, M, I, F::Output>::new(self.core, plan, items, self.run)?;
        loop {
            feed.fill()?;
            if let Some(Step::Window(flight)) = feed.front() {
                let job = flight.window.job();
                if !job.wait_all(None, || self.core.is_hopeless()) {
                    return Err(self.core.hopeless_error(job.context(0)));
                }
            }
            let Some(step) = feed.pop() else { return Ok(()) };
            let job = match &step {
                Step::Window(flight) => Some(flight.window.job().clone()),
                Step::Failed(_) => None,
            };
            if let Err(error) = take(step) {
                job.iter().for_each(|job| self.core.finish(job));
                return Err(error);
            }
        }
    }

    /// As [`Pool::imap`](super::Pool::imap), with these options.
    #[track_caller]
    pub fn imap<F, M, I>(&self, _: F, items: I) -> Imap<F, M, I::IntoIter>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::Item: Accept<M>,
    {
        let plan = plan::<F, M>(self.core);
        Imap::new(Feed::new(self.core, plan, items.into_iter(), Run { lazy: true, ..self.run }))
    }

    /// As [`Pool::imap_unordered`](super::Pool::imap_unordered), with these options.
    #[track_caller]
    pub fn imap_unordered<F, M, I>(&self, _: F, items: I) -> ImapUnordered<F, M, I::IntoIter>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::Item: Accept<M>,
    {
        let plan = plan::<F, M>(self.core);
        ImapUnordered::new(Feed::new(self.core, plan, items.into_iter(), Run { lazy: true, ..self.run }))
    }
}
