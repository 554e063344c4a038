//! Not public API. Internals of the arena for the packages `tests` and `benches` of this workspace: the operations that the
//! single-step killer drives, and what it needs to judge what a kill left behind.
//!
//! An arena made here is not the family's. A process that was forked takes part in it by [`Arena::attach`] with a slot that
//! its parent reserved; a plain fork of a member has nothing of it.
#![allow(missing_docs)]

use std::os::fd::{AsRawFd, RawFd};

use crate::ErrorKind;
use crate::arena::{self, BlockId, Owner, Verdict};

/// The seeded mistakes and what they break; see `arena::mutants`.
pub const MUTANTS: &[(u32, &str)] = arena::mutants::ALL;

pub use crate::pool::testing as pool;
pub use crate::task::testing as task;

/// All of them.
pub fn mutants() -> Vec<(u32, &'static str)> {
    [
        MUTANTS,
        pool::MUTANTS,
        crate::object::mutants::ALL,
        crate::sync::mutants::ALL,
        crate::shared::mutants::ALL,
        crate::queue::mutants::ALL,
    ]
    .concat()
}

/// Objects of a kind for tests.
pub mod object {
    pub use crate::object::testing::{OtherBox, TestBox, give_back, shared_static};
}

/// Shared data in the arenas of a stage.
pub mod shared {
    pub use crate::shared::testing::*;
}

/// Queues in the arenas of a stage.
pub mod queue {
    pub use crate::queue::testing::*;
}

/// Locks in the arenas of a stage.
pub mod sync {
    pub use crate::sync::testing::*;
}

/// Makes one of [`MUTANTS`] in this process and those it forks from now on; 0 for none.
pub fn select_mutant(number: u32) {
    arena::mutants::select(number);
}

/// What is in use in an arena; see `arena::ledger`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ledger {
    pub blocks: u64,
    pub bytes: u64,
    pub granule_bytes: u64,
    pub warm_bytes: u64,
    pub budget: u64,
    pub processes: usize,
    pub threads: usize,
}

/// Why an operation refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub kind: ErrorKind,
    pub text: String,
}

impl From<arena::ArenaError> for Refused {
    fn from(error: arena::ArenaError) -> Refused {
        Refused { kind: error.kind(), text: error.to_string() }
    }
}

/// An arena, and this process's part in it. Lives until the process ends.
#[derive(Debug, Clone, Copy)]
pub struct Arena(&'static arena::Arena);

/// A block in the hands of this process.
#[derive(Debug)]
pub struct Block(arena::Block);

/// A process of an arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member(Owner);

/// The granule lock, held.
pub struct GranuleLock {
    _granules: arena::Granules,
}

impl std::fmt::Debug for GranuleLock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GranuleLock")
    }
}

impl Arena {
    /// The shortest arena there can be.
    pub const LEN_MIN: usize = arena::LEN_MIN;

    /// A new arena of `len` bytes (a power of two) with this process as its root.
    pub fn create(len: usize, budget: u64) -> Result<Arena, Refused> {
        Ok(Arena(arena::create(len, budget)?))
    }

    /// A new arena as a stage for the single-step killer: several members live in this single-threaded process at once
    /// ([`Arena::join_stage`]), forks of it have all of them, and a member is alive until [`Arena::set_dead`].
    pub fn create_stage(len: usize, budget: u64) -> Result<Arena, Refused> {
        Ok(Arena(arena::create_stage(len, budget)?))
    }

    /// One more member in a stage. It has private memory of its own, as in a process of its own.
    pub fn join_stage(self, me: Member) -> Result<Arena, Refused> {
        Ok(Arena(arena::open_stage(self.clone_fds()?, me.0)?))
    }

    /// Where the mapping begins, its length, and at which offset payloads begin.
    pub fn mapping(self) -> (*mut u8, usize, usize) {
        self.0.mapping()
    }

    /// Says that `member` died, as the kernel and its supervisor would.
    pub fn set_dead(self, member: Member) {
        if let Some(slot) = self.0.slots().get(member.0) {
            slot.set_life(arena::Life::Dead);
        }
    }

    /// The family's arena, if this process has one already.
    pub fn existing_family() -> Option<Arena> {
        arena::existing_family().map(Arena)
    }

    /// The family's arena.
    pub fn family() -> Result<Arena, Refused> {
        Ok(Arena(arena::family()?))
    }

    /// This process's own part in the arena, in a fork of a process that has `self`.
    pub fn attach(self, me: Member) -> Result<Arena, Refused> {
        Ok(Arena(arena::open(self.clone_fds()?, me.0)?))
    }

    fn clone_fds(self) -> Result<arena::ArenaFds, Refused> {
        let (memfd, locks) = self.0.fds();
        let clone = |fd: std::os::fd::BorrowedFd<'_>| {
            fd.try_clone_to_owned().map_err(|error| Refused { kind: ErrorKind::Io, text: error.to_string() })
        };
        Ok(arena::ArenaFds { memfd: clone(memfd)?, locks: clone(locks)? })
    }

    pub(crate) fn inner(self) -> &'static arena::Arena {
        self.0
    }

    pub fn me(self) -> Member {
        Member(self.0.me())
    }

    /// The descriptors of the memory and of the liveness locks.
    pub fn fds(self) -> (RawFd, RawFd) {
        let (memfd, locks) = self.0.fds();
        (memfd.as_raw_fd(), locks.as_raw_fd())
    }

    #[inline]
    pub fn alloc(self, len: usize) -> Result<Block, Refused> {
        Ok(Block(self.0.alloc(len)?))
    }

    /// Allocates and frees `times` times, as code of the library does: without the wrapping of this module. For benches.
    pub fn churn(self, len: usize, times: u64) {
        for _ in 0..times {
            if let Ok(block) = self.0.alloc(std::hint::black_box(len)) {
                std::hint::black_box(block.as_ptr());
            }
        }
    }

    pub fn alloc_zeroed(self, len: usize) -> Result<Block, Refused> {
        Ok(Block(self.0.alloc_zeroed(len)?))
    }

    /// Address and capacity of a live block of anybody.
    pub fn resolve(self, id: u64) -> Option<(*mut u8, usize)> {
        let found = self.0.resolve(BlockId::from_raw(id)?)?;
        Some((found.ptr.as_ptr(), found.capacity))
    }

    pub fn at(self, pos: u64, len: usize) -> Option<*mut u8> {
        self.0.at(pos, len).map(std::ptr::NonNull::as_ptr)
    }

    pub fn pos_of(self, address: *const u8) -> Option<u64> {
        self.0.pos_of(address)
    }

    /// Recovers what a dead process held.
    pub fn audit(self, dead: Member, quarantine: bool) -> Result<(), Refused> {
        Ok(self.0.audit(dead.0, if quarantine { Verdict::Quarantine } else { Verdict::Clean })?)
    }

    pub fn ledger(self) -> Ledger {
        let arena::Ledger { blocks, bytes, granule_bytes, warm_bytes, budget, processes, threads } = self.0.ledger();
        Ledger { blocks, bytes, granule_bytes, warm_bytes, budget, processes, threads }
    }

    pub fn set_budget(self, bytes: u64) {
        self.0.set_budget(bytes);
    }

    /// Checks the metadata against itself, while nobody changes it.
    pub fn check_metadata(self) -> Result<(), String> {
        self.0.check_metadata()
    }

    pub fn reserve(self) -> Result<Member, Refused> {
        Ok(Member(self.0.slots().reserve(self.0.me())?))
    }

    pub fn release(self, member: Member) {
        self.0.slots().release(member.0);
    }

    pub fn children_of(self, member: Member) -> Vec<Member> {
        self.0.slots().children_of(member.0).map(Member).collect()
    }

    pub fn is_alive(self, member: Member) -> bool {
        self.0.is_alive(member.0)
    }

    /// Claims this thread's record, so that a sweep does not begin with that.
    pub fn claim_thread(self) -> Result<u32, Refused> {
        Ok(self.0.thread()?.id.raw())
    }

    /// Gives back what this process keeps for its next allocations.
    pub fn tidy(self) {
        self.0.tidy();
    }

    /// Gives the pages of all free granules back; says how many granules.
    pub fn trim(self) -> u32 {
        self.0.trim(1, std::time::Duration::ZERO, u32::MAX)
    }

    /// Returns this thread's record, as the end of the thread does.
    pub fn return_thread(self) {
        self.0.return_current_thread();
    }

    pub fn lock_granules(self) -> Result<GranuleLock, Refused> {
        Ok(GranuleLock { _granules: self.0.granules()? })
    }

    pub fn write_note(self, member: Member, kind: u32, text: &[u8]) {
        self.0.slots().write_note(member.0, kind, text);
    }

    pub fn read_note(self, member: Member) -> Option<(u32, Vec<u8>)> {
        self.0.slots().read_note(member.0)
    }
}

impl Member {
    pub fn raw(self) -> u32 {
        self.0.raw()
    }

    pub fn from_raw(raw: u32) -> Option<Member> {
        Owner::from_raw(raw).map(Member)
    }
}

impl Block {
    pub(crate) fn of(block: arena::Block) -> Block {
        Block(block)
    }

    pub fn id(&self) -> u64 {
        self.0.id().raw()
    }

    pub fn pos(&self) -> u64 {
        self.0.pos()
    }

    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    pub fn as_ptr(&self) -> *mut u8 {
        self.0.as_ptr()
    }

    /// Hands the block over as a child of `parent`, the id of a block of anybody.
    pub fn adopt_into(self, parent: u64) -> Result<(), Refused> {
        match BlockId::from_raw(parent) {
            Some(parent) => Ok(self.0.adopt_into(parent)?),
            None => Err(Refused { kind: ErrorKind::InvalidInput, text: "no block id".into() }),
        }
    }

    pub fn shrink_to(&mut self, len: usize) {
        self.0.shrink_to(len);
    }
}
