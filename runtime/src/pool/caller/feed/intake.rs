//! The items of a batch on their way into a window.

use std::marker::PhantomData;

use super::Step;
use crate::journal::{self, Admitted, Running};
use crate::task::Accept;

/// Items on their way into a window: with a journal, up to the first that need not be run.
pub(super) struct Admission<'a, I: Iterator, M, R> {
    pub(super) items: &'a mut I,
    pub(super) journal: Option<&'a mut journal::Run>,
    /// The next item, if it was looked at before.
    pub(super) held: Option<(I::Item, Running)>,
    /// Its index.
    pub(super) next: usize,
    pub(super) running: Vec<Running>,
    /// What came instead of an item to be run; nothing more is pulled after it.
    pub(super) refused: Option<Step<R>>,
    pub(super) marker: PhantomData<fn(M)>,
}

impl<I: Iterator, M, R> Iterator for Admission<'_, I, M, R>
where
    I::Item: Accept<M>,
{
    type Item = I::Item;

    #[inline]
    fn next(&mut self) -> Option<I::Item> {
        if self.journal.is_none() {
            return self.items.next();
        }
        self.look()?;
        let (item, running) = self.held.take()?;
        self.running.push(running);
        self.next += 1;
        Some(item)
    }
}

impl<I: Iterator, M, R> Admission<'_, I, M, R>
where
    I::Item: Accept<M>,
{
    /// Pulls an item and asks the journal. `None`: nothing more is to be pulled, and none is held.
    pub(super) fn look(&mut self) -> Option<()> {
        if self.held.is_some() {
            return Some(());
        }
        let journal = self.journal.as_deref_mut().filter(|_| self.refused.is_none())?;
        let item = self.items.next()?;
        match journal.admit(&item, self.next) {
            Admitted::Runs(running) => self.held = Some((item, running)),
            Admitted::Known(known) => self.refused = Some(Step::Known(known)),
            Admitted::Failed(error) => self.refused = Some(Step::Failed(error)),
        }
        Some(())
    }
}
