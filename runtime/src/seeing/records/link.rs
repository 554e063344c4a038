//! The worker's end of the queue of records.
#![allow(unsafe_code)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use super::Setup;
use super::wire::{Head, Kind, Writer};
use crate::arena::Arena;
use crate::message::{self, Archived};
use crate::{Queue, pool};

/// So long a record waits for room in the queue before it is left out.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Link {
    queue: Queue<Vec<u8>>,
    worker: u32,
    /// Records left out since the last one that was not.
    lost: AtomicU32,
}

static LINK: OnceLock<Link> = OnceLock::new();

/// Has this worker's records go where the setup at `at` says. A subscriber or logger that a constructor of the program has set stays.
pub(crate) fn install(arena: &'static Arena, at: u64, worker: usize) {
    let Some(slot) = arena.at(at, size_of::<Archived<Setup>>()) else { return };
    // SAFETY: the pool wrote it there, as a message of this type of the same build, in a block that it keeps until its last worker is gone.
    let Ok((queue, spans, log)) = (unsafe { message::decode::<Setup>(slot.as_ptr()) }) else { return };
    let link = Link { queue, worker: worker as u32, lost: AtomicU32::new(0) };
    if LINK.set(link).is_err() {
        return;
    }
    #[cfg(feature = "tracing")]
    super::emit::install(spans);
    #[cfg(not(feature = "tracing"))]
    let _ = spans;
    #[cfg(feature = "log")]
    super::logger::install(log);
    #[cfg(not(feature = "log"))]
    let _ = log;
}

/// Sends a record. When this returns, it is in shared memory.
pub(super) fn send(kind: Kind, write: impl FnOnce(&mut Writer)) {
    let Some(link) = LINK.get() else { return };
    let lost = link.lost.swap(0, Relaxed);
    let (pid, run) = (std::process::id(), pool::current_run());
    let mut out = Writer::new(&Head { kind, pid, worker: link.worker, lost, run });
    write(&mut out);
    // Once is enough to wait in vain.
    let put = if lost > 0 { link.queue.try_put(&out.0) } else { link.queue.put_timeout(&out.0, PATIENCE) };
    if put.is_err() {
        // Nobody takes any out, or memory is used up.
        link.lost.fetch_add(lost.saturating_add(1), Relaxed);
    }
}
