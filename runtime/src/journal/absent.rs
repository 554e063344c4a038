//! In the place of journals in builds without the feature `journal`: there never is one.

use std::sync::Arc;

use crate::executor::Ran;
use crate::flow::Fate;
use crate::message::Message;
use crate::task::{Accept, TaskEntry, TaskError};

/// No journal.
#[derive(Debug, Clone)]
pub(crate) enum Journal {}

/// No batch has one.
#[derive(Debug)]
pub(crate) enum Run {}

/// No item is recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Known {}

/// No item is to be recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Running {}

/// Nothing is asked.
#[derive(Debug)]
pub(crate) enum Admitted {
    #[expect(dead_code, reason = "made only where there are journals")]
    Known(Known),
    #[expect(dead_code, reason = "made only where there are journals")]
    Runs(Running),
    #[expect(dead_code, reason = "made only where there are journals")]
    Failed(TaskError),
}

impl Known {
    pub(crate) fn index(self) -> usize {
        match self {}
    }
}

impl Run {
    pub(crate) fn begin(journal: &Journal, _: &'static TaskEntry) -> Result<Run, TaskError> {
        match *journal {}
    }

    pub(crate) fn begin_flow(
        journal: &Journal,
        _: &'static TaskEntry,
        _: Arc<str>,
        _: &[u32],
    ) -> Result<Run, TaskError> {
        match *journal {}
    }

    pub(crate) fn admit<M, A: Accept<M>>(&mut self, _: &A, _: usize) -> Admitted {
        match *self {}
    }

    pub(crate) fn recall<R: Message>(&mut self, _: Known) -> Result<R, TaskError> {
        match *self {}
    }

    pub(crate) fn settle<R: Message>(
        &mut self,
        _: Running,
        _: Option<Ran>,
        _: Result<R, TaskError>,
    ) -> Result<R, TaskError> {
        match *self {}
    }

    pub(crate) fn recall_fate<P: Message>(&mut self, _: Known) -> Result<Fate<P>, TaskError> {
        match *self {}
    }

    pub(crate) fn keep_fate<P: Message>(
        &mut self,
        _: Running,
        _: Option<Ran>,
        _: Fate<P>,
        _: Option<String>,
    ) -> Result<(), TaskError> {
        match *self {}
    }

    pub(crate) fn finish(&self) -> Result<(), TaskError> {
        match *self {}
    }
}
