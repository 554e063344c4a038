//! Communicators: groups of ranks that send each other values.

use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;

use offspring::Message;

use crate::buffers::Buffers;
use crate::object::{Incoming, Outgoing};
use crate::request::{RecvRequest, SendRequest};
use crate::sys::{self, Found, RawComm};
use crate::view::Received;
use crate::{MpiError, Result, env};

/// The largest tag that every MPI allows.
pub const MAX_TAG: u32 = 32_767;

/// Whose messages are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Of this rank.
    Rank(usize),
    /// Of any.
    #[doc(alias = "ANY_SOURCE")]
    Any,
}

/// Which messages are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// With this tag.
    Is(u32),
    /// With any.
    #[doc(alias = "ANY_TAG")]
    Any,
}

impl From<usize> for Source {
    fn from(rank: usize) -> Source {
        Source::Rank(rank)
    }
}

impl From<u32> for Tag {
    fn from(tag: u32) -> Tag {
        Tag::Is(tag)
    }
}

/// What is known of a message that is there.
#[doc(alias = "Get_source")]
#[doc(alias = "Get_tag")]
#[doc(alias = "Get_count")]
#[doc(alias = "Get_elements")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Who sent it.
    pub source: usize,
    /// Its tag.
    pub tag: u32,
    /// Its length in bytes, as it is sent.
    pub len: usize,
}

impl From<Found> for Status {
    fn from(found: Found) -> Status {
        Status { source: found.source.max(0) as usize, tag: found.tag.max(0) as u32, len: found.len }
    }
}

/// The library's communicators behind one of ours.
#[derive(Debug)]
pub(crate) struct Raw {
    /// Messages of the program.
    pub(crate) messages: RawComm,
    /// Pieces of long ones: they must not be taken for messages.
    pub(crate) pieces: RawComm,
    /// Messages of collective calls.
    pub(crate) inner: RawComm,
}

impl Drop for Raw {
    fn drop(&mut self) {
        // After the end of MPI they are gone already.
        if !sys::is_finalized() {
            [self.messages, self.pieces, self.inner].into_iter().for_each(sys::free);
        }
    }
}

/// A group of ranks, each a process of the same program, that send each other values.
///
/// A program that `mpirun` or `srun` starts N times has N ranks; started by itself it has one. Every [`Message`] can be sent: it is written
/// straight into a buffer that is kept, and read in place or made into a value on the other side. Slices of plain numbers go without being
/// written at all ([`send_slice`](Self::send_slice) and its like).
///
/// Calls block as MPI's do: they use a CPU while they wait. They are to be made by the thread that made the first one.
///
/// ```no_run
/// use offspring_mpi::Comm;
///
/// # fn main() -> offspring_mpi::Result<()> {
/// let comm = Comm::world()?;
/// if comm.rank() == 0 {
///     comm.send(&("pi".to_string(), 3.14), 1, 0)?;
/// } else if comm.rank() == 1 {
///     let (value, _): ((String, f64), _) = comm.recv(0, 0)?;
///     println!("{} is {}", value.0, value.1);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # When a rank dies
///
/// The job ends: within seconds the launcher kills all other ranks. So it does when one of them panics or ends with a code other than 0, as the others
/// might wait for it for ever.
///
/// # Errors
///
/// Methods return [`MpiError::Call`] when the library reports an error, [`MpiError::NotSendable`] when a value cannot be written or what was received is of
/// another type, [`MpiError::InvalidInput`] for a rank or tag that does not exist.
#[doc(alias = "COMM_WORLD")]
pub struct Comm {
    pub(crate) raw: Rc<Raw>,
    rank: i32,
    size: i32,
    pub(crate) buffers: Buffers,
    /// To be used by the thread that made it.
    thread: PhantomData<*const ()>,
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Comm").field("rank", &self.rank).field("size", &self.size).finish_non_exhaustive()
    }
}

impl Comm {
    /// All ranks of the job. Every rank must make this call, and as often as the others.
    ///
    /// # Errors
    ///
    /// [`MpiError::Unusable`] from another thread than the first that called it, or when other code has started MPI.
    pub fn world() -> Result<Comm> {
        env::start()?;
        Comm::over(sys::dup(sys::world())?)
    }

    /// Takes over a communicator.
    fn over(messages: RawComm) -> Result<Comm> {
        let raw = Rc::new(Raw { messages, pieces: sys::dup(messages)?, inner: sys::dup(messages)? });
        let (rank, size) = (sys::rank(messages)?, sys::size(messages)?);
        Ok(Comm { raw, rank, size, buffers: Buffers::default(), thread: PhantomData })
    }

    /// Which of the ranks this is.
    #[doc(alias = "Get_rank")]
    pub fn rank(&self) -> usize {
        self.rank as usize
    }

    /// How many ranks there are.
    #[doc(alias = "Get_size")]
    pub fn size(&self) -> usize {
        self.size as usize
    }

    /// The name of the machine that this rank runs on.
    #[doc(alias = "Get_processor_name")]
    pub fn host(&self) -> String {
        sys::host()
    }

    /// Ends the whole job at once, with this exit code.
    #[doc(alias = "Abort")]
    pub fn abort(&self, code: i32) -> ! {
        sys::abort(code)
    }

    pub(crate) fn rank_of(&self, rank: usize) -> Result<i32> {
        match i32::try_from(rank).ok().filter(|rank| *rank < self.size) {
            Some(rank) => Ok(rank),
            None => Err(MpiError::InvalidInput(format!("there is no rank {rank}: they are 0 to {}", self.size - 1))),
        }
    }

    pub(crate) fn source_of(&self, source: Source) -> Result<i32> {
        match source {
            Source::Rank(rank) => self.rank_of(rank),
            Source::Any => Ok(sys::any_source()),
        }
    }

    pub(crate) fn tag_of(tag: u32) -> Result<i32> {
        if tag <= MAX_TAG {
            Ok(tag as i32)
        } else {
            Err(MpiError::InvalidInput(format!("tag {tag}: the largest is {MAX_TAG}")))
        }
    }

    pub(crate) fn tags_of(tag: Tag) -> Result<i32> {
        match tag {
            Tag::Is(tag) => Comm::tag_of(tag),
            Tag::Any => Ok(sys::any_tag()),
        }
    }

    /// Sends a value to rank `to`. Returns when the value has been taken over, which for a long one may be when it is received.
    pub fn send<T: Message>(&self, value: &T, to: usize, tag: u32) -> Result<()> {
        let (to, tag) = (self.rank_of(to)?, Comm::tag_of(tag)?);
        Outgoing::of(self, value)?.send(&self.raw, self.raw.messages, to, tag)
    }

    /// Waits for a message and makes a value of it.
    pub fn recv<T: Message>(&self, from: impl Into<Source>, tag: impl Into<Tag>) -> Result<(T, Status)> {
        let incoming = self.receive(from.into(), tag.into())?;
        Ok((incoming.value()?, incoming.status()))
    }

    /// Waits for a message and looks at it where it was received, without making a value of it.
    pub fn recv_view<T: Message>(&self, from: impl Into<Source>, tag: impl Into<Tag>) -> Result<(Received<T>, Status)> {
        let incoming = self.receive(from.into(), tag.into())?;
        let status = incoming.status();
        Ok((Received::of(incoming)?, status))
    }

    fn receive(&self, from: Source, tag: Tag) -> Result<Incoming> {
        Incoming::receive(self, self.raw.messages, self.source_of(from)?, Comm::tags_of(tag)?)
    }

    /// Begins to send a value and returns at once. The value is written before, so it can be changed or dropped.
    pub fn isend<T: Message>(&self, value: &T, to: usize, tag: u32) -> Result<SendRequest> {
        let (to, tag) = (self.rank_of(to)?, Comm::tag_of(tag)?);
        SendRequest::begin(&self.raw, self.raw.messages, Outgoing::of(self, value)?, to, tag)
    }

    /// A message to be received later. It is taken from those that are there when the request is tested or waited for, not before.
    pub fn irecv<T: Message>(&self, from: impl Into<Source>, tag: impl Into<Tag>) -> Result<RecvRequest<'_, T>> {
        Ok(RecvRequest::new(self, self.source_of(from.into())?, Comm::tags_of(tag.into())?))
    }

    /// Sends a value and receives one, without a deadlock when both sides do it.
    #[doc(alias = "Sendrecv")]
    pub fn sendrecv<T: Message, R: Message>(
        &self,
        value: &T,
        to: usize,
        tag: u32,
        from: impl Into<Source>,
        receive_tag: impl Into<Tag>,
    ) -> Result<(R, Status)> {
        let mut sending = self.isend(value, to, tag)?;
        let received = self.recv(from, receive_tag)?;
        sending.wait()?;
        Ok(received)
    }

    /// Waits until a message is there, without receiving it.
    pub fn probe(&self, from: impl Into<Source>, tag: impl Into<Tag>) -> Result<Status> {
        let (from, tag) = (self.source_of(from.into())?, Comm::tags_of(tag.into())?);
        Ok(sys::probe(self.raw.messages, from, tag)?.into())
    }

    /// Is a message there? It is not received.
    #[doc(alias = "iprobe")]
    pub fn try_probe(&self, from: impl Into<Source>, tag: impl Into<Tag>) -> Result<Option<Status>> {
        let (from, tag) = (self.source_of(from.into())?, Comm::tags_of(tag.into())?);
        Ok(sys::try_probe(self.raw.messages, from, tag)?.map(Status::from))
    }

    /// A communicator of the same ranks, whose messages do not mix with those of this one. All ranks must make the call.
    #[doc(alias = "Dup")]
    #[doc(alias = "Clone")]
    pub fn dup(&self) -> Result<Comm> {
        Comm::over(sys::dup(self.raw.messages)?)
    }

    /// Communicators of the ranks that give the same color, ordered by `key`, then by rank; none for a rank without a color. All ranks must
    /// make the call.
    #[doc(alias = "Split")]
    #[doc(alias = "Split_type")]
    #[doc(alias = "Create_group")]
    pub fn split(&self, color: Option<u32>, key: i32) -> Result<Option<Comm>> {
        let color = match color.map(i32::try_from).transpose() {
            Ok(color) => color,
            Err(_) => return Err(MpiError::InvalidInput(format!("color {color:?}: the largest is {}", i32::MAX))),
        };
        sys::split(self.raw.messages, color, key)?.map(Comm::over).transpose()
    }

    /// Waits until all ranks have come here.
    pub fn barrier(&self) -> Result<()> {
        sys::barrier(self.raw.messages)
    }
}
