//! What a running task can ask about itself: which item it runs, how long it may, and whether anybody still wants its result.
//!
//! Who runs tasks says it: a pool's worker and a process of one task through [`install`], for all threads of the process, as it runs one
//! task at a time; [`Inline`](crate::Inline) through [`within`], for the calling thread.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::emit::{Emission, EmitError};

/// A run of a task, as the task itself sees it; from [`current`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CurrentTask {
    /// The task's registered name.
    pub task: &'static str,
    /// The item's index in its batch; `None` for a single call or process.
    pub item: Option<usize>,
    /// Which try this is, from 1 on: more where workers died with the item before.
    pub tries: u32,
    /// The process that runs it.
    pub worker: u32,
    /// When its time is up, if there is a limit.
    pub deadline: Option<Instant>,
    /// Was it asked to end? As [`cancelled`] says it.
    pub cancelled: bool,
}

/// Somebody has asked the running task to end; from [`check_cancelled`] and [`sleep`].
///
/// In a task that returns a `Result` it goes through `?`, as any error does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task was asked to end")
    }
}

impl std::error::Error for Cancelled {}

/// Whoever runs tasks.
pub(crate) trait Runner {
    /// The task that runs; `None` between tasks.
    fn current(&self) -> Option<CurrentTask>;
    /// Is it to end?
    fn is_cancelled(&self) -> bool;
    /// Sleeps until the deadline, or until the task is to end; may come back earlier.
    fn sleep(&self, deadline: Option<Instant>);
    /// Hands a value to whoever holds the task's handle.
    fn emit(&self, value: Box<dyn Emission>) -> Result<(), EmitError>;
    /// Notes how far the task is.
    fn progress(&self, done: u64, total: u64);
    /// Keeps a line about this run.
    fn note(&self, text: &str);
}

static PROCESS: OnceLock<Box<dyn Runner + Send + Sync>> = OnceLock::new();

thread_local! {
    /// The innermost one last.
    static THREAD: RefCell<Vec<Rc<dyn Runner>>> = const { RefCell::new(Vec::new()) };
}

/// Names the one that runs tasks in this process. The first one stays.
pub(crate) fn install(runner: Box<dyn Runner + Send + Sync>) {
    _ = PROCESS.set(runner);
}

/// Runs `task`, which belongs to `runner`, in this thread.
pub(crate) fn within<T>(runner: Rc<dyn Runner>, task: impl FnOnce() -> T) -> T {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            _ = THREAD.try_with(|runners| runners.borrow_mut().pop());
        }
    }
    let entered = THREAD.try_with(|runners| runners.borrow_mut().push(runner)).is_ok();
    let _leave = entered.then_some(Leave);
    task()
}

pub(super) fn with<T>(ask: impl FnOnce(&dyn Runner) -> T) -> Option<T> {
    let innermost = THREAD.try_with(|runners| runners.borrow().last().cloned()).ok().flatten();
    match innermost {
        Some(runner) => Some(ask(&*runner)),
        None => PROCESS.get().map(|runner| ask(&**runner)),
    }
}

/// The task that runs in this thread, or in this worker process; `None` outside of tasks.
///
/// # Examples
///
/// ```
/// use offspring::{Pool, task};
///
/// #[task]
/// fn which(_: &str) -> (Option<usize>, u32) {
///     let run = task::current().unwrap();
///     (run.item, run.tries)
/// }
///
/// let pool = Pool::builder().workers(1).build()?;
/// assert_eq!(pool.map(which, ["a", "b"])?, [(Some(0), 1), (Some(1), 1)]);
/// assert_eq!(task::current(), None);
/// # Ok::<(), offspring::Error>(())
/// ```
pub fn current() -> Option<CurrentTask> {
    with(|runner| runner.current()).flatten()
}

/// Has somebody asked the running task to end? Costs some nanoseconds; never blocks. `false` outside of tasks.
///
/// It turns true when its handle, batch or token is cancelled, at any level, when nobody wants its batch's results any more, and, where
/// [`grace`](crate::Batch::grace) is given, when its time is up. It never turns back for the same item.
///
/// # Examples
///
/// ```
/// use offspring::{CancelLevel, Pool, task};
///
/// #[task]
/// fn search(_: ()) -> u64 {
///     let mut tried = 0;
///     while !task::cancelled() {
///         tried += 1;
///     }
///     tried
/// }
///
/// let pool = Pool::builder().workers(1).build()?;
/// let handle = pool.submit(search, ())?;
/// while !pool.workers().iter().any(|worker| worker.busy) {
///     std::thread::yield_now();
/// }
/// std::thread::sleep(std::time::Duration::from_millis(50));
/// handle.cancel_with(CancelLevel::Cooperative);
/// // What the task returns then is its result.
/// assert!(handle.get()? > 0);
/// # Ok::<(), offspring::Error>(())
/// ```
pub fn cancelled() -> bool {
    with(|runner| runner.is_cancelled()).unwrap_or(false)
}

/// As [`cancelled`], as a `Result` for `?`.
///
/// # Errors
///
/// [`Cancelled`] when somebody has asked the running task to end.
///
/// # Examples
///
/// ```
/// use offspring::{Executor, Failure, Inline, task};
///
/// #[task]
/// fn sum(numbers: Vec<u64>) -> Result<u64, Failure> {
///     let mut sum = 0;
///     for number in numbers {
///         task::check_cancelled()?;
///         sum += number;
///     }
///     Ok(sum)
/// }
///
/// assert_eq!(Inline::new().call(sum, vec![1, 2, 3])?.unwrap(), 6);
/// # Ok::<(), offspring::Error>(())
/// ```
pub fn check_cancelled() -> Result<(), Cancelled> {
    if cancelled() { Err(Cancelled) } else { Ok(()) }
}

/// Sleeps for `duration`, or until somebody asks the running task to end. Outside of tasks it sleeps.
///
/// Blocks in the kernel; signals do not shorten it.
///
/// # Errors
///
/// [`Cancelled`], as soon as somebody has asked the running task to end.
///
/// # Examples
///
/// ```
/// use offspring::{Executor, Inline, task};
/// use std::time::Duration;
///
/// #[task]
/// fn poll(times: u32) -> Result<u32, String> {
///     for _ in 0..times {
///         task::sleep(Duration::from_millis(1)).map_err(|cancelled| cancelled.to_string())?;
///     }
///     Ok(times)
/// }
///
/// assert_eq!(Inline::new().call(poll, 3u32)?, Ok(3));
/// # Ok::<(), offspring::Error>(())
/// ```
pub fn sleep(duration: Duration) -> Result<(), Cancelled> {
    // A time too long for the clock never comes.
    let deadline = Instant::now().checked_add(duration);
    loop {
        check_cancelled()?;
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(());
        }
        let slept = with(|runner| runner.current().is_some().then(|| runner.sleep(deadline))).flatten();
        if slept.is_none() {
            match deadline {
                Some(deadline) => std::thread::sleep(deadline.saturating_duration_since(Instant::now())),
                None => std::thread::park(),
            }
        }
    }
}
