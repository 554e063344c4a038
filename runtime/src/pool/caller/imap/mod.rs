//! The lazy forms: results while the input is still being read.

mod ordered;
mod unordered;

use std::panic::resume_unwind;

use crate::pool::caller::feed::Feed;
use crate::task::TaskError;
pub use ordered::Imap;
pub use unordered::ImapUnordered;

/// What a look for results has brought.
enum Look {
    /// Results, or something else that makes another look worthwhile.
    News,
    /// There are no more.
    End,
    /// None came until the deadline.
    TimedOut,
}

/// What ended a wait.
enum Woken {
    Done,
    Input,
    Hopeless,
}

/// The forms with a deadline, and what else both kinds of lazy results offer.
macro_rules! lazy {
    ($item:ty) => {
        /// The next result, as `next` gives it, waiting at most `timeout`. `Ok(None)` after the last one.
        ///
        /// The input is read in this thread: a wait within it is not shortened.
        ///
        /// # Errors
        ///
        /// [`TaskError::Timeout`] when no result came in time. Nothing is lost: the iteration goes on.
        ///
        /// # Panics
        ///
        /// As `next`.
        ///
        /// # Examples
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
        /// let pool = Pool::builder().workers(1).build()?;
        /// let mut results = pool.imap(nap, [400]);
        /// assert!(results.next_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
        /// assert_eq!(results.next_timeout(Duration::from_secs(50))?, Some(Ok(400)));
        /// assert_eq!(results.next_timeout(Duration::from_secs(50))?, None);
        /// # Ok::<(), offspring::Error>(())
        /// ```
        pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<$item>, TaskError> {
            let deadline = Instant::now().checked_add(timeout);
            match self.next_until(deadline) {
                Ok(next) => Ok(next),
                Err(context) => Err(TaskError::Timeout { context, waited: timeout }),
            }
        }

        /// Cancels the batch at this level: nothing more is read from the input, what has not begun never does. The results of what was
        /// read come all the same, [`TaskError::Cancelled`] for what was not run.
        pub fn cancel_with(&self, level: CancelLevel) {
            if let Some(feed) = self.feed.as_ref().filter(|feed| feed.core.is_here()) {
                feed.core.cancel_errand(&feed.errand, Ending::Cancelled, level);
            }
        }

        /// The same results as a [`Stream`](futures_core::Stream), for any executor.
        ///
        /// No thread waits for them. The input is read where the stream is polled, so it should not block: where it does, use
        /// [`imap_ahead`](crate::Pool::imap_ahead).
        ///
        /// # Examples
        ///
        /// ```
        /// use offspring::{Pool, task};
        /// use std::pin::pin;
        /// use std::task::{Context, Poll, Waker};
        /// use futures_core::Stream;
        ///
        /// #[task]
        /// fn square(x: u64) -> u64 {
        ///     x * x
        /// }
        ///
        /// let pool = Pool::builder().workers(2).build()?;
        /// let mut squares = pin!(pool.imap(square, 0..).into_stream());
        /// // An executor's work, done by hand: usually this is `squares.next().await`.
        /// let mut cx = Context::from_waker(Waker::noop());
        /// let first = loop {
        ///     match squares.as_mut().poll_next(&mut cx) {
        ///         Poll::Ready(first) => break first.unwrap()?,
        ///         Poll::Pending => std::thread::yield_now(),
        ///     }
        /// };
        /// assert_eq!(first, 0);
        /// # Ok::<(), offspring::Error>(())
        /// ```
        pub fn into_stream(self) -> ResultStream<Self> {
            ResultStream::new(self)
        }
    };
}
use lazy;

fn split<T>(feed: Result<T, TaskError>) -> (Option<T>, Option<TaskError>) {
    match feed {
        Ok(feed) => (Some(feed), None),
        Err(error) => (None, Some(error)),
    }
}

/// Ends a batch of which all results were handed out; with the input's panic, if that is how it ended.
fn end<F, M, I, R>(feed: &mut Option<Feed<F, M, I, R>>) -> Look
where
    I: Iterator,
{
    let panic = feed.as_mut().and_then(|feed| feed.panic.take());
    *feed = None;
    if let Some(panic) = panic {
        resume_unwind(panic);
    }
    Look::End
}
