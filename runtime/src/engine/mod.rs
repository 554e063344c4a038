//! What engines beyond this machine build on; used by the packages `offspring-mpi` and `offspring-nats` of this repository.
//!
//! An engine is a [`Transport`]: it carries chunks to workers and replies back. All else is here: `wire` (what crosses), `runner` (the worker's
//! side), `feed` and `calls` (the caller's side), `driver` (the thread between callers and the transport), `hub` (what those share), `course` (a batch and
//! its chunks), `received` (replies), `remote` (the pool).
//!
//! Callers encode items into chunks, and decode replies, in their own threads; the driver never looks into either. A chunk's flight is finished once,
//! whatever the transport does: results are delivered once, and in order. The engine hands a chunk out again only when a transport says that a peer is
//! gone; whether items may then be run twice is the transport's promise to make.
// Not public API: it changes with them.

mod buffer;
mod calls;
mod course;
mod driver;
mod error;
mod feed;
mod hub;
mod loopback;
mod received;
mod remote;
mod runner;
mod transport;
mod wire;

use std::hash::{BuildHasher, RandomState};

pub use buffer::Buffer;
pub use loopback::Loopback;
pub use remote::RemotePool;
pub use runner::{Poll, Reply, Runner};
pub use transport::{Event, Parcel, PeerId, Transport};
pub use wire::{BadMessage, ChunkId};

pub use crate::__delegate_executor as delegate;

/// Which build of the program this is: equal in every process of one build.
pub fn build_id() -> u64 {
    static BUILD: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    *BUILD.get_or_init(crate::process::build_fingerprint)
}

/// A number that no other pool has.
fn pool_id() -> u64 {
    // Seeded by the system's source of random numbers.
    let (time, process) = (std::time::SystemTime::now(), std::process::id());
    RandomState::new().hash_one((time, process, std::thread::current().id()))
}
