//! [offspring](https://docs.rs/offspring) beyond one machine, for clusters that change: a pool over NATS JetStream.
//!
//! A [`NatsPool`] hands tasks to a NATS server, from which workers take them: processes of the same program file on any machines, which join and
//! leave at any time. The program itself stays as it is: [`NatsPool`] is an [`Executor`](offspring::Executor), as `offspring::Pool` is.
//!
//! What is needed is a `nats-server` from version 2.9 on, with JetStream (`-js`).
//!
//! ```no_run
//! use offspring::{Executor, task};
//! use offspring_nats::NatsPool;
//!
//! #[task]
//! fn square(x: u64) -> u64 {
//!     x * x
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // Where the environment has OFFSPRING_NATS_SERVE=<url>, the program is a worker from here on.
//!     let pool = NatsPool::connect("nats://127.0.0.1:4222")?;
//!     println!("{:?}", pool.map(square, 0..10)?);
//!     Ok(())
//! }
//! ```
mod ack;
mod error;
mod link;
mod master;
mod names;
mod options;
mod payload;
mod pool;
mod pull;
mod streams;
mod transport;
mod wire;
mod worker;

pub use error::{NatsError, Result};
pub use offspring::ErrorKind;
pub use options::{NatsOptions, Storage};
pub use pool::{NatsPool, NatsPoolBuilder};
pub use worker::{Worker, serve};

/// The samples of the guide's chapter, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../guide/src/cluster-nats.md")]
mod guide {}

/// A number that nobody else has: of a run, of a worker.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    // Keys from the system's random numbers, others for each.
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    RandomState::new().hash_one((std::process::id(), time))
}
