//! Waiting for a handle among other things: as a future, and by `wait_any`.

use std::pin::Pin;
use std::sync::PoisonError;
use std::task::{Context, Poll};

use super::{State, TaskHandle};
use crate::message::Message;
use crate::pool::watching::watch::Until;
use crate::process::{Bell, Sealed, Waitable};
use crate::task::TaskError;

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
