//! How work is to be run: the options of a pool, of a batch, of a call.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::journal::Journal;
use crate::pool::ending::cancel::CancelToken;
use crate::pool::protocol::admission::Needs;
use crate::seeing::output::{Hear, OutputMode};
use crate::seeing::progress::Watcher;

/// What a batch does when an item of it fails.
///
/// An item fails when it has no value (it panicked, its worker died, it ran too long, ..), and when its task returned an `Err`.
///
/// # Examples
///
/// ```
/// use offspring::{OnError, Pool, task};
///
/// #[task]
/// fn parse(text: &str) -> Result<u64, String> {
///     text.parse::<u64>().map_err(|error| format!("{text}: {error}"))
/// }
///
/// let pool = Pool::builder().workers(1).build()?;
/// let lines = (0..10_000).map(|n| if n == 20 { "?".to_owned() } else { n.to_string() });
/// let results = pool.batch().on_error(OnError::Stop).try_map(parse, lines)?;
/// assert_eq!(results[19], Ok(Ok(19)));
/// assert!(results[20].as_ref().unwrap().is_err());
/// // What had not begun by then never does.
/// assert!(results.last().unwrap().as_ref().unwrap_err().is_stopped());
/// # Ok::<(), offspring::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnError {
    /// The other items are run all the same. `map` alone gives up the rest once it knows the first failed item.
    #[default]
    Continue,
    /// After the first failure nothing more is begun; what runs is finished.
    Stop,
    /// The same after so many failures. `StopAfter(1)` is `Stop`; 0 is taken for 1.
    StopAfter(usize),
}

impl OnError {
    /// So many failures end the batch; `None`: no number does.
    pub(crate) fn most(self) -> Option<usize> {
        match self {
            OnError::Continue => None,
            OnError::Stop => Some(1),
            OnError::StopAfter(most) => Some(most.max(1)),
        }
    }
}

/// How work is ended that may have begun.
///
/// What has not begun never begins, whatever the level. The levels differ in what becomes of the item that runs:
///
/// | level | the running item | use it when |
/// | --- | --- | --- |
/// | `Cooperative` | sees [`task::cancelled`](crate::task::cancelled) turn true, and [`task::sleep`](crate::task::sleep) end | the task asks, or ends soon anyway |
/// | `Soft` | the same, and its blocking system calls are interrupted: they fail with `EINTR` | it may sit in a read, an accept or a wait |
/// | `Hard` | ends: its worker is killed and replaced | nothing can be expected of it |
///
/// At the first two levels the item that runs is finished, and what it returns is its result. At none of them is another call
/// ended, or run twice.
///
/// # How `Soft` interrupts
///
/// The worker gets the signal `SIGUSR1`, for which it has a handler that does nothing and restarts nothing. As the signal may come
/// just before the call that was meant, it is sent again after 1, 2, 4 .. up to 100 milliseconds, as long as the item runs. Much
/// of `std` goes on after `EINTR` (`read_exact`, `thread::sleep`); `Read::read` and raw system calls do not. A task that sets a
/// handler of its own for `SIGUSR1` is told through that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CancelLevel {
    /// A flag that the task can ask for.
    Cooperative,
    /// The flag, and a signal that interrupts blocking system calls.
    Soft,
    /// The worker is killed and replaced.
    Hard,
}

impl CancelLevel {
    /// As it stands in shared memory; 0 is none.
    pub(crate) fn to_raw(self) -> u32 {
        match self {
            CancelLevel::Cooperative => 1,
            CancelLevel::Soft => 2,
            CancelLevel::Hard => 3,
        }
    }

    /// From shared memory.
    pub(crate) fn from_raw(raw: u32) -> Option<CancelLevel> {
        match raw {
            0 => None,
            1 => Some(CancelLevel::Cooperative),
            2 => Some(CancelLevel::Soft),
            _ => Some(CancelLevel::Hard),
        }
    }
}

/// So many workers in a row may die of a batch before it is given up.
const CRASH_LIMIT: u32 = 100;

/// How work is to be run.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// Items of a chunk; `None`: the pool measures.
    pub(crate) chunk: Option<usize>,
    pub(crate) retries: u32,
    pub(crate) retry_delay: Duration,
    /// Of each item, from the start of its execution.
    pub(crate) timeout: Option<Duration>,
    /// Between asking and killing.
    pub(crate) grace: Option<Duration>,
    pub(crate) crash_limit: u32,
    pub(crate) on_error: OnError,
    pub(crate) token: Option<CancelToken>,
    /// Where finished items are kept.
    pub(crate) journal: Option<Journal>,
    pub(crate) needs: Needs,
    /// Workers measure each item.
    pub(crate) account: bool,
    /// Each item's worker and time are wanted.
    pub(crate) timed: bool,
    /// Who is told how far a batch is.
    pub(crate) progress: Option<Watcher>,
    /// What becomes of its tasks' output, and who is told of it.
    pub(crate) output: OutputMode,
    pub(crate) hear: Option<Hear>,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            chunk: None,
            retries: 0,
            retry_delay: Duration::ZERO,
            timeout: None,
            grace: None,
            crash_limit: CRASH_LIMIT,
            on_error: OnError::Continue,
            token: None,
            journal: None,
            needs: Needs::default(),
            account: false,
            timed: false,
            progress: None,
            output: OutputMode::Inherit,
            hear: None,
        }
    }
}

/// The options that a pool and a batch have in common, as methods of a builder with a method `set`.
macro_rules! common_options {
    () => {
        /// How often an item is tried again after its worker died while running it. Default 0.
        ///
        /// A task's outside effects happen again with each try. A task's own error, a panic or a timeout is its result, and never
        /// tried again.
        pub fn retries(self, retries: u32) -> Self {
            self.set(move |policy| policy.retries = retries)
        }

        /// How long an item waits before its second try; twice as long before the third, and so on up to 1,024 times. Default zero.
        ///
        /// The rest of the item's chunk waits with it: see `chunk_size`.
        #[doc(alias = "backoff")]
        pub fn retry_delay(self, delay: std::time::Duration) -> Self {
            self.set(move |policy| policy.retry_delay = delay)
        }

        /// So many workers in a row may die of one batch, none of its items finished in between, before the batch is given up:
        /// what is left of it fails with [`TaskError::CrashLimit`](crate::TaskError::CrashLimit). Default 100.
        ///
        /// It keeps a task that always crashes from using up one worker for each item and try.
        pub fn crash_limit(self, deaths: u32) -> Self {
            self.set(move |policy| policy.crash_limit = deaths.max(1))
        }

        /// Gives an item that is to be ended time to end by itself: when its time is up or it is cancelled at the level
        /// [`Soft`](crate::CancelLevel::Soft), it is asked first, and its worker is killed when it still runs after `grace`.
        ///
        /// Without this, an item whose time is up is ended at once, and one that was cancelled softly never by force.
        pub fn grace(self, grace: std::time::Duration) -> Self {
            self.set(move |policy| policy.grace = Some(grace))
        }

        /// Measures each item: time, CPU time, memory, bytes, and how long it waited, for [`Pool::report`](crate::Pool::report). Default: `false`.
        ///
        /// It costs about a microsecond for each item, and 64 bytes of shared memory until its part of the batch is over. See
        /// [`Report`](crate::Report) for what is measured, and how. On an engine that has no report, it does nothing.
        pub fn account(self, account: bool) -> Self {
            self.set(move |policy| policy.account = account)
        }
    };
}

/// The options of one run, as methods of a builder with a method `set`.
macro_rules! run_options {
    () => {
        $crate::pool::policy::common_options!();

        /// Items that a worker takes at a time. Without this the pool measures the task and chooses.
        ///
        /// 1 dispatches each item by itself: for tasks whose times differ much.
        ///
        /// # Panics
        ///
        /// If `items` is 0.
        #[doc(alias = "chunksize")]
        #[track_caller]
        pub fn chunk_size(self, items: usize) -> Self {
            assert!(items > 0, "a chunk has at least one item: leave `chunk_size` out to let the pool choose");
            self.set(move |policy| policy.chunk = Some(items))
        }

        /// The longest that one item may run, counted from the start of its execution: time in the queue is not counted. An item
        /// that runs longer is ended, by replacing its worker, and fails with [`TaskError::TimedOut`](crate::TaskError::TimedOut).
        pub fn timeout(self, limit: std::time::Duration) -> Self {
            self.set(move |policy| policy.timeout = Some(limit))
        }

        /// What happens to the rest when items fail. Default [`OnError::Continue`](crate::OnError::Continue).
        pub fn on_error(self, on_error: $crate::OnError) -> Self {
            self.set(move |policy| policy.on_error = on_error)
        }

        /// How many of the pool's places each task takes, because it uses so many CPUs itself. Default 1.
        ///
        /// It begins when so many are free, and meanwhile no other task begins in those that are; so a task of 4 slots in a pool of 4 workers
        /// runs alone. More than the pool has is an error of kind [`InvalidInput`](crate::ErrorKind::InvalidInput).
        pub fn slots(self, slots: u32) -> Self {
            self.set(move |policy| policy.needs.slots = slots.max(1))
        }

        /// How much memory each task will take, in bytes, as you estimate it. Default: nothing is said, and nothing checked.
        ///
        /// A task begins when those that run have not declared more than the pool's `memory_for_tasks` together, and the system has so much
        /// available; one of them runs in any case.
        pub fn memory(self, bytes: u64) -> Self {
            self.set(move |policy| policy.needs.memory = bytes)
        }

        /// How many tokens of a kind each task takes while it runs; see `PoolBuilder::resource`. For several kinds, call it
        /// once for each.
        ///
        /// A kind that the pool does not have, or more than it has, is an error of kind [`InvalidInput`](crate::ErrorKind::InvalidInput).
        pub fn needs(self, kind: impl Into<String>, count: u32) -> Self {
            let kind = kind.into();
            self.set(move |policy| policy.needs.tokens.push((kind.clone(), count)))
        }

        /// When it is this run's turn: higher ones first; those of the same priority in the order in which they came. Default 0.
        ///
        /// Workers that are at something of a lower priority turn to it after their current chunk of items; nothing that runs is ended for it.
        pub fn priority(self, priority: i32) -> Self {
            self.set(move |policy| policy.needs.priority = priority)
        }

        /// What becomes of what the run's tasks write. Default: as the pool has it.
        ///
        /// In a pool whose workers inherit this process's streams there is nothing to be chosen: anything else is an error of kind
        /// [`InvalidInput`](crate::ErrorKind::InvalidInput). [`Inline`](crate::Inline) leaves output where it goes.
        pub fn output(self, mode: $crate::OutputMode) -> Self {
            self.set(move |policy| policy.output = mode)
        }

        /// Tells `hear` what a task wrote when its result is handed out: the item's index, `None` for a single call, and the output. Not
        /// called for tasks that wrote nothing, nor where output is not kept; see [`OutputMode`](crate::OutputMode).
        ///
        /// It is called in the thread that takes the results, in their order.
        pub fn on_output(self, hear: impl Fn(Option<usize>, &$crate::TaskOutput) + Send + Sync + 'static) -> Self {
            let hear = $crate::seeing::output::Hear(std::sync::Arc::new(hear));
            self.set(move |policy| policy.hear = Some(hear.clone()))
        }

        /// Ends the run when `token` is cancelled, at the level at which it is.
        pub fn cancel(self, token: &$crate::CancelToken) -> Self {
            let token = token.clone();
            self.set(move |policy| policy.token = Some(token.clone()))
        }

        /// Keeps finished items in a file, so that the next run of the program does not do them again: a path, or a
        /// [`Journal`](crate::Journal) with options.
        ///
        /// A journal that cannot be opened, or not be written, is the batch's error:
        /// [`TaskError::Journal`](crate::TaskError::Journal). It is for batches and flows: a single call is not recorded, and results in shared
        /// memory (`map_in_place`, `map_archived`) are refused. A flow records what each item gave to its end; the end is made of that anew.
        #[cfg(feature = "journal")]
        pub fn journal(self, journal: impl Into<$crate::Journal>) -> Self {
            let journal = journal.into();
            self.set(move |policy| policy.journal = Some(journal.clone()))
        }

        /// Tells `callback` how far the batch is: ten times a second, and once more when it is over, when
        /// [`is_over`](crate::Progress::is_over) is true.
        ///
        /// It runs on a thread of its own, which lives as long as the batch; the batch ends when the last call of it has. One that panics is
        /// reported on standard error as any thread's panic is, and not called again. Being watched costs an item nothing, or some nanoseconds where its
        /// task returns a `Result`. Of a flow, the items are those that this part of it begins with. Single calls (`submit`, `call`) are not told of:
        /// [`TaskHandle::progress`](crate::TaskHandle::progress) has what a call says of itself, and [`as_completed`](crate::as_completed) counts several.
        ///
        /// ```
        /// use std::sync::{Arc, Mutex};
        ///
        /// use offspring::{Pool, task};
        ///
        /// #[task]
        /// fn square(x: u64) -> u64 {
        ///     x * x
        /// }
        ///
        /// let last = Arc::new(Mutex::new(None));
        /// let kept = last.clone();
        /// let pool = Pool::builder().workers(2).build()?;
        /// pool.batch().progress_with(move |progress| *kept.lock().unwrap() = Some(progress.clone())).map(square, 0..1000)?;
        /// let last = last.lock().unwrap().take().unwrap();
        /// assert_eq!((last.done, last.total, last.failed, last.is_over), (1000, Some(1000), 0, true));
        /// # Ok::<(), offspring::Error>(())
        /// ```
        #[doc(alias = "tqdm")]
        pub fn progress_with(self, callback: impl FnMut(&$crate::Progress) + Send + 'static) -> Self {
            let watcher = $crate::seeing::progress::Watcher::call(callback);
            self.set(move |policy| policy.progress = Some(watcher.clone()))
        }

        /// Draws a progress bar on standard error, if that is a terminal: a text that names the batch, or a
        /// [`ProgressBar`](crate::ProgressBar) with options. It shows how many items are done, of how many where that is known, the rate, the time that
        /// is left, failures and retries.
        ///
        /// What it costs, and what is counted: see [`progress_with`](Self::progress_with).
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
        /// assert_eq!(pool.batch().progress("squaring").map(square, 0..4)?, [0, 1, 4, 9]);
        /// # Ok::<(), offspring::Error>(())
        /// ```
        #[doc(alias = "tqdm")]
        #[cfg(feature = "progress")]
        pub fn progress(self, bar: impl Into<$crate::ProgressBar>) -> Self {
            let watcher = $crate::seeing::progress::Watcher::Bar(bar.into());
            self.set(move |policy| policy.progress = Some(watcher.clone()))
        }
    };
}

pub(crate) use {common_options, run_options};

/// Options for one run of an engine of any kind; see [`Executor::with_options`](crate::Executor::with_options).
///
/// # Examples
///
/// ```
/// use offspring::{Executor, Inline, OnError, Pool, RunOptions, task};
///
/// #[task]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// fn squares(engine: &impl Executor) -> Result<Vec<u64>, offspring::TaskError> {
///     let careful = RunOptions::new().retries(2).on_error(OnError::Stop);
///     engine.with_options(&careful).map(square, 0..4)
/// }
///
/// assert_eq!(squares(&Inline::new())?, [0, 1, 4, 9]);
/// assert_eq!(squares(&Pool::new()?)?, [0, 1, 4, 9]);
/// # Ok::<(), offspring::Error>(())
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct RunOptions {
    changes: Vec<Change>,
}

/// Kept as changes, so that what is not said stays as the engine has it.
type Change = Arc<dyn Fn(&mut Policy) + Send + Sync>;

impl fmt::Debug for RunOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RunOptions").field(&self.over(&Policy::default())).finish()
    }
}

impl RunOptions {
    /// Nothing is said yet: all is as the engine has it.
    pub fn new() -> RunOptions {
        RunOptions::default()
    }

    /// All that this policy says.
    pub(crate) fn of(policy: &Policy) -> RunOptions {
        let policy = policy.clone();
        RunOptions::new().set(move |base| *base = policy.clone())
    }

    pub(crate) fn set(mut self, change: impl Fn(&mut Policy) + Send + Sync + 'static) -> Self {
        self.changes.push(Arc::new(change));
        self
    }

    /// What holds in an engine that has `base`.
    pub(crate) fn over(&self, base: &Policy) -> Policy {
        let mut policy = base.clone();
        self.changes.iter().for_each(|change| change(&mut policy));
        policy
    }

    run_options!();
}
