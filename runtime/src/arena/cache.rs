//! Each thread's cache of free small blocks, so that most allocations and frees take no lock at all.
//!
//! It is private memory of one thread: in shared memory its blocks are plainly FREE, and the hold entries that come along
//! with them are zero. A kill loses nothing that the audit does not find.
//!
//! Invariants of the unsafe code here: `FRONT` is null or points to a cache that `CACHES` of the same thread owns, boxed, so
//! that it does not move; it is set to null before that cache is dropped. A cache is borrowed by `with` only, whose bodies
//! neither call `with` nor anything that does: what they call of the arena takes locks, spans and granules, never blocks.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell, UnsafeCell};
use std::ptr;

use super::class::{CLASSES, SIZES};
use super::layout::{GRANULE_SHIFT, LEN_MAX, SPAN_BLOCKS};
use super::local::lock;
use super::small::Small;
use super::{Arena, ArenaError};

/// Most blocks of one class in a cache.
const MOST: usize = 32;

/// A free block and a free hold entry for it, in one word: granule 24 bits, index 10 bits, hold entry 30 bits. As separate
/// fields they would be stored and loaded in different widths, which costs more than all the rest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready(u64);

impl Ready {
    #[inline]
    pub(crate) fn new(block: Small, hold: u32) -> Ready {
        Ready(u64::from(block.granule) << 40 | u64::from(block.index) << 30 | u64::from(hold))
    }

    #[inline]
    pub(crate) fn block(self) -> Small {
        Small { granule: (self.0 >> 40) as u32, index: (self.0 >> 30) as u16 & 0x3ff }
    }

    #[inline]
    pub(crate) fn hold(self) -> u32 {
        self.0 as u32 & 0x3fff_ffff
    }
}

const _: () = assert!(LEN_MAX >> GRANULE_SHIFT == 1 << 24 && SPAN_BLOCKS == 1 << 10);

/// The ready blocks of a class, the last one to be used first.
#[derive(Clone, Copy)]
struct Stack {
    len: usize,
    ready: [Ready; MOST],
}

/// The cache of a thread for one arena.
struct Cache {
    arena: &'static Arena,
    stacks: Box<[Stack; CLASSES]>,
}

thread_local! {
    /// The cache that this thread used last. Beside `CACHES` because it needs no destructor, and so no check for that.
    static FRONT: Cell<*mut Cache> = const { Cell::new(ptr::null_mut()) };
    /// The caches of this thread, nearly always one.
    #[allow(clippy::vec_box, reason = "`FRONT` points to one, so they must not move")]
    static CACHES: RefCell<Vec<Box<UnsafeCell<Cache>>>> = const { RefCell::new(Vec::new()) };
}

impl Drop for Cache {
    fn drop(&mut self) {
        // Whichever it is: the next use finds its own again.
        FRONT.set(ptr::null_mut());
        if self.arena.is_here() {
            self.flush();
        }
    }
}

/// How many blocks of a class a cache may hold: about 8 KiB of them, at least 2.
#[inline]
fn most(class: usize) -> usize {
    const MOST_OF: [u8; CLASSES] = {
        let (mut table, mut class) = ([2; CLASSES], 0);
        while class < CLASSES && 8192 / SIZES[class] > 2 {
            let fit = 8192 / SIZES[class];
            table[class] = if fit > MOST as u32 { MOST as u8 } else { fit as u8 };
            class += 1;
        }
        table
    };
    MOST_OF.get(class).map_or(2, |most| *most as usize)
}

impl Cache {
    fn new(arena: &'static Arena) -> Cache {
        Cache { arena, stacks: Box::new([Stack { len: 0, ready: [Ready(0); MOST] }; CLASSES]) }
    }

    fn flush(&mut self) {
        for stack in self.stacks.iter_mut() {
            give_back(self.arena, &stack.ready[..stack.len]);
            stack.len = 0;
        }
    }
}

fn give_back(arena: &'static Arena, ready: &[Ready]) {
    if ready.is_empty() {
        return;
    }
    let mut spans = lock(&arena.local.spans);
    let mut holds = lock(&arena.local.holds);
    for ready in ready {
        spans.put(arena, ready.block());
        holds.put(ready.hold());
    }
}

/// Runs `body` with the calling thread's cache for this arena; `None` where the thread is being torn down.
#[inline]
fn with<R>(arena: &'static Arena, body: impl FnOnce(&mut Cache) -> R) -> Option<R> {
    let mut front = FRONT.get();
    // SAFETY: null or a cache of this thread, which nobody borrows now (module doc).
    if !unsafe { front.as_ref() }.is_some_and(|cache| ptr::eq(cache.arena, arena)) {
        front = bring_to_front(arena)?;
    }
    // SAFETY: as above.
    Some(body(unsafe { front.as_mut() }?))
}

#[cold]
fn bring_to_front(arena: &'static Arena) -> Option<*mut Cache> {
    let found = CACHES.try_with(|caches| {
        let mut caches = caches.try_borrow_mut().ok()?;
        // SAFETY: nobody borrows a cache of this thread now (module doc).
        let arena_of = |cache: &UnsafeCell<Cache>| unsafe { (*cache.get()).arena };
        if !caches.iter().any(|cache| ptr::eq(arena_of(cache), arena)) {
            // What a process finds that was forked from a member is not its own.
            caches.retain(|cache| arena_of(cache).is_here());
            caches.push(Box::new(UnsafeCell::new(Cache::new(arena))));
        }
        caches.iter().find(|cache| ptr::eq(arena_of(cache), arena)).map(|cache| cache.get())
    });
    let found = found.ok()??;
    FRONT.set(found);
    Some(found)
}

/// A free block of `class` with a hold entry, if there is one in the cache.
#[inline]
pub(crate) fn take(arena: &'static Arena, class: usize) -> Option<Ready> {
    with(arena, |cache| {
        let stack = &mut cache.stacks[class];
        stack.len = stack.len.checked_sub(1)?;
        Some(stack.ready[stack.len % MOST])
    })?
}

/// A free block of `class` with a hold entry, by way of the cache, which is empty.
#[cold]
pub(crate) fn fill_and_take(arena: &'static Arena, class: usize) -> Result<Ready, ArenaError> {
    let filled = with(arena, |cache| {
        let stack = &mut cache.stacks[class];
        fill(arena, class, &mut stack.ready[..most(class) / 2], &mut stack.len)
    });
    match filled {
        Some(Ok(())) => take(arena, class).ok_or_else(|| arena.out_of_memory(0)),
        Some(Err(error)) => Err(error),
        None => {
            let mut one = [Ready(0)];
            fill(arena, class, &mut one, &mut 0)?;
            Ok(one[0])
        }
    }
}

/// Fills `ready` from its start with at least one block; `len` says how many.
fn fill(arena: &'static Arena, class: usize, ready: &mut [Ready], len: &mut usize) -> Result<(), ArenaError> {
    let mut spans = lock(&arena.local.spans);
    let mut holds = lock(&arena.local.holds);
    let mut entries = [0; MOST];
    let mut count = 0;
    for entry in entries.iter_mut().take(ready.len().max(1)) {
        match holds.take(arena) {
            Ok(index) => *entry = index,
            Err(_) if count > 0 => break,
            Err(error) => return Err(error),
        }
        count += 1;
    }
    let taken = spans.take(arena, class, count, |block| {
        if let Some(place) = ready.get_mut(*len) {
            *place = Ready::new(block, entries[*len]);
            *len += 1;
        }
    });
    for entry in &entries[*len..count] {
        holds.put(*entry);
    }
    // The highest block was taken last; the lowest is to be used first.
    ready[..*len].reverse();
    taken
}

/// Takes a free block and its hold entry back.
#[inline]
pub(crate) fn put(arena: &'static Arena, class: usize, ready: Ready) {
    let cached = with(arena, |cache| {
        let stack = &mut cache.stacks[class];
        let most = most(class);
        if stack.len >= most {
            // The oldest half.
            give_back(arena, &stack.ready[..most / 2]);
            stack.ready.copy_within(most / 2.., 0);
            stack.len -= most / 2;
        }
        stack.ready[stack.len % MOST] = ready;
        stack.len += 1;
    });
    if cached.is_none() {
        give_back(arena, &[ready]);
    }
}

/// Gives all that the calling thread has cached back.
pub(crate) fn flush(arena: &'static Arena) {
    with(arena, Cache::flush);
}
