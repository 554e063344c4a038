//! Process slots: who is a member, who started it, how far its life is, and what it left behind.
//!
//! ```text
//! parent (dense table)   0 -> parent's Owner      by the CAS of `reserve`; names the claimer in the same word
//!                        parent -> 0              last store of `release`
//! life                   FREE -> RESERVED         by the claimer, after generation and fields are set
//!                        RESERVED -> STARTING -> LIVE -> DEAD    by the supervisor and the child
//!                        DEAD -> AUDITED          last store of `Arena::audit`
//!                        AUDITED -> FREE          by `release`
//! ```
//! A claimer killed before RESERVED leaves a slot with a parent and life FREE: the audit of the parent returns it.

use std::sync::atomic::{AtomicU32, Ordering};

use super::id::{Owner, SLOTS};
use super::layout::NOTE_TEXT;
pub(crate) use super::layout::Slot;
use super::{Arena, ArenaError, mutant, step};
use crate::sys::futex;

/// How far the life of a process is: the values of [`Slot::life`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub(crate) enum Life {
    /// Nobody has the slot.
    Free = 0,
    /// Claimed for a child that is not started yet.
    Reserved = 1,
    /// The child exists.
    Starting = 2,
    /// The child is a member.
    Live = 3,
    /// The process is gone; what it held is not recovered yet.
    Dead = 4,
    /// What it held is recovered.
    Audited = 5,
}

impl Life {
    pub(crate) fn from_raw(raw: u32) -> Life {
        match raw {
            1 => Life::Reserved,
            2 => Life::Starting,
            3 => Life::Live,
            4 => Life::Dead,
            5 => Life::Audited,
            _ => Life::Free,
        }
    }
}

impl Slot {
    /// The word of the life, to sleep on. Its values are those of [`Life`].
    pub(crate) fn life_word(&self) -> &AtomicU32 {
        &self.life
    }

    pub(crate) fn life(&self) -> Life {
        Life::from_raw(self.life.load(Ordering::Acquire))
    }

    /// Goes on to `life` and wakes who waits for that.
    pub(crate) fn set_life(&self, life: Life) {
        self.life.store(life as u32, Ordering::Release);
        futex::wake_all(&self.life);
    }

    /// The name, at most 64 bytes of it.
    #[cfg(test)]
    pub(crate) fn name(&self) -> String {
        let len = (self.name_len.load(Ordering::Acquire) as usize).min(self.name.len());
        let bytes: Vec<u8> = self.name[..len].iter().map(|byte| byte.load(Ordering::Relaxed)).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Names the process; only its first 64 bytes are kept, cut at a character.
    pub(crate) fn set_name(&self, name: &str) {
        let fits = |len: &usize| name.is_char_boundary(*len);
        let len = (0..=self.name.len().min(name.len())).rev().find(fits).unwrap_or(0);
        for (to, from) in self.name.iter().zip(&name.as_bytes()[..len]) {
            to.store(*from, Ordering::Relaxed);
        }
        self.name_len.store(len as u32, Ordering::Release);
    }
}

/// The slots of an arena.
#[derive(Clone, Copy)]
pub(crate) struct Slots<'a>(pub(super) &'a Arena);

impl<'a> Slots<'a> {
    /// Claims a slot for a child of `parent`, in life RESERVED.
    pub(crate) fn reserve(self, parent: Owner) -> Result<Owner, ArenaError> {
        self.0.check()?;
        for index in 0..SLOTS {
            let claim = self.0.map.slot_parent(index);
            let slot = self.0.map.slot(index);
            if claim.load(Ordering::Relaxed) != 0 {
                continue;
            }
            if mutant(super::mutants::SLOT_LIFE_FIRST) {
                slot.life.store(Life::Reserved as u32, Ordering::Release);
                step();
            }
            if claim.compare_exchange(0, parent.raw(), Ordering::Acquire, Ordering::Relaxed).is_err() {
                continue;
            }
            step();
            let generation = Owner::next_generation(slot.generation.load(Ordering::Relaxed));
            for word in [&slot.pid, &slot.auditor, &slot.hold_high, &slot.thread_reach, &slot.name_len] {
                word.store(0, Ordering::Relaxed);
            }
            for word in slot.words.iter().chain([&slot.status, &slot.boot]) {
                word.store(0, Ordering::Relaxed);
            }
            self.0.map.note(index).kind.store(0, Ordering::Relaxed);
            slot.generation.store(generation, Ordering::Release);
            step();
            slot.life.store(Life::Reserved as u32, Ordering::Release);
            if let Some(owner) = Owner::new(index, generation) {
                return Ok(owner);
            }
        }
        Err(ArenaError::TooManyProcesses)
    }

    /// The slot of a process; `None` once it was given to another.
    pub(crate) fn get(self, owner: Owner) -> Option<&'a Slot> {
        let slot = self.0.map.slot(owner.slot());
        (slot.generation.load(Ordering::Acquire) == owner.generation()).then_some(slot)
    }

    /// Gives the slot back; only after the audit. Does nothing if `owner` no longer has it.
    pub(crate) fn release(self, owner: Owner) {
        let claim = self.0.map.slot_parent(owner.slot());
        let Some(slot) = self.get(owner).filter(|_| claim.load(Ordering::Acquire) != 0) else { return };
        slot.life.store(Life::Free as u32, Ordering::Release);
        step();
        claim.store(0, Ordering::Release);
        futex::wake_all(&slot.life);
    }

    /// The children of a process, dead or alive, down to those that are only reserved.
    pub(crate) fn children_of(self, parent: Owner) -> impl Iterator<Item = Owner> + use<'a> {
        self.all().filter(move |owner| {
            *owner != parent && self.0.map.slot_parent(owner.slot()).load(Ordering::Acquire) == parent.raw()
        })
    }

    /// Whose child a process is; the root is its own.
    pub(crate) fn parent_of(self, child: Owner) -> Option<Owner> {
        self.get(child)?;
        Owner::from_raw(self.0.map.slot_parent(child.slot()).load(Ordering::Acquire))
    }

    /// Every process that has a slot.
    pub(crate) fn all(self) -> impl Iterator<Item = Owner> + use<'a> {
        (0..SLOTS).filter_map(move |index| {
            (self.0.map.slot_parent(index).load(Ordering::Acquire) != 0).then_some(())?;
            let slot = self.0.map.slot(index);
            (slot.life() != Life::Free).then_some(())?;
            Owner::new(index, slot.generation.load(Ordering::Acquire))
        })
    }

    /// Returns the slots that a dead process was reserving when it was killed. Repeatable.
    pub(super) fn drop_half_reserved(self, dead: Owner) {
        for index in 0..SLOTS {
            let claim = self.0.map.slot_parent(index);
            if claim.load(Ordering::Acquire) == dead.raw() && self.0.map.slot(index).life() == Life::Free {
                claim.store(0, Ordering::Release);
            }
        }
    }

    /// Leaves a note in the slot of a process, in the place of an earlier one. Async-signal-safe.
    pub(crate) fn write_note(self, owner: Owner, kind: u32, text: &[u8]) {
        let note = self.0.map.note(owner.slot());
        if self.get(owner).is_none() {
            return;
        }
        note.kind.store(0, Ordering::Relaxed);
        step();
        let len = text.len().min(NOTE_TEXT);
        for (to, from) in note.text.0.iter().zip(&text[..len]) {
            to.store(*from, Ordering::Relaxed);
        }
        note.len.store(len as u32, Ordering::Relaxed);
        step();
        note.kind.store(kind, Ordering::Release);
    }

    /// The kind of the note that a process left, which is not 0. Async-signal-safe.
    pub(crate) fn note_kind(self, owner: Owner) -> Option<u32> {
        self.get(owner)?;
        Some(self.0.map.note(owner.slot()).kind.load(Ordering::Acquire)).filter(|kind| *kind != 0)
    }

    /// The note of a process: its kind, which is not 0, and its text.
    pub(crate) fn read_note(self, owner: Owner) -> Option<(u32, Vec<u8>)> {
        self.get(owner)?;
        let note = self.0.map.note(owner.slot());
        let kind = note.kind.load(Ordering::Acquire);
        (kind != 0).then_some(())?;
        let len = (note.len.load(Ordering::Relaxed) as usize).min(NOTE_TEXT);
        Some((kind, note.text.0[..len].iter().map(|byte| byte.load(Ordering::Relaxed)).collect()))
    }
}
