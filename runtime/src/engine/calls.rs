//! What is behind the calls of a pool over a network: one batch, or one call, with its options.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::course::{Course, Ending, Flight, OnOver, Piece};
use super::feed::{self, Feed, Step};
use super::hub::Hub;
use crate::executor::{Kept, Lost, Part, ProgramOptions};
use crate::message::{EncodeError, Message, Row};
use crate::pool::Distant;
use crate::pool::policy::Policy;
use crate::task::{Accept, Fused, Grain, Program, Role, TaskContext, TaskError, TaskFn, lookup_program, registry};
use crate::{CancelLevel, CancelToken, TaskHandle};

/// A pool over a network and how it is to run something.
#[derive(Debug, Clone, Copy)]
pub(super) struct Calls<'a> {
    pub(super) hub: &'a Arc<Hub>,
    pub(super) policy: &'a Policy,
}

impl Calls<'_> {
    /// What is to be done with `F`, or the panic with the cure where `F` is no task.
    #[track_caller]
    fn course<F: 'static>(self) -> Arc<Course> {
        match registry::entry_of::<F>(Role::Task) {
            Ok(task) => Course::new(self.hub.next_run(), task, self.policy.clone()),
            Err(error) => panic!("{error}"),
        }
    }

    #[track_caller]
    fn feed<F, M, I>(self, items: I, lazy: bool) -> Result<Feed<M, I>, TaskError>
    where
        F: TaskFn<M>,
        I: Iterator,
        I::Item: Accept<M>,
    {
        Feed::new(self.hub, self.course::<F>(), items, lazy)
    }

    #[track_caller]
    pub(super) fn map<F, M, I>(self, items: I) -> Result<Vec<F::Output>, TaskError>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::Item: Accept<M>,
    {
        let mut feed = self.feed::<F, M, _>(items.into_iter(), false)?;
        let mut out = Vec::new();
        let mut failed = None;
        if feed.has_journal() {
            feed.record_all(|result| result.map(|value| out.push(value)))?;
            return Ok(out);
        }
        while let Some(step) = feed.next_done() {
            match step {
                // There is none without a journal.
                Step::Known(_) => {}
                Step::Failed(error) => failed = Some(error),
                Step::Sent(sent) => {
                    out.reserve(sent.items);
                    for item in 0..sent.items {
                        match feed.read(&sent, item) {
                            Ok(value) => out.push(value),
                            Err(error) => failed = failed.or(Some(error)),
                        }
                    }
                }
            }
            match failed {
                None => {}
                // The batch was stopped after a failure further on: that is what the caller wants to know.
                Some(error) if error.is_stopped() => return Err(feed.first_cause::<F::Output>().unwrap_or(error)),
                Some(error) => return Err(error),
            }
        }
        Ok(out)
    }

    #[track_caller]
    pub(super) fn try_map<F, M, I>(self, items: I) -> Result<Vec<Result<F::Output, TaskError>>, TaskError>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::Item: Accept<M>,
    {
        let mut feed = self.feed::<F, M, _>(items.into_iter(), false)?;
        let mut out = Vec::new();
        if feed.has_journal() {
            feed.record_all(|result| {
                out.push(result);
                Ok(())
            })?;
            return Ok(out);
        }
        while let Some(step) = feed.next_done() {
            match step {
                Step::Known(_) => {}
                Step::Failed(error) => out.push(Err(error)),
                Step::Sent(sent) => out.extend((0..sent.items).map(|item| feed.read(&sent, item))),
            }
        }
        Ok(out)
    }

    /// Results as they come, or in order.
    #[track_caller]
    pub(super) fn results<F, M, I>(self, items: I, unordered: bool) -> Results<F, M, I::IntoIter>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::Item: Accept<M>,
    {
        match self.feed::<F, M, _>(items.into_iter(), true) {
            Ok(feed) => Results { feed: Some(feed), refused: None, ready: VecDeque::new(), unordered },
            Err(error) => Results { feed: None, refused: Some(error), ready: VecDeque::new(), unordered },
        }
    }

    #[track_caller]
    pub(super) fn submit<F, M, A>(self, input: A) -> Result<TaskHandle<F::Output>, TaskError>
    where
        F: TaskFn<M>,
        A: Accept<M>,
    {
        let course = self.course::<F>();
        feed::refuse(self.hub, &course)?;
        if course.policy.token.as_ref().is_some_and(CancelToken::is_cancelled) {
            return Err(TaskError::Cancelled { context: course.context(None) });
        }
        let not_encoded = |error: EncodeError| TaskError::NotSendable {
            context: course.context(None),
            reason: error.to_string(),
            kind: error.kind(),
        };
        let mut row = Row::new(course.entry.input().size, 1).map_err(not_encoded)?;
        // SAFETY: a slot of the size that the task's entry states, in the same piece as the encoder's memory.
        row.push(|encoder, slot| unsafe { input.write(encoder, slot) }).map_err(not_encoded)?;
        let (flight, parcel) = feed::seal(self.hub, &course, row, None, false).map_err(not_encoded)?;
        self.hub.start(flight.clone(), parcel);
        Ok(TaskHandle::distant(Arc::new(Call { hub: self.hub.clone(), flight })))
    }

    /// The parts of a program's run.
    pub(super) fn parts<P, I>(self, items: I, options: &ProgramOptions) -> Parts<P, I>
    where
        P: Program,
        I: Iterator,
        I::Item: Accept<Fused<P>>,
    {
        let begin = || {
            let found = lookup_program::<P>().map_err(|error| TaskError::NoWorker {
                context: TaskContext::new(P::ENTRY.name(), None),
                reason: error.to_string(),
                kind: error.kind(),
            })?;
            let mut policy = options.run.over(self.policy);
            // A flow keeps its own.
            policy.journal = None;
            Feed::new(self.hub, Course::new(self.hub.next_run(), found, policy), items, options.lazy)
        };
        let (feed, refused) = match begin() {
            Ok(feed) => (Some(feed), None),
            Err(error) => (None, Some(error)),
        };
        Parts { feed, refused, ready: VecDeque::new(), unordered: options.unordered, program: std::marker::PhantomData }
    }
}

/// Results of a batch, lazily.
pub(super) struct Results<F: TaskFn<M>, M, I: Iterator> {
    feed: Option<Feed<M, I>>,
    refused: Option<TaskError>,
    ready: VecDeque<(usize, Result<F::Output, TaskError>)>,
    unordered: bool,
}

impl<F, M, I> Iterator for Results<F, M, I>
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
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready);
            }
            let feed = self.feed.as_mut()?;
            let step = if self.unordered { feed.any_done() } else { feed.next_done() };
            match step {
                None => {
                    let closed = feed.close_journal();
                    let next = feed.next_item();
                    self.feed = None;
                    return closed.err().map(|error| (next, Err(error)));
                }
                Some(Step::Known(known)) => self.ready.push_back((known.index(), feed.recall(known))),
                Some(Step::Failed(error)) => self.ready.push_back((error.item().unwrap_or(0), Err(error))),
                Some(Step::Sent(sent)) => {
                    let results = (0..sent.items).map(|item| (sent.first() + item, feed.read(&sent, item)));
                    self.ready.extend(results);
                }
            }
        }
    }
}

/// The parts of a program's run.
pub(super) struct Parts<P: Program, I: Iterator> {
    feed: Option<Feed<Fused<P>, I>>,
    refused: Option<TaskError>,
    ready: VecDeque<Result<Part<P::Output>, TaskError>>,
    unordered: bool,
    program: std::marker::PhantomData<fn() -> P>,
}

impl<P, I> Iterator for Parts<P, I>
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
            if let Some(ready) = self.ready.pop_front() {
                if ready.is_err() {
                    self.feed = None;
                    self.ready.clear();
                }
                return Some(ready);
            }
            let feed = self.feed.as_mut()?;
            let step = if self.unordered { feed.any_done() } else { feed.next_done() };
            match step {
                None => self.feed = None,
                // A feed without a journal knows none.
                Some(Step::Known(_)) => {}
                Some(Step::Failed(error)) if error.is_cancelled() || error.is_stopped() => {
                    self.ready.push_back(Err(error))
                }
                Some(Step::Failed(error)) => {
                    let item = error.item().unwrap_or(0);
                    let lost = vec![Lost { item, stage: 0, error }];
                    self.ready.push_back(Ok(Part { first: item, items: 1, outcome: None, lost, ran: None }));
                }
                Some(Step::Sent(sent)) => {
                    for piece in sent.flight.outcome() {
                        let (part, end) = part_of::<P::Output>(&sent.flight, sent.first(), piece);
                        self.ready.extend(part.map(Ok));
                        self.ready.extend(end.map(Err));
                    }
                }
            }
        }
    }
}

/// The part that a piece of a chunk is; or why there will be no more, where it was given up.
fn part_of<R: Message>(flight: &Flight, first: usize, piece: &Piece) -> (Option<Part<R>>, Option<TaskError>) {
    debug_assert!(matches!(flight.course.entry.grain(), Grain::Chunk { .. }));
    let range = match piece {
        Piece::Reply(reply) => reply.range(),
        Piece::Lost { range, .. } => range.clone(),
    };
    let mut part = Part { first: first + range.start, items: range.len(), outcome: None, lost: Vec::new(), ran: None };
    match piece {
        Piece::Reply(reply) => {
            let mut failed: Vec<(usize, u32)> = reply.failed().collect();
            failed.sort_unstable();
            for (slot, stage) in failed {
                let Some(error) = feed::error_in(reply, flight, slot) else { continue };
                if error.is_cancelled() || error.is_stopped() {
                    return (None, Some(without_item(error)));
                }
                part.lost.push(Lost { item: first + slot, stage, error });
            }
            if reply.head().slots == 1 {
                match reply.slot::<R>(0, &flight.context(range.start)) {
                    // SAFETY: found valid just now; what is kept owns the bytes, which nobody changes. No program reads them in place: the
                    // sinks here reach nothing but themselves.
                    Ok(slot) => part.outcome = Some(unsafe { Kept::new(slot, Rc::new(reply.clone())) }),
                    Err(error) => part.lost = all(range, first, &error),
                }
            }
        }
        Piece::Lost { why, .. } => {
            let error = why.error(flight.context(range.start));
            if error.is_cancelled() || error.is_stopped() || error.is_pool_closed() || error.is_no_worker() {
                return (None, Some(without_item(error)));
            }
            part.lost = all(range, first, &error);
        }
    }
    (Some(part), None)
}

fn all(range: std::ops::Range<usize>, first: usize, error: &TaskError) -> Vec<Lost> {
    let lost = |slot| Lost { item: first + slot, stage: 0, error: error.clone().with_item(first + slot) };
    range.map(lost).collect()
}

/// About the run as a whole.
fn without_item(error: TaskError) -> TaskError {
    let context = TaskContext::new(error.context().task.clone(), None);
    match error {
        TaskError::Stopped { failures, .. } => TaskError::Stopped { context, failures },
        TaskError::Cancelled { .. } => TaskError::Cancelled { context },
        other => other,
    }
}

/// One call.
struct Call {
    hub: Arc<Hub>,
    flight: Arc<Flight>,
}

impl<R: Message> Distant<R> for Call {
    fn context(&self) -> TaskContext {
        self.flight.context(0)
    }

    fn is_over(&self) -> bool {
        self.flight.is_done()
    }

    fn wait(&self, deadline: Option<Instant>) -> bool {
        while !self.flight.is_done() && deadline.is_none_or(|deadline| Instant::now() < deadline) {
            self.flight.course.wait(deadline, 1);
            if crate::interrupted() && !self.flight.is_done() {
                self.hub.end(&self.flight.course, Ending::Cancelled, CancelLevel::Cooperative);
            }
        }
        self.flight.is_done()
    }

    fn read(&self) -> Result<R, TaskError> {
        feed::read(&self.flight, 0)
    }

    fn cancel(&self, level: CancelLevel) {
        self.hub.end(&self.flight.course, Ending::Cancelled, level);
    }

    fn when_over(&self, callback: OnOver) {
        self.flight.course.when_done(&self.flight, callback);
    }

    fn let_go(&self) {
        self.flight.course.unwanted.store(true, Relaxed);
    }
}
