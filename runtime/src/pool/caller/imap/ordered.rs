//! Results in the order of the input.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Look, Woken, end, lazy, split};
use crate::pool::caller::feed::{Feed, Step};
use crate::pool::caller::stream::{Polled, ResultStream, Wakers};
use crate::pool::job::errand::Ending;
use crate::pool::options::policy::CancelLevel;
use crate::pool::protocol::bell;
use crate::pool::watching::watch::Until;
use crate::task::{Accept, TaskError, TaskFn};

/// Results read ahead of what is handed out.
const MOST_READ: usize = 4096;

/// Results in input order; made by [`Pool::imap`](crate::Pool::imap).
///
/// Dropping it cancels what has not begun, and stops running chunks after their current item.
///
/// An item whose worker is killed is an `Err` in its place, and the iteration goes on. [`next`](Iterator::next) blocks until there is a result.
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
/// let first: Vec<u64> = pool.imap(square, 0..).take(3).collect::<Result<_, _>>()?;
/// assert_eq!(first, [0, 1, 4]);
/// # Ok::<(), offspring::Error>(())
/// ```
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

impl<F, M, I> Imap<F, M, I>
where
    F: TaskFn<M>,
    I: Iterator,
    I::Item: Accept<M>,
{
    pub(in crate::pool) fn new(feed: Result<Feed<F, M, I, F::Output>, TaskError>) -> Self {
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
