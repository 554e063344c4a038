//! What an engine must be able to do: carry chunks to workers and replies back.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Buffer;
use super::wire::ChunkId;
use crate::CancelLevel;

/// A process that runs chunks, or a group of such; numbered by the transport, never again.
pub type PeerId = u64;

/// A chunk on its way.
pub struct Parcel {
    pub(super) id: ChunkId,
    pub(super) run: u64,
    pub(super) items: usize,
    pub(super) priority: i32,
    pub(super) is_suspect: bool,
    pub(super) bytes: Buffer,
}

impl fmt::Debug for Parcel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parcel").field("id", &self.id).field("items", &self.items).finish_non_exhaustive()
    }
}

impl Parcel {
    /// Its name.
    pub fn id(&self) -> ChunkId {
        self.id
    }

    /// Which batch or call of its pool it belongs to.
    pub fn run(&self) -> u64 {
        self.run
    }

    /// How many items are to be run.
    pub fn items(&self) -> usize {
        self.items
    }

    /// Higher ones first.
    pub fn priority(&self) -> i32 {
        self.priority
    }

    /// It is a part of a chunk that was lost together with those who had it.
    pub fn is_suspect(&self) -> bool {
        self.is_suspect
    }

    /// What is to be carried.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.bytes()
    }
}

/// What a transport has to tell.
#[derive(Debug)]
pub enum Event {
    /// There is such a peer. Told again when what it has changes.
    Peer {
        /// Which.
        peer: PeerId,
        /// So many chunks run there at a time. 0: nobody is there now; chunks wait.
        workers: usize,
        /// It can end a task that runs, so it keeps time limits by itself.
        kills: bool,
        /// The process; 0 where there are several.
        process: u32,
    },
    /// It is gone for good. What it had is handed to others.
    Left {
        /// Which.
        peer: PeerId,
        /// What is known of the reason.
        why: String,
    },
    /// A reply; of any age.
    Reply {
        /// What the worker's [`Runner`](super::Runner) made.
        bytes: Buffer,
        /// How often the transport itself had to hand the chunk out again.
        again: u32,
    },
    /// A chunk that is carried no further, as too many of those who had it are gone.
    Lost {
        /// Its number.
        chunk: u64,
        /// How often it was handed out.
        tries: u32,
        /// What is known of the reason.
        why: String,
    },
    /// Nothing works any more.
    Closed {
        /// Why.
        why: String,
    },
}

/// Carries chunks to workers and replies back. It is made, and all its methods are called, by one thread.
pub trait Transport: 'static {
    /// Takes a chunk over for a peer. May block for a moment.
    ///
    /// # Errors
    ///
    /// It cannot be carried, and never will be: the reason, as the error of its items.
    fn send(&mut self, peer: PeerId, parcel: &Arc<Parcel>) -> Result<(), String>;

    /// Has a chunk ended that was sent, at this level, if it can. A reply may follow or not.
    fn cancel(&mut self, peer: PeerId, parcel: &Arc<Parcel>, level: CancelLevel);

    /// Gives what has happened. Waits for something, or for the [`waker`](Self::waker), at most so long.
    fn poll(&mut self, wait: Option<Duration>, events: &mut Vec<Event>);

    /// Ends a [`poll`](Self::poll), also one that has not begun, from any thread.
    fn waker(&self) -> Arc<dyn Fn() + Send + Sync>;

    /// Ends it: nothing more will be sent. Called once, last. `stuck`: peers that are at something which nobody waits for any more, and that they
    /// cannot be made to end.
    fn close(&mut self, stuck: &[PeerId]);

    /// How many chunks may be with a peer of so many workers at a time. `short`: they take less than a millisecond.
    fn room(&self, workers: usize, short: bool) -> usize {
        if short { workers.saturating_mul(4) } else { workers }
    }

    /// How many chunks a worker of a batch should have before it in all, here and on their way; of one whose input is not to be read ahead, a quarter of it.
    fn ahead(&self) -> usize {
        16
    }

    /// Bytes of a chunk of several items, roughly.
    fn max_chunk_bytes(&self) -> usize {
        1 << 20
    }
}
