//! Input that a thread of its own reads, ahead of the batch.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::pool::job::Bell;
use crate::pool::job::window::Payload;
use crate::pool::protocol::bell;

/// Items that the thread keeps ready.
const MOST: usize = 256;

/// The items of an [`imap_ahead`](crate::Pool::imap_ahead), as its batch takes them over.
///
/// An item comes out of it when the thread has read one; `None` means only that there is none now.
pub struct Ahead<T> {
    shared: Arc<Shared<T>>,
    /// Taken over, not given out.
    taken: VecDeque<T>,
}

impl<T> fmt::Debug for Ahead<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ahead").field("taken", &self.taken.len()).finish_non_exhaustive()
    }
}

struct Shared<T> {
    state: Mutex<State<T>>,
    room: Condvar,
    /// Of the batch: rung when an item has come, or the last one has.
    bell: Arc<Bell>,
}

struct State<T> {
    items: VecDeque<T>,
    /// No more come.
    ended: bool,
    /// The input panicked at its end.
    panic: Option<Payload>,
    /// Nobody takes them any more.
    closed: bool,
    /// Who wants to know that one has come.
    waker: Option<Waker>,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, waker: Option<Waker>) {
        bell::ring_word(self.bell.word());
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Waits for room, and puts an item. `false` when nobody wants it.
    fn put(&self, item: T) -> bool {
        let mut state = self.lock();
        while state.items.len() >= MOST && !state.closed {
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return false;
        }
        state.items.push_back(item);
        if state.items.len() == 1 {
            let waker = state.waker.take();
            drop(state);
            self.tell(waker);
        }
        true
    }

    fn end(&self, panic: Option<Payload>) {
        let mut state = self.lock();
        state.ended = true;
        state.panic = panic;
        let waker = state.waker.take();
        drop(state);
        self.tell(waker);
    }
}

/// Such input, whatever its items.
pub(in crate::pool) trait Upstream: Send + Sync {
    /// Are there items to be taken over?
    fn has_items(&self) -> bool;
    /// Were all taken over that there ever will be?
    fn has_ended(&self) -> bool;
    /// What the input panicked with at its end.
    fn take_panic(&self) -> Option<Payload>;
    /// Has `waker` woken when there are items or the end has come.
    fn wake_when_there(&self, waker: &Waker);
}

impl<T: Send> Upstream for Shared<T> {
    fn has_items(&self) -> bool {
        !self.lock().items.is_empty()
    }

    fn has_ended(&self) -> bool {
        let state = self.lock();
        state.ended && state.items.is_empty()
    }

    fn take_panic(&self) -> Option<Payload> {
        self.lock().panic.take()
    }

    fn wake_when_there(&self, waker: &Waker) {
        let mut state = self.lock();
        if state.ended || !state.items.is_empty() {
            drop(state);
            return waker.wake_by_ref();
        }
        state.waker = Some(waker.clone());
    }
}

impl<T: Send + 'static> Ahead<T> {
    /// Reads `items` on a thread of its own; rings `bell` when some have come. An error when no thread is to be had.
    pub(in crate::pool) fn start(
        items: impl Iterator<Item = T> + Send + 'static,
        bell: Arc<Bell>,
    ) -> std::io::Result<(Ahead<T>, Arc<dyn Upstream>)> {
        let state = State { items: VecDeque::new(), ended: false, panic: None, closed: false, waker: None };
        let shared = Arc::new(Shared { state: Mutex::new(state), room: Condvar::new(), bell });
        let to = shared.clone();
        let read = move || {
            let mut items = items;
            // Unwind safety: the input is not asked again, and what it has given lies elsewhere.
            let end = catch_unwind(AssertUnwindSafe(|| items.by_ref().all(|item| to.put(item))));
            // What it holds may be what the caller waits for: a sender, a lock.
            let dropped = catch_unwind(AssertUnwindSafe(|| drop(items)));
            to.end(end.err().or(dropped.err()));
        };
        std::thread::Builder::new().name("offspring-input".into()).spawn(read)?;
        Ok((Ahead { shared: shared.clone(), taken: VecDeque::new() }, shared))
    }
}

impl<T> Iterator for Ahead<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if self.taken.is_empty() {
            let mut state = self.shared.lock();
            std::mem::swap(&mut self.taken, &mut state.items);
            drop(state);
            self.shared.room.notify_one();
        }
        self.taken.pop_front()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let state = self.shared.lock();
        let there = self.taken.len() + state.items.len();
        (there, state.ended.then_some(there))
    }
}

impl<T> Drop for Ahead<T> {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.room.notify_all();
    }
}
