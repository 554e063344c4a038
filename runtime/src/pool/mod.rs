//! Pools of worker processes.
//!
//! How one works is in `README.md` beside this file. From the bottom up: `layout` (what lies in shared memory), `protocol` (how chunks are
//! claimed, jobs announced, callers woken), `job` (a job, its types, and the batch or call that it is part of), `options` (how work and
//! workers are to be), `ending` (how work is ended before it is done), `watching` (what happens when nobody waits, and what is measured),
//! `master` (the pool's own process), `worker` (the others), `caller` (the public calls, and what callers hold).

mod caller;
mod ending;
mod error;
mod job;
mod layout;
mod master;
mod options;
mod protocol;
#[cfg(feature = "testing")]
pub mod testing;
mod watching;
pub(crate) mod worker;

use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(any(feature = "tracing", feature = "log"))]
pub(crate) use worker::current::current_run;

pub use caller::ahead::Ahead;
pub use caller::batch::Batch;
#[cfg(feature = "engine")]
pub(crate) use caller::distant::Distant;
pub use caller::emitted::Emitted;
#[cfg(feature = "engine")]
pub(crate) use caller::foreign;
pub use caller::handle::TaskHandle;
pub use caller::imap::{Imap, ImapUnordered};
pub use caller::runner::Tally;
pub(crate) use caller::runner::hand_out;
pub use caller::several::{WaitFor, as_completed, wait};
pub use caller::stream::ResultStream;
pub use caller::view::Views;
pub use ending::cancel::CancelToken;
pub(crate) use ending::cancel::{self, INTERRUPT};
pub use ending::interrupt::{handle_ctrl_c, interrupted};
pub use error::PoolError;
#[cfg(feature = "engine")]
pub(crate) use job::estimate;
pub use master::stats::{PoolStats, WorkerInfo, WorkerStatus};
pub use options::builder::PoolBuilder;
pub(crate) use options::policy;
pub use options::policy::{CancelLevel, OnError, RunOptions};

use crate::View;
use crate::executor::ProgramOptions;
use crate::flow::{Flow, Item, Start};
use crate::seeing::Report;
use crate::task::{Accept, Fused, Program, TaskError, TaskFn};
use caller::calls::calls;
use caller::chunks::Chunks;
use caller::runner::Runner;
use master::core::Core;
use master::phase::Phase;
use master::stats;

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
    /// ```
    /// use offspring::{Pool, task};
    ///
    /// #[task]
    /// fn length(text: &str) -> usize {
    ///     text.len()
    /// }
    ///
    /// assert_eq!(Pool::new()?.map(length, ["one", "three"])?, [3, 5]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`PoolBuilder::build`].
    pub fn new() -> Result<Pool, PoolError> {
        Pool::builder().build()
    }

    /// Sets up a pool.
    ///
    /// ```
    /// use offspring::Pool;
    /// use std::time::Duration;
    ///
    /// let pool = Pool::builder().workers(4).name("parsers").task_timeout(Duration::from_secs(30)).build()?;
    /// assert_eq!(pool.workers().len(), 0); // they start when there is work
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }

    calls!(|pool| Runner { core: &pool.core, policy: &pool.core.options.policy });

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
    ///
    /// ```
    /// use offspring::{Pool, task};
    /// use std::time::Duration;
    ///
    /// #[task]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// let pool = Pool::new()?;
    /// let squares = pool.batch().retries(2).timeout(Duration::from_secs(60)).map(square, 0..3)?;
    /// assert_eq!(squares, [0, 1, 4]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
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
    /// ```
    /// use offspring::{ErrorKind, Pool, task};
    ///
    /// #[task]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// let pool = Pool::new()?;
    /// let handle = pool.submit(square, 7)?;
    /// pool.close();
    /// pool.join()?; // all that was handed in is done, and all workers have ended
    /// assert_eq!(handle.get()?, 49);
    /// assert_eq!(pool.call(square, 8).unwrap_err().kind(), ErrorKind::Closed);
    /// # Ok::<(), offspring::Error>(())
    /// ```
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
    ///
    /// ```
    /// use offspring::{ErrorKind, Pool, task};
    ///
    /// #[task]
    /// fn sleep() {
    ///     std::thread::sleep(std::time::Duration::from_secs(600));
    /// }
    ///
    /// let pool = Pool::new()?;
    /// let handle = pool.submit(sleep, ())?;
    /// pool.terminate();
    /// assert_eq!(handle.get().unwrap_err().kind(), ErrorKind::Closed);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "kill_workers")]
    #[doc(alias = "terminate_workers")]
    pub fn terminate(&self) {
        self.core.give_up(Phase::Terminated);
        self.core.lock().crew.kill_all();
    }

    /// The workers that are alive, and what they do.
    pub fn workers(&self) -> Vec<WorkerInfo> {
        stats::workers(&self.core)
    }

    /// What was measured of the items that ran with [`account`](PoolBuilder::account): where the time went, task by task, worker by worker. Empty
    /// where nothing was asked for.
    ///
    /// It is gathered when a part of a batch is over, and covers what is done at the moment of the call, running batches included. Takes
    /// time in proportion to what was measured, some milliseconds at most.
    pub fn report(&self) -> Report {
        self.core.report()
    }

    /// What the pool has done so far.
    ///
    /// ```
    /// use offspring::{Pool, task};
    ///
    /// #[task]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// let pool = Pool::builder().workers(2).build()?;
    /// pool.map(square, 0..100)?;
    /// assert!((1..=2).contains(&pool.stats().started));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn stats(&self) -> PoolStats {
        stats::stats(&self.core)
    }
}

#[cfg(feature = "engine")]
impl Pool {
    fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Most workers.
    pub(crate) fn places(&self) -> usize {
        self.core.workers()
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
