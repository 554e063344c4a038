//! The handle of one submitted call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::core::{Core, Phase};
use super::window::Window;
use crate::message::Message;
use crate::task::{TaskContext, TaskError};

/// One call that was handed to a pool; made by [`Pool::submit`](super::Pool::submit).
///
/// Dropping the handle does not cancel the call; its value is then thrown away when it is done.
#[doc(alias = "AsyncResult")]
#[doc(alias = "Future")]
#[derive(Debug)]
#[must_use = "the call runs anyway, but its value comes through this handle"]
pub struct TaskHandle<R: Message>(State<R>);

#[derive(Debug)]
enum State<R: Message> {
    /// With the workers of a pool.
    Pooled { core: Arc<Core>, window: Window<R>, taken: bool },
    /// Over when it was handed out. `None`: taken.
    Over { context: TaskContext, result: Option<Result<R, TaskError>> },
}

impl<R: Message> TaskHandle<R> {
    pub(super) fn new(core: Arc<Core>, window: Window<R>) -> Self {
        TaskHandle(State::Pooled { core, window, taken: false })
    }

    /// A handle of a call that is over.
    pub(crate) fn over(context: TaskContext, result: Result<R, TaskError>) -> Self {
        TaskHandle(State::Over { context, result: Some(result) })
    }

    /// Is the call over, whether with a value or not? Never blocks.
    #[doc(alias = "ready")]
    #[doc(alias = "done")]
    pub fn is_ready(&self) -> bool {
        match &self.0 {
            State::Pooled { core, window, .. } => window.job().all_done(&mut 0) || core.is_hopeless(),
            State::Over { .. } => true,
        }
    }

    /// Waits until the call is over, at most `timeout`. `true` when it is. A second wait is allowed, so is one after a value
    /// was taken.
    ///
    /// # Errors
    ///
    /// None today; a `Result` as all waits have.
    pub fn wait(&self, timeout: Duration) -> Result<bool, TaskError> {
        if let State::Pooled { core, window, .. } = &self.0 {
            window.job().wait_all(Instant::now().checked_add(timeout), || core.is_hopeless());
        }
        Ok(self.is_ready())
    }

    /// Waits for the value, as long as that takes.
    ///
    /// # Errors
    ///
    /// Why there is no value; see [`TaskError`].
    pub fn get(mut self) -> Result<R, TaskError> {
        self.take(None)
    }

    /// Waits for the value, at most `timeout`. The handle stays, so it can be asked again.
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
    pub fn cancel(&self) {
        let State::Pooled { core, window, .. } = &self.0 else { return };
        let job = window.job();
        job.cancel(Phase::Open);
        let runners = job.runners();
        if runners.is_empty() {
            job.ring();
        } else {
            core.lock().crew.kill(&runners);
        }
    }

    fn take(&mut self, timeout: Option<Duration>) -> Result<R, TaskError> {
        match &mut self.0 {
            State::Over { context, result } => {
                result.take().unwrap_or_else(|| Err(TaskError::Taken { context: context.clone() }))
            }
            State::Pooled { core, window, taken } => {
                let job = window.job();
                if *taken {
                    return Err(TaskError::Taken { context: job.context(0) });
                }
                let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
                if job.wait_all(deadline, || core.is_hopeless()) {
                    *taken = true;
                    window.reader().read(0)
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

impl<R: Message> Drop for TaskHandle<R> {
    fn drop(&mut self) {
        if let State::Pooled { core, window, .. } = &self.0 {
            core.detach(window.job());
        }
    }
}
