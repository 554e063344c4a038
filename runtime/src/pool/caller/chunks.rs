//! Programs in a pool: what their chunks gave, one after the other.
//!
//! The jobs are those of any batch; only what is read of them differs. A job stays in memory while a part of it is kept.
#![allow(unsafe_code)]

use std::collections::{HashMap, VecDeque};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::Arc;

use super::feed::{Feed, News, Step};
use super::runner::Runner;
use crate::executor::{Kept, Lost, Part, ProgramOptions};
use crate::message::Message;
use crate::pool::job::Bell;
use crate::pool::job::errand::Errand;
use crate::pool::job::window::Window;
use crate::pool::master::estate::Estate;
use crate::pool::options::policy::Policy;
use crate::pool::protocol::bell;
use crate::task::{Accept, Fuse, Fused, Program, TaskContext, TaskError, lookup_program};

/// Parts that are looked up ahead of what is handed out.
const MOST_READ: usize = 256;

/// A window of which parts are kept.
struct Held<R> {
    window: Window<R>,
    estate: Arc<Estate>,
}

impl<R> Drop for Held<R> {
    fn drop(&mut self) {
        // A worker may still look at it.
        self.estate.retire(self.window.job().clone());
    }
}

type ProgramFeed<P, I> = Feed<Fuse<P>, Fused<P>, I, <P as Program>::Output>;

/// The parts of a program's run.
pub(crate) struct Chunks<P: Program, I: Iterator> {
    feed: Option<ProgramFeed<P, I>>,
    refused: Option<TaskError>,
    options: ProgramOptions,
    /// By the index of the first item.
    held: HashMap<usize, Rc<Held<P::Output>>>,
    /// The next chunk of the oldest window.
    chunk: usize,
    ready: VecDeque<Result<Part<P::Output>, TaskError>>,
}

impl Runner<'_> {
    /// Runs a program over items, part by part.
    pub(in crate::pool) fn run_chunks<P, I>(self, items: I, options: ProgramOptions) -> Chunks<P, I>
    where
        P: Program,
        I: Iterator,
        I::Item: Accept<Fused<P>>,
    {
        let (feed, refused) = match begin::<P, I>(self, items, &options) {
            Ok(feed) => (Some(feed), None),
            Err(error) => (None, Some(error)),
        };
        Chunks { feed, refused, options, held: HashMap::new(), chunk: 0, ready: VecDeque::new() }
    }
}

fn begin<P, I>(runner: Runner<'_>, items: I, options: &ProgramOptions) -> Result<ProgramFeed<P, I>, TaskError>
where
    P: Program,
    I: Iterator,
    I::Item: Accept<Fused<P>>,
{
    let core = runner.core;
    let found = lookup_program::<P>().map_err(|error| TaskError::NoWorker {
        context: TaskContext::new(P::ENTRY.name(), None),
        reason: error.to_string(),
        kind: error.kind(),
    })?;
    // A flow keeps its journal itself.
    let policy = Policy { journal: None, ..options.run.over(runner.policy) };
    let arena = core.estate.arena;
    let (bell, failed) = Bell::new(arena).map_or_else(|error| (None, Some(error)), |bell| (Some(bell), None));
    let errand = Errand::new(arena, found, policy, options.lazy, bell);
    match failed {
        Some(error) => Err(errand.no_memory(None, &error)),
        None => Feed::new(core, Arc::new(errand), items, None),
    }
}

/// The part of `chunk`, which is done; and why there will be no more, if it was given up.
fn part_of<R: Message>(held: &Rc<Held<R>>, first: usize, chunk: usize) -> (Part<R>, Option<TaskError>) {
    let job = held.window.job();
    let range = job.view().range(chunk);
    let lost = |(item, stage, error)| Lost { item: first + item, stage, error };
    let mut part = Part { first: first + range.start, items: range.len(), outcome: None, lost: Vec::new(), ran: None };
    part.lost.extend(job.lost_in(range.clone()).into_iter().map(lost));
    if range.len() == 1 {
        part.ran = job.ran(range.start);
    }
    if job.is_given_up(chunk) {
        let error = job.why_given_up().error(TaskContext::new(job.context(0).task, None));
        return (part, Some(error));
    }
    match held.window.output_of_chunk(chunk) {
        // SAFETY: the chunk is done and was not given up, so its worker left the program's output there; where a worker died the bytes
        // were validated just now.
        Ok(slot) => part.outcome = Some(unsafe { Kept::new(slot, held.clone()) }),
        Err(error) => {
            part.lost = range.map(|item| lost((item, 0, error.clone().with_item(first + item)))).collect();
        }
    }
    (part, None)
}

impl<P, I> Chunks<P, I>
where
    P: Program,
    I: Iterator,
    I::Item: Accept<Fused<P>>,
{
    /// Looks up the parts that are there, or waits for some. `None`: there are no more.
    fn read_more(&mut self) -> Option<()> {
        let feed = self.feed.as_mut()?;
        if !feed.core.is_here() {
            let error = feed.core.hopeless_error(feed.errand.context(None));
            return self.end(error);
        }
        let is_there = match feed.front() {
            _ if self.options.unordered => feed.steps.iter().any(|step| match step {
                Step::Failed(_) | Step::Known(_) => true,
                Step::Window(flight) => flight.has_news(),
            }),
            Some(Step::Window(flight)) => flight.window.job().is_done(self.chunk),
            Some(Step::Failed(_) | Step::Known(_)) => true,
            None => false,
        };
        // What is there is handed out before more is pulled, where the input may depend on it.
        if !(is_there && self.options.lazy)
            && let Err(error) = feed.fill()
        {
            return self.end(error);
        }
        if feed.steps.is_empty() {
            let panic = feed.panic.take();
            // Given up before all of the input was read, with nothing under way that would tell.
            if let Some(ending) = feed.errand.ending()
                && panic.is_none()
                && !feed.has_ended()
            {
                let error = ending.error(feed.errand.context(None));
                return self.end(error);
            }
            // Nothing is left: from here on the pool can end.
            self.feed = None;
            if let Some(panic) = panic {
                resume_unwind(panic);
            }
            return None;
        }
        if self.options.unordered { self.read_any() } else { self.read_next() }
    }

    fn end(&mut self, error: TaskError) -> Option<()> {
        self.ready.push_back(Err(error));
        self.feed = None;
        Some(())
    }

    /// The parts of the oldest window, in order.
    fn read_next(&mut self) -> Option<()> {
        let feed = self.feed.as_mut()?;
        let core = feed.core.clone();
        let (window, first) = match feed.front()? {
            Step::Failed(error) => {
                let item = error.item().unwrap_or(0);
                self.ready.push_back(Ok(not_sent(item, error.clone())));
                feed.pop();
                return Some(());
            }
            // `begin` has left journals out.
            Step::Known(_) => {
                feed.pop();
                return Some(());
            }
            Step::Window(flight) => (flight.window.share(), flight.first),
        };
        let (job, chunk) = (window.job().clone(), self.chunk);
        let done = bell::wait_until(
            job.bell(),
            None,
            || job.say_wanted(Some(chunk)),
            || if job.is_done(chunk) { Some(true) } else { core.is_hopeless().then_some(false) },
        );
        job.say_nothing_wanted();
        if done != Some(true) {
            let error = core.hopeless_error(job.context(0));
            return self.end(error);
        }
        let estate = core.estate.clone();
        let held = self.held.entry(first).or_insert_with(|| Rc::new(Held { window, estate }));
        while self.chunk < job.chunks() && job.is_done(self.chunk) && self.ready.len() < MOST_READ {
            let (part, end) = part_of(held, first, self.chunk);
            self.ready.push_back(Ok(part));
            self.chunk += 1;
            if let Some(error) = end {
                return self.end(error);
            }
        }
        if self.chunk == job.chunks() {
            core.strike(&job);
            feed.pop();
            self.held.remove(&first);
            self.chunk = 0;
        }
        Some(())
    }

    /// The parts that are done, of any window.
    fn read_any(&mut self) -> Option<()> {
        let feed = self.feed.as_mut()?;
        let core = feed.core.clone();
        let Some(News::Done(found)) = feed.news(None, None) else {
            let error = core.hopeless_error(feed.errand.context(None));
            return self.end(error);
        };
        let mut over = None;
        for (at, chunks) in found {
            match &feed.steps[at] {
                Step::Failed(error) => self.ready.push_back(Ok(not_sent(error.item().unwrap_or(0), error.clone()))),
                Step::Known(_) => {}
                Step::Window(flight) => {
                    let estate = &core.estate;
                    let new = || Rc::new(Held { window: flight.window.share(), estate: estate.clone() });
                    let held = self.held.entry(flight.first).or_insert_with(new);
                    for chunk in chunks {
                        let (part, end) = part_of(held, flight.first, chunk);
                        self.ready.push_back(Ok(part));
                        over = over.or(end);
                    }
                }
            }
        }
        if let Some(error) = over {
            return self.end(error);
        }
        let held = &mut self.held;
        feed.steps.retain(|step| match step {
            Step::Failed(_) | Step::Known(_) => false,
            Step::Window(flight) if flight.is_given_out() => {
                core.strike(flight.window.job());
                held.remove(&flight.first);
                false
            }
            Step::Window(_) => true,
        });
        Some(())
    }
}

/// An item that could not be encoded, by itself.
fn not_sent<R>(item: usize, error: TaskError) -> Part<R> {
    Part { first: item, items: 1, outcome: None, lost: vec![Lost { item, stage: 0, error }], ran: None }
}

impl<P, I> Iterator for Chunks<P, I>
where
    P: Program,
    I: Iterator,
    I::Item: Accept<Fused<P>>,
{
    type Item = Result<Part<P::Output>, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.refused.take() {
            return Some(Err(error));
        }
        loop {
            if let Some(part) = self.ready.pop_front() {
                return Some(part);
            }
            self.read_more()?;
        }
    }
}
