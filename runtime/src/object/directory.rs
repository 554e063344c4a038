//! The family's statics: objects that are found by name.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use super::kind::Kind;
use super::lock::{Doomed, Locked, Object};
use crate::arena::{Arena, ArenaError, BlockId, Owner};

/// The kind of the directory. There is one in a family; nobody refers to it, and it is never destroyed.
#[derive(Debug)]
pub(crate) struct Directory;

/// The directory's words.
#[repr(C)]
pub(crate) struct Shared {
    /// The newest entry: a block; 0 if there is none.
    head: AtomicU64,
}

// SAFETY: one atomic; the code is this kind's alone.
unsafe impl Kind for Directory {
    const CODE: u32 = 1;
    const NAME: &'static str = "the directory of shared statics";
    type Shared = Shared;

    fn recover(_: &Locked<'_, Self>, _: Owner) -> Result<(), ArenaError> {
        Ok(())
    }

    fn destroy(object: &Doomed<'_, Self>) -> Result<(), ArenaError> {
        match BlockId::from_raw(object.shared().head.load(Ordering::Acquire)) {
            Some(block) => object.free(block),
            None => Ok(()),
        }
    }

    fn wake(_: &Object<'_, Self>) {}
}

/// Finishes what a dead process had begun in the directory.
pub(crate) fn recover_root(arena: &'static Arena) -> Result<(), ArenaError> {
    match arena.root().and_then(|root| Object::find(arena, root)) {
        Some(root) => root.lock().map(drop),
        None => Ok(()),
    }
}
