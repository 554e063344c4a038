//! Two pipes, one each way.
#![allow(unsafe_code)]

use std::time::Duration;

use super::{Receiver, Sender};
use crate::message::{DecodeError, Decoder, EncodeError, Encoder, Message};
use crate::object::wait_any::{Bell, Waitable, sealed::Sealed};
use crate::{QueueError, View};

/// Both ends of a pipe with two ways.
type Ends<A, B> = (End<A, B>, End<B, A>);

/// One end of a pipe with two ways: sends `S`, receives `R`. See [`duplex`].
///
/// # When a process is killed
/// As for [`Sender`] and [`Receiver`]: what was sent is there, whole, and who waits for one that is dead is told [`QueueError::Closed`].
#[derive(Debug)]
pub struct End<S: Message, R: Message> {
    ends: (Sender<S>, Receiver<R>),
}

impl<S: Message, R: Message> Clone for End<S, R> {
    fn clone(&self) -> Self {
        End { ends: self.ends.clone() }
    }
}

// SAFETY: as the pair of ends, which is all that is written.
unsafe impl<S: Message, R: Message> Message for End<S, R> {
    type Archived = <(Sender<S>, Receiver<R>) as Message>::Archived;
    type Resolver = <(Sender<S>, Receiver<R>) as Message>::Resolver;

    fn write_parts(this: &Self, encoder: &mut Encoder) -> Result<Self::Resolver, EncodeError> {
        Message::write_parts(&this.ends, encoder)
    }

    fn write_root(this: &Self, resolver: Self::Resolver, out: rkyv::Place<Self::Archived>) {
        Message::write_root(&this.ends, resolver, out);
    }

    fn read(archived: &Self::Archived, decoder: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(End { ends: Message::read(archived, decoder)? })
    }
}

/// A new pipe with two ways, in each of which any number of messages wait: the first end sends `A` and receives `B`, the
/// second end the reverse.
///
/// Each way ends as a pipe of [`channel`](super::channel) does: when the other end is dropped, or its process dead.
///
/// ```
/// use offspring::{pipe, spawn, task};
///
/// #[task]
/// fn answer(end: pipe::End<String, u64>) {
///     while let Ok(number) = end.recv() {
///         end.send(&format!("{number}!")).unwrap();
///     }
/// }
///
/// # fn main() -> offspring::Result<()> {
/// let (mine, theirs) = pipe::duplex::<u64, String>()?;
/// let child = spawn(answer, &theirs)?;
/// drop(theirs);
/// mine.send(&7)?;
/// assert_eq!(mine.recv()?, "7!");
/// drop(mine);
/// child.join()?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`channel`](super::channel).
#[doc(alias = "Pipe")]
pub fn duplex<A: Message, B: Message>() -> Result<Ends<A, B>, QueueError> {
    Ok(ends(super::channel()?, super::channel()?))
}

/// As [`duplex`], with at most `capacity` messages waiting each way.
///
/// Two processes that both send before they receive wait for each other when both ways are full.
///
/// # Errors
/// As [`bounded`](super::bounded).
pub fn bounded_duplex<A: Message, B: Message>(capacity: usize) -> Result<Ends<A, B>, QueueError> {
    Ok(ends(super::bounded(capacity)?, super::bounded(capacity)?))
}

fn ends<A: Message, B: Message>(
    (a, to_b): (Sender<A>, Receiver<A>),
    (b, to_a): (Sender<B>, Receiver<B>),
) -> Ends<A, B> {
    (End { ends: (a, to_a) }, End { ends: (b, to_b) })
}

impl<S: Message, R: Message> End<S, R> {
    /// As [`Sender::send`].
    ///
    /// ```
    /// let (ours, theirs) = offspring::pipe::duplex::<u64, String>()?;
    /// ours.send(&7)?;
    /// theirs.send(&theirs.recv()?.to_string())?;
    /// assert_eq!(ours.recv()?, "7");
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As there.
    pub fn send(&self, message: &S) -> Result<(), QueueError> {
        self.ends.0.send(message)
    }

    /// As [`Sender::try_send`].
    ///
    /// # Errors
    /// As there.
    pub fn try_send(&self, message: &S) -> Result<(), QueueError> {
        self.ends.0.try_send(message)
    }

    /// As [`Sender::send_timeout`].
    ///
    /// # Errors
    /// As there.
    pub fn send_timeout(&self, message: &S, timeout: Duration) -> Result<(), QueueError> {
        self.ends.0.send_timeout(message, timeout)
    }

    /// As [`Receiver::recv`].
    ///
    /// # Errors
    /// As there.
    pub fn recv(&self) -> Result<R, QueueError> {
        self.ends.1.recv()
    }

    /// As [`Receiver::try_recv`].
    ///
    /// # Errors
    /// As there.
    pub fn try_recv(&self) -> Result<R, QueueError> {
        self.ends.1.try_recv()
    }

    /// As [`Receiver::recv_timeout`].
    ///
    /// # Errors
    /// As there.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<R, QueueError> {
        self.ends.1.recv_timeout(timeout)
    }

    /// As [`Receiver::recv_view`].
    ///
    /// # Errors
    /// As there.
    pub fn recv_view(&self) -> Result<View<R>, QueueError> {
        self.ends.1.recv_view()
    }

    /// As [`Receiver::poll`].
    ///
    /// # Errors
    /// As there.
    pub fn poll(&self, timeout: Duration) -> Result<bool, QueueError> {
        self.ends.1.poll(timeout)
    }

    /// The part that sends.
    pub fn sender(&self) -> &Sender<S> {
        &self.ends.0
    }

    /// The part that receives.
    pub fn receiver(&self) -> &Receiver<R> {
        &self.ends.1
    }

    /// Both parts, to be used in different places.
    pub fn split(self) -> (Sender<S>, Receiver<R>) {
        self.ends
    }
}

impl<S: Message, R: Message> Sealed for End<S, R> {
    fn is_ready(&self) -> bool {
        self.ends.1.core().is_ready()
    }

    fn ring_when_ready(&self, bell: &Bell) {
        self.ends.1.core().watch(bell);
    }
}

/// Ready when receiving would not wait: there is something, or the end. Somebody else may be faster all the same.
impl<S: Message, R: Message> Waitable for End<S, R> {}
