//! Who is told of items that are lost.

use std::fmt;

use super::FlowError;

/// What is known of the items that a flow lost, in all its parts.
#[derive(Default)]
pub(super) struct Report<'e> {
    pub(super) handler: Option<Box<dyn FnMut(FlowError) + 'e>>,
    /// Without a handler: the first that the task did not decide itself.
    first: Option<FlowError>,
    /// About the flow as a whole.
    fatal: Option<FlowError>,
    /// So many failures end it.
    pub(super) most: Option<usize>,
    failures: usize,
}

impl fmt::Debug for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report").field("first", &self.first).field("fatal", &self.fatal).finish_non_exhaustive()
    }
}

impl Report<'_> {
    /// An item ended its way.
    pub(super) fn tell(&mut self, error: FlowError) {
        if self.is_over() {
            return;
        }
        self.count(&error);
        match &mut self.handler {
            Some(handler) => handler(error),
            None if error.as_task_error().is_none() => {}
            None if self.first.as_ref().is_some_and(|first| first.item() <= error.item()) => {}
            None => self.first = Some(error),
        }
    }

    /// Another failure. The one that is too much ends the flow.
    pub(super) fn count(&mut self, error: &FlowError) {
        self.failures += 1;
        if self.is_over() && self.fatal.is_none() {
            self.fatal = Some(error.clone());
        }
    }

    /// Were there more failures than the flow is to bear?
    pub(super) fn is_over(&self) -> bool {
        self.most.is_some_and(|most| self.failures >= most)
    }

    /// The flow cannot go on.
    pub(super) fn tell_fatal(&mut self, error: FlowError) {
        self.fatal.get_or_insert(error);
    }

    /// What the flow's end has to say.
    pub(super) fn result<T>(&mut self, value: T) -> Result<T, FlowError> {
        self.fatal.take().or(self.first.take()).map_or(Ok(value), Err)
    }
}
