//! Waiting for several handles.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::{Duration, Instant};

use crate::message::Message;
use crate::pool::TaskHandle;
use crate::sync::permits;

/// When [`wait`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitFor {
    /// When one call is over.
    #[doc(alias = "FIRST_COMPLETED")]
    First,
    /// When one call has failed, or all are over. A task's own `Err` is a value, and no failure.
    #[doc(alias = "FIRST_EXCEPTION")]
    FirstError,
    /// When all calls are over.
    #[doc(alias = "ALL_COMPLETED")]
    All,
}

/// Waits for several calls; gives back those that are over and those that are not, each in the order they were given.
///
/// Blocks in the kernel, at most `timeout`; `None` waits as long as it takes.
///
/// # Examples
///
/// ```
/// use offspring::{Pool, WaitFor, task, wait};
/// use std::time::Duration;
///
/// #[task]
/// fn nap(millis: u64) -> u64 {
///     std::thread::sleep(Duration::from_millis(millis));
///     millis
/// }
///
/// let pool = Pool::builder().workers(2).build()?;
/// let handles = vec![pool.submit(nap, 60_000)?, pool.submit(nap, 1)?];
/// let (done, running) = wait(handles, WaitFor::First, Some(Duration::from_secs(50)));
/// assert_eq!((done.len(), running.len()), (1, 1));
/// running[0].cancel();
/// # Ok::<(), offspring::Error>(())
/// ```
pub fn wait<R: Message>(
    handles: impl IntoIterator<Item = TaskHandle<R>>,
    until: WaitFor,
    timeout: Option<Duration>,
) -> (Vec<TaskHandle<R>>, Vec<TaskHandle<R>>) {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let handles: Vec<TaskHandle<R>> = handles.into_iter().collect();
    let (sender, over) = listen(&handles);
    let mut left = handles.len();
    while left > 0 {
        let Some(index) = next(&over, deadline) else { break };
        left -= 1;
        if until == WaitFor::First || until == WaitFor::FirstError && handles[index].has_failed() {
            break;
        }
    }
    drop(sender);
    handles.into_iter().partition(TaskHandle::is_ready)
}

/// A channel that each handle's index comes through when its call is over; while the sender is kept.
fn listen<R: Message>(handles: &[TaskHandle<R>]) -> (Arc<SyncSender<usize>>, Receiver<usize>) {
    let (sender, receiver) = mpsc::sync_channel(handles.len());
    let sender = Arc::new(sender);
    for (index, handle) in handles.iter().enumerate() {
        handle.send_when_over(index, &sender);
    }
    (sender, receiver)
}

fn next(over: &Receiver<usize>, deadline: Option<Instant>) -> Option<usize> {
    if let Ok(index) = over.try_recv() {
        return Some(index);
    }
    // In a task: the workers that are waited for may run meanwhile.
    let _paused = permits::pause();
    match deadline {
        None => over.recv().ok(),
        Some(deadline) => over.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok(),
    }
}

/// Gives back the handles of several calls as the calls end.
///
/// # Examples
///
/// ```
/// use offspring::{Pool, as_completed, task};
///
/// #[task]
/// fn nap(millis: u64) -> u64 {
///     std::thread::sleep(std::time::Duration::from_millis(millis));
///     millis
/// }
///
/// let pool = Pool::builder().workers(3).build()?;
/// let handles = [600, 1, 300].map(|millis| pool.submit(nap, millis));
/// let handles = handles.into_iter().collect::<Result<Vec<_>, _>>()?;
/// let order = as_completed(handles).map(|handle| handle.get()).collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(order, [1, 300, 600]);
/// # Ok::<(), offspring::Error>(())
/// ```
pub fn as_completed<R: Message>(
    handles: impl IntoIterator<Item = TaskHandle<R>>,
) -> impl Iterator<Item = TaskHandle<R>> {
    let handles: Vec<TaskHandle<R>> = handles.into_iter().collect();
    let (sender, over) = listen(&handles);
    let mut handles: Vec<Option<TaskHandle<R>>> = handles.into_iter().map(Some).collect();
    let mut left = handles.len();
    std::iter::from_fn(move || {
        // Kept, or nothing would come through.
        let _: &Arc<SyncSender<usize>> = &sender;
        left = left.checked_sub(1)?;
        next(&over, None).and_then(|index| handles[index].take())
    })
}
