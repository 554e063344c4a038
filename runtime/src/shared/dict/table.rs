//! A hash table in shared memory: pages that split, found through a directory that only grows.
//!
//! The low bits of a key's hash are an index of the directory. A word of it names a page, or is 0: then the index without its
//! highest bit counts, down to index 0, the first page. So the directory grows by a segment of zeros, and a page that is
//! split by one more bit of the hash gives the new one the index with that bit set, in one word. Pages and segments stay
//! until the table is destroyed; what is read on the way to a page is never out of use.
//!
//! ```text
//! insert    GIVE block, cell = block, meta, count           replace   GIVE block, cell = block, TAKE old block
//! remove    meta, cell = 0, count, TAKE block               clear     epoch + 1: what older pages have is no longer there
//! split     depth, cells = 0, metas, count, GIVE page, directory = page
//! ```
//! Each line is one redo record under the lock of its page; memory is got before and given back after. A split moves at most
//! 119 words, and is the longest time that anybody waits for growth.
//!
//! *Reading* takes no lock: the copy of an image counts if its cell still names it afterwards. A key that is not found is not
//! there, unless the page is no longer the one for it. In the middle of a split a moved key is in neither page: whoever finds
//! that for long waits for the page's lock, which also finishes the split of a dead process.
//!
//! *Epochs*: `clear` is one store. Keys of a page of an older epoch are not there; who changes such a page empties it first.
//! An insert that has the lock of its page when `clear` happens, came before it.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::super::SharedError;
use super::super::image::{self, Buffer, Shown};
use super::super::nested::touch;
use super::page::{BUCKETS, CELLS, Metas, NEAR, Page, PageRef, byte, place, with_byte};
use crate::arena::journal::{Action, Guard, Guarded, Taker};
use crate::arena::{Arena, ArenaError, Block, BlockId, Pos, mutant};
use crate::shared::mutants;

/// Indices of the directory that stand in the table's own block.
const NEARBY: usize = 64;
/// How many low bits of a hash can be an index; the bits above choose bucket and tag.
const DEPTH_MAX: u64 = 32;
/// Reads that meet a change try again so often before they wait for who makes it.
const TRIES: usize = 32;
/// And so often before they read under the lock.
const TRIES_LOCKED: usize = 48;

/// The part of a table that does not move.
#[repr(C, align(64))]
pub(crate) struct Root {
    guarded: Guarded,
    seed: AtomicU64,
    epoch: AtomicU64,
    /// The index of the directory has so many bits.
    depth: AtomicU64,
    _spare: [AtomicU64; 5],
    directory: [AtomicU64; NEARBY],
    /// Segment `k` has the indices of `k + 7` bits.
    segments: [AtomicU64; 32],
}

/// A table of the family.
#[derive(Clone, Copy)]
pub(crate) struct Table<'a> {
    arena: &'static Arena,
    root: &'a Root,
    /// Where the root stands.
    pos: Pos,
}

/// What became of an insert.
pub(in super::super) enum Inserted {
    /// The key is new.
    New,
    /// The key had this block before.
    Replaced(Taker),
    /// Nothing was done, and the block is freed: the key's cell does not hold what the caller expects.
    Refused,
}

/// When an insert is to be done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum When {
    Always,
    /// If the key is not there.
    Absent,
    /// If the key is there.
    Present,
    /// If the key has this block.
    Holds(BlockId),
}

/// How a reader's look at a page ended.
enum Look {
    Found(BlockId),
    Missing,
    /// Something changed meanwhile.
    Again,
}

impl<'a> Table<'a> {
    pub(crate) fn new(arena: &'static Arena, root: &'a Root, pos: Pos) -> Table<'a> {
        Table { arena, root, pos }
    }

    /// Makes an empty table of a zeroed root that nobody else knows.
    pub(crate) fn init(self) -> Result<(), SharedError> {
        use std::hash::{BuildHasher, Hasher};
        let seed = std::collections::hash_map::RandomState::new().build_hasher().finish();
        self.root.seed.store(seed, Ordering::Relaxed);
        let page = self.arena.alloc_zeroed(size_of::<Page>())?;
        let mut guard = self.arena.guard(&self.root.guarded, self.pos)?;
        guard.apply(&[page.give(), self.store(&self.root.directory[0], page.id().raw())]);
        page.given();
        Ok(())
    }

    /// Where the root stands: what tells this table from all others.
    pub(in super::super) fn pos(&self) -> Pos {
        self.pos
    }

    /// Before there is a key.
    #[cfg(feature = "testing")]
    pub(in super::super) fn set_seed(&self, seed: u64) {
        self.root.seed.store(seed, Ordering::Relaxed);
    }

    #[cfg(feature = "testing")]
    pub(in super::super) fn depth(&self) -> u64 {
        self.root.depth.load(Ordering::Relaxed)
    }

    #[inline]
    pub(in super::super) fn hash(&self, key: &[u64]) -> u64 {
        image::hash(self.root.seed.load(Ordering::Relaxed), key)
    }

    fn store(&self, word: &AtomicU64, value: u64) -> Action {
        let offset = std::ptr::from_ref(word) as usize - std::ptr::from_ref(self.root) as usize;
        Action::Store(self.pos + offset as u64, value)
    }

    /// Where the word of the directory stands that has this index; `None` if there is none yet.
    #[inline]
    fn entry(&self, index: u64) -> Option<(&AtomicU64, Pos)> {
        if let Some(word) = self.root.directory.get(index as usize) {
            let offset = std::ptr::from_ref(word) as usize - std::ptr::from_ref(self.root) as usize;
            return Some((word, self.pos + offset as u64));
        }
        let bits = 64 - index.leading_zeros() as usize;
        let segment = BlockId::from_raw(self.root.segments.get(bits - 7)?.load(Ordering::Acquire))?;
        let pos = segment.pos() + (index - (1 << (bits - 1))) * 8;
        Some((self.arena.word_at(pos)?, pos))
    }

    /// The page that the directory names for a hash.
    #[inline]
    fn page(&self, hash: u64) -> Result<PageRef, SharedError> {
        let depth = self.root.depth.load(Ordering::Acquire).min(DEPTH_MAX);
        let mut index = hash & ((1 << depth) - 1);
        loop {
            if let Some((word, _)) = self.entry(index)
                && let Some(id) = BlockId::from_raw(word.load(Ordering::Acquire))
            {
                return PageRef::new(self.arena, id).ok_or(SharedError::Damaged);
            }
            if index == 0 {
                return Err(SharedError::Damaged);
            }
            index &= !(1 << (63 - index.leading_zeros()));
        }
    }

    fn epoch(&self) -> u64 {
        self.root.epoch.load(Ordering::Acquire)
    }

    fn guard(&self, page: &PageRef) -> Result<Guard<'static>, SharedError> {
        Ok(self.arena.guard(page.lock_word(), page.id.pos())?)
    }

    /// Looks for a key without a lock, and copies its image if there is a `buffer` for it.
    pub(in super::super) fn find(
        &self,
        hash: u64,
        key: &[u64],
        mut buffer: Option<&mut Buffer>,
    ) -> Result<Option<BlockId>, SharedError> {
        let mut tries = 0;
        loop {
            let page = self.page(hash)?;
            let guard = if tries >= TRIES_LOCKED { Some(self.guard(&page)?) } else { None };
            let look = self.look(&page, hash, key, buffer.as_deref_mut());
            drop(guard);
            match look {
                Look::Found(id) => return Ok(Some(id)),
                Look::Missing => return Ok(None),
                Look::Again => tries += 1,
            }
            if tries == TRIES {
                // Whoever changes the page, alive or dead, is done after that.
                drop(self.guard(&page)?);
            } else {
                std::hint::spin_loop();
            }
        }
    }

    #[inline]
    fn look(&self, page: &PageRef, hash: u64, key: &[u64], mut buffer: Option<&mut Buffer>) -> Look {
        let of = page.epoch.load(Ordering::Acquire);
        let found = page.scan(hash, |cell, id, _, _| {
            let shown = Shown::new(self.arena, id.pos());
            let still = || cell.load(Ordering::Acquire) == id.raw();
            let same = shown.head().is_some_and(|head| head.hash == hash && head.key_len == key.len() * 8)
                && shown.has_key(key);
            let good = match buffer.as_deref_mut().filter(|_| same) {
                Some(buffer) => buffer.copy(shown, still),
                None => {
                    fence(Ordering::Acquire);
                    still()
                }
            };
            match (good, same) {
                (false, _) => Some(Look::Again),
                (true, true) => Some(Look::Found(id)),
                (true, false) => None,
            }
        });
        fence(Ordering::Acquire);
        match found {
            Some(Look::Found(id)) => {
                let now = self.epoch();
                if of == now {
                    Look::Found(id)
                } else if page.epoch.load(Ordering::Acquire) == now {
                    Look::Again
                } else {
                    Look::Missing
                }
            }
            None if page.is_for(hash) => Look::Missing,
            _ => Look::Again,
        }
    }

    /// Locks the page for a hash, emptied if what it has was cleared.
    fn locked(&self, hash: u64) -> Result<(PageRef, Guard<'static>), SharedError> {
        loop {
            let page = self.page(hash)?;
            let mut guard = self.guard(&page)?;
            if page.is_for(hash) {
                self.empty_if_cleared(&page, &mut guard)?;
                return Ok((page, guard));
            }
        }
    }

    /// Takes what a page has of an older epoch out of it.
    fn empty_if_cleared(&self, page: &PageRef, guard: &mut Guard<'_>) -> Result<(), SharedError> {
        let now = self.epoch();
        if page.epoch.load(Ordering::Relaxed) == now {
            return Ok(());
        }
        for bucket in &page.buckets {
            for (index, cell) in bucket.cells.iter().enumerate() {
                let Some(id) = BlockId::from_raw(cell.load(Ordering::Relaxed)) else { continue };
                let mut taker = self.arena.taker()?;
                let meta = with_byte(bucket.meta.load(Ordering::Relaxed), index, 0);
                guard.apply(&[
                    page.store(&bucket.meta, meta),
                    page.store(cell, 0),
                    page.store(&page.count, page.counted(-1)),
                    taker.take(id),
                ]);
                taker.took(id);
            }
        }
        // All cells are empty: what the buckets still say of keys further on only makes a search longer.
        guard.apply(&[page.store(&page.epoch, now)]);
        Ok(())
    }

    /// Puts a block, the image of `key`, into the table.
    pub(in super::super) fn insert(
        &self,
        (hash, key): (u64, &[u64]),
        block: Block,
        when: When,
    ) -> Result<Inserted, SharedError> {
        loop {
            let (page, mut guard) = self.locked(hash)?;
            let holder = page
                .scan(hash, |cell, id, _, _| self.is_image_of(id, hash, key).then_some((cell_pos(&page, cell), id)));
            if let Some((cell, old)) = holder {
                let wanted = match when {
                    When::Always | When::Present => true,
                    When::Absent => false,
                    When::Holds(expected) => expected == old,
                };
                if !wanted {
                    return Ok(Inserted::Refused);
                }
                let id = block.id();
                // Entries of the hold table are given and taken in this order, so that one is enough.
                if mutant(mutants::REPLACE_TAKES_LATE) {
                    guard.apply(&[block.give(), Action::Store(cell, id.raw())]);
                    let mut taker = block.given();
                    guard.apply(&[taker.take(old)]);
                    taker.took(old);
                    return Ok(Inserted::Replaced(taker));
                }
                let hold = block.give();
                let Action::Give(entry, _) = hold else { return Ok(Inserted::Refused) };
                guard.apply(&[hold, Action::Store(cell, id.raw()), Action::Take(entry, old)]);
                let mut taker = block.given();
                taker.took(old);
                drop(guard);
                touch(self.pos, hash);
                return Ok(Inserted::Replaced(taker));
            }
            if matches!(when, When::Present | When::Holds(_)) {
                return Ok(Inserted::Refused);
            }
            let before: Metas = std::array::from_fn(|at| page.buckets[at].meta.load(Ordering::Relaxed));
            let mut metas = before;
            let depth = page.depth.load(Ordering::Relaxed);
            let reach = if depth < DEPTH_MAX { NEAR } else { BUCKETS };
            let Some((at, index)) = place(&mut metas, hash, reach) else {
                drop(guard);
                if depth >= DEPTH_MAX {
                    return Err(SharedError::Full);
                }
                self.split(&page, depth)?;
                continue;
            };
            let mut actions = [Action::Store(0, 0); 4 + NEAR];
            actions[0] = block.give();
            actions[1] = page.store(&page.buckets[at].cells[index], block.id().raw());
            actions[2] = page.store(&page.count, page.counted(1));
            let mut count = 3;
            let home = super::page::home_of(hash);
            for far in 0..BUCKETS {
                let bucket = (home + far) % BUCKETS;
                // Those passed on the way first, the one with the new tag last.
                if metas[bucket] != before[bucket] && count < actions.len() {
                    actions[count] = page.store(&page.buckets[bucket].meta, metas[bucket]);
                    count += 1;
                }
                if bucket == at {
                    break;
                }
            }
            if reach == BUCKETS {
                // Only a table with more equal hashes than a page has cells comes here.
                let mut all = actions[..3].to_vec();
                all.extend(
                    (0..BUCKETS)
                        .filter(|at| metas[*at] != before[*at])
                        .map(|at| page.store(&page.buckets[at].meta, metas[at])),
                );
                guard.apply_all(&all)?;
            } else {
                guard.apply(&actions[..count]);
            }
            block.given();
            drop(guard);
            touch(self.pos, hash);
            return Ok(Inserted::New);
        }
    }

    /// Takes a key out of the table; with `only`, if it has that block.
    pub(in super::super) fn remove(
        &self,
        (hash, key): (u64, &[u64]),
        only: Option<BlockId>,
    ) -> Result<Option<Taker>, SharedError> {
        let mut taker = self.arena.taker()?;
        let (page, mut guard) = self.locked(hash)?;
        let found = page.scan(hash, |_, id, at, index| self.is_image_of(id, hash, key).then_some((id, at, index)));
        let Some((id, at, index)) = found.filter(|(id, ..)| only.is_none_or(|only| only == *id)) else {
            return Ok(None);
        };
        let bucket = &page.buckets[at];
        let meta = with_byte(bucket.meta.load(Ordering::Relaxed), index, 0);
        guard.apply(&[
            page.store(&bucket.meta, meta),
            page.store(&bucket.cells[index], 0),
            page.store(&page.count, page.counted(-1)),
            taker.take(id),
        ]);
        drop(guard);
        taker.took(id);
        touch(self.pos, hash);
        Ok(Some(taker))
    }

    /// Whether the block, which the caller's lock keeps, is the image of a key.
    #[inline]
    fn is_image_of(&self, id: BlockId, hash: u64, key: &[u64]) -> bool {
        let shown = Shown::new(self.arena, id.pos());
        shown.head().is_some_and(|head| head.hash == hash && head.key_len == key.len() * 8) && shown.has_key(key)
    }

    /// Makes room in a page that is full at this depth: half of it goes to a new one.
    fn split(&self, page: &PageRef, depth: u64) -> Result<(), SharedError> {
        self.deepen(depth + 1)?;
        let fresh = self.arena.alloc_zeroed(size_of::<Page>())?;
        let new = PageRef::new(self.arena, fresh.id()).ok_or(SharedError::Damaged)?;
        let mut guard = self.guard(page)?;
        if page.depth.load(Ordering::Relaxed) != depth {
            // Somebody else was faster.
            return Ok(());
        }
        let bit = 1 << depth;
        let index = page.prefix.load(Ordering::Relaxed) | bit;
        let (mut stay, mut go): (Metas, Metas) = ([0; BUCKETS], [0; BUCKETS]);
        let mut actions = vec![page.store(&page.depth, depth + 1)];
        let (mut moved, mut left) = (0u32, 0u32);
        for (at, bucket) in page.buckets.iter().enumerate() {
            let meta = bucket.meta.load(Ordering::Relaxed);
            for (cell_index, cell) in bucket.cells.iter().enumerate() {
                let Some(id) = BlockId::from_raw(cell.load(Ordering::Relaxed)) else { continue };
                let Some(head) = Shown::new(self.arena, id.pos()).head() else { return Err(SharedError::Damaged) };
                if head.hash & bit != 0 {
                    let (to, to_index) = place(&mut go, head.hash, BUCKETS).ok_or(SharedError::Damaged)?;
                    new.buckets[to].cells[to_index].store(id.raw(), Ordering::Relaxed);
                    actions.push(page.store(cell, 0));
                    moved += 1;
                    continue;
                }
                stay[at] = with_byte(stay[at], cell_index, byte(meta, cell_index));
                let home = super::page::home_of(head.hash);
                let far = (at + BUCKETS - home) % BUCKETS;
                for passed in 0..far {
                    let passed = &mut stay[(home + passed) % BUCKETS];
                    *passed = with_byte(*passed, CELLS, byte(*passed, CELLS).saturating_add(1));
                }
                left += 1;
            }
        }
        for (at, bucket) in page.buckets.iter().enumerate() {
            new.buckets[at].meta.store(go[at], Ordering::Relaxed);
            if bucket.meta.load(Ordering::Relaxed) != stay[at] {
                actions.push(page.store(&bucket.meta, stay[at]));
            }
        }
        new.depth.store(depth + 1, Ordering::Relaxed);
        new.prefix.store(index, Ordering::Relaxed);
        new.count.store(u64::from(moved), Ordering::Relaxed);
        new.epoch.store(page.epoch.load(Ordering::Relaxed), Ordering::Relaxed);
        let changes = (page.count.load(Ordering::Relaxed) >> 32) as u32;
        actions.push(page.store(&page.count, u64::from(changes.wrapping_add(1)) << 32 | u64::from(left)));
        let Some((_, entry)) = self.entry(index) else { return Err(SharedError::Damaged) };
        if mutant(mutants::SPLIT_IN_TWO) {
            guard.apply_all(&actions)?;
            actions.clear();
        }
        actions.push(fresh.give());
        actions.push(Action::Store(entry, fresh.id().raw()));
        guard.apply_all(&actions)?;
        fresh.given();
        Ok(())
    }

    /// Makes sure that the directory has indices of so many bits.
    fn deepen(&self, depth: u64) -> Result<(), SharedError> {
        while self.root.depth.load(Ordering::Acquire) < depth {
            let now = self.root.depth.load(Ordering::Acquire) + 1;
            let segment = match now {
                0..=6 => None,
                _ => Some(self.arena.alloc_zeroed(8 << (now - 1))?),
            };
            let mut guard = self.arena.guard(&self.root.guarded, self.pos)?;
            if self.root.depth.load(Ordering::Relaxed) + 1 != now {
                continue;
            }
            let deeper = self.store(&self.root.depth, now);
            match segment {
                None => guard.apply(&[deeper]),
                Some(segment) => {
                    let word = &self.root.segments[(now - 7) as usize];
                    guard.apply(&[segment.give(), self.store(word, segment.id().raw()), deeper]);
                    segment.given();
                }
            }
        }
        Ok(())
    }

    /// Forgets all keys, then gives their memory back.
    pub(in super::super) fn clear(&self) -> Result<(), SharedError> {
        let mut guard = self.arena.guard(&self.root.guarded, self.pos)?;
        let next = self.root.epoch.load(Ordering::Relaxed) + 1;
        guard.apply(&[self.store(&self.root.epoch, next)]);
        drop(guard);
        self.walk(|page| {
            let mut guard = self.guard(page)?;
            self.empty_if_cleared(page, &mut guard)
        })
    }

    /// Calls `visit` with the pages, in the order of their hashes read from the lowest bit.
    fn walk(&self, mut visit: impl FnMut(&PageRef) -> Result<(), SharedError>) -> Result<(), SharedError> {
        let mut cursor = Some(0);
        while let Some(at) = cursor {
            let (page, _, next) = self.page_at(at)?;
            visit(&page)?;
            cursor = next;
        }
        Ok(())
    }

    /// The page of the hashes that begin, read from the lowest bit, with `cursor`; its depth, and where the next page begins.
    fn page_at(&self, cursor: u64) -> Result<(PageRef, u64, Option<u64>), SharedError> {
        let hash = cursor.reverse_bits();
        loop {
            let page = self.page(hash)?;
            let depth = page.depth.load(Ordering::Acquire).min(DEPTH_MAX);
            if !page.is_for(hash) {
                // It is being split.
                drop(self.guard(&page)?);
                continue;
            }
            let next = if depth == 0 { None } else { cursor.checked_add(1 << (64 - depth)) };
            return Ok((page, depth, next));
        }
    }

    /// How many keys there are: exact if nobody changes that meanwhile.
    pub(in super::super) fn len(&self) -> Result<usize, SharedError> {
        let (mut keys, now) = (0, self.epoch());
        self.walk(|page| {
            if page.epoch.load(Ordering::Acquire) == now {
                keys += page.keys();
            }
            Ok(())
        })?;
        Ok(keys)
    }

    /// The keys of the page at `cursor`, all at one moment, and where the next page begins.
    pub(in super::super) fn keys_at(&self, cursor: u64) -> Result<(Vec<Vec<u64>>, Option<u64>), SharedError> {
        let mut tries = 0;
        loop {
            let (page, depth, next) = self.page_at(cursor)?;
            let guard = if tries > 8 { Some(self.guard(&page)?) } else { None };
            let seen = self.keys_of(&page);
            // Split meanwhile: some keys are elsewhere.
            let whole = page.depth.load(Ordering::Acquire) == depth;
            drop(guard);
            if let Some(keys) = seen.filter(|_| whole) {
                return Ok((keys, next));
            }
            tries += 1;
        }
    }

    fn keys_of(&self, page: &PageRef) -> Option<Vec<Vec<u64>>> {
        let (changes, epoch) = (page.count.load(Ordering::Acquire), page.epoch.load(Ordering::Acquire));
        let mut keys = Vec::new();
        for bucket in &page.buckets {
            let meta = bucket.meta.load(Ordering::Acquire);
            for (index, cell) in bucket.cells.iter().enumerate() {
                let Some(id) = BlockId::from_raw(cell.load(Ordering::Acquire)) else { continue };
                if byte(meta, index) == 0 {
                    return None;
                }
                let shown = Shown::new(self.arena, id.pos());
                let key = shown.head().and_then(|head| shown.key(&head));
                fence(Ordering::Acquire);
                if cell.load(Ordering::Acquire) != id.raw() {
                    return None;
                }
                keys.push(key?);
            }
        }
        fence(Ordering::Acquire);
        let same = page.count.load(Ordering::Acquire) == changes && page.epoch.load(Ordering::Acquire) == epoch;
        let now = self.epoch();
        same.then(|| if epoch == now { keys } else { Vec::new() })
    }

    /// Gives back all that the table has, when nobody uses it any more. Repeatable.
    pub(crate) fn destroy(&self) -> Result<(), ArenaError> {
        let depth = self.root.depth.load(Ordering::Acquire).min(DEPTH_MAX);
        for index in 0..1u64 << depth {
            let Some((word, _)) = self.entry(index) else { continue };
            let Some(id) = BlockId::from_raw(word.load(Ordering::Acquire)) else { continue };
            if !self.arena.is_owned(id) {
                continue;
            }
            if let Some(page) = PageRef::new(self.arena, id) {
                for cell in page.buckets.iter().flat_map(|bucket| &bucket.cells) {
                    if let Some(id) = BlockId::from_raw(cell.load(Ordering::Acquire)) {
                        self.arena.free_owned(id)?;
                    }
                }
            }
            self.arena.free_owned(id)?;
        }
        for segment in &self.root.segments {
            if let Some(id) = BlockId::from_raw(segment.load(Ordering::Acquire)) {
                self.arena.free_owned(id)?;
            }
        }
        Ok(())
    }
}

fn cell_pos(page: &PageRef, cell: &AtomicU64) -> Pos {
    match page.store(cell, 0) {
        Action::Store(pos, _) => pos,
        Action::Give(..) | Action::Take(..) => 0,
    }
}
