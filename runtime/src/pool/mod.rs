//! Pools of worker processes.
//!
//! How one works is in `README.md` beside this file. From the bottom up: `layout` (what lies in shared memory), `claim`
//! (who runs which chunk), `ring` and `bell` (how jobs and results are announced), `job` and `window` (a job with its
//! private and its typed side), `core` and `crew` (the pool's own process), `run` and `worker` (the worker's), `feed`,
//! `batch`, `imap`, `handle` and `several` (what callers hold), `watch` (what happens when nobody waits).

mod batch;
mod bell;
mod builder;
mod chunks;
mod claim;
mod core;
mod crew;
mod error;
mod estimate;
mod feed;
mod handle;
mod hook;
mod imap;
mod job;
mod layout;
mod limits;
mod mutants;
mod recycle;
mod resize;
mod ring;
mod run;
mod several;
mod state;
mod stats;
#[cfg(feature = "testing")]
pub mod testing;
mod view;
mod watch;
mod window;
pub(crate) mod worker;
mod worker_options;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use batch::Batch;
pub use builder::PoolBuilder;
pub use error::PoolError;
pub use handle::TaskHandle;
pub use imap::{Imap, ImapUnordered};
pub use several::{WaitFor, as_completed, wait};
pub use stats::{PoolStats, WorkerInfo, WorkerStatus};
pub use view::{View, Views};

use crate::flow::{Flow, Item, Start};
use crate::task::{Accept, TaskError, TaskFn};
use core::{Core, Phase};
use estimate::Outlook;

/// A pool of worker processes.
///
/// Tasks run in child processes that can crash, be killed or leak without taking this one down. Workers start when there is
/// work for them and stay for the next; a worker that dies costs at most the item it was running, and is replaced.
///
/// All methods take `&self`: threads share a pool freely, and their batches are served in the order they came.
///
/// Dropping a pool cancels what nobody holds a handle to, ends its workers and waits for them: two seconds at most for those that
/// end by themselves, then they are killed. Batches and handles that somebody still holds are finished first, after which the
/// workers end. In a `fork()` of this process that the program made itself, a pool can only be dropped.
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
/// assert_eq!(pool.map(square, 0..4)?, [0, 1, 4, 9]);
/// # Ok::<(), offspring::Error>(())
/// ```
#[doc(alias = "ProcessPoolExecutor")]
#[doc(alias = "ThreadPool")]
#[derive(Debug)]
pub struct Pool {
    core: Arc<Core>,
}

impl Pool {
    /// A pool of as many workers as this process may use CPUs.
    ///
    /// # Errors
    ///
    /// As [`PoolBuilder::build`].
    pub fn new() -> Result<Pool, PoolError> {
        Pool::builder().build()
    }

    /// Sets up a pool.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }

    /// Runs `task` on every item and gives the results in input order. Blocks until all are there.
    ///
    /// A task of one parameter takes the item itself, of none `()`, of several a tuple.
    ///
    /// # Errors
    ///
    /// The first item, in input order, that has no value: it panicked, its worker died and no tries were left, or it could
    /// not be sent. The rest of the batch is then cancelled; the pool stays usable. [`try_map`](Self::try_map) keeps the others' results.
    ///
    /// # Panics
    ///
    /// If `task` is a function without `#[task]`, before anything is sent.
    #[doc(alias = "starmap")]
    #[track_caller]
    pub fn map<F, M, I>(&self, task: F, items: I) -> Result<Vec<F::Output>, TaskError>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::Item: Accept<M>,
    {
        self.batch().map(task, items)
    }

    /// As [`map`](Self::map), but one bad item does not cost the others: each has its own result.
    ///
    /// # Errors
    ///
    /// Only when the batch as a whole failed: the pool was closed, or no worker could be started.
    ///
    /// # Panics
    ///
    /// As [`map`](Self::map).
    #[track_caller]
    pub fn try_map<F, M, I>(&self, task: F, items: I) -> Result<Vec<Result<F::Output, TaskError>>, TaskError>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::Item: Accept<M>,
    {
        self.batch().try_map(task, items)
    }

    /// As [`map`](Self::map), but results stay where the workers wrote them, in shared memory, and are read there.
    ///
    /// For results that are large, or many: nothing is copied and nothing allocated.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map).
    ///
    /// # Panics
    ///
    /// As [`map`](Self::map).
    #[track_caller]
    pub fn map_in_place<F, M, I>(&self, task: F, items: I) -> Result<Views<F::Output>, TaskError>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::Item: Accept<M>,
    {
        self.batch().map_in_place(task, items)
    }

    /// As [`map_in_place`](Self::map_in_place), with a handle for each result.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map).
    ///
    /// # Panics
    ///
    /// As [`map`](Self::map).
    #[track_caller]
    pub fn map_archived<F, M, I>(&self, task: F, items: I) -> Result<Vec<View<F::Output>>, TaskError>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::Item: Accept<M>,
    {
        self.batch().map_archived(task, items)
    }

    /// Results in input order, lazily: `items` is read in the caller's thread, a few chunks a worker ahead, so endless input is
    /// normal and memory stays bounded. Nothing begins before the first `next`. Results that are there are handed out before more
    /// input is read; but input that waits for results still to come waits for ever, as both are this thread's.
    ///
    /// A failed item is an `Err` in its place; the iteration can go on.
    ///
    /// # Panics
    ///
    /// As [`map`](Self::map). A panic of `items` itself passes through `next`.
    #[track_caller]
    pub fn imap<F, M, I>(&self, task: F, items: I) -> Imap<F, M, I::IntoIter>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::Item: Accept<M>,
    {
        self.batch().imap(task, items)
    }

    /// As [`imap`](Self::imap), but results come as they are done, each with its item's index.
    ///
    /// When the pool is terminated or cannot start workers, one last error comes, with the index that the next item would have had.
    #[doc(alias = "as_completed")]
    #[track_caller]
    pub fn imap_unordered<F, M, I>(&self, task: F, items: I) -> ImapUnordered<F, M, I::IntoIter>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::Item: Accept<M>,
    {
        self.batch().imap_unordered(task, items)
    }

    /// Runs `task` once and waits for its value.
    ///
    /// # Errors
    ///
    /// Why there is no value; see [`TaskError`].
    ///
    /// # Panics
    ///
    /// As [`map`](Self::map).
    #[doc(alias = "apply")]
    #[track_caller]
    pub fn call<F, M, A>(&self, task: F, input: A) -> Result<F::Output, TaskError>
    where
        F: TaskFn<M>,
        A: Accept<M>,
    {
        self.submit(task, input)?.get()
    }

    /// Hands a call to the pool and returns at once.
    ///
    /// # Errors
    ///
    /// [`TaskError::PoolClosed`], or [`TaskError::NotSendable`] when the input cannot be sent.
    ///
    /// # Panics
    ///
    /// As [`map`](Self::map).
    #[doc(alias = "apply_async")]
    #[track_caller]
    pub fn submit<F, M, A>(&self, _: F, input: A) -> Result<TaskHandle<F::Output>, TaskError>
    where
        F: TaskFn<M>,
        A: Accept<M>,
    {
        let plan = batch::plan::<F, M>(&self.core);
        self.core.check_open(|| plan.context(None))?;
        let built = window::build::<F, M, _>(&plan, &Outlook::SINGLE, &mut std::iter::once(input), None)?;
        match (built.window, built.failed) {
            (_, Some(error)) => Err(error),
            (Some(window), None) => {
                self.core.publish(window.job());
                Ok(TaskHandle::new(self.core.clone(), window))
            }
            (None, None) => Err(TaskError::PoolClosed { context: plan.context(None) }),
        }
    }

    /// Begins a flow: tasks that are run one after the other on each item, with an end that makes something of all of them.
    ///
    /// Nothing runs before the end is named. A worker runs all stages of an item in one go; only what the end makes of a chunk of
    /// items comes back. See [`Flow`].
    ///
    /// ```
    /// use offspring::{Pool, task};
    ///
    /// #[task]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// #[task]
    /// fn sum(a: u64, b: u64) -> u64 {
    ///     a + b
    /// }
    ///
    /// let pool = Pool::new()?;
    /// assert_eq!(pool.flow(1..=3).map(square).reduce(sum)?, Some(14));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn flow<I, S>(&self, items: I) -> Flow<'_, Pool, I::IntoIter, S, Start>
    where
        I: IntoIterator,
        I::Item: Item<S>,
    {
        Flow::new(self, items.into_iter())
    }

    /// Options for one batch.
    pub fn batch(&self) -> Batch<'_> {
        Batch::new(&self.core)
    }

    /// Takes no more work. What was handed in before is finished; workers end when there is nothing left.
    pub fn close(&self) {
        self.core.close();
    }

    /// Waits until all work is done and all workers have ended.
    ///
    /// A lazy batch ([`imap`](Self::imap)) that is neither exhausted nor dropped may bring more work, so this waits for its end: in the
    /// thread that holds it, for ever.
    ///
    /// # Errors
    ///
    /// [`PoolError::NotClosed`] unless [`close`](Self::close) or [`terminate`](Self::terminate) came before.
    pub fn join(&self) -> Result<(), PoolError> {
        if self.core.lock().phase == Phase::Open {
            return Err(PoolError::NotClosed);
        }
        if self.core.is_here() {
            self.core.wait_for_crew(None);
        }
        Ok(())
    }

    /// As [`join`](Self::join), at most `timeout`. `true` when all have ended.
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join).
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool, PoolError> {
        if self.core.lock().phase == Phase::Open {
            return Err(PoolError::NotClosed);
        }
        Ok(!self.core.is_here() || self.core.wait_for_crew(Instant::now().checked_add(timeout)))
    }

    /// Kills all workers and gives up what is not done: whoever waits for it gets [`TaskError::PoolClosed`].
    ///
    /// Does not wait until they are gone; [`join`](Self::join) does.
    pub fn terminate(&self) {
        self.core.give_up(Phase::Terminated);
        self.core.lock().crew.kill_all();
    }

    /// The workers that are alive, and what they do.
    pub fn workers(&self) -> Vec<WorkerInfo> {
        stats::workers(&self.core)
    }

    /// What the pool has done so far.
    pub fn stats(&self) -> PoolStats {
        stats::stats(&self.core)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.core.close();
        // Handles and lazy batches hold the core too; the last of them ends the workers.
        if Arc::strong_count(&self.core) == 1 {
            self.core.dismiss();
        }
    }
}
