//! The lazy forms: results while the input is still being read.

use std::collections::VecDeque;

use super::bell;
use super::feed::{Feed, Step};
use crate::task::{Accept, TaskError, TaskFn};

/// Results read ahead of what is handed out.
const MOST_READ: usize = 4096;

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
}

impl<F, M, I> Imap<F, M, I>
where
    F: TaskFn<M>,
    I: Iterator,
    I::Item: Accept<M>,
{
    pub(super) fn new(feed: Result<Feed<F, M, I, F::Output>, TaskError>) -> Self {
        let (feed, refused) = split(feed);
        Imap { feed, refused, ready: VecDeque::new(), chunk: 0 }
    }

    /// Reads the results that are there, or waits for some. `None`: there are no more.
    fn read_more(&mut self) -> Option<()> {
        let feed = self.feed.as_mut()?;
        if !feed.core.is_here() {
            self.ready.push_back(Err(feed.core.hopeless_error(feed.plan.context(None))));
            self.feed = None;
            return Some(());
        }
        // What is there is handed out before more is pulled: the input may depend on it.
        let is_there = match feed.front() {
            Some(Step::Window(flight)) => flight.window.job().is_done(self.chunk),
            Some(Step::Failed(_)) => true,
            None => false,
        };
        if !is_there && let Err(error) = feed.fill() {
            self.ready.push_back(Err(error));
            return Some(());
        }
        let core = feed.core.clone();
        match feed.front() {
            // Nothing is left: from here on the pool can end.
            None => self.feed = None,
            Some(Step::Failed(error)) => {
                self.ready.push_back(Err(error.clone()));
                feed.pop();
            }
            Some(Step::Window(flight)) => {
                let job = flight.window.job().clone();
                let chunk = self.chunk;
                let give_up = || core.is_hopeless().then_some(false);
                let done = bell::wait_until(
                    job.bell(),
                    None,
                    || job.say_wanted(Some(chunk)),
                    || if job.is_done(chunk) { Some(true) } else { give_up() },
                );
                job.say_nothing_wanted();
                if done != Some(true) {
                    self.ready.push_back(Err(core.hopeless_error(job.context(0))));
                    self.feed = None;
                    return Some(());
                }
                let reader = flight.window.reader();
                // One reader for all chunks that are there: what failed is looked up once.
                while self.chunk < job.chunks() && (self.chunk == chunk || job.is_done(self.chunk)) {
                    self.ready.extend(job.view().range(self.chunk).map(|item| reader.read(item)));
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
        self.feed.is_some().then_some(())
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
        if let Some(error) = self.refused.take() {
            return Some(Err(error));
        }
        loop {
            if let Some(result) = self.ready.pop_front() {
                return Some(result);
            }
            self.read_more()?;
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

    fn read_more(&mut self) -> Option<()> {
        let feed = self.feed.as_mut()?;
        let before = feed.next_item();
        if !feed.core.is_here() {
            self.ready.push_back((before, Err(feed.core.hopeless_error(feed.plan.context(None)))));
            self.feed = None;
            return Some(());
        }
        // What is there is handed out before more is pulled: the input may depend on it.
        let is_there = feed.steps.iter_mut().any(|step| match step {
            Step::Failed(_) => true,
            Step::Window(flight) => flight.has_news(),
        });
        if !is_there && let Err(error) = feed.fill() {
            self.ready.push_back((before, Err(error)));
            return Some(());
        }
        if feed.steps.is_empty() {
            // Nothing is left: from here on the pool can end.
            self.feed = None;
            return None;
        }
        let (core, bell) = (feed.core.clone(), feed.plan.bell.clone()?);
        let steps = std::cell::RefCell::new(&mut feed.steps);
        let found = bell::wait_until(
            bell.word(),
            None,
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
                        Step::Failed(_) => found.push((at, Vec::new())),
                        Step::Window(flight) => {
                            let new = flight.newly_done();
                            if !new.is_empty() {
                                found.push((at, new));
                            }
                        }
                    }
                }
                (!found.is_empty() || core.is_hopeless()).then_some(found)
            },
        )
        .unwrap_or_default();
        for step in &feed.steps {
            if let Step::Window(flight) = step {
                flight.window.job().say_nothing_wanted();
            }
        }
        if found.is_empty() {
            let context = feed.plan.context(None);
            self.ready.push_back((before, Err(core.hopeless_error(context))));
            self.feed = None;
            return Some(());
        }
        for (at, chunks) in found {
            match &feed.steps[at] {
                Step::Failed(error) => self.ready.push_back((error.item().unwrap_or(before), Err(error.clone()))),
                Step::Window(flight) => {
                    // One reader for all chunks that are there: what failed is looked up once.
                    let reader = flight.window.reader();
                    for item in chunks.into_iter().flat_map(|chunk| flight.window.job().view().range(chunk)) {
                        self.ready.push_back((flight.first + item, reader.read(item)));
                    }
                }
            }
        }
        feed.steps.retain(|step| match step {
            Step::Failed(_) => false,
            Step::Window(flight) if flight.is_given_out() => {
                core.finish(flight.window.job());
                false
            }
            Step::Window(_) => true,
        });
        Some(())
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
        if let Some(error) = self.refused.take() {
            return Some((0, Err(error)));
        }
        loop {
            if let Some(result) = self.ready.pop_front() {
                return Some(result);
            }
            self.read_more()?;
        }
    }
}

fn split<T>(feed: Result<T, TaskError>) -> (Option<T>, Option<TaskError>) {
    match feed {
        Ok(feed) => (Some(feed), None),
        Err(error) => (None, Some(error)),
    }
}
