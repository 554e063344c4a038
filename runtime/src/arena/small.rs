//! Spans: granules cut into small blocks of one size, in which only their owner allocates.
//!
//! Which blocks of a span are free is known to the owner alone, in private memory. The headers say it, too, so that an
//! auditor can find out. Other processes free into a span by a header in stage GIVEN and a bit that the owner collects;
//! a bit without that header (an audit may set one twice) means nothing.

use std::sync::atomic::Ordering;

use super::class::{CLASSES, blocks_of_class};
use super::granule::{Kind, Purpose};
use super::header::{Stage, State};
use super::id::{BLOCK_GENERATION_MAX, Owner};
use super::layout::SPAN_BLOCKS;
use super::{Arena, ArenaError, step};

/// How many spans are looked through for blocks that others freed before a new one is taken. Each new span pays for that
/// many looks, so none is ever forgotten and none costs more than a constant.
const LOOKS: usize = 16;

/// The spans of this process.
#[derive(Default)]
pub(crate) struct Spans {
    spans: Vec<Span>,
    /// Unused places of `spans`.
    vacant: Vec<u32>,
    classes: [Class; CLASSES],
}

/// The spans of one class.
#[derive(Default)]
struct Class {
    all: Vec<u32>,
    /// Those with free blocks.
    open: Vec<u32>,
    /// Where in `all` the next look goes.
    cursor: usize,
}

/// What the owner knows of a span.
struct Span {
    granule: u32,
    class: usize,
    /// Free blocks; those in a thread's cache are not.
    free: [u64; SPAN_BLOCKS / 64],
    count_free: usize,
    /// The place in the class's `all`.
    in_all: usize,
    /// The place in the class's `open`, if it is there.
    in_open: Option<usize>,
}

/// A small block: its granule, and its index in the span.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Small {
    pub(crate) granule: u32,
    pub(crate) index: u16,
}

impl Spans {
    /// Takes up to `most` free blocks of a class, at least one.
    pub(crate) fn take(
        &mut self,
        arena: &'static Arena,
        class: usize,
        most: usize,
        mut give: impl FnMut(Small),
    ) -> Result<(), ArenaError> {
        let open = match self.classes[class].open.last() {
            Some(open) => *open,
            None => self.open(arena, class)?,
        };
        let span = &mut self.spans[open as usize];
        let mut touched = 0;
        for _ in 0..most.min(span.count_free) {
            let Some(word) = span.free.iter().position(|word| *word != 0) else { break };
            let bit = span.free[word].trailing_zeros();
            span.free[word] &= !(1 << bit);
            span.count_free -= 1;
            let index = word * 64 + bit as usize;
            touched = index + 1;
            give(Small { granule: span.granule, index: index as u16 });
        }
        let mark = &arena.map.granule(span.granule).touched;
        if (mark.load(Ordering::Relaxed) as usize) < touched {
            // Before any header at or above the mark is written.
            mark.store(touched as u32, Ordering::Release);
            step();
        }
        if span.count_free == 0 {
            self.close(open);
        }
        Ok(())
    }

    /// Takes a free block of this process back: its header says FREE, and no cache has it.
    pub(crate) fn put(&mut self, arena: &'static Arena, block: Small) {
        let Some(at) = self.find(arena, block.granule) else { return };
        self.put_at(at, block.index as usize);
        let span = &self.spans[at as usize];
        let whole = span.count_free == blocks_of_class(span.class);
        if whole && self.classes[span.class].open.len() > 1 {
            self.release(arena, at);
        }
    }

    fn put_at(&mut self, at: u32, index: usize) {
        let span = &mut self.spans[at as usize];
        let (word, mask) = (index / 64, 1 << (index % 64));
        debug_assert_eq!(span.free[word] & mask, 0, "freed twice");
        span.free[word] |= mask;
        span.count_free += 1;
        if span.in_open.is_none() {
            let open = &mut self.classes[span.class].open;
            span.in_open = Some(open.len());
            open.push(at);
        }
    }

    /// The record of the span `granule`, by the hint in its metadata.
    fn find(&self, arena: &Arena, granule: u32) -> Option<u32> {
        let hint = arena.map.granule(granule).local.load(Ordering::Relaxed);
        let found = self.spans.get(hint as usize).is_some_and(|span| span.granule == granule);
        // Only stray writes into the metadata make the hint wrong.
        if found { Some(hint) } else { self.spans.iter().position(|span| span.granule == granule).map(|at| at as u32) }
    }

    /// A span of the class with free blocks: one that others freed into, else a new one.
    #[cold]
    fn open(&mut self, arena: &'static Arena, class: usize) -> Result<u32, ArenaError> {
        for _ in 0..LOOKS.min(self.classes[class].all.len()) {
            let Class { all, cursor, .. } = &mut self.classes[class];
            *cursor = (*cursor + 1) % all.len();
            let at = all[*cursor];
            self.collect(arena, at);
            if self.spans[at as usize].count_free > 0 {
                return Ok(at);
            }
        }
        let run = arena.granules()?.take(1, Purpose::Span { class: class as u32 }, false)?;
        let mut free = [0; SPAN_BLOCKS / 64];
        for index in 0..blocks_of_class(class) {
            free[index / 64] |= 1 << (index % 64);
        }
        Ok(self.enter(arena, run.first, class, free))
    }

    /// Makes a record of the span `granule`, which is this process's.
    fn enter(&mut self, arena: &Arena, granule: u32, class: usize, free: [u64; SPAN_BLOCKS / 64]) -> u32 {
        let count_free = free.iter().map(|word| word.count_ones() as usize).sum();
        let in_all = self.classes[class].all.len();
        let span = Span { granule, class, free, count_free, in_all, in_open: None };
        let at = match self.vacant.pop() {
            Some(at) => {
                self.spans[at as usize] = span;
                at
            }
            None => {
                self.spans.push(span);
                (self.spans.len() - 1) as u32
            }
        };
        arena.map.granule(granule).local.store(at, Ordering::Relaxed);
        let class = &mut self.classes[class];
        class.all.push(at);
        if count_free > 0 {
            self.spans[at as usize].in_open = Some(class.open.len());
            class.open.push(at);
        }
        at
    }

    /// Takes a span off its class's open ones.
    fn close(&mut self, at: u32) {
        let span = &mut self.spans[at as usize];
        let Some(place) = span.in_open.take() else { return };
        let open = &mut self.classes[span.class].open;
        open.swap_remove(place);
        if let Some(moved) = open.get(place) {
            self.spans[*moved as usize].in_open = Some(place);
        }
    }

    /// Collects the blocks of a span that other processes freed.
    fn collect(&mut self, arena: &Arena, at: u32) {
        let (granule, class) = (self.spans[at as usize].granule, self.spans[at as usize].class);
        for (word, remote) in arena.map.granule(granule).remote.iter().enumerate() {
            if word * 64 >= blocks_of_class(class) {
                break;
            }
            if remote.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let mut bits = remote.swap(0, Ordering::AcqRel);
            while bits != 0 {
                let index = word * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if index >= blocks_of_class(class) {
                    continue;
                }
                let header = arena.map.header(granule, index);
                let state = State::from_raw(header.state.load(Ordering::Acquire));
                if state.stage == Stage::Given {
                    header.state.store(State::new(state.generation, Stage::Free).raw(), Ordering::Release);
                    self.put_at(at, index);
                }
            }
        }
    }

    /// Gives a span without blocks in use back.
    fn release(&mut self, arena: &'static Arena, at: u32) {
        let (granule, class) = (self.spans[at as usize].granule, self.spans[at as usize].class);
        let meta = arena.map.granule(granule);
        // What starts in this granule next must not repeat an id that was in use here.
        let touched = (meta.touched.load(Ordering::Relaxed) as usize).min(blocks_of_class(class));
        let used = (0..touched)
            .map(|index| State::from_raw(arena.map.header(granule, index).state.load(Ordering::Relaxed)).generation);
        let last = used.fold(meta.generation.load(Ordering::Relaxed), u32::max);
        meta.generation.store(last, Ordering::Relaxed);
        step();
        let Ok(granules) = arena.granules() else { return };
        granules.give(granule, 1, true);
        drop(granules);
        self.close(at);
        let place = self.spans[at as usize].in_all;
        let all = &mut self.classes[class].all;
        all.swap_remove(place);
        if let Some(moved) = all.get(place) {
            self.spans[*moved as usize].in_all = place;
        }
        self.spans[at as usize].granule = u32::MAX;
        self.vacant.push(at);
    }

    /// Collects from all spans, and gives back those without blocks in use.
    pub(crate) fn tidy(&mut self, arena: &'static Arena) {
        for at in 0..self.spans.len() as u32 {
            if self.spans[at as usize].granule == u32::MAX {
                continue;
            }
            self.collect(arena, at);
            let span = &self.spans[at as usize];
            if span.count_free == blocks_of_class(span.class) {
                self.release(arena, at);
            }
        }
    }

    /// Makes the spans of a dead process this one's own, with what their headers say. Repeatable.
    pub(crate) fn inherit(&mut self, arena: &'static Arena, dead: Owner) {
        let layout = &arena.map.layout;
        let high = arena.map.head().high.load(Ordering::Acquire).min(layout.granule_count());
        for granule in layout.first_granule()..high {
            if arena.kind(granule) != Kind::Span(dead) {
                continue;
            }
            let meta = arena.map.granule(granule);
            let class = meta.class.load(Ordering::Relaxed) as usize;
            if class >= CLASSES {
                // Only a stray write leads here. Nothing in this span can be found, so nothing of it can be reused.
                continue;
            }
            let mut free = [0; SPAN_BLOCKS / 64];
            let touched = meta.touched.load(Ordering::Acquire) as usize;
            for index in 0..blocks_of_class(class) {
                let is_free = index >= touched || {
                    let header = arena.map.header(granule, index);
                    let state = State::from_raw(header.state.load(Ordering::Acquire));
                    if state.stage == Stage::Given {
                        header.state.store(State::new(state.generation, Stage::Free).raw(), Ordering::Release);
                    }
                    !state.is_live()
                };
                if is_free {
                    free[index / 64] |= 1 << (index % 64);
                }
            }
            let at = self.enter(arena, granule, class, free);
            arena.map.kind(granule).store(arena.me.raw(), Ordering::Release);
            if self.spans[at as usize].count_free == blocks_of_class(class) {
                self.release(arena, at);
            }
        }
    }
}

/// The generation of a block's next life: after its last one, and after all that began in this granule before it became
/// the span that it is.
#[inline]
pub(crate) fn next_generation(header: u32, granule: u32) -> u32 {
    let last = header.max(granule);
    if last >= BLOCK_GENERATION_MAX { 1 } else { last + 1 }
}
