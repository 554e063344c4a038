//! How a pool is set up.

use std::num::NonZeroUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::hook::PrepareHook;
use super::limits::Limits;
use super::policy::{Policy, common_options};
use super::state::{self, Prepare};
use crate::arena;
use crate::pool::layout::MAX_SEATS;
use crate::pool::master::core::Core;
use crate::pool::master::estate::Inputs;
use crate::pool::{Pool, PoolError};
use crate::process::StartMethod;
use crate::sync::permits;
use crate::task::{Accept, StateFn};

/// What a builder has gathered.
#[derive(Debug, Clone)]
pub(in crate::pool) struct Options {
    pub(in crate::pool) workers: usize,
    pub(in crate::pool) name: String,
    /// How work is run unless a batch says otherwise.
    pub(in crate::pool) policy: Policy,
    pub(in crate::pool) start_method: StartMethod,
    pub(in crate::pool) limits: Limits,
}

/// Sets up a [`Pool`]; made by [`Pool::builder`].
///
/// ```
/// use offspring::{Pool, task};
///
/// #[task]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// let pool = Pool::builder().workers(2).name("squares").build()?;
/// assert_eq!(pool.map(square, 0..4)?, [0, 1, 4, 9]);
/// # Ok::<(), offspring::Error>(())
/// ```
#[must_use = "a builder does nothing until `build` is called"]
pub struct PoolBuilder {
    workers: Option<usize>,
    pub(in crate::pool) options: Options,
    state: Option<Prepare>,
    pub(in crate::pool) initializer: Option<PrepareHook>,
    pub(in crate::pool) finalizer: Option<PrepareHook>,
}

impl std::fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolBuilder")
            .field("workers", &self.workers)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl PoolBuilder {
    pub(in crate::pool) fn new() -> PoolBuilder {
        let options = Options {
            workers: 0,
            name: "worker".into(),
            policy: Policy::default(),
            start_method: StartMethod::ForkServer,
            limits: Limits::default(),
        };
        PoolBuilder { workers: None, options, state: None, initializer: None, finalizer: None }
    }

    /// The most workers that run at once; as many as this process may use CPUs, if this is not called.
    ///
    /// They start on demand: fewer run while there is less to do.
    ///
    /// ```
    /// use offspring::{ErrorKind, Pool};
    ///
    /// let pool = Pool::builder().workers(4).build()?;
    /// assert_eq!(Pool::builder().workers(0).build().unwrap_err().kind(), ErrorKind::InvalidInput);
    /// # drop(pool);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "processes")]
    #[doc(alias = "max_workers")]
    #[doc(alias = "n_jobs")]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// What the workers are called: `name-1`, `name-2` and so on. Shown by [`process::current`](crate::process::current)
    /// in them and, cut to 15 bytes, by `ps` and `top`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.options.name = name.into();
        self
    }

    fn set(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(&mut self.options.policy);
        self
    }

    common_options!();

    /// The longest that an item may run, counted from the start of its execution: time in the queue is not counted. An item that runs
    /// longer is ended, by replacing its worker, and fails with [`TaskError::TimedOut`](crate::TaskError::TimedOut). Default: as long as it
    /// takes. A batch can have [another limit](crate::Batch::timeout).
    ///
    /// ```
    /// use offspring::{Pool, task};
    /// use std::time::Duration;
    ///
    /// #[task]
    /// fn nap(millis: u64) -> u64 {
    ///     std::thread::sleep(Duration::from_millis(millis));
    ///     millis
    /// }
    ///
    /// let pool = Pool::builder().task_timeout(Duration::from_secs(1)).build()?;
    /// let results = pool.try_map(nap, [1, 600_000])?;
    /// assert!(results[0].is_ok() && results[1].as_ref().unwrap_err().is_timed_out());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "timeout")]
    pub fn task_timeout(self, limit: Duration) -> Self {
        self.set(|policy| policy.timeout = Some(limit))
    }

    /// Gives each worker a state of its own: something dear to set up, such as a connection or a model, that is made once and
    /// lent to every task whose first parameter is `&mut S`.
    ///
    /// `constructor` is a function with `#[task(state)]`. A worker calls it with `input` before its first task that borrows the
    /// state, and again after a task panicked with the state in its hands. What it returns never leaves the worker and need be
    /// no message. Where it fails, the tasks that wanted the state fail with its error.
    ///
    /// ```
    /// use offspring::{Pool, task};
    ///
    /// struct Counter { step: u64, calls: u64 }
    ///
    /// #[task(state)]
    /// fn counter(step: u64) -> Counter {
    ///     Counter { step, calls: 0 }
    /// }
    ///
    /// #[task]
    /// fn scaled(counter: &mut Counter, x: u64) -> u64 {
    ///     counter.calls += 1;
    ///     x * counter.step
    /// }
    ///
    /// let pool = Pool::builder().workers(2).state(counter, 10).build()?;
    /// assert_eq!(pool.map(scaled, 0..3)?, [0, 10, 20]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "initializer")]
    pub fn state<F, M, A>(mut self, constructor: F, input: A) -> Self
    where
        F: StateFn<M>,
        A: Accept<M> + Send + 'static,
    {
        self.state = Some(state::prepare(constructor, input));
        self
    }

    /// How workers are started. Default [`StartMethod::ForkServer`].
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.options.start_method = method;
        self
    }

    /// Makes the pool. No worker starts before there is work for it.
    ///
    /// ```
    /// use offspring::{ErrorKind, Pool};
    ///
    /// let pool = Pool::builder().workers(2).build()?;
    /// let error = Pool::builder().workers(1_000_000).build().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidInput);
    /// assert!(error.to_string().starts_with("a pool of 1000000 workers cannot be"));
    /// # drop(pool);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`PoolError::InvalidWorkers`] for zero workers or more than 1,023 (a family has 1,024 processes); [`PoolError::Tasks`] when two tasks of this program
    /// have the same key; [`PoolError::State`] and [`PoolError::Hook`] when what workers begin or end with cannot be sent to them;
    /// [`PoolError::InvalidOption`]; [`PoolError::Memory`] when the shared memory cannot be set up.
    pub fn build(self) -> Result<Pool, PoolError> {
        let workers = match self.workers {
            Some(workers) => workers,
            None => {
                // More than the tree's budget could not run anyway.
                let budget =
                    permits::of_this_tree().map_or(usize::MAX, |(permits, _)| permits.limit.load(Relaxed) as usize);
                std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(MAX_SEATS - 1).min(budget.max(1))
            }
        };
        // One of the family's process slots is this process's own.
        if workers == 0 || workers >= MAX_SEATS {
            return Err(PoolError::InvalidWorkers { asked: workers, most: MAX_SEATS - 1 });
        }
        if let Some(reason) = self.options.limits.invalid.clone() {
            return Err(PoolError::InvalidOption { reason });
        }
        crate::task::registry::check()?;
        let arena = arena::family()?;
        let state = self.state.map(|prepare| prepare(arena)).transpose()?;
        let initializer = self.initializer.map(|prepare| prepare(arena)).transpose()?;
        let finalizer = self.finalizer.map(|prepare| prepare(arena)).transpose()?;
        let core = Core::new(arena, Options { workers, ..self.options }, Inputs { state, initializer, finalizer })?;
        Ok(Pool { core })
    }
}
