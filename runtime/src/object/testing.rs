//! The smallest kind there is, for tests and for the single-step killer: a box that holds one block or none.
#![allow(missing_docs)]
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::kind::Kind;
use super::lock::{Doomed, Locked, Object};
use crate::arena::{ArenaError, BlockId, Owner};

/// The kind of a box.
#[derive(Debug)]
pub(crate) struct Box;

/// A box's words.
#[repr(C)]
pub(crate) struct Shared {
    /// The block.
    pub(crate) cell: AtomicU64,
    /// How many changes there were.
    pub(crate) changes: AtomicU64,
    /// Raised whenever waiters are to look again.
    pub(crate) wakes: AtomicU32,
}

// SAFETY: three atomics; the code is this kind's alone.
unsafe impl Kind for Box {
    const CODE: u32 = 2;
    const NAME: &'static str = "a box for tests";
    type Shared = Shared;

    fn recover(_: &Locked<'_, Self>, _: Owner) -> Result<(), ArenaError> {
        Ok(())
    }

    fn destroy(object: &Doomed<'_, Self>) -> Result<(), ArenaError> {
        match BlockId::from_raw(object.shared().cell.load(Ordering::Acquire)) {
            Some(block) => object.free(block),
            None => Ok(()),
        }
    }

    fn wake(object: &Object<'_, Self>) {
        object.shared().wakes.fetch_add(1, Ordering::SeqCst);
        crate::sys::futex::wake_all(&object.shared().wakes);
    }
}
