//! Results as they come.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Look, end, lazy, split};
use crate::pool::caller::feed::{Feed, News, Step};
use crate::pool::caller::stream::{Polled, ResultStream, Wakers};
use crate::pool::job::errand::Ending;
use crate::pool::options::policy::CancelLevel;
use crate::pool::watching::watch::Until;
use crate::task::{Accept, TaskError, TaskFn};

/// Results as they come, each with its item's index; made by [`Pool::imap_unordered`](crate::Pool::imap_unordered).
///
/// Dropping it cancels what has not begun, and stops running chunks after their current item.
///
/// An item whose worker is killed is an `Err` with its index, and the iteration goes on. [`next`](Iterator::next) blocks until there is a result.
///
/// ```
/// use offspring::{Pool, task};
///
/// #[task]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// let pool = Pool::new()?;
/// let (index, square) = pool.imap_unordered(square, 0..).next().unwrap();
/// assert_eq!(square?, (index * index) as u64);
/// # Ok::<(), offspring::Error>(())
/// ```
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
    pub(in crate::pool) fn new(feed: Result<Feed<F, M, I, F::Output>, TaskError>) -> Self {
        let (feed, refused) = split(feed);
        ImapUnordered { feed, refused, ready: VecDeque::new() }
    }

    /// Why the batch could not begin, if it could not.
    pub(in crate::pool) fn refuse(&mut self) -> Result<(), TaskError> {
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
        let found = match feed.news(deadline, input.as_ref()) {
            None => return Look::TimedOut,
            Some(News::Input) => return Look::News,
            Some(News::Hopeless) => {
                let error = feed.core.hopeless_error(feed.errand.context(None));
                self.ready.push_back((before, Err(error)));
                self.feed = None;
                return Look::News;
            }
            Some(News::Done(found)) => found,
        };
        let ready = &mut self.ready;
        feed.read_found(found, |index, result| ready.push_back((index, result)));
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
