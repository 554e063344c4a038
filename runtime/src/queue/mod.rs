//! Queues in shared memory, for any number of processes and threads.
//!
//! `README.md` in this folder holds the protocol and what was measured.
//!
//! `Queue` and `JoinableQueue` are `typed` operations over a `core` that waits, which stands on a `ring` of records.
#![allow(unsafe_code)]

mod bell;
pub(crate) mod core;
mod error;
mod get;
mod iter;
mod jobs;
mod joinable;
pub(crate) mod mutants;
mod pace;
mod put;
mod records;
mod ring;
mod shared;
#[cfg(feature = "testing")]
pub(crate) mod testing;
mod typed;
mod write;

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

pub use error::QueueError;
pub use iter::{Drain, IntoIter, Iter};
pub use joinable::{Job, JoinableQueue};

use self::core::{Core, QueueKind, Until};
use crate::message::Message;
use crate::object::wait_any::{Bell, Waitable, sealed::Sealed};
use crate::object::{Handle, Role, message_by_handle};
use crate::view::View;

/// A queue of messages in shared memory: any number of processes and threads put items in and take them out, first in, first
/// out.
///
/// A handle is small. A clone of it, and a handle that was sent to another process (as a task's argument, inside a value,
/// through a queue), is the same queue. The queue lives as long as any process, or any message that has not been read yet,
/// has a handle to it; what is in it then goes with it.
///
/// An item is written once, by the caller of [`put`](Queue::put), straight into shared memory: there is no thread behind a
/// queue, and what cannot be sent is an error of `put`. A short item lies in the queue itself, a longer one in memory of its
/// own; [`take`](Queue::take) reads it there.
///
/// # When a process is killed
/// What `put` has returned from is in the queue, whole, whoever dies. A process that is killed within `put` has put the item
/// or not, never half of it. A process that is killed within `get` has taken the item or not: what it has not taken is
/// still there, in its place. What it has taken goes with it; where that must not be, use a [`JoinableQueue`]. Nobody is
/// left waiting for a dead process.
///
/// # Examples
/// ```
/// use offspring::{Queue, spawn, task};
///
/// #[task]
/// fn double(numbers: Queue<u64>, doubled: Queue<u64>) {
///     for number in &numbers {
///         doubled.put(&(2 * number.unwrap())).unwrap();
///     }
///     doubled.close().unwrap();
/// }
///
/// # fn main() -> offspring::Result<()> {
/// let numbers = Queue::bounded(100)?;
/// let doubled = Queue::unbounded()?;
/// let child = spawn(double, (numbers.clone(), doubled.clone()))?;
/// numbers.put_all(0..4)?;
/// numbers.close()?;
/// assert_eq!(doubled.iter().collect::<Result<Vec<u64>, _>>()?, [0, 2, 4, 6]);
/// child.join()?;
/// # Ok(())
/// # }
/// ```
#[doc(alias = "SimpleQueue")]
pub struct Queue<T: Message> {
    handle: Handle<QueueKind>,
    items: PhantomData<fn(T) -> T>,
}

impl<T: Message> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Queue { handle: self.handle.clone(), items: PhantomData }
    }
}

impl<T: Message> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("len", &self.len()).field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}

/// Whether both are the same queue.
impl<T: Message> PartialEq for Queue<T> {
    fn eq(&self, other: &Self) -> bool {
        self.handle == other.handle
    }
}

impl<T: Message> Eq for Queue<T> {}

message_by_handle!([T: Message] Queue<T>, handle, |handle| Queue { handle, items: PhantomData });

impl<T: Message> Queue<T> {
    /// A new queue in which at most `capacity` items wait. Who puts one more waits for room.
    ///
    /// ```
    /// use offspring::{ErrorKind, Queue};
    ///
    /// let queue: Queue<String> = Queue::bounded(2)?;
    /// queue.put(&"a".to_string())?;
    /// queue.put(&"b".to_string())?;
    /// assert!(queue.is_full());
    /// assert_eq!(queue.try_put(&"c".to_string()).unwrap_err().kind(), ErrorKind::Full);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`QueueError::Capacity`] for 0 and for more than 2^30; [`QueueError::Refused`] when there is no shared memory.
    pub fn bounded(capacity: usize) -> Result<Self, QueueError> {
        Self::new(self::core::capacity(capacity)?)
    }

    /// A new queue in which any number of items wait, as far as the family's memory reaches.
    ///
    /// ```
    /// let queue: offspring::Queue<u64> = offspring::Queue::unbounded()?;
    /// queue.put_all(0..10_000)?;
    /// assert_eq!(queue.len(), 10_000);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`QueueError::Refused`] when there is no shared memory.
    pub fn unbounded() -> Result<Self, QueueError> {
        Self::new(0)
    }

    fn new(capacity: u32) -> Result<Self, QueueError> {
        Ok(Queue { handle: Core::create(capacity, false, 0, Role::Plain)?.into_handle(), items: PhantomData })
    }

    pub(crate) fn core(&self) -> &Core {
        Core::of(&self.handle)
    }

    /// Puts an item at the end; waits while the queue is full.
    ///
    /// ```
    /// let queue = offspring::Queue::bounded(10)?;
    /// queue.put(&"text".to_string())?;
    /// assert_eq!(queue.get()?, "text");
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`QueueError::Closed`] after [`Queue::close`], also when that comes while it waits; [`QueueError::NotSent`] when the
    /// value cannot be a message or there is no memory for it. Nothing was put then.
    #[inline]
    pub fn put(&self, item: &T) -> Result<(), QueueError> {
        self.core().send(item, Until::Ever, false)
    }

    /// Puts an item at the end if there is room.
    ///
    /// ```
    /// use offspring::{ErrorKind, Queue};
    ///
    /// let queue = Queue::bounded(1)?;
    /// queue.try_put(&1)?;
    /// assert_eq!(queue.try_put(&2).unwrap_err().kind(), ErrorKind::Full);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Queue::put`], and [`QueueError::Full`].
    #[doc(alias = "put_nowait")]
    pub fn try_put(&self, item: &T) -> Result<(), QueueError> {
        self.core().send(item, Until::Now, false)
    }

    /// Puts an item at the end; waits so long at most while the queue is full.
    ///
    /// ```
    /// use offspring::{ErrorKind, Queue};
    /// use std::time::Duration;
    ///
    /// let queue = Queue::bounded(1)?;
    /// queue.put(&1)?;
    /// assert_eq!(queue.put_timeout(&2, Duration::from_millis(5)).unwrap_err().kind(), ErrorKind::Timeout);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Queue::put`], and [`QueueError::Timeout`].
    pub fn put_timeout(&self, item: &T, timeout: Duration) -> Result<(), QueueError> {
        self.core().send(item, Until::after(timeout), false)
    }

    /// Puts all items, in order; waits whenever the queue is full. Items of others may come between. How many were put.
    ///
    /// ```
    /// let queue: offspring::Queue<u64> = offspring::Queue::bounded(10)?;
    /// queue.put_all(&[1, 2, 3])?;
    /// assert_eq!(queue.get_many(10)?, [1, 2, 3]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Queue::put`], inside a [`QueueError::Partly`] that says how many items were put before.
    pub fn put_all<I>(&self, items: I) -> Result<usize, QueueError>
    where
        I: IntoIterator<Item: Borrow<T>>,
    {
        let mut put = 0;
        for item in items {
            self.put(item.borrow()).map_err(|error| error.after(put))?;
            put += 1;
        }
        Ok(put)
    }

    /// Takes the oldest item; waits while there is none.
    ///
    /// ```
    /// let queue = offspring::Queue::unbounded()?;
    /// queue.put_all(["first".to_string(), "second".to_string()])?;
    /// assert_eq!((queue.get()?, queue.get()?), ("first".to_string(), "second".to_string()));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`QueueError::Closed`] when the queue is closed and empty; [`QueueError::Unreadable`] when no value can be made of the
    /// item, for want of memory or because it holds a handle to something that is gone.
    #[inline]
    pub fn get(&self) -> Result<T, QueueError> {
        self.core().receive(Until::Ever)
    }

    /// Takes the oldest item if there is one.
    ///
    /// ```
    /// use offspring::{ErrorKind, Queue};
    ///
    /// let queue: Queue<u64> = Queue::unbounded()?;
    /// assert_eq!(queue.try_get().unwrap_err().kind(), ErrorKind::Empty);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Queue::get`], and [`QueueError::Empty`].
    #[doc(alias = "get_nowait")]
    pub fn try_get(&self) -> Result<T, QueueError> {
        self.core().receive(Until::Now)
    }

    /// Takes the oldest item; waits so long at most while there is none.
    ///
    /// ```
    /// use offspring::{ErrorKind, Queue};
    /// use std::time::Duration;
    ///
    /// let queue: Queue<u64> = Queue::unbounded()?;
    /// let error = queue.get_timeout(Duration::from_millis(5)).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Timeout);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Queue::get`], and [`QueueError::Timeout`].
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, QueueError> {
        self.core().receive(Until::after(timeout))
    }

    /// Takes the oldest item, to be read where it lies; waits while there is none.
    ///
    /// ```
    /// let queue: offspring::Queue<Vec<u64>> = offspring::Queue::unbounded()?;
    /// queue.put(&vec![7; 100_000])?;
    /// let view = queue.take()?;
    /// assert_eq!(view.len(), 100_000);
    /// assert_eq!(view[99_999], 7);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Queue::get`].
    pub fn take(&self) -> Result<View<T>, QueueError> {
        self.core().view(Until::Ever)
    }

    /// As [`Queue::take`], if there is an item.
    ///
    /// ```
    /// let queue = offspring::Queue::unbounded()?;
    /// queue.put(&"text".to_string())?;
    /// assert_eq!(queue.try_take()?.as_str(), "text");
    /// assert!(queue.try_take().is_err());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Queue::try_get`].
    pub fn try_take(&self) -> Result<View<T>, QueueError> {
        self.core().view(Until::Now)
    }

    /// As [`Queue::take`], waiting so long at most.
    ///
    /// # Errors
    /// As [`Queue::get_timeout`].
    pub fn take_timeout(&self, timeout: Duration) -> Result<View<T>, QueueError> {
        self.core().view(Until::after(timeout))
    }

    /// Takes up to `most` items, at least one; waits while there is none. For 0 it takes nothing and does not wait.
    ///
    /// The items are taken one after the other. A process that is killed meanwhile takes those with it that it had taken.
    ///
    /// ```
    /// let queue = offspring::Queue::unbounded()?;
    /// queue.put_all(0..5)?;
    /// assert_eq!(queue.get_many(3)?, [0, 1, 2]);
    /// assert_eq!(queue.get_many(3)?, [3, 4]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Queue::get`] for the first one. A later one that cannot be read is left out of what is returned, which ends with it.
    pub fn get_many(&self, most: usize) -> Result<Vec<T>, QueueError> {
        if most == 0 {
            return Ok(Vec::new());
        }
        let mut items = vec![self.get()?];
        while items.len() < most {
            match self.try_get() {
                Ok(item) => items.push(item),
                Err(_) => break,
            }
        }
        Ok(items)
    }

    /// How many items wait. Others may change that at any time.
    ///
    /// ```
    /// let queue = offspring::Queue::bounded(2)?;
    /// queue.put(&7)?;
    /// assert_eq!((queue.len(), queue.is_empty(), queue.is_full(), queue.capacity()), (1, false, false, Some(2)));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "qsize")]
    pub fn len(&self) -> usize {
        self.core().waiting()
    }

    /// Does none wait? Others may change that at any time.
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Do as many wait as may? Others may change that at any time.
    #[doc(alias = "full")]
    pub fn is_full(&self) -> bool {
        self.capacity().is_some_and(|most| self.len() >= most)
    }

    /// How many items may wait; `None` for any number.
    #[doc(alias = "maxsize")]
    pub fn capacity(&self) -> Option<usize> {
        self.core().capacity()
    }

    /// Ends the queue: no items are put from now on, by anybody. Those that wait can still be taken; after them whoever takes
    /// gets [`QueueError::Closed`], also who is waiting already. Closing again does nothing.
    ///
    /// ```
    /// use offspring::{ErrorKind, Queue};
    ///
    /// let queue: Queue<u64> = Queue::unbounded()?;
    /// queue.put(&1)?;
    /// queue.close()?;
    /// assert_eq!(queue.put(&2).unwrap_err().kind(), ErrorKind::Closed);
    /// assert_eq!(queue.get()?, 1);
    /// assert_eq!(queue.get().unwrap_err().kind(), ErrorKind::Closed);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`QueueError::Refused`] in a `fork()` of a process of the family.
    pub fn close(&self) -> Result<(), QueueError> {
        self.core().close()
    }

    /// Was it closed?
    pub fn is_closed(&self) -> bool {
        self.core().is_closed()
    }

    /// The items, each taken when it is asked for, until the queue is closed and empty. Waits for the next one.
    ///
    /// ```
    /// let queue = offspring::Queue::unbounded()?;
    /// queue.put_all(0..3)?;
    /// queue.close()?;
    /// assert_eq!(queue.iter().collect::<Result<Vec<u64>, _>>()?, [0, 1, 2]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter(self)
    }

    /// The items that are there, each taken when it is asked for, until there are none at the moment. Never waits.
    ///
    /// ```
    /// let queue = offspring::Queue::unbounded()?;
    /// queue.put_all(0..3)?;
    /// assert_eq!(queue.drain().collect::<Result<Vec<u64>, _>>()?, [0, 1, 2]);
    /// assert!(!queue.is_closed());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn drain(&self) -> Drain<'_, T> {
        Drain(self)
    }
}

impl<T: Message> Sealed for Queue<T> {
    fn is_ready(&self) -> bool {
        self.core().is_ready()
    }

    fn ring_when_ready(&self, bell: &Bell) {
        self.core().watch(bell);
    }
}

/// Ready when taking would not wait: there is something, or the end. Somebody else may be faster all the same.
impl<T: Message> Waitable for Queue<T> {}
