//! The memory of the family: one mapping, what lies where in it, and how it outlives the death of any process.
//!
//! `README.md` in this folder holds the protocols: states, owner of each field, and what a kill between any two stores
//! leaves behind.
mod audit;
mod block;
mod budget;
mod cache;
#[cfg(any(test, feature = "testing"))]
mod check;
mod class;
mod create;
mod error;
mod granule;
mod header;
mod hold;
mod id;
pub(crate) mod journal;
mod layout;
#[cfg(any(test, feature = "testing"))]
mod ledger;
mod liveness;
mod local;
pub(crate) mod mutants;
mod redo;
pub(crate) mod refs;
mod slots;
mod small;
#[cfg(test)]
mod tests;
pub(crate) mod thread;
mod tree;
mod trim;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering, compiler_fence};

pub(crate) use audit::Verdict;
pub(crate) use block::{Block, RawBlock};
pub(crate) use create::{ArenaFds, attach, family, has_family, me};
#[cfg(any(test, feature = "testing"))]
pub(crate) use create::{create, open};
#[cfg(feature = "testing")]
pub(crate) use create::{create_stage, existing_family, open_stage};
pub(crate) use error::ArenaError;
#[cfg(feature = "testing")]
pub(crate) use granule::Granules;
pub(crate) use id::{BlockId, Owner, Pos, SLOTS, ThreadId};
#[cfg(feature = "testing")]
pub(crate) use layout::LEN_MIN;
#[cfg(feature = "testing")]
pub(crate) use ledger::Ledger;
pub(crate) use mutants::mutant;
pub(crate) use refs::Role;
pub(crate) use slots::{Life, Slot, Slots};

use layout::Map;
use local::Local;

/// A mapping and this process's part in it. Arenas live until the process ends.
pub(crate) struct Arena {
    map: Map,
    memfd: OwnedFd,
    locks: OwnedFd,
    id: u64,
    me: Owner,
    /// A word in a page that a `fork` wipes: `me` in the process that made or attached this arena, 0 in a fork of it.
    here: &'static AtomicU32,
    local: Local,
    #[cfg(feature = "testing")]
    habitat: create::Habitat,
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arena").field("id", &self.id).field("me", &self.me).finish_non_exhaustive()
    }
}

impl Arena {
    /// The descriptors a child needs to attach: the memory and the liveness locks. No duplicate of the second may be
    /// closed in a member.
    pub(crate) fn fds(&self) -> (BorrowedFd<'_>, BorrowedFd<'_>) {
        (self.memfd.as_fd(), self.locks.as_fd())
    }

    /// Where the mapping begins, its length, and at which offset payloads begin.
    #[cfg(feature = "testing")]
    pub(crate) fn mapping(&self) -> (*mut u8, usize, usize) {
        (self.map.base().as_ptr(), self.map.layout.len, self.map.layout.payload as usize)
    }

    /// This process in this arena.
    pub(crate) fn me(&self) -> Owner {
        self.me
    }

    /// What no other arena has.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Refuses in a `fork` of a member, where the mapping is absent.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), ArenaError> {
        if self.is_here() { Ok(()) } else { Err(ArenaError::Forked) }
    }

    /// Whether this is no `fork` of a member.
    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        self.here.load(Ordering::Relaxed) == self.me.raw()
    }

    /// The address of `len` bytes of payload at `pos`; `None` if not all of them are payload. It says nothing of whether a
    /// block is there.
    #[inline]
    pub(crate) fn at(&self, pos: Pos, len: usize) -> Option<NonNull<u8>> {
        self.check().ok()?;
        self.map.payload(pos, len)
    }

    /// The addresses of all payload: readable for as long as the process lives.
    pub(crate) fn readable(&self) -> std::ops::Range<usize> {
        self.map.payload_range()
    }

    /// How many bytes may be in use.
    pub(crate) fn budget(&self) -> usize {
        usize::try_from(self.map.head().budget.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    /// The position of a byte of payload; `None` for any other address.
    pub(crate) fn pos_of(&self, address: *const u8) -> Option<Pos> {
        self.map.pos_of(address)
    }

    pub(crate) fn slots(&self) -> Slots<'_> {
        Slots(self)
    }
}

/// Keeps the compiler from moving stores across: what one process stores in this order, an auditor finds in this order
/// after a kill at any instruction. Other CPUs are not its concern; where a living process looks on, the store that lets
/// it look is a Release.
#[inline(always)]
pub(crate) fn step() {
    compiler_fence(Ordering::SeqCst);
}
