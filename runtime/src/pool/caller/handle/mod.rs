//! The handle of one submitted call.

mod awaiting;
mod callbacks;

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::message::Message;
#[cfg(feature = "engine")]
use crate::pool::caller::distant::Distant;
use crate::pool::caller::emitted::{Emissions, Emitted, Source};
use crate::pool::job::errand::Ending;
use crate::pool::job::window::Window;
use crate::pool::master::core::Core;
use crate::pool::options::policy::CancelLevel;
use crate::task::{TaskContext, TaskError, TaskOutput};

/// One call that was handed to a pool; made by [`Pool::submit`](crate::Pool::submit).
///
/// Dropping the handle does not cancel the call, as long as the pool lives; its value is then thrown away.
///
/// When the worker is killed, [`get`](TaskHandle::get) gives [`TaskError::WorkerDied`], or the value of a later try with
/// [`retries`](crate::Batch::retries); no wait hangs. A handle is no message: it stays in the process that has the pool.
///
/// ```
/// use offspring::{Pool, TaskHandle, task};
///
/// #[task]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// let pool = Pool::new()?;
/// let handles: Vec<TaskHandle<u64>> = (0..4).map(|x| pool.submit(square, x)).collect::<Result<_, _>>()?;
/// // Meanwhile this process does something else.
/// let squares: Vec<u64> = handles.into_iter().map(TaskHandle::get).collect::<Result<_, _>>()?;
/// assert_eq!(squares, [0, 1, 4, 9]);
/// # Ok::<(), offspring::Error>(())
/// ```
#[doc(alias = "AsyncResult")]
#[doc(alias = "Future")]
#[must_use = "the call runs anyway, but its value comes through this handle"]
pub struct TaskHandle<R: Message>(State<R>, Emissions);

enum State<R: Message> {
    /// With the workers of a pool.
    Pooled { core: Arc<Core>, window: Window<R>, taken: bool, waker: Option<Arc<Mutex<Option<Waker>>>> },
    /// With the workers of an engine over a network.
    #[cfg(feature = "engine")]
    Distant { call: Arc<dyn Distant<R>>, taken: bool, waker: Option<Arc<Mutex<Option<Waker>>>> },
    /// Over when it was handed out. `None`: taken.
    Over { context: TaskContext, result: Option<Result<R, TaskError>> },
}

/// Of any call: a result needs no `Debug` for that.
impl<R: Message> fmt::Debug for TaskHandle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (context, taken) = match &self.0 {
            State::Pooled { window, taken, .. } => (&window.job().context(0), *taken),
            #[cfg(feature = "engine")]
            State::Distant { call, taken, .. } => (&call.context(), *taken),
            State::Over { context, result } => (context, result.is_none()),
        };
        let mut out = f.debug_struct("TaskHandle");
        out.field("task", &context.task).field("ready", &self.is_ready()).field("taken", &taken).finish_non_exhaustive()
    }
}

impl<R: Message> TaskHandle<R> {
    pub(in crate::pool) fn new(core: Arc<Core>, window: Window<R>) -> Self {
        TaskHandle(State::Pooled { core, window, taken: false, waker: None }, Emissions::default())
    }

    /// A handle of a call that runs elsewhere.
    #[cfg(feature = "engine")]
    pub(crate) fn distant(call: Arc<dyn Distant<R>>) -> Self {
        TaskHandle(State::Distant { call, taken: false, waker: None }, Emissions::default())
    }

    /// A handle of a call that is over.
    pub(crate) fn over(
        context: TaskContext,
        result: Result<R, TaskError>,
        emitted: VecDeque<Box<dyn Any + Send>>,
    ) -> Self {
        TaskHandle(State::Over { context, result: Some(result) }, Emissions::of(emitted))
    }

    /// Is the call over, whether with a value or not? Never blocks.
    #[doc(alias = "ready")]
    #[doc(alias = "done")]
    pub fn is_ready(&self) -> bool {
        match &self.0 {
            State::Pooled { core, window, .. } => {
                !core.is_here() || window.job().all_done(&mut 0) || core.is_hopeless()
            }
            #[cfg(feature = "engine")]
            State::Distant { call, .. } => call.is_over(),
            State::Over { .. } => true,
        }
    }

    /// Waits until the call is over, at most `timeout`. `true` when it is. A second wait is allowed, so is one after a value
    /// was taken.
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
    /// let handle = pool.submit(square, 7)?;
    /// assert!(handle.wait(Duration::from_secs(60))?);
    /// assert!(handle.is_ready());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// None today; a `Result` as all waits have.
    pub fn wait(&self, timeout: Duration) -> Result<bool, TaskError> {
        if let State::Pooled { core, window, .. } = &self.0
            && core.is_here()
        {
            window.job().wait_all(Instant::now().checked_add(timeout), || core.is_hopeless());
        }
        #[cfg(feature = "engine")]
        if let State::Distant { call, .. } = &self.0 {
            call.wait(Instant::now().checked_add(timeout));
        }
        Ok(self.is_ready())
    }

    /// Waits for the value, as long as that takes.
    ///
    /// ```
    /// use offspring::{Pool, task};
    ///
    /// #[task]
    /// fn reciprocal(x: i64) -> i64 {
    ///     100 / x
    /// }
    ///
    /// let pool = Pool::new()?;
    /// assert_eq!(pool.submit(reciprocal, 4)?.get()?, 25);
    /// assert!(pool.submit(reciprocal, 0)?.get().unwrap_err().is_panicked());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Why there is no value; see [`TaskError`].
    #[doc(alias = "exception")]
    #[doc(alias = "successful")]
    pub fn get(mut self) -> Result<R, TaskError> {
        self.take(None)
    }

    /// Waits for the value, at most `timeout`. The handle stays, so it can be asked again.
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
    /// let pool = Pool::new()?;
    /// let mut handle = pool.submit(nap, 100)?;
    /// assert!(handle.get_timeout(Duration::from_millis(1)).unwrap_err().is_timeout()); // it goes on
    /// assert_eq!(handle.get_timeout(Duration::from_secs(60))?, 100);
    /// assert!(handle.get_timeout(Duration::ZERO).unwrap_err().is_taken());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`TaskError::Timeout`] when the call is not over in time: it goes on. [`TaskError::Taken`] when an earlier call took
    /// the value. Otherwise as [`get`](Self::get).
    pub fn get_timeout(&mut self, timeout: Duration) -> Result<R, TaskError> {
        self.take(Some(timeout))
    }

    /// Cancels the call: if it has not begun, it never does; if it runs, its worker is killed and replaced.
    ///
    /// Afterwards [`get`](Self::get) gives [`TaskError::Cancelled`], unless the call was over before.
    ///
    /// ```
    /// use offspring::{Pool, task};
    ///
    /// #[task]
    /// fn sleep() {
    ///     std::thread::sleep(std::time::Duration::from_secs(600));
    /// }
    ///
    /// let pool = Pool::new()?;
    /// let handle = pool.submit(sleep, ())?;
    /// handle.cancel();
    /// assert!(handle.get().unwrap_err().is_cancelled());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn cancel(&self) {
        self.cancel_with(CancelLevel::Hard);
    }

    /// Cancels the call at this level; see [`CancelLevel`] for what becomes of one that runs. If it has not begun, it never does.
    ///
    /// Returns at once, but for a moment at the levels that signal the worker. It can be called again with a higher level. With
    /// [`grace`](crate::Batch::grace), `Soft` becomes `Hard` by itself.
    ///
    /// # Examples
    ///
    /// ```
    /// use offspring::{CancelLevel, Pool, task};
    /// use std::time::Duration;
    ///
    /// #[task]
    /// fn wait_for_news(_: ()) -> String {
    ///     match task::sleep(Duration::from_secs(3600)) {
    ///         Ok(()) => "an hour has passed".to_owned(),
    ///         Err(cancelled) => cancelled.to_string(),
    ///     }
    /// }
    ///
    /// let pool = Pool::builder().workers(1).build()?;
    /// let handle = pool.submit(wait_for_news, ())?;
    /// while !pool.workers().iter().any(|worker| worker.busy) {
    ///     std::thread::yield_now();
    /// }
    /// std::thread::sleep(Duration::from_millis(50));
    /// handle.cancel_with(CancelLevel::Cooperative);
    /// assert_eq!(handle.get()?, "the task was asked to end");
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn cancel_with(&self, level: CancelLevel) {
        if let State::Pooled { core, window, .. } = &self.0
            && core.is_here()
        {
            core.cancel_job(window.job(), Ending::Cancelled, level);
        }
        #[cfg(feature = "engine")]
        if let State::Distant { call, .. } = &self.0 {
            call.cancel(level);
        }
    }

    /// The values of type `T` that the task hands out while it runs, with [`task::emit`](crate::task::emit): an iterator that waits for
    /// the next one, and ends with the task.
    ///
    /// Values of other types stay for iterators of theirs.
    ///
    /// # Examples
    ///
    /// ```
    /// use offspring::{Pool, task};
    ///
    /// #[task]
    /// fn train(epochs: u32) -> u32 {
    ///     for epoch in 0..epochs {
    ///         task::emit((epoch, 1.0 / f64::from(epoch + 1))).unwrap();
    ///     }
    ///     epochs
    /// }
    ///
    /// let pool = Pool::builder().workers(1).build()?;
    /// let handle = pool.submit(train, 3u32)?;
    /// for (epoch, loss) in handle.emitted::<(u32, f64)>() {
    ///     println!("epoch {epoch}: {loss:.3}");
    /// }
    /// assert_eq!(handle.get()?, 3);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn emitted<T: Message + Send>(&self) -> Emitted<'_, T> {
        let pooled = match &self.0 {
            State::Pooled { core, window, .. } => Some((&**core, &**window.job())),
            #[cfg(feature = "engine")]
            State::Distant { .. } => None,
            State::Over { .. } => None,
        };
        Emitted::new(Source { emissions: &self.1, pooled })
    }

    /// How far the task is, as it last said with [`task::progress`](crate::task::progress): what is done, and of how much. `None` while it
    /// does not run, or has said nothing.
    pub fn progress(&self) -> Option<(u64, u64)> {
        match &self.0 {
            State::Pooled { core, window, .. } if core.is_here() => {
                core.estate.control().seats.iter().find_map(|seat| seat.said.of(seat, window.job().id()))
            }
            _ => None,
        }
    }

    /// What the task has written so far, where the pool [keeps](crate::OutputMode::Capture) that; all of it once the call is over. Of one that
    /// has failed, its error has it too.
    pub fn output(&self) -> TaskOutput {
        match &self.0 {
            State::Pooled { core, window, .. } if core.is_here() => window.job().output(0).unwrap_or_default(),
            _ => TaskOutput::default(),
        }
    }

    /// What the task noted so far, with [`task::note`](crate::task::note); oldest first. Of one that has failed, its error has them too.
    pub fn notes(&self) -> Vec<String> {
        match &self.0 {
            State::Pooled { core, window, .. } if core.is_here() => {
                window.job().notes().into_values().next().unwrap_or_default()
            }
            State::Over { result: Some(Err(error)), .. } => error.notes().to_vec(),
            _ => Vec::new(),
        }
    }

    /// Is there no value, and will there be none?
    pub(in crate::pool) fn has_failed(&self) -> bool {
        match &self.0 {
            State::Pooled { core, window, taken, .. } => !taken && read(window, Some(core)).is_err(),
            #[cfg(feature = "engine")]
            State::Distant { call, taken, .. } => !taken && call.is_over() && call.read().is_err(),
            State::Over { result, .. } => matches!(result, Some(Err(_))),
        }
    }

    fn take(&mut self, timeout: Option<Duration>) -> Result<R, TaskError> {
        match &mut self.0 {
            State::Over { context, result } => {
                result.take().unwrap_or_else(|| Err(TaskError::Taken { context: context.clone() }))
            }
            #[cfg(feature = "engine")]
            State::Distant { call, taken, .. } => {
                if *taken {
                    return Err(TaskError::Taken { context: call.context() });
                }
                if !call.wait(timeout.and_then(|timeout| Instant::now().checked_add(timeout))) {
                    return Err(TaskError::Timeout { context: call.context(), waited: timeout.unwrap_or_default() });
                }
                *taken = true;
                call.read()
            }
            State::Pooled { core, window, taken, .. } => {
                let job = window.job();
                if *taken {
                    return Err(TaskError::Taken { context: job.context(0) });
                }
                if !core.is_here() {
                    return Err(core.hopeless_error(job.context(0)));
                }
                let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
                if job.wait_all(deadline, || core.is_hopeless()) {
                    *taken = true;
                    core.hand_on_records();
                    let reader = window.reader();
                    job.hand_over(0..1);
                    reader.read(0)
                } else if core.is_hopeless() {
                    *taken = true;
                    Err(core.hopeless_error(job.context(0)))
                } else {
                    Err(TaskError::Timeout { context: job.context(0), waited: timeout.unwrap_or_default() })
                }
            }
        }
    }
}

/// The result of a call that is over, or that will never be.
fn read<R: Message>(window: &Window<R>, core: Option<&Core>) -> Result<R, TaskError> {
    let job = window.job();
    match core {
        Some(core) if !core.is_here() => Err(core.hopeless_error(job.context(0))),
        _ if job.all_done(&mut 0) => window.reader().read(0),
        Some(core) => Err(core.hopeless_error(job.context(0))),
        None => Err(TaskError::PoolClosed { context: job.context(0) }),
    }
}

impl<R: Message> Drop for TaskHandle<R> {
    fn drop(&mut self) {
        if let State::Pooled { core, window, .. } = &self.0 {
            core.detach(window.job());
        }
        #[cfg(feature = "engine")]
        if let State::Distant { call, .. } = &self.0 {
            call.let_go();
        }
    }
}
