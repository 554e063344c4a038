//! Lazy results as a stream: nobody waits for them, they wake whoever polls.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

use crate::pool::job::Job;
use crate::pool::master::core::Core;
use crate::pool::watching::watch::Until;

/// Lazy results that can be asked without waiting.
#[allow(unnameable_types, reason = "sealed: nobody else may implement it")]
pub trait Polled {
    /// One result.
    type Item;

    /// The next result, if it is there, or `None` for the end. `None`: not yet.
    #[doc(hidden)]
    fn try_next(&mut self) -> Option<Option<Self::Item>>;

    /// Has `wakers` woken when it is worth asking again.
    #[doc(hidden)]
    fn wake_when_there(&mut self, wakers: &Wakers);
}

/// Whom to wake.
#[allow(unnameable_types, reason = "part of a sealed trait")]
#[derive(Debug, Default)]
pub struct Wakers {
    waiting: Arc<Waiting>,
    /// The jobs that are watched, and for what, since the last time that somebody was woken.
    watched: Mutex<Vec<(u64, Until)>>,
}

#[derive(Debug, Default)]
struct Waiting {
    waker: Mutex<Option<Waker>>,
    /// Somebody was woken since `watched` was filled.
    woken: AtomicBool,
}

impl Waiting {
    fn wake(&self) {
        self.woken.store(true, SeqCst);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Wakers {
    fn set(&self, waker: &Waker) {
        *self.waiting.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
    }

    /// The one that was set last.
    pub(in crate::pool) fn waker(&self) -> Waker {
        let waker = self.waiting.waker.lock().unwrap_or_else(PoisonError::into_inner);
        waker.clone().unwrap_or_else(|| Waker::noop().clone())
    }

    /// Has the waker woken when `job` is as far as `until` says.
    pub(in crate::pool) fn watch(&self, core: &Arc<Core>, job: &Arc<Job>, until: Until) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if self.waiting.woken.swap(false, SeqCst) {
            watched.clear();
        }
        let key = (job.id().raw(), until);
        if watched.contains(&key) {
            return;
        }
        watched.push(key);
        drop(watched);
        let waiter: Arc<dyn Send + Sync> = self.waiting.clone();
        let waiting = Arc::downgrade(&self.waiting);
        let wake = move || {
            if let Some(waiting) = waiting.upgrade() {
                waiting.wake();
            }
        };
        core.watch(job, until, Some(Arc::downgrade(&waiter)), Box::new(wake));
    }
}

/// Lazy results as a [`Stream`] for any executor; made by [`Imap::into_stream`](crate::Imap::into_stream) and
/// [`ImapUnordered::into_stream`](crate::ImapUnordered::into_stream).
///
/// Dropping it cancels what has not begun, and stops running chunks after their current item.
#[must_use = "a stream does nothing until it is polled"]
pub struct ResultStream<S> {
    results: S,
    wakers: Wakers,
    has_ended: bool,
}

impl<S> fmt::Debug for ResultStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResultStream").field("has_ended", &self.has_ended).finish_non_exhaustive()
    }
}

impl<S> ResultStream<S> {
    pub(in crate::pool) fn new(results: S) -> Self {
        ResultStream { results, wakers: Wakers::default(), has_ended: false }
    }

    /// The results as an iterator again.
    pub fn into_inner(self) -> S {
        self.results
    }
}

// Nothing in it is ever pinned: results are moved out when they are there.
impl<S> Unpin for ResultStream<S> {}

impl<S: Polled> Stream for ResultStream<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = &mut *self;
        if this.has_ended {
            return Poll::Ready(None);
        }
        let mut is_watched = false;
        loop {
            if let Some(next) = this.results.try_next() {
                this.has_ended = next.is_none();
                return Poll::Ready(next);
            }
            if is_watched {
                return Poll::Pending;
            }
            // Then looked at again: it may have come before the watch began.
            this.wakers.set(cx.waker());
            this.results.wake_when_there(&this.wakers);
            is_watched = true;
        }
    }
}
