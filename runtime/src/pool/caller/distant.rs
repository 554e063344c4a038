//! What a handle needs of a call that runs elsewhere.

use std::time::Instant;

use crate::message::Message;
use crate::pool::options::policy::CancelLevel;
use crate::task::{TaskContext, TaskError};

/// A call that runs elsewhere, with a result of type `R`.
pub(crate) trait Distant<R: Message>: Send + Sync {
    /// What errors about it say of where they belong.
    fn context(&self) -> TaskContext;
    /// Is it over?
    fn is_over(&self) -> bool;
    /// Waits until it is, at most until the deadline.
    fn wait(&self, deadline: Option<Instant>) -> bool;
    /// The result of one that is over.
    fn read(&self) -> Result<R, TaskError>;
    /// Ends it.
    fn cancel(&self, level: CancelLevel);
    /// Has `callback` called once when it is over; at once, if it is.
    fn when_over(&self, callback: Box<dyn FnOnce() + Send>);
    /// Nobody waits for it any more.
    fn let_go(&self);
}
