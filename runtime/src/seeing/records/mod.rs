//! Log records of workers, `tracing`'s and `log`'s, on their way to this process's subscriber and logger.
//!
//! A worker puts each record into a queue in shared memory before the call that made it returns, so what a task has logged is there
//! however it ends. One thread of the pool's process takes them out and gives them to the dispatcher that was current when the pool was
//! built, and to the logger. The worker leaves out what is below the level that those want.
//!
//! | file | what |
//! | --- | --- |
//! | `wire` | a record as bytes |
//! | `link` | the worker's end |
//! | `relay` | the thread at the other end |
//! | `emit` | the worker's subscriber |
//! | `replay` | spans and events, made again |
//! | `sites` | the static metadata of events and spans, found again in another process |
//! | `logger` | both sides of `log` |
//!
//! A full queue is waited for, but not for ever: the subscriber may itself wait for something that the caller of the pool holds, such as
//! the lock of standard output. What is left out then is counted, and told.

#[cfg(feature = "tracing")]
mod emit;
mod link;
#[cfg(feature = "log")]
mod logger;
mod relay;
#[cfg(feature = "tracing")]
mod replay;
#[cfg(feature = "tracing")]
mod sites;
mod wire;

pub(crate) use link::install;
pub(crate) use relay::{Relay, flush};
pub(crate) use wire::Run;

use crate::Queue;

/// What a worker is told at its start: where records go, and from which level on, as `wire` numbers them; 0: none.
type Setup = (Queue<Vec<u8>>, u8, u8);
