//! Results of a batch in whatever order they come: waiting for some, and reading them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Instant;

use super::{Feed, Step};
use crate::pool::caller::ahead::Upstream;
use crate::pool::job::errand::Ending;
use crate::pool::options::policy::CancelLevel;
use crate::pool::protocol::bell;
use crate::task::{Accept, TaskError, TaskFn};

/// Which steps have something new: of a window which chunks, of all else nothing more is to be said.
pub(in crate::pool) type Found = Vec<(usize, Vec<usize>)>;

/// What ended a wait.
pub(in crate::pool) enum News {
    Done(Found),
    /// There is input to be taken over.
    Input,
    /// No worker will come any more.
    Hopeless,
}

impl<F, M, I> Feed<F, M, I, F::Output>
where
    F: TaskFn<M>,
    I: Iterator,
    I::Item: Accept<M>,
{
    /// Waits until something is done that was not told before; `None` when the deadline passed.
    pub(in crate::pool) fn news(
        &mut self,
        deadline: Option<Instant>,
        input: Option<&Arc<dyn Upstream>>,
    ) -> Option<News> {
        let (core, Some(bell)) = (self.core.clone(), self.errand.bell.clone()) else { return Some(News::Hopeless) };
        let steps = RefCell::new(&mut self.steps);
        let say = || {
            for step in steps.borrow().iter() {
                if let Step::Window(flight) = step {
                    flight.window.job().say_any_wanted();
                }
            }
        };
        let look = || {
            let mut found = Found::new();
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
                false => Some(News::Done(found)),
                true if core.is_hopeless() => Some(News::Hopeless),
                true => input.is_some_and(|input| input.has_items()).then_some(News::Input),
            }
        };
        let news = bell::wait_until(bell.word(), deadline, say, look);
        for step in &self.steps {
            if let Step::Window(flight) = step {
                flight.window.job().say_nothing_wanted();
            }
        }
        news
    }

    /// Reads, and with a journal records, what was found; lets go of windows of which all was read.
    pub(in crate::pool) fn read_found(
        &mut self,
        found: Found,
        mut take: impl FnMut(usize, Result<F::Output, TaskError>),
    ) {
        for (at, chunks) in found {
            match &self.steps[at] {
                Step::Failed(error) => take(error.item().unwrap_or(self.next_item()), Err(error.clone())),
                Step::Known(known) => {
                    let known = *known;
                    take(known.index(), self.recall(known));
                }
                Step::Window(flight) => {
                    // One reader for all chunks that are there: what failed is looked up once.
                    let reader = flight.window.reader();
                    for item in chunks.into_iter().flat_map(|chunk| flight.window.job().view().range(chunk)) {
                        take(flight.first + item, flight.read(&reader, item, &mut self.journal));
                    }
                }
            }
        }
        let core = self.core.clone();
        self.steps.retain(|step| match step {
            Step::Failed(_) | Step::Known(_) => false,
            Step::Window(flight) if flight.is_given_out() => {
                core.finish(flight.window.job());
                false
            }
            Step::Window(_) => true,
        });
    }

    /// Runs the whole batch and gives its results in order to `take`, whose first error ends it. With a journal each is recorded as soon as
    /// it is there, whatever before it is not: whoever stops the program finds it again.
    pub(in crate::pool) fn record_all(
        &mut self,
        mut take: impl FnMut(Result<F::Output, TaskError>) -> Result<(), TaskError>,
    ) -> Result<(), TaskError> {
        let mut next = 0;
        // From `next` on.
        let mut ahead: VecDeque<Option<Result<F::Output, TaskError>>> = VecDeque::new();
        let mut failed: Option<TaskError> = None;
        loop {
            self.fill()?;
            if self.steps.is_empty() {
                break;
            }
            let found = match self.news(None, None) {
                Some(News::Done(found)) => found,
                Some(News::Input) => continue,
                Some(News::Hopeless) | None => return Err(self.core.hopeless_error(self.errand.context(None))),
            };
            self.read_found(found, |index, result| {
                let at = index.saturating_sub(next);
                if at >= ahead.len() {
                    ahead.resize_with(at + 1, || None);
                }
                ahead[at] = Some(result);
            });
            while failed.is_none()
                && let Some(Some(_)) = ahead.front()
                && let Some(Some(result)) = ahead.pop_front()
            {
                self.errand.hand_over(next);
                next += 1;
                if let Err(error) = take(result) {
                    // What runs is recorded all the same.
                    self.core.cancel_errand(&self.errand, Ending::Cancelled, CancelLevel::Cooperative);
                    failed = Some(error);
                }
            }
        }
        if let Some(panic) = self.panic.take() {
            resume_unwind(panic);
        }
        let closed = self.close_journal();
        match failed {
            // The batch was stopped after a failure further on: that is what the caller wants to know.
            Some(error) if error.is_stopped() => {
                let causes = ahead.into_iter().flatten().filter_map(Result::err);
                Err(causes.into_iter().find(|error| !error.is_stopped() && !error.is_cancelled()).unwrap_or(error))
            }
            Some(error) => Err(error),
            None => closed,
        }
    }
}
