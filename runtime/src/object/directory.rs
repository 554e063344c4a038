//! The family's statics: objects that are found by name.
//!
//! The directory is an object without references: the arena's *root*, made once and never destroyed. It leads to a chain of
//! entries, blocks that it owns. An entry is complete before the directory owns it, and never changes after: so it is found
//! and read without a lock, and only adding one takes the directory's lock.
//!
//! Invariants of the unsafe code here: `Entry` is all atomics or written before the block is given; lengths from an entry are
//! checked against the capacity of its block; its slot holds an archived `T`, as its name contains the type's.
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use super::kind::Kind;
use super::lock::{Doomed, Locked, Object, offset_of_extra};
use super::{ObjectError, Spill};
use crate::arena::{Arena, ArenaError, Block, BlockId, Owner};
use crate::message::{self, EncodeError, Encoder, Message};

/// The kind of the directory.
#[derive(Debug)]
pub(crate) struct Directory;

/// The directory's words.
#[repr(C)]
pub(crate) struct Shared {
    /// The newest entry: a block; 0 if there is none.
    head: AtomicU64,
}

// SAFETY: one atomic; the code is this kind's alone.
unsafe impl Kind for Directory {
    const CODE: u32 = 1;
    const NAME: &'static str = "the directory of shared statics";
    type Shared = Shared;

    fn recover(_: &Locked<'_, Self>, _: Owner) -> Result<(), ArenaError> {
        Ok(())
    }

    /// Only of one that came too late to be the root: it is empty.
    fn destroy(_: &Doomed<'_, Self>) -> Result<(), ArenaError> {
        Ok(())
    }

    fn wake(_: &Object<'_, Self>) {}
}

/// Finishes what a dead process had begun in the directory.
pub(crate) fn recover_root(arena: &'static Arena) -> Result<(), ArenaError> {
    match arena.root().and_then(|root| Object::find(arena, root)) {
        Some(root) => root.lock().map(drop),
        None => Ok(()),
    }
}

/// How an entry begins. The name follows, then, aligned to 64, the slot of the value.
#[repr(C, align(64))]
struct Entry {
    /// The entry that was the newest before.
    next: AtomicU64,
    name_len: AtomicU64,
}

const HEAD: usize = size_of::<Entry>();

fn slot_of(name_len: usize) -> usize {
    (HEAD + name_len).next_multiple_of(64)
}

/// The directory of this arena's family, which is made if there is none yet.
fn directory(arena: &'static Arena) -> Result<Object<'static, Directory>, ArenaError> {
    if let Some(root) = arena.root().and_then(|root| Object::find(arena, root)) {
        return Ok(root.typed());
    }
    let block = arena.alloc_zeroed(offset_of_extra::<Directory>())?;
    let base = NonNull::new(block.as_ptr()).ok_or_else(|| arena.out_of_memory(0))?;
    Object::<Directory>::of(arena, block.id(), base, block.capacity()).set_kind();
    let root = arena.make_root(block)?;
    Object::find(arena, root).map(|root| root.typed()).ok_or_else(|| arena.out_of_memory(0))
}

/// The slot of the value with this name, if there is one.
fn find(arena: &'static Arena, directory: &Object<'_, Directory>, name: &str) -> Option<*const u8> {
    let mut next = directory.shared().head.load(Ordering::Acquire);
    while let Some(id) = BlockId::from_raw(next) {
        let block = arena.resolve(id)?;
        (block.capacity >= HEAD).then_some(())?;
        // SAFETY: `add` wrote an entry there before the directory came to lead to it; aligned as all blocks are.
        let entry = unsafe { block.ptr.cast::<Entry>().as_ref() };
        let len = usize::try_from(entry.name_len.load(Ordering::Relaxed)).ok()?;
        (len <= block.capacity - HEAD && slot_of(len) <= block.capacity).then_some(())?;
        // SAFETY: within the block, written before it was given, and never changed.
        let found = unsafe { std::slice::from_raw_parts(block.ptr.as_ptr().add(HEAD), len) };
        if found == name.as_bytes() {
            // SAFETY: within the block, or one past its end.
            return Some(unsafe { block.ptr.as_ptr().add(slot_of(len)) });
        }
        next = entry.next.load(Ordering::Relaxed);
    }
    None
}

/// A block with a complete entry, save for its `next`.
fn write<T: Message>(arena: &'static Arena, name: &str, value: &T) -> Result<Block, EncodeError> {
    let refused = |error: ArenaError| EncodeError::new(error.kind(), error.to_string());
    let slot = slot_of(name.len());
    let block = arena.alloc_zeroed(slot + size_of::<T::Archived>()).map_err(refused)?;
    let start = block.as_ptr();
    let mut encoder = Encoder::new(Box::new(Spill::new(arena, block.id())));
    // SAFETY: a fresh block of this process, that long, zeroed and aligned to 64, as the slot is in it; the spill is of the
    // same mapping.
    unsafe {
        (*start.cast::<Entry>()).name_len.store(name.len() as u64, Ordering::Relaxed);
        std::ptr::copy_nonoverlapping(name.as_ptr(), start.add(HEAD), name.len());
        encoder.put(value, start.add(slot))?;
    }
    Ok(block)
}

/// The value with this name: what the first to come made of it. `name` contains the name of the type.
pub(super) fn find_or_make<T: Message>(
    arena: &'static Arena,
    name: &str,
    shown: &'static str,
    make: impl FnOnce() -> Result<T, ObjectError>,
) -> Result<T, ObjectError> {
    arena.check()?;
    let directory = directory(arena)?;
    let read = |slot: *const u8| {
        // SAFETY: `write` put an archived `T` there, of this type, as the names are the same; entries stay for ever.
        unsafe { message::decode::<T>(slot) }
            .map_err(|error| ObjectError::NotReadable { name: shown, text: error.to_string() })
    };
    if let Some(slot) = find(arena, &directory, name) {
        return read(slot);
    }
    // Without the lock: the expression may do anything, other statics included. Of several that are made at once one stays.
    let value = make()?;
    let block = write(arena, name, &value).map_err(|error| ObjectError::NotMade {
        name: shown,
        kind: error.kind(),
        text: error.to_string(),
    })?;
    let locked = directory.lock()?;
    let head = &locked.shared().head;
    if let Some(slot) = find(arena, &directory, name) {
        drop(locked);
        return read(slot);
    }
    // SAFETY: `write` put an entry there, which is not the directory's yet.
    let entry = unsafe { &*block.as_ptr().cast::<Entry>() };
    entry.next.store(head.load(Ordering::Relaxed), Ordering::Relaxed);
    locked.give(block, head, &[]);
    Ok(value)
}
