//! The end of a pipe that messages come out of.
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use crate::message::Message;
use crate::object::wait_any::{Bell, Waitable, sealed::Sealed};
use crate::object::{Handle, message_by_handle};
use crate::queue::core::{Core, QueueKind, Until};
use crate::{QueueError, View};

/// The end of a pipe that messages come out of; see [`channel`](super::channel).
///
/// Each message comes out once, whichever receiver asks first: a clone, or a copy that was sent to another process, receives
/// from the same pipe. The senders get an error when all are dropped or dead.
pub struct Receiver<T: Message> {
    handle: Handle<QueueKind>,
    items: PhantomData<fn() -> T>,
}

impl<T: Message> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Receiver::of(self.handle.clone())
    }
}

impl<T: Message> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("waiting", &self.len()).finish_non_exhaustive()
    }
}

message_by_handle!([T: Message] Receiver<T>, handle, Receiver::of);

impl<T: Message> Receiver<T> {
    pub(crate) fn of(handle: Handle<QueueKind>) -> Self {
        Receiver { handle, items: PhantomData }
    }

    #[cfg(feature = "testing")]
    pub(crate) fn handle(&self) -> &Handle<QueueKind> {
        &self.handle
    }

    pub(super) fn core(&self) -> &Core {
        Core::of(&self.handle)
    }

    /// Receives a message; waits while there is none.
    ///
    /// ```
    /// use offspring::ErrorKind;
    ///
    /// let (tx, rx) = offspring::pipe::channel()?;
    /// tx.send(&1)?;
    /// drop(tx);
    /// assert_eq!(rx.recv()?, 1);
    /// assert_eq!(rx.recv().unwrap_err().kind(), ErrorKind::Closed);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`QueueError::Closed`] when no message waits and no sender is left, also when the last one goes while this waits;
    /// [`QueueError::Unreadable`] when no value can be made of the message.
    #[doc(alias = "recv_bytes")]
    #[inline]
    pub fn recv(&self) -> Result<T, QueueError> {
        self.core().receive(Until::Ever)
    }

    /// Receives a message if there is one.
    ///
    /// ```
    /// use offspring::ErrorKind;
    ///
    /// let (tx, rx) = offspring::pipe::channel::<u64>()?;
    /// assert_eq!(rx.try_recv().unwrap_err().kind(), ErrorKind::Empty);
    /// # drop(tx);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and [`QueueError::Empty`].
    pub fn try_recv(&self) -> Result<T, QueueError> {
        self.core().receive(Until::Now)
    }

    /// Receives a message; waits so long at most while there is none.
    ///
    /// ```
    /// use offspring::ErrorKind;
    /// use std::time::Duration;
    ///
    /// let (tx, rx) = offspring::pipe::channel::<u64>()?;
    /// assert_eq!(rx.recv_timeout(Duration::from_millis(5)).unwrap_err().kind(), ErrorKind::Timeout);
    /// # drop(tx);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and [`QueueError::Timeout`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, QueueError> {
        self.core().receive(Until::after(timeout))
    }

    /// Receives a message, to be read where it lies; waits while there is none.
    ///
    /// ```
    /// let (tx, rx) = offspring::pipe::channel::<Vec<u8>>()?;
    /// tx.send(&vec![1; 1 << 20])?;
    /// assert!(rx.recv_view()?.iter().all(|&byte| byte == 1));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    #[doc(alias = "recv_bytes_into")]
    pub fn recv_view(&self) -> Result<View<T>, QueueError> {
        self.core().view(Until::Ever)
    }

    /// As [`recv_view`](Self::recv_view), if there is a message.
    ///
    /// # Errors
    /// As [`try_recv`](Self::try_recv).
    pub fn try_recv_view(&self) -> Result<View<T>, QueueError> {
        self.core().view(Until::Now)
    }

    /// Waits so long at most until [`recv`](Self::recv) would not wait: for a message, or for the end. Whether it would not.
    ///
    /// With several receivers, another one may be faster.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (tx, rx) = offspring::pipe::channel::<u64>()?;
    /// assert!(!rx.poll(Duration::ZERO)?);
    /// tx.send(&7)?;
    /// assert!(rx.poll(Duration::from_secs(1))?);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`QueueError::Refused`] in a `fork()` of a process of the family.
    pub fn poll(&self, timeout: Duration) -> Result<bool, QueueError> {
        self.core().poll(Until::after(timeout))
    }

    /// The messages, each received when it is asked for, until the last sender is gone. Waits for the next one.
    ///
    /// ```
    /// let (tx, rx) = offspring::pipe::channel()?;
    /// (0..3).try_for_each(|number| tx.send(&number))?;
    /// drop(tx);
    /// assert_eq!(rx.iter().collect::<Result<Vec<u64>, _>>()?, [0, 1, 2]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter(self)
    }

    /// The messages that are there, until there are none at the moment. Never waits.
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter(self)
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

/// The messages of a pipe until its end; see [`Receiver::iter`].
#[derive(Debug)]
pub struct Iter<'a, T: Message>(&'a Receiver<T>);

impl<T: Message> Iterator for Iter<'_, T> {
    type Item = Result<T, QueueError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.0.recv() {
            Err(QueueError::Closed) => None,
            message => Some(message),
        }
    }
}

/// The messages that are there; see [`Receiver::try_iter`].
#[derive(Debug)]
pub struct TryIter<'a, T: Message>(&'a Receiver<T>);

impl<T: Message> Iterator for TryIter<'_, T> {
    type Item = Result<T, QueueError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.0.try_recv() {
            Err(QueueError::Closed | QueueError::Empty) => None,
            message => Some(message),
        }
    }
}

impl<'a, T: Message> IntoIterator for &'a Receiver<T> {
    type Item = Result<T, QueueError>;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T: Message> Sealed for Receiver<T> {
    fn is_ready(&self) -> bool {
        self.core().is_ready()
    }

    fn ring_when_ready(&self, bell: &Bell) {
        self.core().watch(bell);
    }
}

/// Ready when receiving would not wait: there is something, or the end. Somebody else may be faster all the same.
impl<T: Message> Waitable for Receiver<T> {}
