//! The handle of one submitted call.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::core::Core;
#[cfg(feature = "engine")]
use super::distant::Distant;
use super::emitted::{Emissions, Emitted, Source};
use super::errand::Ending;
use super::policy::CancelLevel;
use super::watch::{self, Until};
use super::window::Window;
use crate::message::Message;
use crate::process::{Bell, Sealed, Waitable};
use crate::task::{TaskContext, TaskError, TaskOutput};

/// One call that was handed to a pool; made by [`Pool::submit`](super::Pool::submit).
///
/// Dropping the handle does not cancel the call, as long as the pool lives; its value is then thrown away.
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
    pub(super) fn new(core: Arc<Core>, window: Window<R>) -> Self {
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

    /// Calls `callback` with the result once the call is over, on a thread of the calling process that does only that. The value can
    /// still be taken from this handle; dropping the handle does not take the callback back.
    ///
    /// Several callbacks of one handle, and those of different handles, run one after the other. A callback that panics is reported
    /// on standard error as any thread's panic is, and harms nothing else. If the call is over already, it is called soon.
    ///
    /// # Examples
    ///
    /// ```
    /// use offspring::{Pool, task};
    /// use std::sync::mpsc;
    ///
    /// #[task]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// let pool = Pool::builder().workers(1).build()?;
    /// let (sender, receiver) = mpsc::channel();
    /// let handle = pool.submit(square, 7)?;
    /// handle.on_done(move |result| sender.send(result.clone().unwrap_or(0)).unwrap());
    /// assert_eq!(receiver.recv().unwrap(), 49);
    /// assert_eq!(handle.get()?, 49);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "callback")]
    #[doc(alias = "add_done_callback")]
    pub fn on_done(&self, callback: impl FnOnce(&Result<R, TaskError>) + Send + 'static) {
        match &self.0 {
            State::Pooled { core, window, .. } => {
                let (job, reading) = (window.job(), window.share());
                let pool = Arc::downgrade(core);
                let on_done = move || callback(&read(&reading, pool.upgrade().as_deref()));
                core.watch(job, Until::Done, None, Box::new(move || watch::call_back(Box::new(on_done))));
            }
            #[cfg(feature = "engine")]
            State::Distant { call, .. } => {
                let reading = call.clone();
                let on_done = move || callback(&reading.read());
                call.when_over(Box::new(move || watch::call_back(Box::new(on_done))));
            }
            // Here: the value may be no `Send`, so it cannot be lent to another thread.
            State::Over { context, result } => {
                let taken = || Err(TaskError::Taken { context: context.clone() });
                // Unwind safety: the callback is gone afterwards, and it owned all it used.
                let call = || match result {
                    Some(result) => callback(result),
                    None => callback(&taken()),
                };
                let _ = catch_unwind(AssertUnwindSafe(call));
            }
        }
    }

    /// As [`on_done`](Self::on_done), for a call that gives a value. Does nothing for one that fails.
    pub fn on_value(&self, callback: impl FnOnce(&R) + Send + 'static) {
        self.on_done(|result| {
            if let Ok(value) = result {
                callback(value);
            }
        });
    }

    /// As [`on_done`](Self::on_done), for a call that gives no value. A task's own `Err` is a value.
    ///
    /// # Examples
    ///
    /// ```
    /// use offspring::{Pool, task};
    /// use std::sync::mpsc;
    ///
    /// #[task]
    /// fn crash(_: ()) {
    ///     std::process::exit(3)
    /// }
    ///
    /// let pool = Pool::builder().workers(1).build()?;
    /// let (sender, receiver) = mpsc::channel();
    /// pool.submit(crash, ())?.on_error(move |error| sender.send(error.to_string()).unwrap());
    /// assert!(receiver.recv().unwrap().contains("exit code 3"));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "error_callback")]
    pub fn on_error(&self, callback: impl FnOnce(&TaskError) + Send + 'static) {
        self.on_done(|result| {
            if let Err(error) = result {
                callback(error);
            }
        });
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

    /// Has `index` sent when the call is over, as long as `sender` is not the only one to hold its channel.
    pub(super) fn send_when_over(&self, index: usize, sender: &Arc<mpsc::SyncSender<usize>>) {
        match &self.0 {
            State::Pooled { core, window, .. } => {
                let waiter: Arc<dyn Send + Sync> = sender.clone();
                let sender = Arc::downgrade(sender);
                let send = move || {
                    if let Some(sender) = sender.upgrade() {
                        // The channel has room for every handle.
                        let _ = sender.try_send(index);
                    }
                };
                core.watch(window.job(), Until::Done, Some(Arc::downgrade(&waiter)), Box::new(send));
            }
            #[cfg(feature = "engine")]
            State::Distant { call, .. } => {
                let sender = Arc::downgrade(sender);
                call.when_over(Box::new(move || {
                    if let Some(sender) = sender.upgrade() {
                        // The channel has room for every handle.
                        let _ = sender.try_send(index);
                    }
                }));
            }
            State::Over { .. } => drop(sender.try_send(index)),
        }
    }

    /// Is there no value, and will there be none?
    pub(super) fn has_failed(&self) -> bool {
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

impl<R: Message> Sealed for TaskHandle<R> {
    fn is_ready(&self) -> bool {
        TaskHandle::is_ready(self)
    }

    fn ring_when_ready(&self, bell: &Bell) {
        match &self.0 {
            State::Pooled { core, window, .. } => {
                let rope = bell.rope();
                core.watch(window.job(), Until::Done, Some(rope.waiter()), Box::new(move || rope.pull()));
            }
            #[cfg(feature = "engine")]
            State::Distant { call, .. } => {
                let rope = bell.rope();
                call.when_over(Box::new(move || rope.pull()));
            }
            State::Over { .. } => bell.ring(),
        }
    }
}

impl<R: Message> Waitable for TaskHandle<R> {}

/// Any executor will do: the supervisor's thread wakes the task when the call is over.
impl<R: Message> Future for TaskHandle<R> {
    type Output = Result<R, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.is_ready()
            && let State::Pooled { core, window, waker, .. } = &mut self.0
        {
            let first = waker.is_none();
            let slot = waker.get_or_insert_default();
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
            if first {
                let slot = slot.clone();
                let wake = move || {
                    if let Some(waker) = slot.lock().unwrap_or_else(PoisonError::into_inner).take() {
                        waker.wake();
                    }
                };
                core.watch(window.job(), Until::Done, None, Box::new(wake));
            }
        }
        #[cfg(feature = "engine")]
        if !self.is_ready()
            && let State::Distant { call, waker, .. } = &mut self.0
        {
            let first = waker.is_none();
            let slot = waker.get_or_insert_default().clone();
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
            if first {
                call.when_over(Box::new(move || {
                    if let Some(waker) = slot.lock().unwrap_or_else(PoisonError::into_inner).take() {
                        waker.wake();
                    }
                }));
            }
        }
        // Looked at again after the waker is in place.
        if self.is_ready() { Poll::Ready(self.take(None)) } else { Poll::Pending }
    }
}

// Nothing in it is ever pinned: a value is moved out when it is taken.
impl<R: Message> Unpin for TaskHandle<R> {}

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
