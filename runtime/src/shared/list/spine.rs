//! A list in shared memory: an index of chunks of cells, each of which names the block of an item's image.
//!
//! ```text
//! Root    lock and redo record | index: its block | how many changes there were | grave
//! index   how many chunks | how many items | (chunk, number of its first item) ..
//! chunk   128 cells
//! ```
//! Item `i` lies in the last chunk whose first number is not above `i`. Chunks at the end may be empty.
//!
//! ```text
//! push      GIVE item, cell, length, changes           pop    cell = 0, length, changes, TAKE item
//! set       GIVE item, cell, changes, TAKE old item    clear  index = 0, changes, grave = index
//! the rest  GIVE items, chunks, index; index, changes; TAKE items, chunks, index
//! ```
//! Each line is one redo record, and in each one store alone is what readers see: of the length, the cell or the index. So a
//! reader that finds as many changes afterwards as before has seen one state. Where items come or go in the middle, the chunks that are concerned and the index are built
//! anew; so what a reader is at is never moved. Who clears a list puts its index into the grave, which it, or the next who
//! changes the list, empties chunk by chunk.
//!
//! *Reading* takes no lock: a copy counts if afterwards the cell still names its block, the index the chunk, and the root
//! the index. Blocks are never named again by the id that they had.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::super::SharedError;
use super::super::image::{Buffer, Shown};
use super::super::nested::{ALL, END, touch};
use crate::arena::journal::{Action, Guard, Guarded, INLINE, Taker};
use crate::arena::{Arena, ArenaError, Block, BlockId, Pos, mutant};
use crate::shared::mutants;

/// Cells of a chunk.
pub(super) const CHUNK: usize = 128;
/// Words of an index before its entries.
const BEFORE: usize = 2;
/// Reads that meet a change try again so often before they wait for who makes it.
const TRIES: usize = 32;
/// And so often before they read under the lock.
const TRIES_LOCKED: usize = 48;

/// The part of a list that does not move.
#[repr(C, align(64))]
pub(crate) struct Root {
    guarded: Guarded,
    index: AtomicU64,
    changes: AtomicU64,
    grave: AtomicU64,
    _spare: [AtomicU64; 5],
}

/// A list of the family.
#[derive(Clone, Copy)]
pub(crate) struct Spine<'a> {
    arena: &'static Arena,
    root: &'a Root,
    pos: Pos,
}

/// The spine, locked.
pub(super) struct Locked<'a> {
    spine: Spine<'a>,
    guard: Guard<'a>,
}

/// An index block.
#[derive(Clone, Copy)]
struct Index {
    id: BlockId,
    words: &'static [AtomicU64],
}

impl Index {
    fn of(arena: &'static Arena, id: BlockId, capacity: usize) -> Option<Index> {
        let start = arena.at(id.pos(), capacity)?;
        // SAFETY: payload, aligned; any bytes are valid atomics, and the mapping stays.
        let words = unsafe { std::slice::from_raw_parts(start.as_ptr().cast::<AtomicU64>(), capacity / 8) };
        Some(Index { id, words })
    }

    /// How many chunks; what is not a block's is none.
    fn count(&self) -> usize {
        (self.words[0].load(Ordering::Acquire) as usize).min((self.words.len() - BEFORE) / 2)
    }

    /// How many items.
    fn len(&self) -> usize {
        self.words[1].load(Ordering::Acquire) as usize
    }

    /// The words of chunk `at`: its block, and the number of its first item.
    fn entry(&self, at: usize) -> (&'static AtomicU64, &'static AtomicU64) {
        (&self.words[BEFORE + at * 2], &self.words[BEFORE + 1 + at * 2])
    }

    fn first(&self, at: usize) -> usize {
        self.entry(at).1.load(Ordering::Acquire) as usize
    }

    /// The chunk of item `number`.
    fn find(&self, number: usize) -> Option<usize> {
        let (mut low, mut high) = (0, self.count());
        // Most often all chunks are full.
        let guess = number / CHUNK;
        if guess + 1 < high && self.first(guess) <= number && number < self.first(guess + 1) {
            return Some(guess);
        }
        while low < high {
            let middle = (low + high) / 2;
            if self.first(middle) <= number {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.checked_sub(1)
    }

    fn store(&self, word: &AtomicU64, value: u64) -> Action {
        let offset = std::ptr::from_ref(word).addr() - self.words.as_ptr().addr();
        Action::Store(self.id.pos() + offset as u64, value)
    }

    fn is_full(&self) -> bool {
        BEFORE + (self.count() + 1) * 2 > self.words.len()
    }
}

fn cell_pos(chunk: BlockId, at: usize) -> Pos {
    chunk.pos() + at as u64 * 8
}

impl<'a> Spine<'a> {
    pub(crate) fn new(arena: &'static Arena, root: &'a Root, pos: Pos) -> Spine<'a> {
        Spine { arena, root, pos }
    }

    fn store(&self, word: &AtomicU64, value: u64) -> Action {
        let offset = std::ptr::from_ref(word).addr() - std::ptr::from_ref(self.root).addr();
        Action::Store(self.pos + offset as u64, value)
    }

    /// Where the root stands: what tells this list from all others.
    pub(super) fn pos(&self) -> Pos {
        self.pos
    }

    pub(super) fn len(&self) -> usize {
        loop {
            let Some(index) = self.index() else {
                // None, or one that is no more.
                if self.root.index.load(Ordering::Acquire) == 0 {
                    return 0;
                }
                continue;
            };
            let len = index.len();
            fence(Ordering::Acquire);
            if self.root.index.load(Ordering::Acquire) == index.id.raw() {
                return len;
            }
        }
    }

    /// How often the list was changed.
    pub(super) fn changes(&self) -> u64 {
        self.root.changes.load(Ordering::Acquire)
    }

    /// The index, if the list has one. Read without a lock, it may be any block by now: what it says needs a second look.
    fn index(&self) -> Option<Index> {
        let id = BlockId::from_raw(self.root.index.load(Ordering::Acquire))?;
        Index::of(self.arena, id, self.arena.locate(id.pos())?.capacity)
    }

    pub(super) fn lock(self) -> Result<Locked<'a>, SharedError> {
        let guard = self.arena.guard(&self.root.guarded, self.pos)?;
        let mut locked = Locked { spine: self, guard };
        if self.root.grave.load(Ordering::Relaxed) != 0 {
            locked.empty_grave()?;
        }
        Ok(locked)
    }

    /// Copies item `number` into `buffer`; its block.
    pub(super) fn read(&self, number: usize, buffer: &mut Buffer) -> Result<BlockId, SharedError> {
        let mut tries = 0;
        loop {
            let guard = if tries >= TRIES_LOCKED { Some(self.lock()?) } else { None };
            let len = self.len();
            if number >= len {
                return Err(SharedError::OutOfRange { index: number, len });
            }
            let found = self.look(number, |shown, still| buffer.copy(shown, still));
            drop(guard);
            if let Some(id) = found {
                return Ok(id);
            }
            tries += 1;
            if tries == TRIES {
                // Whoever changes the list, alive or dead, is done after that.
                drop(self.lock()?);
            } else {
                std::hint::spin_loop();
            }
        }
    }

    fn look(&self, number: usize, copy: impl FnOnce(Shown, &dyn Fn() -> bool) -> bool) -> Option<BlockId> {
        let index = self.index()?;
        let at = index.find(number)?;
        let (chunk_word, first_word) = index.entry(at);
        let (chunk_raw, first) = (chunk_word.load(Ordering::Acquire), first_word.load(Ordering::Acquire));
        let chunk = BlockId::from_raw(chunk_raw)?;
        let inside = number.checked_sub(first as usize).filter(|inside| *inside < CHUNK)?;
        let cell = self.arena.word_at(cell_pos(chunk, inside))?;
        let id = BlockId::from_raw(cell.load(Ordering::Acquire))?;
        // From the item up to the root: each is there as long as what is above it still names it.
        let still = || {
            cell.load(Ordering::Acquire) == id.raw()
                && chunk_word.load(Ordering::Acquire) == chunk_raw
                && first_word.load(Ordering::Acquire) == first
                && self.root.index.load(Ordering::Acquire) == index.id.raw()
        };
        copy(Shown::new(self.arena, id.pos()), &still).then_some(id)
    }

    /// The blocks of all items, and how often the list had been changed then; `None` if it is being changed.
    pub(super) fn items(&self) -> Option<(Vec<BlockId>, u64)> {
        let (changes, len) = (self.changes(), self.len());
        let mut items = Vec::with_capacity(len.min(1 << 20));
        while items.len() < len {
            let index = self.index()?;
            let at = index.find(items.len())?;
            let chunk = BlockId::from_raw(index.entry(at).0.load(Ordering::Acquire))?;
            let first = index.first(at);
            let end = if at + 1 < index.count() { index.first(at + 1).min(len) } else { len };
            if first > items.len() || end <= items.len() || end - first > CHUNK {
                return None;
            }
            for inside in items.len() - first..end - first {
                items.push(BlockId::from_raw(self.arena.word_at(cell_pos(chunk, inside))?.load(Ordering::Acquire))?);
            }
            fence(Ordering::Acquire);
            if self.changes() != changes {
                return None;
            }
        }
        fence(Ordering::Acquire);
        (self.changes() == changes).then_some((items, changes))
    }

    /// Gives back all that the list has, when nobody uses it any more. Repeatable.
    pub(crate) fn destroy(&self) -> Result<(), ArenaError> {
        for word in [&self.root.index, &self.root.grave] {
            let Some(id) = BlockId::from_raw(word.load(Ordering::Acquire)).filter(|id| self.arena.is_owned(*id)) else {
                continue;
            };
            let capacity = self.arena.locate(id.pos()).map_or(0, |found| found.capacity);
            let Some(index) = Index::of(self.arena, id, capacity).filter(|_| capacity >= 64) else { continue };
            for at in 0..index.count() {
                let Some(chunk) = BlockId::from_raw(index.entry(at).0.load(Ordering::Acquire)) else { continue };
                if !self.arena.is_owned(chunk) {
                    continue;
                }
                for inside in 0..CHUNK {
                    let cell = self.arena.word_at(cell_pos(chunk, inside));
                    if let Some(item) = cell.and_then(|cell| BlockId::from_raw(cell.load(Ordering::Acquire))) {
                        self.arena.free_owned(item)?;
                    }
                }
                self.arena.free_owned(chunk)?;
            }
            self.arena.free_owned(id)?;
        }
        Ok(())
    }
}

impl Locked<'_> {
    pub(super) fn len(&self) -> usize {
        self.spine.len()
    }

    pub(super) fn changes(&self) -> u64 {
        self.spine.changes()
    }

    /// To count one change more, of this item.
    fn changed(&self, entry: u64) -> Action {
        touch(self.spine.pos, entry);
        self.spine.store(&self.spine.root.changes, self.changes() + 1)
    }

    /// Where the cell of an item stands, and what it holds.
    fn cell(&self, number: usize) -> Option<(Pos, Option<BlockId>)> {
        let index = self.spine.index()?;
        let at = index.find(number)?;
        let chunk = BlockId::from_raw(index.entry(at).0.load(Ordering::Relaxed))?;
        let inside = number.checked_sub(index.first(at)).filter(|inside| *inside < CHUNK)?;
        let pos = cell_pos(chunk, inside);
        Some((pos, BlockId::from_raw(self.spine.arena.word_at(pos)?.load(Ordering::Relaxed))))
    }

    /// The block of an item.
    pub(super) fn item(&self, number: usize) -> Option<BlockId> {
        self.cell(number)?.1
    }

    /// Adds an item at the end.
    pub(super) fn push(&mut self, item: Block) -> Result<(), SharedError> {
        let spine = self.spine;
        let len = self.len();
        if let Some((pos, _)) = self.cell(len)
            && let Some(index) = spine.index()
        {
            let longer = index.store(&index.words[1], len as u64 + 1);
            if mutant(mutants::LENGTH_APART) {
                self.guard.apply(&[item.give(), Action::Store(pos, item.id().raw())]);
                item.given();
                self.guard.apply(&[longer, self.changed(END)]);
                return Ok(());
            }
            self.guard.apply(&[item.give(), Action::Store(pos, item.id().raw()), longer, self.changed(END)]);
            item.given();
            return Ok(());
        }
        if spine.index().is_none_or(|index| index.is_full()) {
            self.widen()?;
        }
        let index = spine.index().ok_or(SharedError::Damaged)?;
        let chunk = spine.arena.alloc_zeroed(CHUNK * 8)?;
        spine.arena.word_at(chunk.pos()).ok_or(SharedError::Damaged)?.store(item.id().raw(), Ordering::Relaxed);
        let at = index.count();
        let (chunk_word, first_word) = index.entry(at);
        self.guard.apply_all(&[
            item.give(),
            chunk.give(),
            index.store(chunk_word, chunk.id().raw()),
            index.store(first_word, len as u64),
            index.store(&index.words[0], at as u64 + 1),
            index.store(&index.words[1], len as u64 + 1),
            self.changed(END),
        ])?;
        item.given();
        chunk.given();
        Ok(())
    }

    /// An index with room for more chunks, in the place of the one there is.
    fn widen(&mut self) -> Result<(), SharedError> {
        let spine = self.spine;
        let old = spine.index();
        let entries = old.map_or(0, |index| index.count());
        let fresh = spine.arena.alloc_zeroed((BEFORE + (entries * 2).max(7) * 2) * 8)?;
        let new = Index::of(spine.arena, fresh.id(), fresh.capacity()).ok_or(SharedError::Damaged)?;
        if let Some(old) = old {
            for (to, from) in new.words.iter().zip(&old.words[..BEFORE + entries * 2]) {
                to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
        let mut taker = spine.arena.taker()?;
        let named = spine.store(&spine.root.index, fresh.id().raw());
        match old {
            None => self.guard.apply(&[fresh.give(), named]),
            Some(old) => {
                self.guard.apply(&[fresh.give(), named, taker.take(old.id)]);
                taker.took(old.id);
            }
        }
        fresh.given();
        Ok(())
    }

    /// Takes the last item off.
    pub(super) fn pop(&mut self) -> Result<Option<Taker>, SharedError> {
        let Some(last) = self.len().checked_sub(1) else { return Ok(None) };
        let Some((pos, Some(id))) = self.cell(last) else { return Err(SharedError::Damaged) };
        let mut taker = self.spine.arena.taker()?;
        let index = self.spine.index().ok_or(SharedError::Damaged)?;
        let shorter = index.store(&index.words[1], last as u64);
        self.guard.apply(&[shorter, self.changed(last as u64), Action::Store(pos, 0), taker.take(id)]);
        taker.took(id);
        Ok(Some(taker))
    }

    /// Puts an item in the place of another, which is returned.
    pub(super) fn set(&mut self, number: usize, item: Block) -> Result<Taker, SharedError> {
        let len = self.len();
        if number >= len {
            return Err(SharedError::OutOfRange { index: number, len });
        }
        let Some((pos, Some(old))) = self.cell(number) else { return Err(SharedError::Damaged) };
        let mut taker = self.spine.arena.taker()?;
        self.guard.apply(&[
            item.give(),
            Action::Store(pos, item.id().raw()),
            self.changed(number as u64),
            taker.take(old),
        ]);
        item.given();
        taker.took(old);
        Ok(taker)
    }

    /// The blocks of the items from `from` up to `to`.
    pub(super) fn items(&self, from: usize, to: usize) -> Result<Vec<BlockId>, SharedError> {
        (from..to).map(|number| self.item(number).ok_or(SharedError::Damaged)).collect()
    }

    /// Puts `cells` in the place of the items from `from` up to `to`: `fresh` are the new blocks among them, `gone` those that
    /// are not among them any more, which are returned.
    pub(super) fn rebuild(
        &mut self,
        (from, to): (usize, usize),
        cells: &[BlockId],
        fresh: Vec<Block>,
        gone: &[BlockId],
    ) -> Result<Vec<Taker>, SharedError> {
        let (spine, len) = (self.spine, self.len());
        let old = spine.index();
        let chunks: Vec<(BlockId, usize)> = old.map_or_else(Vec::new, |index| {
            let entry = |at| Some((BlockId::from_raw(index.entry(at).0.load(Ordering::Relaxed))?, index.first(at)));
            (0..index.count()).filter_map(entry).collect()
        });
        let first_number = |at: usize| chunks.get(at).map_or(len, |chunk| chunk.1.min(len));
        // The chunks that are built anew.
        let low = chunks.partition_point(|chunk| chunk.1 <= from).saturating_sub(1);
        let mut high = chunks.partition_point(|chunk| chunk.1 < to).max((low + 1).min(chunks.len()));
        if first_number(high) >= len {
            high = chunks.len();
        }
        let (before, after) = (first_number(low).min(from), first_number(high).max(to));
        let mut all = self.items(before, from)?;
        all.extend_from_slice(cells);
        all.extend(self.items(to, after)?);
        let mut blocks = Vec::new();
        let mut entries: Vec<(BlockId, usize)> = chunks[..low.min(chunks.len())].to_vec();
        let mut number = before;
        for part in all.chunks(part_of(all.len())) {
            let chunk = spine.arena.alloc_zeroed(CHUNK * 8)?;
            for (inside, item) in part.iter().enumerate() {
                let cell = spine.arena.word_at(cell_pos(chunk.id(), inside)).ok_or(SharedError::Damaged)?;
                cell.store(item.raw(), Ordering::Relaxed);
            }
            entries.push((chunk.id(), number));
            number += part.len();
            blocks.push(chunk);
        }
        let new_len = len - (to - from) + cells.len();
        entries.extend(chunks[high..].iter().map(|(chunk, first)| (*chunk, first - (to - from) + cells.len())));
        let index = spine.arena.alloc_zeroed((BEFORE + (entries.len() + 7) * 2) * 8)?;
        let new = Index::of(spine.arena, index.id(), index.capacity()).ok_or(SharedError::Damaged)?;
        new.words[0].store(entries.len() as u64, Ordering::Relaxed);
        new.words[1].store(new_len as u64, Ordering::Relaxed);
        for (at, (chunk, first)) in entries.iter().enumerate() {
            new.entry(at).0.store(chunk.raw(), Ordering::Relaxed);
            new.entry(at).1.store(*first as u64, Ordering::Relaxed);
        }
        blocks.push(index);
        let replaced = chunks[low.min(chunks.len())..high].iter().map(|chunk| chunk.0).chain(old.map(|old| old.id));
        let mut takers = Vec::new();
        let mut taken = gone.to_vec();
        taken.extend(replaced);
        for _ in &taken {
            takers.push(spine.arena.taker()?);
        }
        let mut actions: Vec<Action> = fresh.iter().chain(&blocks).map(Block::give).collect();
        actions.push(spine.store(&spine.root.index, new.id.raw()));
        actions.push(self.changed(if from == len { END } else { ALL }));
        actions.extend(takers.iter().zip(&taken).map(|(taker, id)| taker.take(*id)));
        self.guard.apply_all(&actions)?;
        for block in fresh.into_iter().chain(blocks) {
            block.given();
        }
        for (taker, id) in takers.iter_mut().zip(&taken) {
            taker.took(*id);
        }
        takers.truncate(gone.len());
        Ok(takers)
    }

    /// Forgets all items; then gives their memory back.
    pub(super) fn clear(&mut self) -> Result<(), SharedError> {
        let spine = self.spine;
        let index = spine.root.index.load(Ordering::Relaxed);
        self.guard.apply(&[
            spine.store(&spine.root.index, 0),
            self.changed(ALL),
            spine.store(&spine.root.grave, index),
        ]);
        self.empty_grave()
    }

    fn empty_grave(&mut self) -> Result<(), SharedError> {
        let spine = self.spine;
        let Some(id) = BlockId::from_raw(spine.root.grave.load(Ordering::Relaxed)) else { return Ok(()) };
        let capacity = spine.arena.locate(id.pos()).ok_or(SharedError::Damaged)?.capacity;
        let index = Index::of(spine.arena, id, capacity).ok_or(SharedError::Damaged)?;
        for at in 0..index.count() {
            let word = index.entry(at).0;
            let Some(chunk) = BlockId::from_raw(word.load(Ordering::Relaxed)) else { continue };
            // A few at a time, which needs no memory for a plan: there may be none.
            let mut cells = Vec::new();
            for inside in 0..CHUNK {
                let pos = cell_pos(chunk, inside);
                let cell = spine.arena.word_at(pos).ok_or(SharedError::Damaged)?;
                cells.extend(BlockId::from_raw(cell.load(Ordering::Relaxed)).map(|id| (Action::Store(pos, 0), id)));
            }
            for few in cells.chunks(INLINE / 2) {
                self.take_all(few)?;
            }
            self.take_all(&[(index.store(word, 0), chunk)])?;
        }
        self.take_all(&[(spine.store(&spine.root.grave, 0), id)])
    }

    /// Takes these blocks, each with the store that forgets it, and frees them.
    fn take_all(&mut self, few: &[(Action, BlockId)]) -> Result<(), SharedError> {
        let mut takers = few.iter().map(|_| self.spine.arena.taker()).collect::<Result<Vec<_>, _>>()?;
        let actions: Vec<Action> =
            few.iter().zip(&takers).flat_map(|((forget, id), taker)| [*forget, taker.take(*id)]).collect();
        self.guard.apply(&actions);
        takers.iter_mut().zip(few).for_each(|(taker, (_, id))| taker.took(*id));
        Ok(())
    }
}

/// How many of so many items go into each chunk: not quite all cells where there is more than one, so that there is room for
/// some more in the middle.
fn part_of(items: usize) -> usize {
    if items <= CHUNK { CHUNK } else { CHUNK * 7 / 8 }
}
