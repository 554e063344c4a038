//! Queues that remember what was taken until it is done.
#![allow(unsafe_code)]

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::Duration;

use super::QueueError;
use super::core::{Core, QueueKind, Until};
use super::jobs::{Stage, Ticket};
use crate::message::{self, Archived, Message};
use crate::object::wait_any::{Bell, Waitable, sealed::Sealed};
use crate::object::{Handle, Role, message_by_handle};

/// A queue that knows which of its items are done, and hands those of dead processes out again.
///
/// An item that was taken is in work until its taker says that it is done: by [`Job::done`] after [`take`](Self::take), or by
/// [`task_done`](Self::task_done) after [`get`](Self::get). [`join`](Self::join) waits until nothing waits and nothing is in
/// work. Whatever else [`Queue`](super::Queue) has, this has too, except that items of any length lie in memory of their own, which
/// makes it slower for short ones.
///
/// # When a process is killed
/// As for [`Queue`](super::Queue), and: an item that a dead process had in work is handed out again, before those that wait. The
/// process that takes it cannot know how far the dead one came: what work does outside is done again. An item that kills
/// everyone who works on it would go round for ever: [`Job::tries`] tells, and [`with_tries`](Self::with_tries) sets a limit.
///
/// `take` says [`QueueError::Closed`] as soon as the queue is closed and no item waits, though others may still be in work, and may come
/// back. Who must not miss those asks for the [`next_job`](Self::next_job): it waits until every item is done.
///
/// ```
/// use offspring::{Failure, JoinableQueue, spawn, task};
///
/// #[task]
/// fn work(jobs: JoinableQueue<u64>) -> Result<(), Failure> {
///     while let Some(job) = jobs.next_job()? {
///         assert!(*job < 10);
///         job.done()?;
///     }
///     Ok(())
/// }
///
/// # fn main() -> offspring::Result<()> {
/// let jobs = JoinableQueue::bounded(4)?;
/// let workers = [spawn(work, jobs.clone())?, spawn(work, jobs.clone())?];
/// jobs.put_all(0..10)?;
/// jobs.join()?;
/// jobs.close()?;
/// for worker in workers {
///     worker.join()??;
/// }
/// # Ok(())
/// # }
/// ```
pub struct JoinableQueue<T: Message> {
    handle: Handle<QueueKind>,
    items: PhantomData<fn(T) -> T>,
}

impl<T: Message> Clone for JoinableQueue<T> {
    fn clone(&self) -> Self {
        JoinableQueue { handle: self.handle.clone(), items: PhantomData }
    }
}

impl<T: Message> fmt::Debug for JoinableQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinableQueue").field("len", &self.len()).field("unfinished", &self.unfinished()).finish()
    }
}

/// Whether both are the same queue.
impl<T: Message> PartialEq for JoinableQueue<T> {
    fn eq(&self, other: &Self) -> bool {
        self.handle == other.handle
    }
}

impl<T: Message> Eq for JoinableQueue<T> {}

message_by_handle!([T: Message] JoinableQueue<T>, handle, JoinableQueue::of);

impl<T: Message> JoinableQueue<T> {
    /// A new queue in which at most `capacity` items wait; those in work do not count.
    ///
    /// ```
    /// use offspring::{ErrorKind, JoinableQueue};
    ///
    /// let jobs = JoinableQueue::bounded(1)?;
    /// jobs.put(&7)?;
    /// assert_eq!(jobs.try_put(&8).unwrap_err().kind(), ErrorKind::Full);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Queue::bounded`](super::Queue::bounded).
    pub fn bounded(capacity: usize) -> Result<Self, QueueError> {
        Self::new(super::core::capacity(capacity)?, 0)
    }

    /// A new queue in which any number of items wait.
    ///
    /// ```
    /// let jobs = offspring::JoinableQueue::unbounded()?;
    /// jobs.put_all(0..1000)?;
    /// assert_eq!(jobs.unfinished(), 1000);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Queue::unbounded`](super::Queue::unbounded).
    pub fn unbounded() -> Result<Self, QueueError> {
        Self::new(0, 0)
    }

    /// A new queue of this capacity (`None`: any) that gives an item up when `tries` processes have died before they were done
    /// with it: whoever would take it next gets [`QueueError::GivenUp`] instead, once, and it counts as done. With 0
    /// items are never given up.
    ///
    /// ```
    /// let jobs: offspring::JoinableQueue<u64> = offspring::JoinableQueue::with_tries(Some(10), 3)?;
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Queue::bounded`](super::Queue::bounded).
    pub fn with_tries(capacity: Option<usize>, tries: u32) -> Result<Self, QueueError> {
        Self::new(capacity.map_or(Ok(0), super::core::capacity)?, tries)
    }

    pub(super) fn of(handle: Handle<QueueKind>) -> Self {
        JoinableQueue { handle, items: PhantomData }
    }

    fn new(capacity: u32, tries: u32) -> Result<Self, QueueError> {
        let core = Core::create(capacity, true, tries, Role::Plain)?;
        Ok(JoinableQueue::of(core.into_handle()))
    }

    pub(crate) fn core(&self) -> &Core {
        Core::of(&self.handle)
    }

    /// As [`Queue::put`](super::Queue::put).
    ///
    /// ```
    /// let jobs = offspring::JoinableQueue::bounded(10)?;
    /// jobs.put(&"a.txt".to_string())?;
    /// assert_eq!((jobs.len(), jobs.unfinished()), (1, 1));
    /// assert_eq!(jobs.get()?, "a.txt");
    /// assert_eq!((jobs.len(), jobs.unfinished()), (0, 1));
    /// jobs.task_done()?;
    /// assert_eq!(jobs.unfinished(), 0);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As there.
    pub fn put(&self, item: &T) -> Result<(), QueueError> {
        self.core().send(item, Until::Ever, true)
    }

    /// As [`Queue::try_put`](super::Queue::try_put).
    ///
    /// # Errors
    /// As there.
    pub fn try_put(&self, item: &T) -> Result<(), QueueError> {
        self.core().send(item, Until::Now, true)
    }

    /// As [`Queue::put_timeout`](super::Queue::put_timeout).
    ///
    /// # Errors
    /// As there.
    pub fn put_timeout(&self, item: &T, timeout: Duration) -> Result<(), QueueError> {
        self.core().send(item, Until::after(timeout), true)
    }

    /// As [`Queue::put_all`](super::Queue::put_all).
    ///
    /// # Errors
    /// As there.
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

    /// Takes the oldest item, to be read where it lies and then [done](Job::done); waits while there is none.
    ///
    /// ```
    /// let jobs: offspring::JoinableQueue<u64> = offspring::JoinableQueue::unbounded()?;
    /// jobs.put(&7)?;
    /// let job = jobs.take()?;
    /// assert_eq!(job.value()?, 7);
    /// job.done()?;
    /// jobs.join()?;
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`QueueError::Closed`] when the queue is closed and no item waits; [`QueueError::GivenUp`], see
    /// [`with_tries`](Self::with_tries).
    pub fn take(&self) -> Result<Job<T>, QueueError> {
        self.job(Until::Ever)
    }

    /// As [`take`](Self::take), if there is an item.
    ///
    /// # Errors
    /// As there, and [`QueueError::Empty`].
    pub fn try_take(&self) -> Result<Job<T>, QueueError> {
        self.job(Until::Now)
    }

    /// As [`take`](Self::take), waiting so long at most.
    ///
    /// # Errors
    /// As there, and [`QueueError::Timeout`].
    pub fn take_timeout(&self, timeout: Duration) -> Result<Job<T>, QueueError> {
        self.job(Until::after(timeout))
    }

    /// As [`take`](Self::take), but goes on until every item is done: `None` when the queue is closed, no item waits and none is in work,
    /// anywhere. So a worker that asks in this way is there for the items of others who die.
    ///
    /// Be done with one job before you ask for the next: the caller's own jobs count, too, and it would wait for itself.
    ///
    /// ```
    /// let jobs: offspring::JoinableQueue<u64> = offspring::JoinableQueue::unbounded()?;
    /// jobs.put_all([1, 2])?;
    /// jobs.close()?;
    /// let mut sum = 0;
    /// while let Some(job) = jobs.next_job()? {
    ///     sum += job.value()?;
    ///     job.done()?;
    /// }
    /// assert_eq!(sum, 3);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`QueueError::GivenUp`], see [`with_tries`](Self::with_tries): ask again.
    pub fn next_job(&self) -> Result<Option<Job<T>>, QueueError> {
        self.next(Until::Ever)
    }

    /// As [`next_job`](Self::next_job), waiting so long at most.
    ///
    /// # Errors
    /// As there, and [`QueueError::Timeout`].
    pub fn next_job_timeout(&self, timeout: Duration) -> Result<Option<Job<T>>, QueueError> {
        self.next(Until::after(timeout))
    }

    /// As [`next_job`](Self::next_job), without waiting.
    ///
    /// # Errors
    /// As there, and [`QueueError::Empty`] while there is none but may be one later.
    pub fn try_next_job(&self) -> Result<Option<Job<T>>, QueueError> {
        self.next(Until::Now)
    }

    fn next(&self, until: Until) -> Result<Option<Job<T>>, QueueError> {
        match self.core().take_job(Stage::Handed, true, until) {
            Ok(ticket) => Ok(Some(Job { queue: self.clone(), ticket: Some(ticket) })),
            Err(QueueError::Closed) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn job(&self, until: Until) -> Result<Job<T>, QueueError> {
        let ticket = self.core().take_job(Stage::Handed, false, until)?;
        Ok(Job { queue: self.clone(), ticket: Some(ticket) })
    }

    /// Takes the oldest item; waits while there is none. When the work on it is done, [`task_done`](Self::task_done) says so.
    ///
    /// ```
    /// let jobs: offspring::JoinableQueue<String> = offspring::JoinableQueue::unbounded()?;
    /// jobs.put(&"a".to_string())?;
    /// assert_eq!(jobs.get()?, "a");
    /// assert_eq!((jobs.len(), jobs.unfinished()), (0, 1));
    /// jobs.task_done()?;
    /// jobs.join()?;
    /// assert!(jobs.task_done().is_err());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`take`](Self::take); [`QueueError::Unreadable`] when no value can be made of the item, which is still in work then.
    pub fn get(&self) -> Result<T, QueueError> {
        self.value(Until::Ever)
    }

    /// As [`get`](Self::get), if there is an item.
    ///
    /// # Errors
    /// As there, and [`QueueError::Empty`].
    pub fn try_get(&self) -> Result<T, QueueError> {
        self.value(Until::Now)
    }

    /// As [`get`](Self::get), waiting so long at most.
    ///
    /// # Errors
    /// As there, and [`QueueError::Timeout`].
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, QueueError> {
        self.value(Until::after(timeout))
    }

    fn value(&self, until: Until) -> Result<T, QueueError> {
        let ticket = self.core().take_job(Stage::Gotten, false, until)?;
        let root = self.core().root_of(&ticket)?;
        // SAFETY: a whole item, which an encoder of this build wrote, in a block that stays while it is in work by this process.
        Ok(unsafe { message::decode(root) }?)
    }

    /// Says that this process is done with an item that it got by [`get`](Self::get). Which of several does not matter, except
    /// if it is killed: so finish one before the next.
    ///
    /// ```
    /// use offspring::{ErrorKind, JoinableQueue};
    ///
    /// let jobs = JoinableQueue::unbounded()?;
    /// jobs.put(&7)?;
    /// jobs.get()?;
    /// jobs.task_done()?;
    /// assert_eq!(jobs.task_done().unwrap_err().kind(), ErrorKind::InvalidInput);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`QueueError::NothingToDo`] if this process has no such item.
    pub fn task_done(&self) -> Result<(), QueueError> {
        if self.core().end_gotten()? { Ok(()) } else { Err(QueueError::NothingToDo) }
    }

    /// Waits until every item that was put is done.
    ///
    /// ```
    /// use offspring::{Failure, JoinableQueue, spawn, task};
    ///
    /// #[task]
    /// fn work(jobs: JoinableQueue<u64>) -> Result<(), Failure> {
    ///     while let Some(job) = jobs.next_job()? {
    ///         job.done()?;
    ///     }
    ///     Ok(())
    /// }
    ///
    /// let jobs = JoinableQueue::unbounded()?;
    /// let worker = spawn(work, &jobs)?;
    /// jobs.put_all(0..10)?;
    /// jobs.join()?; // all ten are done
    /// jobs.close()?;
    /// worker.join()?.unwrap();
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`QueueError::Refused`] when shared memory cannot be used.
    pub fn join(&self) -> Result<(), QueueError> {
        self.core().join(Until::Ever).map(|_| ())
    }

    /// As [`join`](Self::join), waiting so long at most: whether every item is done.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let jobs = offspring::JoinableQueue::unbounded()?;
    /// jobs.put(&7)?;
    /// assert!(!jobs.join_timeout(Duration::from_millis(5))?);
    /// jobs.get()?;
    /// jobs.task_done()?;
    /// assert!(jobs.join_timeout(Duration::from_secs(60))?);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As there.
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool, QueueError> {
        self.core().join(Until::after(timeout))
    }

    /// How many items wait, those that came back included. Others may change that at any time.
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

    /// How many items wait or are in work. Others may change that at any time.
    pub fn unfinished(&self) -> usize {
        self.core().unfinished()
    }

    /// How many items may wait; `None` for any number.
    pub fn capacity(&self) -> Option<usize> {
        self.core().capacity()
    }

    /// As [`Queue::close`](super::Queue::close).
    ///
    /// # Errors
    /// As there.
    pub fn close(&self) -> Result<(), QueueError> {
        self.core().close()
    }

    /// Was it closed?
    pub fn is_closed(&self) -> bool {
        self.core().is_closed()
    }
}

/// An item of a [`JoinableQueue`] in the hands of who works on it; derefs to what it is in shared memory.
///
/// Dropped without [`done`](Job::done), it goes back to the queue and is handed out again. If its process dies, too.
pub struct Job<T: Message> {
    queue: JoinableQueue<T>,
    /// `None` when it is done.
    ticket: Option<Ticket>,
}

impl<T: Message> fmt::Debug for Job<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("tries", &self.tries()).finish_non_exhaustive()
    }
}

impl<T: Message> Job<T> {
    /// Makes a value of the item. It is in work until [`done`](Job::done) all the same.
    ///
    /// ```
    /// let jobs: offspring::JoinableQueue<String> = offspring::JoinableQueue::unbounded()?;
    /// jobs.put(&"a.txt".to_string())?;
    /// let job = jobs.take()?;
    /// assert_eq!(job.len(), 5); // read where it lies
    /// let name: String = job.value()?; // built anew
    /// assert_eq!(name, "a.txt");
    /// job.done()?;
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`QueueError::Unreadable`] when that cannot be done.
    pub fn value(&self) -> Result<T, QueueError> {
        // SAFETY: as in `deref`.
        Ok(unsafe { message::decode(self.root()?) }?)
    }

    /// How many processes have died before they were done with the item.
    pub fn tries(&self) -> u32 {
        self.ticket.as_ref().map_or(0, |ticket| ticket.tries)
    }

    /// Says that the work is done: the item leaves the queue for good.
    ///
    /// ```
    /// let jobs: offspring::JoinableQueue<u64> = offspring::JoinableQueue::unbounded()?;
    /// jobs.put(&7)?;
    /// jobs.take()?.done()?;
    /// jobs.put(&8)?;
    /// drop(jobs.take()?); // not done: it is handed out again
    /// assert_eq!((jobs.len(), jobs.unfinished()), (1, 1));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`QueueError::Refused`] when shared memory cannot be used.
    pub fn done(mut self) -> Result<(), QueueError> {
        if let Some(ticket) = &self.ticket {
            self.queue.core().end_job(ticket)?;
        }
        self.ticket = None;
        Ok(())
    }

    fn root(&self) -> Result<*const u8, QueueError> {
        let ticket = self.ticket.as_ref().ok_or(QueueError::NothingToDo)?;
        self.queue.core().root_of(ticket)
    }
}

impl<T: Message> Deref for Job<T> {
    type Target = Archived<T>;

    fn deref(&self) -> &Archived<T> {
        match self.root() {
            // SAFETY: a whole item, which an encoder of this build wrote, with its root at the start of a block that stays
            // while it is in work by this process.
            Ok(root) => unsafe { &*root.cast() },
            Err(error) => panic!("a job cannot be read here: {error}"),
        }
    }
}

impl<T: Message> Drop for Job<T> {
    fn drop(&mut self) {
        if let Some(ticket) = &self.ticket {
            // In a fork of the process there is nothing to give back; the process itself still has the job.
            let _ = self.queue.core().give_back(ticket);
        }
    }
}

impl<T: Message> Sealed for JoinableQueue<T> {
    fn is_ready(&self) -> bool {
        self.core().is_ready()
    }

    fn ring_when_ready(&self, bell: &Bell) {
        self.core().watch(bell);
    }
}

/// Ready when taking would not wait: there is something, or the end. Somebody else may be faster all the same.
impl<T: Message> Waitable for JoinableQueue<T> {}
