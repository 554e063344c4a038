//! The end of a pipe that messages go into.
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use crate::QueueError;
use crate::message::Message;
use crate::object::{Handle, message_by_handle};
use crate::queue::core::{Core, QueueKind, Until};

/// The end of a pipe that messages go into; see [`channel`](super::channel).
///
/// A clone, or a copy that was sent to another process, sends into the same pipe. The receivers see the end of it when all are
/// dropped or dead.
pub struct Sender<T: Message> {
    handle: Handle<QueueKind>,
    items: PhantomData<fn(T)>,
}

impl<T: Message> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender::of(self.handle.clone())
    }
}

impl<T: Message> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("waiting", &self.core().waiting()).finish_non_exhaustive()
    }
}

message_by_handle!([T: Message] Sender<T>, handle, Sender::of);

impl<T: Message> Sender<T> {
    pub(crate) fn of(handle: Handle<QueueKind>) -> Self {
        Sender { handle, items: PhantomData }
    }

    #[cfg(feature = "testing")]
    pub(crate) fn handle(&self) -> &Handle<QueueKind> {
        &self.handle
    }

    fn core(&self) -> &Core {
        Core::of(&self.handle)
    }

    /// Sends a message; waits while a bounded pipe is full.
    ///
    /// ```
    /// let (tx, rx) = offspring::pipe::channel()?;
    /// tx.send(&"hello".to_string())?;
    /// assert_eq!(rx.recv()?, "hello");
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`QueueError::Closed`] when no receiver is left, also when the last one goes while this waits;
    /// [`QueueError::NotSent`] when the value cannot be a message or there is no memory for it. Nothing was sent then.
    #[doc(alias = "send_bytes")]
    #[inline]
    pub fn send(&self, message: &T) -> Result<(), QueueError> {
        self.core().send(message, Until::Ever, false)
    }

    /// Sends a message if there is room.
    ///
    /// ```
    /// use offspring::ErrorKind;
    ///
    /// let (tx, rx) = offspring::pipe::bounded(1)?;
    /// tx.try_send(&1)?;
    /// assert_eq!(tx.try_send(&2).unwrap_err().kind(), ErrorKind::Full);
    /// # drop(rx);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`QueueError::Full`].
    pub fn try_send(&self, message: &T) -> Result<(), QueueError> {
        self.core().send(message, Until::Now, false)
    }

    /// Sends a message; waits so long at most while the pipe is full.
    ///
    /// ```
    /// use offspring::ErrorKind;
    /// use std::time::Duration;
    ///
    /// let (tx, rx) = offspring::pipe::bounded(1)?;
    /// tx.send(&1)?;
    /// assert_eq!(tx.send_timeout(&2, Duration::from_millis(5)).unwrap_err().kind(), ErrorKind::Timeout);
    /// # drop(rx);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`QueueError::Timeout`].
    pub fn send_timeout(&self, message: &T, timeout: Duration) -> Result<(), QueueError> {
        self.core().send(message, Until::after(timeout), false)
    }

    /// Is no receiver left? Then sending fails, for ever.
    ///
    /// ```
    /// use offspring::ErrorKind;
    ///
    /// let (tx, rx) = offspring::pipe::channel()?;
    /// assert!(!tx.is_closed());
    /// drop(rx);
    /// assert!(tx.is_closed());
    /// assert_eq!(tx.send(&1).unwrap_err().kind(), ErrorKind::Closed);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn is_closed(&self) -> bool {
        self.core().is_deaf_now()
    }

    /// How many messages wait. Others may change that at any time.
    pub fn len(&self) -> usize {
        self.core().waiting()
    }

    /// Does none wait? Others may change that at any time.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
