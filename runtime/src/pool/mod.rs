//! Pools of worker processes.
//!
//! How one works is in `README.md` beside this file. From the bottom up: `layout` (what lies in shared memory), `claim`
//! (who runs which chunk), `ring` and `bell` (how jobs and results are announced), `job` and `window` (a job with its
//! private and its typed side), `core`, `books`, `estate` and `crew` (the pool's own process), `run` and `worker` (the worker's), `feed`,
//! `runner`, `imap`, `handle` and
//! `several` (what callers hold), `record`, `account` and `gauge` (what is measured and counted, and for whom), `watch` (what happens when nobody waits), `policy` and `errand` (how work is to be run, and how it goes),
//! `cancel` and `timeout` (how it is ended), `calls` and `batch` (the public face of it).

mod account;
mod admission;
mod ahead;
mod batch;
mod bell;
mod books;
mod builder;
mod calls;
pub(crate) mod cancel;
mod chunks;
mod claim;
mod core;
mod crew;
mod current;
#[cfg(feature = "engine")]
mod distant;
mod emitted;
mod errand;
mod error;
mod estate;
pub(crate) mod estimate;
mod feed;
#[cfg(feature = "engine")]
pub(crate) mod foreign;
mod gauge;
mod handle;
mod hearing;
mod hook;
mod imap;
mod interrupt;
mod job;
mod layout;
mod limits;
mod mutants;
mod phase;
#[cfg(feature = "testing")]
pub(crate) mod phases;
pub(crate) mod policy;
mod record;
mod recycle;
mod resize;
mod ring;
mod run;
mod runner;
mod several;
mod state;
mod stats;
mod stream;
#[cfg(feature = "testing")]
pub mod testing;
mod timeout;
mod view;
mod waiting;
mod watch;
mod window;
pub(crate) mod worker;
mod worker_options;

use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(any(feature = "tracing", feature = "log"))]
pub(crate) use current::current_run;

pub use ahead::Ahead;
pub use batch::Batch;
pub use builder::PoolBuilder;
pub use cancel::CancelToken;
pub(crate) use cancel::INTERRUPT;
#[cfg(feature = "engine")]
pub(crate) use distant::Distant;
pub use emitted::Emitted;
pub use error::PoolError;
pub use handle::TaskHandle;
pub use imap::{Imap, ImapUnordered};
pub use interrupt::{handle_ctrl_c, interrupted};
pub use policy::{CancelLevel, OnError, RunOptions};
pub use runner::Tally;
pub(crate) use runner::hand_out;
pub use several::{WaitFor, as_completed, wait};
pub use stats::{PoolStats, WorkerInfo, WorkerStatus};
pub use stream::ResultStream;
pub use view::Views;

use crate::View;
use crate::executor::ProgramOptions;
use crate::flow::{Flow, Item, Start};
use crate::seeing::Report;
use crate::task::{Accept, Fused, Program, TaskError, TaskFn};
use calls::calls;
use chunks::Chunks;
use core::Core;
use phase::Phase;
use runner::Runner;

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

    /// What was measured of the items that ran with [`account`](PoolBuilder::account): where the time went, task by task, worker by worker. Empty
    /// where nothing was asked for.
    ///
    /// It is gathered when a part of a batch is over, and covers what is done at the moment of the call, running batches included. Takes
    /// time in proportion to what was measured, some milliseconds at most.
    pub fn report(&self) -> Report {
        self.core.report()
    }

    /// What the pool has done so far.
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
