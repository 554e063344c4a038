//! Pipes: queues whose two ends are different things.
//!
//! `README.md` in this folder says what they add to queues.
#![allow(unsafe_code)]

mod duplex;
mod receiver;
mod sender;

pub use duplex::{End, bounded_duplex, duplex};
pub use receiver::{Iter, Receiver, TryIter};
pub use sender::Sender;

use crate::QueueError;
use crate::message::Message;
use crate::object::Role;
use crate::queue::core::{self, Core};

/// A new one-way pipe in which any number of messages wait.
///
/// Both ends can be cloned and sent to other processes. The receiver's [`recv`](Receiver::recv) ends with
/// [`QueueError::Closed`] when every sender is dropped, or its process dead, and all messages are received; sending is an error
/// of that kind when every receiver is. An end inside a message that nobody has read yet counts as one that is there.
///
/// ```
/// use offspring::{pipe, spawn, task};
///
/// #[task]
/// fn count(numbers: pipe::Sender<u64>) {
///     for number in 0..10 {
///         numbers.send(&number).unwrap();
///     }
/// }
///
/// # fn main() -> offspring::Result<()> {
/// let (tx, rx) = pipe::channel::<u64>()?;
/// let child = spawn(count, &tx)?;
/// drop(tx);
/// child.join()?;
/// assert_eq!(rx.iter().collect::<Result<Vec<_>, _>>()?, (0..10).collect::<Vec<_>>());
/// # Ok(())
/// # }
/// ```
///
/// A pipe has one way, and its ends know which:
/// ```compile_fail,E0599
/// let (tx, rx) = offspring::pipe::channel::<u64>()?;
/// rx.send(&7)?; // no method named `send` found for `Receiver<u64>`
/// # Ok::<(), offspring::Error>(())
/// ```
///
/// # Errors
/// [`QueueError::Refused`] when there is no shared memory.
#[doc(alias = "Pipe")]
pub fn channel<T: Message>() -> Result<(Sender<T>, Receiver<T>), QueueError> {
    make(0)
}

/// A new one-way pipe in which at most `capacity` messages wait. Who sends one more waits for room.
///
/// ```
/// use offspring::{ErrorKind, pipe};
///
/// let (tx, rx) = pipe::bounded::<u64>(1)?;
/// tx.send(&1)?;
/// assert_eq!(tx.try_send(&2).unwrap_err().kind(), ErrorKind::Full);
/// assert_eq!(rx.recv()?, 1);
/// # Ok::<(), offspring::Error>(())
/// ```
///
/// # Errors
/// [`QueueError::Capacity`] for 0 and for more than 2^30; [`QueueError::Refused`] when there is no shared memory.
#[doc(alias = "sync_channel")]
pub fn bounded<T: Message>(capacity: usize) -> Result<(Sender<T>, Receiver<T>), QueueError> {
    make(core::capacity(capacity)?)
}

fn make<T: Message>(capacity: u32) -> Result<(Sender<T>, Receiver<T>), QueueError> {
    let tx = Core::create(capacity, false, 0, Role::Sender)?;
    let rx = tx.with_role(Role::Receiver)?;
    Ok((Sender::of(tx.into_handle()), Receiver::of(rx.into_handle())))
}
