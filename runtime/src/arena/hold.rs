//! Hold tables: every block that a process has its hands on stands in its table before the block's header says so, and
//! leaves it after. The audit of a dead process walks its table and nothing else.
//!
//! Which entries are free is private to the process. Only the raising of the high-water mark is shared, before use.

use std::sync::atomic::Ordering;

use super::layout::Hold;
use super::{Arena, ArenaError, step};

/// How far the high-water mark is raised at once.
const BATCH: u32 = 64;

/// The free entries of this process's table.
#[derive(Debug, Default)]
pub(crate) struct HoldList {
    free: Vec<u32>,
    /// Entries from here on were never used.
    next: u32,
}

impl HoldList {
    /// An entry that is all zero.
    pub(crate) fn take(&mut self, arena: &Arena) -> Result<u32, ArenaError> {
        match self.free.pop() {
            Some(index) => Ok(index),
            None => self.grow(arena),
        }
    }

    /// Takes an entry back, which the caller has zeroed.
    pub(crate) fn put(&mut self, index: u32) {
        self.free.push(index);
    }

    #[cold]
    fn grow(&mut self, arena: &Arena) -> Result<u32, ArenaError> {
        let capacity = arena.map.layout.holds_each as u32;
        if self.next >= capacity {
            return Err(ArenaError::TooManyBlocks { limit: capacity as usize });
        }
        let index = self.next;
        self.next = (index + BATCH).min(capacity);
        arena.map.slot(arena.me.slot()).hold_high.store(self.next, Ordering::Release);
        step();
        self.free.extend((index + 1..self.next).rev());
        Ok(index)
    }
}

impl Arena {
    /// Entry `index` of this process's table.
    #[inline]
    pub(crate) fn my_hold(&self, index: u32) -> &Hold {
        self.map.hold(self.me.slot(), index)
    }

    /// How many entries of the table of `slot` may be in use.
    pub(crate) fn hold_high(&self, slot: usize) -> u32 {
        self.map.slot(slot).hold_high.load(Ordering::Acquire).min(self.map.layout.holds_each as u32)
    }
}
