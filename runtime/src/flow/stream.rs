//! Results while the input is still being read.

use std::collections::VecDeque;
use std::fmt;

use super::FlowError;
use super::drive::{Course, Names, partial};
use crate::message::Message;

/// What a stream reads: parts of a run, or values that need none.
pub(super) enum Parts<'e, T> {
    /// Not begun; given whether the order is to be kept.
    Later(Box<dyn FnOnce(bool) -> Course<'e, Vec<T>> + 'e>),
    Run(Course<'e, Vec<T>>),
    Here(Box<dyn Iterator<Item = T> + 'e>),
    Ended,
}

/// Results of a flow, lazily; made by [`Flow::stream`](super::Flow::stream).
///
/// A value that ended its way early is an `Err`, before the values of its chunk, unless the flow ends with it, or the flow has a handler
/// ([`Flow::on_failure`](super::Flow::on_failure)), which is told instead. The iteration can go on after it.
///
/// Dropping it cancels what has not begun, and stops running chunks after their current item.
#[must_use = "an iterator does nothing until it is asked for results"]
pub struct FlowStream<'e, T> {
    parts: Parts<'e, T>,
    names: Names<'e>,
    /// Errors about items go to the report that all parts of the flow share.
    quiet: bool,
    /// All errors do: another part of the flow follows.
    cut: bool,
    /// Keep the order?
    ordered: bool,
    ready: VecDeque<Result<T, FlowError>>,
}

impl<T> fmt::Debug for FlowStream<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlowStream").field("ready", &self.ready.len()).finish_non_exhaustive()
    }
}

impl<'e, T: Message> FlowStream<'e, T> {
    pub(super) fn new(parts: Parts<'e, T>, names: Names<'e>, ordered: bool) -> Self {
        let quiet = names.report.borrow().handler.is_some();
        FlowStream { parts, names, quiet, cut: false, ordered, ready: VecDeque::new() }
    }

    /// Results come as they are done. Of no effect after the first `next`.
    ///
    /// ```
    /// use offspring::{Pool, task};
    ///
    /// #[task]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// let pool = Pool::builder().workers(2).build()?;
    /// let mut squares = pool.flow(0..100).map(square).stream().unordered().collect::<Result<Vec<u64>, _>>()?;
    /// squares.sort_unstable();
    /// assert_eq!(squares[99], 9801);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn unordered(mut self) -> Self {
        self.ordered = false;
        self
    }

    /// The values alone; what is lost goes to the report.
    pub(super) fn values(mut self) -> impl Iterator<Item = T> + 'e
    where
        T: 'e,
    {
        (self.quiet, self.cut) = (true, true);
        self.filter_map(Result::ok)
    }

    /// There is nothing more, but perhaps something to say of the parts before.
    fn end(&mut self) -> Option<()> {
        self.parts = Parts::Ended;
        if self.cut {
            return None;
        }
        let error = self.names.report.borrow_mut().result(()).err()?;
        self.ready.push_back(Err(error));
        Some(())
    }

    fn read_more(&mut self) -> Option<()> {
        if let Parts::Later(_) = self.parts
            && let Parts::Later(begin) = std::mem::replace(&mut self.parts, Parts::Ended)
        {
            self.parts = Parts::Run(begin(self.ordered));
        }
        let part = match &mut self.parts {
            Parts::Later(_) | Parts::Ended => return None,
            Parts::Here(values) => match values.next() {
                Some(value) => {
                    self.ready.push_back(Ok(value));
                    return Some(());
                }
                None => None,
            },
            Parts::Run(_) if self.names.is_over() => None,
            Parts::Run(run) => run.next(),
        };
        let part = match part {
            Some(Ok(part)) => part,
            Some(Err(error)) => {
                self.parts = Parts::Ended;
                self.names.fatal(error);
                return self.end();
            }
            None => return self.end(),
        };
        let (ready, quiet, names) = (&mut self.ready, self.quiet, &self.names);
        let kept = names.open(part, false, |error| match quiet {
            true => names.tell(error),
            false if names.is_over() => {}
            false => {
                names.report.borrow_mut().count(&error);
                // The one that ends the flow comes last: see `end`.
                if !names.is_over() {
                    ready.push_back(Err(error));
                }
            }
        });
        ready.extend(kept.and_then(|kept| partial(&kept)).into_iter().flatten().map(Ok));
        Some(())
    }
}

impl<T: Message> Iterator for FlowStream<'_, T> {
    type Item = Result<T, FlowError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(result) = self.ready.pop_front() {
                return Some(result);
            }
            self.read_more()?;
        }
    }
}
