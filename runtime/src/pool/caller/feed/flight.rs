//! A window that the workers have.

use std::collections::BTreeSet;

use crate::journal::{self, Running};
use crate::message::Message;
use crate::pool::job::window::{Reader, Window};
use crate::task::TaskError;

/// A published window.
#[derive(Debug)]
pub(in crate::pool) struct Flight<R> {
    pub(in crate::pool) window: Window<R>,
    /// The first item's index in the batch.
    pub(in crate::pool) first: usize,
    /// What the journal is to be told of its items; empty without one.
    pub(super) running: Vec<Running>,
    /// How far its chunks are known to be done.
    pub(super) done: usize,
    /// Chunks that `newly_done` has reported.
    pub(super) reported: Reported,
}

/// A set of chunks that fills up roughly in order.
#[derive(Debug, Default)]
pub(super) struct Reported {
    /// All below this are in the set.
    below: usize,
    /// So are these.
    beyond: BTreeSet<usize>,
}

impl<R> Flight<R> {
    pub(super) fn is_done(&mut self) -> bool {
        self.window.job().all_done(&mut self.done)
    }

    /// Are there chunks that `newly_done` would report?
    pub(in crate::pool) fn has_news(&self) -> bool {
        let job = self.window.job();
        (self.reported.below..job.claimed()).any(|chunk| !self.reported.beyond.contains(&chunk) && job.is_done(chunk))
    }

    /// The chunks that were done since this was last asked.
    pub(in crate::pool) fn newly_done(&mut self) -> Vec<usize> {
        let job = self.window.job();
        let new: Vec<usize> = (self.reported.below..job.claimed())
            .filter(|chunk| !self.reported.beyond.contains(chunk) && job.is_done(*chunk))
            .collect();
        self.reported.beyond.extend(&new);
        while self.reported.beyond.remove(&self.reported.below) {
            self.reported.below += 1;
        }
        new
    }

    /// The result of an item that is done; with a journal, recorded.
    pub(in crate::pool) fn read(
        &self,
        reader: &Reader<'_, R>,
        item: usize,
        journal: &mut Option<Box<journal::Run>>,
    ) -> Result<R, TaskError>
    where
        R: Message,
    {
        let result = reader.read(item);
        match (journal, self.running.get(item)) {
            (Some(journal), Some(running)) => journal.settle(*running, self.window.job().ran(item), result),
            _ => result,
        }
    }

    /// How many chunks were reported.
    pub(in crate::pool) fn reported(&self) -> usize {
        self.reported.below + self.reported.beyond.len()
    }

    /// Were all chunks reported?
    pub(in crate::pool) fn is_given_out(&self) -> bool {
        self.reported.below >= self.window.job().chunks()
    }
}
