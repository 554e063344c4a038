//! Recovering what a dead process held.
//!
//! Every step can be repeated: an auditor may be killed at any instruction, and the next one starts from the beginning.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::block::{Located, Place};
use super::header::{Children, QUARANTINE, Stage, State};
use super::id::{BlockId, Owner};
use super::layout::GRANULE_SHIFT;
use super::local::lock;
use super::slots::Life;
use super::tree::Settled;
use super::{Arena, ArenaError, refs, step};
use crate::object;
use crate::sys::{futex, mem};

/// How a process ended, as far as the arena cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// By exit or a kill: its memory is recycled.
    Clean,
    /// By a fault of memory: the blocks in its hands are kept out of circulation, as it may have written anywhere.
    Quarantine,
}

impl Arena {
    /// Recovers what the process `dead` held: finishes what it had begun under a lock, frees its blocks, hands over those
    /// that it was handing over, takes over its spans, returns its thread records and half-reserved slots, wakes whom it may
    /// have owed a wake. At the end its slot is in life AUDITED.
    ///
    /// The whole thread group of `dead` is gone. Repeatable; if another process is auditing it, waits until that is done.
    pub(crate) fn audit(&'static self, dead: Owner, how: Verdict) -> Result<(), ArenaError> {
        self.check()?;
        let _one_at_a_time = lock(&self.local.auditing);
        self.settle();
        let Some(slot) = self.slots().get(dead) else { return Ok(()) };
        loop {
            if matches!(slot.life(), Life::Audited | Life::Free) {
                return Ok(());
            }
            let auditor = slot.auditor.load(Ordering::Acquire);
            match Owner::from_raw(auditor) {
                Some(other) if other != self.me && self.is_alive(other) => {
                    futex::wait(&slot.life, slot.life() as u32, Some(Instant::now() + Duration::from_millis(10)));
                }
                _ => {
                    let me = self.me.raw();
                    if slot.auditor.compare_exchange(auditor, me, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                        break;
                    }
                }
            }
        }
        self.recover_granules()?;
        self.recover_guarded(dead)?;
        object::recover_root(self)?;
        self.audit_references(dead)?;
        for index in 0..self.hold_high(dead.slot()) {
            self.audit_hold(dead, index, how)?;
        }
        // What the dead had begun with references in messages was finished just now: objects may have fallen to it.
        self.audit_references(dead)?;
        // After all that may look for the process of a thread that holds a lock.
        self.audit_threads(dead, |record| {
            if let Some(word) = self.map.word(record.intent.load(Ordering::Acquire)) {
                futex::wake_all(word);
            }
        });
        self.reap();
        lock(&self.local.spans).inherit(self, dead);
        self.slots().drop_half_reserved(dead);
        step();
        slot.auditor.store(0, Ordering::Release);
        step();
        slot.set_life(Life::Audited);
        Ok(())
    }

    fn audit_hold(&'static self, dead: Owner, index: u32, how: Verdict) -> Result<(), ArenaError> {
        let hold = self.map.hold(dead.slot(), index);
        if refs::is_reference(hold.other.load(Ordering::Acquire)) {
            return Ok(());
        }
        let other = BlockId::from_raw(hold.other.load(Ordering::Acquire));
        let Some(id) = BlockId::from_raw(hold.block.load(Ordering::Acquire)) else {
            hold.other.store(0, Ordering::Release);
            return Ok(());
        };
        let found = self.locate(id.pos()).filter(|found| found.state().generation == id.generation());
        let state = found.as_ref().map(|found| found.state());
        match (found, state.map(|state| state.stage)) {
            (Some(found), Some(Stage::Held)) if state == Some(State::held(id.generation(), dead)) => {
                let closed = Children::from_raw(found.header.children.load(Ordering::Acquire)).is_closed();
                match (other, how) {
                    (Some(parent), _) if !closed => return self.audit_adoption(dead, index, id, parent),
                    (_, Verdict::Clean) => return self.let_go(dead.slot(), index, id),
                    (_, Verdict::Quarantine) => {
                        self.drain(hold, id)?;
                        self.quarantine(&found, id)?;
                    }
                }
            }
            // Killed between the header and the bit that tells the span's owner.
            (Some(found), Some(Stage::Given)) => self.tell_owner(&found),
            (Some(_), Some(Stage::Child)) => {
                if let Some(parent) = other {
                    return self.audit_adoption(dead, index, id, parent);
                }
            }
            _ => {}
        }
        step();
        hold.other.store(0, Ordering::Relaxed);
        step();
        hold.block.store(0, Ordering::Release);
        Ok(())
    }

    /// Takes a block of the dead, without children, out of circulation for good. Of a large one only the addresses are lost.
    fn quarantine(&'static self, block: &Located<'_>, id: BlockId) -> Result<(), ArenaError> {
        match block.place {
            Place::Large => {
                let count = (block.capacity as u64 >> GRANULE_SHIFT) as u32;
                // A refusal costs memory, no more.
                let _ = mem::punch(self.memfd.as_fd(), id.pos(), block.capacity as u64);
                self.granules()?.retire(block.granule, count);
            }
            Place::Small { .. } => {
                let kept = State { generation: id.generation(), stage: Stage::Held, holder: QUARANTINE };
                block.header.state.store(kept.raw(), Ordering::Release);
            }
        }
        Ok(())
    }

    fn audit_adoption(&'static self, dead: Owner, index: u32, id: BlockId, parent: BlockId) -> Result<(), ArenaError> {
        if self.settle_adoption((dead.slot(), index), id, parent, dead)? == Settled::Later {
            self.defer(dead, index, id, parent)?;
        }
        Ok(())
    }

    /// Moves an entry that cannot be decided yet to this process's own table, so that the dead one's slot becomes free.
    fn defer(&'static self, dead: Owner, index: u32, id: BlockId, parent: BlockId) -> Result<(), ArenaError> {
        let mine = lock(&self.local.holds).take(self)?;
        let (to, from) = (self.my_hold(mine), self.map.hold(dead.slot(), index));
        to.other.store(parent.raw(), Ordering::Relaxed);
        step();
        to.block.store(id.raw(), Ordering::Release);
        step();
        from.other.store(0, Ordering::Relaxed);
        step();
        from.block.store(0, Ordering::Release);
        lock(&self.local.deferred).push(mine);
        Ok(())
    }

    /// Tries again what could not be finished when it came up.
    pub(crate) fn settle(&'static self) {
        let waiting = std::mem::take(&mut *lock(&self.local.deferred));
        for index in waiting {
            let hold = self.my_hold(index);
            let other = hold.other.load(Ordering::Acquire);
            if refs::is_reference(other) {
                if self.retry_unrefer(index) {
                    lock(&self.local.holds).put(index);
                } else {
                    lock(&self.local.deferred).push(index);
                }
                continue;
            }
            let other = BlockId::from_raw(other);
            let done = match (BlockId::from_raw(hold.block.load(Ordering::Acquire)), other) {
                (None, _) => true,
                (Some(id), Some(parent)) if !self.is_being_freed(id) => {
                    let settled = self.settle_adoption((self.me.slot(), index), id, parent, self.me);
                    matches!(settled, Ok(Settled::Done))
                }
                (Some(id), _) => self.let_go(self.me.slot(), index, id).is_ok(),
            };
            if done {
                lock(&self.local.holds).put(index);
            } else {
                lock(&self.local.deferred).push(index);
            }
        }
    }

    /// Whether its holder was freeing the block. The chain of a child is closed by whoever frees the parent: that says nothing.
    fn is_being_freed(&self, id: BlockId) -> bool {
        self.locate(id.pos()).is_some_and(|found| {
            found.state().stage == Stage::Held
                && Children::from_raw(found.header.children.load(Ordering::Acquire)).is_closed()
        })
    }
}
