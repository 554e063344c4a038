//! The setting of every row: an arena with a few members, all of them in one process until it forks.
#![allow(unsafe_code)]

use crate::killer::{Memory, Region, Role, Survivor, stepped};
use offspring::testing::{Arena, Block, Member, Refused};
use std::cell::Cell;
use std::fmt;

/// What the arena may use: enough for every state, and soon exhausted when the last survivor tries what is left.
const BUDGET: u64 = 3 << 20;

/// An arena and its members.
#[derive(Debug)]
pub struct Stage {
    /// All that they share; metadata is what counts.
    pub memory: Memory,
    /// The same, where what payloads hold counts, too: for protocols in blocks.
    pub everything: Memory,
    /// The first process of the family, which does nothing itself.
    pub root: Arena,
    /// The one that is killed.
    pub victim: Arena,
    /// Its rival, or the holder of what it wants, or its auditor.
    pub other: Arena,
    /// The survivor that audits while another process still runs.
    pub first: Arena,
    /// The survivor that audits and verifies when nobody runs any more.
    pub last: Arena,
}

/// What is done on a stage.
pub struct Scene {
    pub(super) victim: Box<dyn Fn()>,
    pub(super) rival: Option<Box<dyn Fn()>>,
    pub(super) holder: Option<Box<dyn Fn()>>,
    pub(super) sleeper: Option<Sleeper>,
    pub(super) together: bool,
    pub(super) view: Box<dyn Fn() -> String>,
    pub(super) quarantine: bool,
    pub(super) payloads: bool,
    pub(super) counts: Counts,
}

/// Who sleeps while the victim is killed, and whether it has anything left to wait for.
pub(super) struct Sleeper {
    pub(super) operation: Box<dyn Fn()>,
    pub(super) owed: Box<dyn Fn() -> bool>,
}

/// What of the ledger must be as before or after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counts {
    /// Everything.
    All,
    /// Blocks, processes and threads, after the view: which spans there are depends on who did what.
    Blocks,
    /// Nothing: the dead died of a fault, and what was in their hands stays out of use.
    Nothing,
}

impl fmt::Debug for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scene").field("quarantine", &self.quarantine).finish_non_exhaustive()
    }
}

impl Scene {
    /// The victim does `operation`.
    pub(super) fn of<T: 'static>(operation: impl Fn() -> T + 'static) -> Scene {
        let victim = Box::new(act(operation));
        Scene {
            victim,
            rival: None,
            holder: None,
            sleeper: None,
            together: false,
            view: Box::new(String::new),
            quarantine: false,
            payloads: false,
            counts: Counts::All,
        }
    }

    /// Somebody else does `operation` at the same time.
    pub(super) fn rival<T: 'static>(self, operation: impl Fn() -> T + 'static) -> Scene {
        Scene { rival: Some(Box::new(act(operation))), ..self }
    }

    /// Somebody else does `operation` at the same time, and `then` with what it got, which must not panic, if both live on.
    pub(super) fn rival_then<T: 'static>(
        self,
        operation: impl Fn() -> T + 'static,
        then: impl Fn(T) + 'static,
    ) -> Scene {
        Scene { rival: Some(Box::new(move || then(stepped(&operation)))), ..self }
    }

    /// Somebody else has what the victim waits for, and gives it back by dropping what `take` returned.
    pub(super) fn holder<T: 'static>(self, take: impl Fn() -> T + 'static) -> Scene {
        let give_back = move || {
            let taken = take();
            stepped(move || drop(taken));
        };
        Scene { holder: Some(Box::new(give_back)), ..self }
    }

    /// Somebody else sleeps in `operation` when the victim begins, and must have woken where `owed` says so.
    pub(super) fn sleeper<T: 'static>(
        self,
        operation: impl Fn() -> T + 'static,
        owed: impl Fn() -> bool + 'static,
    ) -> Scene {
        Scene { sleeper: Some(Sleeper { operation: Box::new(act(operation)), owed: Box::new(owed) }), ..self }
    }

    /// The victim's operation waits for somebody who sleeps already: it is not done alone.
    pub(super) fn together(self) -> Scene {
        Scene { together: true, ..self }
    }

    /// What the last survivor sees besides the ledger.
    pub(super) fn view(self, view: impl Fn() -> String + 'static) -> Scene {
        Scene { view: Box::new(view), ..self }
    }

    /// What blocks hold is part of the protocol.
    pub(super) fn payloads(self) -> Scene {
        Scene { payloads: true, ..self }
    }

    /// How much of the ledger counts.
    pub(super) fn counts(self, counts: Counts) -> Scene {
        Scene { counts, ..self }
    }

    /// The dead died of a fault of memory.
    pub(super) fn quarantine(self) -> Scene {
        Scene { quarantine: true, ..self }
    }
}

/// The operation in the killer's hands; what it gives is kept, as its holder is going to be killed with it.
fn act<T>(operation: impl Fn() -> T) -> impl Fn() {
    move || std::mem::forget(stepped(&operation))
}

/// A value that an operation consumes. Every fork of the stage has its own.
pub(super) fn once<T>(value: T) -> impl Fn() -> T {
    let value = Cell::new(Some(value));
    move || value.take().expect("an operation runs once in a process")
}

impl Stage {
    /// An arena with its members, nothing in it.
    ///
    /// # Errors
    ///
    /// When there is no memory.
    pub fn new() -> Result<Stage, String> {
        Stage::build().map_err(|refused| refused.text)
    }

    fn build() -> Result<Stage, Refused> {
        let root = Arena::create_stage(Arena::LEN_MIN, BUDGET)?;
        let member = || -> Result<Arena, Refused> {
            let member = root.join_stage(root.reserve()?)?;
            member.claim_thread()?;
            Ok(member)
        };
        let (victim, other, first, last) = (member()?, member()?, member()?, member()?);
        let (start, len, payload) = root.mapping();
        let region = |from: usize, to: usize, counts| Region {
            // SAFETY: both ends are within the mapping.
            start: unsafe { start.add(from) },
            len: to - from,
            fd: root.fds().0,
            offset: from as u64,
            counts,
        };
        // SAFETY: the mapping is never unmapped, and forks of a stage keep it.
        let mut memory = unsafe { Memory::new(vec![region(0, payload, true), region(payload, len, false)]) };
        // SAFETY: as above.
        let mut everything = unsafe { Memory::new(vec![region(0, len, true)]) };
        for member in [victim, other, first, last] {
            let (start, len, payload) = member.mapping();
            memory.also_at(start, payload);
            everything.also_at(start, len);
        }
        Ok(Stage { memory, everything, root, victim, other, first, last })
    }

    /// One more member, whom nobody audits.
    pub(super) fn bystander(&self) -> Arena {
        let join = || self.root.join_stage(self.root.reserve()?);
        let member = join().unwrap();
        member.claim_thread().unwrap();
        member
    }

    fn member(&self, role: Role) -> Member {
        match role {
            Role::Victim => self.victim.me(),
            Role::Other => self.other.me(),
            Role::First => self.first.me(),
        }
    }

    pub(super) fn died(&self, role: Role) {
        self.last.set_dead(self.member(role));
    }

    pub(super) fn audit(&self, by: Survivor, dead: Role, quarantine: bool) {
        let by = if by == Survivor::First { self.first } else { self.last };
        // Only the victim did what may have spoiled memory.
        by.audit(self.member(dead), quarantine && dead == Role::Victim).expect("an audit");
        // What depended on another process that was still to be audited is decided when it is looked at again.
        by.ledger();
    }

    /// What the auditor does that is itself stepped.
    pub(super) fn audit_as_other(&self, quarantine: bool) {
        stepped(|| {
            self.other.set_dead(self.victim.me());
            self.other.audit(self.victim.me(), quarantine)
        })
        .expect("an audit");
    }

    /// What the last survivor finds: the metadata agrees with itself, all that is free can be had, and nothing twice.
    pub(super) fn verify(&self, view: &dyn Fn() -> String, counts: Counts) -> String {
        let consistent = |when: &str| {
            if let Err(why) = self.last.check_metadata() {
                panic!("{when}: {why}");
            }
        };
        consistent("after the audit");
        let mut seen = String::new();
        if counts == Counts::All {
            seen = ledger(self.last);
        }
        seen = format!("{seen} {}", view());
        let before = ledger(self.last);
        if counts == Counts::Blocks {
            seen = format!("{seen} {}", without_granules(&before));
        }
        let large = exhaust(self.last, 1 << 16, usize::MAX);
        let small = exhaust(self.last, 700, 150);
        let tiny = exhaust(self.last, 64, 150);
        consistent("after everything was allocated and freed");
        let after = ledger(self.last);
        // Spans may have been made, or found empty, meanwhile; blocks and members may not.
        assert_eq!(without_granules(&before), without_granules(&after), "allocating and freeing everything");
        match counts {
            Counts::All => format!("{seen} room for {large}, {small} and {tiny}"),
            Counts::Blocks | Counts::Nothing => seen,
        }
    }
}

/// Writes nonsense to free memory, as far as blocks up to a kilobyte reach.
pub(super) fn overwrite_free(arena: Arena) {
    let mut blocks = Vec::new();
    for len in (64..1024).step_by(64).cycle().take(300) {
        let Ok(block) = arena.alloc(len) else { break };
        // SAFETY: the block is ours.
        unsafe { block.as_ptr().write_bytes(0xa5, block.capacity()) };
        blocks.push(block);
    }
}

/// How many slots can still be had.
pub(super) fn free_slots(arena: Arena) -> usize {
    let members: Vec<Member> = std::iter::from_fn(|| arena.reserve().ok()).collect();
    members.iter().for_each(|member| arena.release(*member));
    members.len()
}

/// The part of the ledger that must be as before or after. How much of the free memory is warm is nobody's concern.
fn ledger(arena: Arena) -> String {
    let it = arena.ledger();
    format!(
        "{} blocks of {} bytes, {} processes, {} threads, granules {}",
        it.blocks, it.bytes, it.processes, it.threads, it.granule_bytes
    )
}

fn without_granules(ledger: &str) -> &str {
    ledger.split_once(" granules").map_or(ledger, |(rest, _)| rest)
}

/// Allocates blocks of `len` bytes until there are `most` or no more, writes to all, finds in all what was written, frees all: how many.
fn exhaust(arena: Arena, len: usize, most: usize) -> usize {
    let mut blocks: Vec<Block> = Vec::new();
    while blocks.len() < most
        && let Ok(block) = arena.alloc(len)
    {
        let mark = blocks.len() as u64 + 1;
        // SAFETY: the block is ours, at least 64 bytes long, and aligned to that.
        unsafe { block.as_ptr().cast::<u64>().write(mark) };
        // SAFETY: as above; the last word of the block.
        unsafe { block.as_ptr().add(block.capacity() - 8).cast::<u64>().write(mark) };
        blocks.push(block);
        assert!(blocks.len() < 100_000, "the budget does not hold");
    }
    for (at, block) in blocks.iter().enumerate() {
        let mark = at as u64 + 1;
        // SAFETY: as above.
        let found = unsafe {
            (block.as_ptr().cast::<u64>().read(), block.as_ptr().add(block.capacity() - 8).cast::<u64>().read())
        };
        assert_eq!(found, (mark, mark), "block {at} of {len} bytes was given out twice");
    }
    blocks.len()
}
