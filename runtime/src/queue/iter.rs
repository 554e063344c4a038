//! Iterating over a queue.

use super::{Queue, QueueError};
use crate::message::Message;

/// The items of a queue until it is closed and empty; see [`Queue::iter`].
#[derive(Debug)]
pub struct Iter<'a, T: Message>(pub(super) &'a Queue<T>);

/// The items of a queue until it is closed and empty.
#[derive(Debug)]
pub struct IntoIter<T: Message>(Queue<T>);

/// The items that are there; see [`Queue::drain`].
#[derive(Debug)]
pub struct Drain<'a, T: Message>(pub(super) &'a Queue<T>);

/// An item, or why there is none; `None` at the end.
fn unless_closed<T>(item: Result<T, QueueError>) -> Option<Result<T, QueueError>> {
    match item {
        Err(QueueError::Closed) => None,
        other => Some(other),
    }
}

impl<T: Message> Iterator for Iter<'_, T> {
    type Item = Result<T, QueueError>;

    fn next(&mut self) -> Option<Self::Item> {
        unless_closed(self.0.get())
    }
}

impl<T: Message> Iterator for IntoIter<T> {
    type Item = Result<T, QueueError>;

    fn next(&mut self) -> Option<Self::Item> {
        unless_closed(self.0.get())
    }
}

impl<T: Message> Iterator for Drain<'_, T> {
    type Item = Result<T, QueueError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.0.try_get() {
            Err(QueueError::Empty) => None,
            item => unless_closed(item),
        }
    }
}

impl<'a, T: Message> IntoIterator for &'a Queue<T> {
    type Item = Result<T, QueueError>;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T: Message> IntoIterator for Queue<T> {
    type Item = Result<T, QueueError>;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter(self)
    }
}
