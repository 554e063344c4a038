//! The lazy forms: results while the input is still being read.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::time::{Duration, Instant};

use super::bell;
use super::errand::Ending;
use super::feed::{Feed, Step};
use super::policy::CancelLevel;
use super::stream::{Polled, ResultStream, Wakers};
use super::watch::Until;
use crate::task::{Accept, TaskError, TaskFn};

/// Results read ahead of what is handed out.
const MOST_READ: usize = 4096;

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

/// Results in input order; made by [`Pool::imap`](super::Pool::imap).
///
/// Dropping it cancels what has not begun, and stops running chunks after their current item.
#[derive(Debug)]
#[must_use = "an iterator does nothing until it is asked for results"]
pub struct Imap<F: TaskFn<M>, M, I: Iterator> {
    feed: Option<Feed<F, M, I, F::Output>>,
    refused: Option<TaskError>,
    /// Results of the oldest window that were read but not given out.
    ready: VecDeque<Result<F::Output, TaskError>>,
    /// The next chunk of the oldest window.
    chunk: usize,
    /// The index of the next result.
    given: usize,
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

impl<F, M, I> Imap<F, M, I>
where
    F: TaskFn<M>,
    I: Iterator,
    I::Item: Accept<M>,
{
    pub(super) fn new(feed: Result<Feed<F, M, I, F::Output>, TaskError>) -> Self {
        let (feed, refused) = split(feed);
        Imap { feed, refused, ready: VecDeque::new(), chunk: 0, given: 0 }
    }

    lazy!(Result<F::Output, TaskError>);

    /// The next result; the context of the missing one when the deadline passed.
    fn next_until(
        &mut self,
        deadline: Option<Instant>,
    ) -> Result<Option<Result<F::Output, TaskError>>, crate::TaskContext> {
        if let Some(error) = self.refused.take() {
            return Ok(Some(Err(error)));
        }
        loop {
            if let Some(result) = self.ready.pop_front() {
                self.feed.iter().for_each(|feed| feed.errand.hand_over(self.given));
                self.given += 1;
                return Ok(Some(result));
            }
            match self.look(deadline) {
                Look::News => {}
                Look::End => return Ok(None),
                Look::TimedOut => {
                    let name = self.feed.as_ref().map(|feed| feed.errand.context(Some(self.given)));
                    return name.map_or(Ok(None), Err);
                }
            }
        }
    }

    /// Reads the results that are there, or waits for some.
    fn look(&mut self, deadline: Option<Instant>) -> Look {
        let Some(feed) = self.feed.as_mut() else { return Look::End };
        if !feed.core.is_here() {
            self.ready.push_back(Err(feed.core.hopeless_error(feed.errand.context(None))));
            self.feed = None;
            return Look::News;
        }
        // What is there is handed out before more is pulled: the input may depend on it.
        let is_there = match feed.front() {
            Some(Step::Window(flight)) => flight.window.job().is_done(self.chunk),
            Some(Step::Failed(_) | Step::Known(_)) => true,
            None => false,
        };
        if !is_there && let Err(error) = feed.fill() {
            self.ready.push_back(Err(error));
            return Look::News;
        }
        let core = feed.core.clone();
        if feed.steps.is_empty() {
            return match feed.wait_for_input(deadline) {
                Some(true) => Look::News,
                None => Look::TimedOut,
                // Nothing is left: from here on the pool can end.
                Some(false) => match feed.close_journal() {
                    Ok(()) => end(&mut self.feed),
                    Err(error) => {
                        self.ready.push_back(Err(error));
                        Look::News
                    }
                },
            };
        }
        let input = feed.input_to_wait_for();
        match feed.steps.front() {
            None => {}
            Some(Step::Failed(error)) => {
                self.ready.push_back(Err(error.clone()));
                feed.pop();
            }
            Some(Step::Known(known)) => {
                let known = *known;
                self.ready.push_back(feed.recall(known));
                feed.pop();
            }
            Some(Step::Window(flight)) => {
                let job = flight.window.job().clone();
                let chunk = self.chunk;
                let woken = bell::wait_until(
                    job.bell(),
                    deadline,
                    || job.say_wanted(Some(chunk)),
                    || match job.is_done(chunk) {
                        true => Some(Woken::Done),
                        false if core.is_hopeless() => Some(Woken::Hopeless),
                        false => input.as_ref().is_some_and(|input| input.has_items()).then_some(Woken::Input),
                    },
                );
                job.say_nothing_wanted();
                match woken {
                    None => return Look::TimedOut,
                    Some(Woken::Input) => return Look::News,
                    Some(Woken::Hopeless) => {
                        self.ready.push_back(Err(core.hopeless_error(job.context(0))));
                        self.feed = None;
                        return Look::News;
                    }
                    Some(Woken::Done) => {}
                }
                // One reader for all chunks that are there: what failed is looked up once. So they are counted before: of a chunk that is
                // done after the look-up, nobody would know what failed in it.
                let most = job.chunks().min(chunk + MOST_READ);
                let end = (chunk + 1..most).find(|next| !job.is_done(*next)).unwrap_or(most.max(chunk + 1));
                let reader = flight.window.reader();
                while self.chunk < end {
                    let items = job.view().range(self.chunk);
                    self.ready.extend(items.map(|item| flight.read(&reader, item, &mut feed.journal)));
                    self.chunk += 1;
                    if self.ready.len() >= MOST_READ {
                        break;
                    }
                }
                if self.chunk == job.chunks() {
                    core.finish(&job);
                    feed.pop();
                    self.chunk = 0;
                }
            }
        }
        Look::News
    }
}

impl<F, M, I> Iterator for Imap<F, M, I>
where
    F: TaskFn<M>,
    I: Iterator,
    I::Item: Accept<M>,
{
    type Item = Result<F::Output, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_until(None).unwrap_or(None)
    }
}

impl<F, M, I> Polled for Imap<F, M, I>
where
    F: TaskFn<M>,
    I: Iterator,
    I::Item: Accept<M>,
{
    type Item = Result<F::Output, TaskError>;

    fn try_next(&mut self) -> Option<Option<Self::Item>> {
        self.next_until(Some(Instant::now())).ok()
    }

    fn wake_when_there(&mut self, wakers: &Wakers) {
        let Some(feed) = &mut self.feed else { return };
        if let Some(input) = feed.input_to_wait_for() {
            input.wake_when_there(&wakers.waker());
        }
        if let Some(Step::Window(flight)) = feed.front() {
            wakers.watch(&feed.core, flight.window.job(), Until::Chunk(self.chunk));
        }
    }
}

/// Results as they come, each with its item's index; made by [`Pool::imap_unordered`](super::Pool::imap_unordered).
///
/// Dropping it cancels what has not begun, and stops running chunks after their current item.
#[derive(Debug)]
#[must_use = "an iterator does nothing until it is asked for results"]
pub struct ImapUnordered<F: TaskFn<M>, M, I: Iterator> {
    feed: Option<Feed<F, M, I, F::Output>>,
    refused: Option<TaskError>,
    ready: VecDeque<(usize, Result<F::Output, TaskError>)>,
}

impl<F, M, I> ImapUnordered<F, M, I>
where
    F: TaskFn<M>,
    I: Iterator,
    I::Item: Accept<M>,
{
    pub(super) fn new(feed: Result<Feed<F, M, I, F::Output>, TaskError>) -> Self {
        let (feed, refused) = split(feed);
        ImapUnordered { feed, refused, ready: VecDeque::new() }
    }

    /// Why the batch could not begin, if it could not.
    pub(super) fn refuse(&mut self) -> Result<(), TaskError> {
        self.refused.take().map_or(Ok(()), Err)
    }

    lazy!((usize, Result<F::Output, TaskError>));

    /// The next result; the context of the batch when the deadline passed.
    fn next_until(
        &mut self,
        deadline: Option<Instant>,
    ) -> Result<Option<(usize, Result<F::Output, TaskError>)>, crate::TaskContext> {
        if let Some(error) = self.refused.take() {
            return Ok(Some((0, Err(error))));
        }
        loop {
            if let Some(result) = self.ready.pop_front() {
                self.feed.iter().for_each(|feed| feed.errand.hand_over(result.0));
                return Ok(Some(result));
            }
            match self.look(deadline) {
                Look::News => {}
                Look::End => return Ok(None),
                Look::TimedOut => {
                    return self.feed.as_ref().map(|feed| feed.errand.context(None)).map_or(Ok(None), Err);
                }
            }
        }
    }

    /// Reads the results that are there, or waits for some.
    fn look(&mut self, deadline: Option<Instant>) -> Look {
        let Some(feed) = self.feed.as_mut() else { return Look::End };
        let before = feed.next_item();
        if !feed.core.is_here() {
            self.ready.push_back((before, Err(feed.core.hopeless_error(feed.errand.context(None)))));
            self.feed = None;
            return Look::News;
        }
        // What is there is handed out before more is pulled: the input may depend on it.
        let is_there = feed.steps.iter_mut().any(|step| match step {
            Step::Failed(_) | Step::Known(_) => true,
            Step::Window(flight) => flight.has_news(),
        });
        if !is_there && let Err(error) = feed.fill() {
            self.ready.push_back((before, Err(error)));
            return Look::News;
        }
        if feed.steps.is_empty() {
            return match feed.wait_for_input(deadline) {
                Some(true) => Look::News,
                None => Look::TimedOut,
                // Nothing is left: from here on the pool can end.
                Some(false) => match feed.close_journal() {
                    Ok(()) => end(&mut self.feed),
                    Err(error) => {
                        self.ready.push_back((before, Err(error)));
                        Look::News
                    }
                },
            };
        }
        let input = feed.input_to_wait_for();
        let (core, Some(bell)) = (feed.core.clone(), feed.errand.bell.clone()) else { return Look::End };
        let steps = std::cell::RefCell::new(&mut feed.steps);
        let found = bell::wait_until(
            bell.word(),
            deadline,
            || {
                for step in steps.borrow().iter() {
                    if let Step::Window(flight) = step {
                        flight.window.job().say_any_wanted();
                    }
                }
            },
            || {
                let mut found: Vec<(usize, Vec<usize>)> = Vec::new();
                for (at, step) in steps.borrow_mut().iter_mut().enumerate() {
                    match step {
                        Step::Failed(_) | Step::Known(_) => found.push((at, Vec::new())),
                        Step::Window(flight) => {
                            let new = flight.newly_done();
                            if !new.is_empty() {
                                found.push((at, new));
                            }
                        }
                    }
                }
                match found.is_empty() {
                    false => Some((Woken::Done, found)),
                    true if core.is_hopeless() => Some((Woken::Hopeless, found)),
                    true => input.as_ref().is_some_and(|input| input.has_items()).then_some((Woken::Input, Vec::new())),
                }
            },
        );
        for step in &feed.steps {
            if let Step::Window(flight) = step {
                flight.window.job().say_nothing_wanted();
            }
        }
        let found = match found {
            None => return Look::TimedOut,
            Some((Woken::Input, _)) => return Look::News,
            Some((Woken::Hopeless, _)) => {
                let context = feed.errand.context(None);
                self.ready.push_back((before, Err(core.hopeless_error(context))));
                self.feed = None;
                return Look::News;
            }
            Some((Woken::Done, found)) => found,
        };
        for (at, chunks) in found {
            match &feed.steps[at] {
                Step::Failed(error) => self.ready.push_back((error.item().unwrap_or(before), Err(error.clone()))),
                Step::Known(known) => {
                    let known = *known;
                    self.ready.push_back((known.index(), feed.recall(known)));
                }
                Step::Window(flight) => {
                    // One reader for all chunks that are there: what failed is looked up once.
                    let reader = flight.window.reader();
                    for item in chunks.into_iter().flat_map(|chunk| flight.window.job().view().range(chunk)) {
                        let result = flight.read(&reader, item, &mut feed.journal);
                        self.ready.push_back((flight.first + item, result));
                    }
                }
            }
        }
        feed.steps.retain(|step| match step {
            Step::Failed(_) | Step::Known(_) => false,
            Step::Window(flight) if flight.is_given_out() => {
                core.finish(flight.window.job());
                false
            }
            Step::Window(_) => true,
        });
        Look::News
    }
}

impl<F, M, I> Iterator for ImapUnordered<F, M, I>
where
    F: TaskFn<M>,
    I: Iterator,
    I::Item: Accept<M>,
{
    type Item = (usize, Result<F::Output, TaskError>);

    fn next(&mut self) -> Option<Self::Item> {
        self.next_until(None).unwrap_or(None)
    }
}

impl<F, M, I> Polled for ImapUnordered<F, M, I>
where
    F: TaskFn<M>,
    I: Iterator,
    I::Item: Accept<M>,
{
    type Item = (usize, Result<F::Output, TaskError>);

    fn try_next(&mut self) -> Option<Option<Self::Item>> {
        self.next_until(Some(Instant::now())).ok()
    }

    fn wake_when_there(&mut self, wakers: &Wakers) {
        let Some(feed) = &mut self.feed else { return };
        if let Some(input) = feed.input_to_wait_for() {
            input.wake_when_there(&wakers.waker());
        }
        for step in &feed.steps {
            if let Step::Window(flight) = step {
                wakers.watch(&feed.core, flight.window.job(), Until::More(flight.reported()));
            }
        }
    }
}

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
