//! Each thread's cache of free small blocks, so that most allocations and frees take no lock at all.
//!
//! It is private memory of one thread: in shared memory its blocks are plainly FREE, and the hold entries that come along
//! with them are zero. A kill loses nothing that the audit does not find.

use std::cell::RefCell;

use super::class::{CLASSES, size_of_class};
use super::local::lock;
use super::small::Small;
use super::{Arena, ArenaError};

/// Most blocks of one class in a cache.
const MOST: usize = 16;

/// A free block and a free hold entry for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready {
    pub(crate) block: Small,
    pub(crate) hold: u32,
}

/// The ready blocks of a class, the last one to be used first.
#[derive(Clone, Copy)]
struct Stack {
    len: usize,
    ready: [Ready; MOST],
}

/// The cache of a thread, for the first arena that it uses. In others the thread goes without.
struct Cache {
    arena: &'static Arena,
    stacks: Box<[Stack; CLASSES]>,
}

thread_local! {
    static CACHE: RefCell<Option<Cache>> = const { RefCell::new(None) };
}

impl Drop for Cache {
    fn drop(&mut self) {
        if self.arena.check().is_ok() {
            self.flush();
        }
    }
}

/// How many blocks of a class a cache may hold: about 8 KiB of them, at least 2.
fn most(class: usize) -> usize {
    size_of_class(class).map_or(0, |size| (8192 / size).clamp(2, MOST))
}

impl Cache {
    fn new(arena: &'static Arena) -> Cache {
        const NONE: Ready = Ready { block: Small { granule: 0, index: 0 }, hold: 0 };
        Cache { arena, stacks: Box::new([Stack { len: 0, ready: [NONE; MOST] }; CLASSES]) }
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
        spans.put(arena, ready.block);
        holds.put(ready.hold);
    }
}

/// Runs `body` with the calling thread's cache, if it has one for this arena and is not in the middle of using it.
#[inline]
fn with<R>(arena: &'static Arena, body: impl FnOnce(&mut Cache) -> R) -> Option<R> {
    CACHE
        .try_with(|cache| {
            let mut cache = cache.try_borrow_mut().ok()?;
            match &mut *cache {
                Some(cache) if std::ptr::eq(cache.arena, arena) => Some(body(cache)),
                other => bind(arena, other).map(body),
            }
        })
        .ok()?
}

/// Gives the thread a cache for `arena`, unless it has one for another arena that is in use.
#[cold]
fn bind<'a>(arena: &'static Arena, cache: &'a mut Option<Cache>) -> Option<&'a mut Cache> {
    match cache {
        Some(other) if other.arena.check().is_ok() => None,
        // None yet, or that of a process which this one was forked from.
        _ => Some(cache.insert(Cache::new(arena))),
    }
}

/// A free block of `class` with a hold entry.
#[inline]
pub(crate) fn take(arena: &'static Arena, class: usize) -> Result<Ready, ArenaError> {
    let cached = with(arena, |cache| {
        let stack = &mut cache.stacks[class];
        if stack.len == 0 {
            fill(arena, class, &mut stack.ready[..most(class) / 2], &mut stack.len)?;
        }
        stack.len -= 1;
        Ok(stack.ready[stack.len % MOST])
    });
    match cached {
        Some(result) => result,
        None => {
            let mut one = [Ready { block: Small { granule: 0, index: 0 }, hold: 0 }];
            fill(arena, class, &mut one, &mut 0)?;
            Ok(one[0])
        }
    }
}

/// Fills `ready` from its start with at least one block; `len` says how many.
#[cold]
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
            *place = Ready { block, hold: entries[*len] };
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
