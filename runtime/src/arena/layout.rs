//! Where everything lies in the mapping, and the only code that turns an index into a reference into it.
//!
//! Invariants of the unsafe code here: every section is inside the mapping (`Layout::of` adds their sizes up and refuses
//! a length that cannot hold them), its offset is a multiple of the alignment of its element, every index is checked
//! against the section's count, the mapping cannot shrink (sealed) and is never unmapped, and every element type consists
//! of atomics only, for which every bit pattern is valid and access from several processes is defined.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};

use super::id::{ALIGN, Pos, SLOTS, THREADS};
use crate::sync::OwnerLock;

/// The unit in which memory is given to spans and large blocks.
pub(crate) const GRANULE: u64 = 1 << GRANULE_SHIFT;
/// log2 of [`GRANULE`].
pub(crate) const GRANULE_SHIFT: u32 = 16;
/// The most blocks a span can hold: those of the smallest class.
pub(crate) const SPAN_BLOCKS: usize = GRANULE as usize / ALIGN;
/// Bytes of text that a note can hold.
pub(crate) const NOTE_TEXT: usize = 4096 - 64;
/// How many stripes of references there are.
pub(crate) const STRIPES: usize = 1 << 12;
/// The longest mapping: what a [`super::BlockId`] can name.
pub(crate) const LEN_MAX: usize = 1 << 40;
/// The shortest mapping worth having.
pub(crate) const LEN_MIN: usize = 256 << 20;

/// The first bytes of the mapping.
#[repr(C, align(64))]
pub(crate) struct Super {
    pub(crate) magic: AtomicU64,
    pub(crate) id: AtomicU64,
    pub(crate) len: AtomicU64,
    pub(crate) budget: AtomicU64,
    pub(crate) lock: Line<OwnerLock>,
    /// Everything from here on changes under `lock`, by redo records only.
    pub(crate) redo: Redo,
    /// Granules in use, by spans or large blocks.
    pub(crate) used: AtomicU32,
    /// Granules that are free and may have pages.
    pub(crate) warm: AtomicU32,
    /// No granule at or above this one was ever used.
    pub(crate) high: AtomicU32,
    /// The block that the family's statics are found by, 0 until the first is made.
    pub(crate) root: AtomicU64,
}

/// Keeps a field off its neighbours' cache line.
#[repr(C, align(64))]
pub(crate) struct Line<T>(pub(crate) T);

/// The one change of granules that is under way. Whoever holds the lock after its writer died carries it out.
#[repr(C, align(64))]
pub(crate) struct Redo {
    /// 0: nothing is under way, and the rest means nothing.
    pub(crate) op: AtomicU32,
    pub(crate) first: AtomicU32,
    pub(crate) count: AtomicU32,
    pub(crate) generation: AtomicU32,
    pub(crate) owner: AtomicU32,
    /// Size class of a span; for a large block the index of its hold entry.
    pub(crate) detail: AtomicU32,
    pub(crate) used: AtomicU32,
    pub(crate) warm: AtomicU32,
    pub(crate) high: AtomicU32,
    /// Whether freed granules keep their pages.
    pub(crate) keep: AtomicU32,
    /// The block that becomes the root.
    pub(crate) block: AtomicU64,
}

/// What is known of a block, apart from its payload.
#[repr(C, align(32))]
pub(crate) struct Header {
    /// See `header::State`.
    pub(crate) state: AtomicU64,
    /// See `header::Children`.
    pub(crate) children: AtomicU64,
    /// The next child of the same parent: a position, 0 at the end.
    pub(crate) next: AtomicU64,
    /// Capacity of a large block in bytes. Unused in small ones, where the span's class says it.
    pub(crate) len: AtomicU64,
}

/// What is known of a granule, as the head of a large block or as a span of small ones.
#[repr(C, align(64))]
pub(crate) struct Granule {
    /// The last generation given to a block that starts in this granule.
    pub(crate) generation: AtomicU32,
    /// Size class of the span.
    pub(crate) class: AtomicU32,
    /// Where the owner of the span keeps its private record; a hint that only the owner reads, and checks.
    pub(crate) local: AtomicU32,
    /// Blocks of the span from this index on were never used since it became that span.
    pub(crate) touched: AtomicU32,
    /// When this run was freed, in seconds of the coarse monotonic clock.
    pub(crate) freed_at: AtomicU32,
    /// The header of a large block that starts here.
    pub(crate) header: Header,
    /// Blocks freed by processes other than the owner: bits to be collected by the owner.
    pub(crate) remote: [AtomicU64; SPAN_BLOCKS / 64],
}

/// A process slot. Who claimed it stands in the dense table `slot_parent`, not here.
#[repr(C, align(64))]
pub(crate) struct Slot {
    pub(crate) life: AtomicU32,
    pub(crate) generation: AtomicU32,
    pub(crate) pid: AtomicU32,
    /// The process that audits this slot's dead owner, 0 if none.
    pub(crate) auditor: AtomicU32,
    /// The exit status, encoded and written by the supervisor.
    pub(crate) status: AtomicU64,
    /// The block that says what the process is to run.
    pub(crate) boot: AtomicU64,
    /// Hold entries at or above this index were never used in this life.
    pub(crate) hold_high: AtomicU32,
    pub(crate) name_len: AtomicU32,
    /// Counts the rings of the process's doorbell, on which its threads sleep in waits for several things.
    pub(crate) bell: AtomicU32,
    /// Records of threads at or beyond this distance from the first of this process were never its own in this life.
    pub(crate) thread_reach: AtomicU32,
    pub(crate) name: [AtomicU8; 64],
    /// For the use of `process`; zeroed by `reserve`.
    pub(crate) words: [AtomicU64; 8],
}

/// What a process left behind for its supervisor, at most one at a time.
#[repr(C, align(64))]
pub(crate) struct Note {
    /// 0: no note. Written last.
    pub(crate) kind: AtomicU32,
    pub(crate) len: AtomicU32,
    pub(crate) text: Line<[AtomicU8; NOTE_TEXT]>,
}

/// A block that a process has its hands on.
#[repr(C, align(16))]
pub(crate) struct Hold {
    /// The block, 0 if the entry is free.
    pub(crate) block: AtomicU64,
    /// While it is handed over: the parent to be. While it is freed: the descendant that is being unlinked.
    pub(crate) other: AtomicU64,
}

/// The lock under which references to some of the objects come and go, and the one change that is under way there. Apart
/// from the objects, so that it can be locked for one that may be gone.
#[repr(C, align(64))]
pub(crate) struct Stripe {
    pub(crate) lock: OwnerLock,
    /// 0: nothing is under way, and the rest means nothing.
    pub(crate) op: AtomicU32,
    pub(crate) role: AtomicU32,
    /// How many references in that role there are to be.
    pub(crate) count: AtomicU32,
    pub(crate) object: AtomicU64,
    /// Where the reference stands.
    pub(crate) record: AtomicU64,
    /// What its second word is to be.
    pub(crate) state: AtomicU64,
    /// The hold entry, and its process, that the object falls to when this was the last reference.
    pub(crate) heir: AtomicU64,
}

/// A thread's record, on lines of its own. Who claimed it stands in the dense table `thread_owner`.
#[repr(C, align(128))]
pub(crate) struct ThreadRecord {
    pub(crate) generation: AtomicU32,
    /// The word this thread sleeps on in waits for several things.
    pub(crate) doorbell: AtomicU32,
    /// What this thread waits for, as its waker understands it.
    pub(crate) waiting_on: AtomicU64,
    /// Position of a futex word whose sleepers this thread is about to wake: the audit of its process wakes them.
    pub(crate) intent: AtomicU64,
    /// Where the `journal::Guarded` stands that this thread locks or has locked; 0 for none.
    pub(crate) building: AtomicU64,
}

const _: () = {
    assert!(size_of::<Header>() == 32 && size_of::<Hold>() == 16 && size_of::<ThreadRecord>() == 128);
    assert!(size_of::<Note>() == 4096 && size_of::<Slot>() == 192 && size_of::<Granule>() == 192);
    assert!(size_of::<Super>() <= GRANULE as usize && size_of::<Stripe>() == 64);
};

/// An array of `T` in the mapping.
pub(crate) struct Section<T> {
    offset: usize,
    count: usize,
    element: PhantomData<fn() -> T>,
}

/// The sections of a mapping of a given length. Not read from shared memory: every member computes it.
pub(crate) struct Layout {
    pub(crate) len: usize,
    /// Hold entries of each slot.
    pub(crate) holds_each: usize,
    pub(crate) slot_parent: Section<AtomicU32>,
    pub(crate) slots: Section<Slot>,
    pub(crate) notes: Section<Note>,
    pub(crate) thread_owner: Section<AtomicU32>,
    pub(crate) threads: Section<ThreadRecord>,
    pub(crate) stripes: Section<Stripe>,
    pub(crate) holds: Section<Hold>,
    /// One bit a granule: in use.
    pub(crate) used: Section<AtomicU64>,
    /// One bit a granule: free, and may have pages.
    pub(crate) warm: Section<AtomicU64>,
    /// What each granule is; see `granule::Kind`.
    pub(crate) kinds: Section<AtomicU32>,
    pub(crate) granules: Section<Granule>,
    pub(crate) headers: Section<Header>,
    /// Where payloads begin, a multiple of [`GRANULE`].
    pub(crate) payload: Pos,
}

impl Layout {
    /// The layout of a mapping of `len` bytes; `None` if that is no length a mapping can have.
    pub(crate) fn of(len: usize) -> Option<Layout> {
        let fits = (LEN_MIN..=LEN_MAX).contains(&len) && len.is_multiple_of(64 * GRANULE as usize);
        fits.then_some(())?;
        let granules = len >> GRANULE_SHIFT;
        let holds_each = (len >> 18).max(4096);
        let mut end = GRANULE as usize;
        let layout = Layout {
            len,
            holds_each,
            slot_parent: take(&mut end, SLOTS),
            slots: take(&mut end, SLOTS),
            notes: take(&mut end, SLOTS),
            thread_owner: take(&mut end, THREADS),
            threads: take(&mut end, THREADS),
            stripes: take(&mut end, STRIPES),
            used: take(&mut end, granules / 64),
            warm: take(&mut end, granules / 64),
            kinds: take(&mut end, granules),
            granules: take(&mut end, granules),
            holds: take(&mut end, SLOTS * holds_each),
            headers: take(&mut end, granules * SPAN_BLOCKS),
            payload: (end as u64).next_multiple_of(GRANULE),
        };
        (layout.payload < len as u64).then_some(layout)
    }

    /// The granule that payloads begin with.
    pub(crate) fn first_granule(&self) -> u32 {
        (self.payload >> GRANULE_SHIFT) as u32
    }

    /// How many granules the mapping has, those of the metadata included.
    pub(crate) fn granule_count(&self) -> u32 {
        self.kinds.count as u32
    }
}

/// Lays a section of `count` elements at `end`, on a page of its own.
fn take<T>(end: &mut usize, count: usize) -> Section<T> {
    let offset = end.next_multiple_of(4096);
    *end = offset + count * size_of::<T>();
    Section { offset, count, element: PhantomData }
}

/// Every index that was read from shared memory is checked by its reader, so this is a bug of the arena.
#[cold]
fn out_of_range(index: usize, count: usize) -> ! {
    panic!("index {index} of a table of {count} in the arena");
}

/// A mapping and its layout.
pub(crate) struct Map {
    base: NonNull<u8>,
    pub(crate) layout: Layout,
}

// SAFETY: the mapping is shared memory accessed through atomics, and is not tied to a thread.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

impl Map {
    /// # Safety
    /// `base` is a readable and writable shared mapping of `layout.len` bytes that stays for the rest of the process.
    pub(crate) unsafe fn new(base: NonNull<u8>, layout: Layout) -> Map {
        Map { base, layout }
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(crate) fn head(&self) -> &Super {
        // SAFETY: the first granule of the mapping is not in any section, and holds a `Super` (checked above).
        unsafe { self.base.cast().as_ref() }
    }

    #[inline]
    fn get<T>(&self, section: &Section<T>, index: usize) -> &T {
        if index >= section.count {
            out_of_range(index, section.count);
        }
        // SAFETY: see the module's invariants; the index was checked just now.
        unsafe { self.base.add(section.offset + index * size_of::<T>()).cast().as_ref() }
    }

    pub(crate) fn slot_parent(&self, slot: usize) -> &AtomicU32 {
        self.get(&self.layout.slot_parent, slot)
    }

    pub(crate) fn slot(&self, slot: usize) -> &Slot {
        self.get(&self.layout.slots, slot)
    }

    pub(crate) fn note(&self, slot: usize) -> &Note {
        self.get(&self.layout.notes, slot)
    }

    pub(crate) fn thread_owner(&self, index: usize) -> &AtomicU32 {
        self.get(&self.layout.thread_owner, index)
    }

    pub(crate) fn thread(&self, index: usize) -> &ThreadRecord {
        self.get(&self.layout.threads, index)
    }

    #[inline]
    pub(crate) fn stripe(&self, index: usize) -> &Stripe {
        self.get(&self.layout.stripes, index)
    }

    /// Entry `index` of the hold table of `slot`.
    #[inline]
    pub(crate) fn hold(&self, slot: usize, index: u32) -> &Hold {
        if index as usize >= self.layout.holds_each {
            out_of_range(index as usize, self.layout.holds_each);
        }
        self.get(&self.layout.holds, slot * self.layout.holds_each + index as usize)
    }

    pub(crate) fn used(&self, word: usize) -> &AtomicU64 {
        self.get(&self.layout.used, word)
    }

    pub(crate) fn warm(&self, word: usize) -> &AtomicU64 {
        self.get(&self.layout.warm, word)
    }

    #[inline]
    pub(crate) fn kind(&self, granule: u32) -> &AtomicU32 {
        self.get(&self.layout.kinds, granule as usize)
    }

    #[inline]
    pub(crate) fn granule(&self, granule: u32) -> &Granule {
        self.get(&self.layout.granules, granule as usize)
    }

    /// Header `index` of the span `granule`.
    #[inline]
    pub(crate) fn header(&self, granule: u32, index: usize) -> &Header {
        if index >= SPAN_BLOCKS {
            out_of_range(index, SPAN_BLOCKS);
        }
        self.get(&self.layout.headers, granule as usize * SPAN_BLOCKS + index)
    }

    /// The address of `len` payload bytes at `pos`, if that is where payloads are.
    #[inline]
    pub(crate) fn payload(&self, pos: Pos, len: usize) -> Option<NonNull<u8>> {
        let end = pos.checked_add(len as u64)?;
        (pos >= self.layout.payload && end <= self.layout.len as u64).then_some(())?;
        // SAFETY: `pos` is inside the mapping, or one past its end for a `len` of 0.
        Some(unsafe { self.base.add(pos as usize) })
    }

    /// The addresses of all payload.
    pub(crate) fn payload_range(&self) -> std::ops::Range<usize> {
        let base = self.base.as_ptr() as usize;
        base + self.layout.payload as usize..base + self.layout.len
    }

    /// A word anywhere in the mapping, to wake its sleepers; `None` for 0 and positions that hold no word.
    pub(crate) fn word(&self, pos: Pos) -> Option<&AtomicU32> {
        let fits = pos != 0 && pos.is_multiple_of(4) && pos < self.layout.len as u64;
        // SAFETY: inside the mapping, aligned, and any four bytes of it are a valid atomic word.
        fits.then(|| unsafe { self.base.add(pos as usize).cast().as_ref() })
    }

    /// The position of a payload byte; `None` if `address` is none.
    pub(crate) fn pos_of(&self, address: *const u8) -> Option<Pos> {
        let pos = (address as usize).checked_sub(self.base.as_ptr() as usize)? as u64;
        (pos >= self.layout.payload && pos < self.layout.len as u64).then_some(pos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_power_of_two_from_least_to_largest_has_room_for_payload() {
        let mut len = LEN_MIN;
        while len <= LEN_MAX {
            let layout = Layout::of(len).unwrap();
            assert!(layout.payload < (len as u64) / 5 * 4, "{len}: {}", layout.payload);
            len *= 2;
        }
        assert!(Layout::of(LEN_MAX * 2).is_none());
        assert!(Layout::of(LEN_MIN / 2).is_none());
        assert!(Layout::of(LEN_MIN + 4096).is_none());
    }
}
