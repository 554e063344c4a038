//! What lies in one block: a key and a value, archived, self-contained and of known length.
//!
//! ```text
//! 0    hash of the key's bytes, 0 without a key
//! 8    length of the key's bytes (32 bits)
//! 16   tag: what the structure wants to know of the value
//! 24   length of all, from 0
//! 32   the key: root, then its data from the next multiple of 16; padded with zeros to a multiple of 16
//! ..   the value: root, then its data, likewise
//! ```
//! Such an image is written once, into private memory, and copied into a block of its length, unless its value is large: that
//! is written straight into the block. It is never changed afterwards, and it can be copied to any address that is a multiple
//! of 64, as all pointers in it are relative and stay inside. A key is always written at the same place and with zeros where
//! the archived form has gaps, so equal bytes are what equal keys have (see [`Key`](super::Key)).
//!
//! Who reads an image without a lock copies it first, word by word, then looks whether the words that led to it still lead to
//! it (`still`), and only then trusts a byte of the copy: blocks that are taken out of a structure are written again only
//! after those words have changed. So a length that was read may be anything until then; it is checked against the mapping.
//!
//! Invariants of the unsafe code here: `Memory` is zeroed or overwritten by whole words, so always initialised, and aligned to
//! 64; offsets are checked against its length. What is read through a `RawBlock` or a position is payload.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::hash::{Hash, Hasher};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::SharedError;
use super::copying::copied;
use crate::ErrorKind;
use crate::arena::refs::Pins;
use crate::arena::{Arena, Block, BlockId, Pos, Role};
use crate::message::{Decoder, EncodeError, Encoder, Message, Pin, Sink, SinkSpan};

/// Bytes before the key.
pub(super) const HEAD: usize = 32;
/// Private memory that is kept from one image to the next.
const KEPT: usize = 16 << 10;
/// The same for copies: by who reads long values one after the other, as to get memory costs as much as to copy.
const KEPT_COPY: usize = 2 << 20;
/// From this length on the way to an image is looked at again before it is copied: what it says of its length may be nonsense.
const LOOK_AGAIN: usize = 1024;

/// Where the value of an image with so long a key begins.
pub(super) const fn value_offset<V: Message>(key_len: usize) -> usize {
    let align = if align_of::<V::Archived>() > 16 { align_of::<V::Archived>() } else { 16 };
    (HEAD + key_len).next_multiple_of(align)
}

/// Private memory of words, aligned to 64.
struct Memory {
    start: NonNull<u8>,
    len: usize,
}

impl Memory {
    fn new(len: usize) -> Memory {
        let len = len.next_multiple_of(64).max(64);
        let Ok(layout) = Layout::from_size_align(len, 64) else { handle_alloc_error(Layout::new::<u64>()) };
        // SAFETY: the length is not 0.
        let Some(start) = NonNull::new(unsafe { alloc_zeroed(layout) }) else { handle_alloc_error(layout) };
        Memory { start, len }
    }

    #[inline]
    fn ptr(&self, offset: usize) -> *mut u8 {
        debug_assert!(offset <= self.len);
        // SAFETY: inside, or one past the end.
        unsafe { self.start.as_ptr().add(offset.min(self.len)) }
    }

    /// The words from `from` to `to`, offsets in bytes.
    #[inline]
    fn words(&self, from: usize, to: usize) -> &[u64] {
        let (from, to) = (from.min(self.len) / 8, to.min(self.len) / 8);
        // SAFETY: inside, aligned, initialised.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast::<u64>().add(from), to.saturating_sub(from)) }
    }

    #[inline]
    fn zero(&mut self, from: usize, to: usize) {
        let (from, to) = (from.min(self.len), to.min(self.len));
        // SAFETY: inside.
        unsafe { self.ptr(from).write_bytes(0, to.saturating_sub(from)) };
    }

    #[inline]
    fn set(&mut self, word: usize, value: u64) {
        if (word + 1) * 8 <= self.len {
            // SAFETY: inside, aligned.
            unsafe { self.start.as_ptr().cast::<u64>().add(word).write(value) };
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Ok(layout) = Layout::from_size_align(self.len, 64) {
            // SAFETY: allocated with this layout.
            unsafe { dealloc(self.start.as_ptr(), layout) };
        }
    }
}

/// Where data goes that the private memory has no room for.
#[derive(Default)]
struct Overflow {
    /// For a value: blocks of this arena. For a key: private memory.
    arena: Option<&'static Arena>,
    /// So many bytes are left free before the data.
    head: usize,
    blocks: Vec<Block>,
    memory: Vec<Memory>,
    /// Objects that the value refers to, and what keeps them alive until the block does.
    pins: Vec<(BlockId, Role, Arc<dyn Any + Send + Sync>)>,
}

impl Overflow {
    /// Makes ready for the next item.
    #[inline]
    fn begin(&mut self, arena: Option<&'static Arena>, head: usize) {
        self.clear();
        (self.arena, self.head) = (arena, head);
    }

    #[inline]
    fn clear(&mut self) {
        // Most often there is nothing, and this is done for each item.
        if !(self.blocks.is_empty() && self.memory.is_empty() && self.pins.is_empty()) {
            self.let_go();
        }
    }

    #[cold]
    fn let_go(&mut self) {
        self.blocks.clear();
        self.memory.clear();
        self.pins.clear();
    }
}

struct OverflowSink(Rc<RefCell<Overflow>>);

impl Sink for OverflowSink {
    fn more(&mut self, min: usize) -> Result<SinkSpan, EncodeError> {
        let too_long = || EncodeError::new(ErrorKind::OutOfMemory, "a message longer than the address space");
        let mut overflow = self.0.borrow_mut();
        let len =
            overflow.head.checked_add(min).and_then(|len| len.checked_next_multiple_of(64)).ok_or_else(too_long)?;
        let (start, len) = match overflow.arena {
            Some(arena) => {
                let block = arena.alloc(len).map_err(|error| EncodeError::new(error.kind(), error.to_string()))?;
                let found = (block.as_ptr(), block.capacity());
                overflow.blocks.push(block);
                found
            }
            None => {
                let memory = Memory::new(len);
                let found = (memory.ptr(0), memory.len);
                overflow.memory.push(memory);
                found
            }
        };
        let Some(start) = NonNull::new(start.wrapping_add(overflow.head)) else { return Err(too_long()) };
        // SAFETY: so many bytes are the encoder's from here on, aligned to 64 as `head` is, and stay where they are until the
        // item is written.
        Ok(unsafe { SinkSpan::new(start, len - overflow.head) })
    }

    fn pin(&mut self, pin: &Pin) -> Result<(), EncodeError> {
        let mut overflow = self.0.borrow_mut();
        let ours = overflow.arena.is_some_and(|arena| arena.id() == pin.arena());
        match (BlockId::from_raw(pin.object()), Role::from_raw(pin.role())) {
            (Some(object), Some(role)) if ours => {
                if !overflow.pins.iter().any(|(known, as_role, _)| (*known, *as_role) == (object, role)) {
                    overflow.pins.push((object, role, pin.keep()));
                }
                Ok(())
            }
            _ => Err(EncodeError::new(
                ErrorKind::NotSendable,
                "a handle belongs to another family of processes than the one it is sent in",
            )),
        }
    }
}

/// Writes images.
pub(super) struct Writer {
    encoder: Encoder,
    overflow: Rc<RefCell<Overflow>>,
    memory: Memory,
    key_len: usize,
}

thread_local! {
    static WRITER: Cell<Option<Box<Writer>>> = const { Cell::new(None) };
    static BUFFER: Cell<Option<Box<Buffer>>> = const { Cell::new(None) };
}

/// Runs `body` with a writer of this thread.
#[inline]
pub(super) fn with_writer<R>(body: impl FnOnce(&mut Writer) -> R) -> R {
    // Where `body` comes here again, by a function of the user's, there is none.
    let kept = WRITER.try_with(Cell::take).ok().flatten();
    let mut writer = kept.unwrap_or_else(Writer::new);
    let result = body(&mut writer);
    writer.reset();
    // A thread that is being torn down keeps nothing.
    let _ = WRITER.try_with(|kept| kept.set(Some(writer)));
    result
}

impl Writer {
    #[cold]
    fn new() -> Box<Writer> {
        let overflow = Rc::new(RefCell::new(Overflow::default()));
        let encoder = Encoder::new(Box::new(OverflowSink(overflow.clone())));
        Box::new(Writer { encoder, overflow, memory: Memory::new(KEPT), key_len: 0 })
    }

    #[inline]
    fn reset(&mut self) {
        self.overflow.borrow_mut().clear();
        if self.memory.len > KEPT {
            self.memory = Memory::new(KEPT);
        }
        self.key_len = 0;
    }

    /// Writes the key of the next images.
    pub(super) fn key<K: Message>(&mut self, key: &K) -> Result<(), EncodeError> {
        let data = (HEAD + size_of::<K::Archived>()).next_multiple_of(16);
        if data > KEPT - 64 {
            return Err(EncodeError::new(ErrorKind::NotSendable, "a key of such a size: use a hash of it as the key"));
        }
        self.memory.zero(0, data);
        self.overflow.borrow_mut().begin(None, data & !63);
        let span = (self.memory.ptr(data), self.memory.ptr(self.memory.len));
        let (overflow, start) = (&self.overflow, self.memory.ptr(0));
        let slot = || overflow.borrow().memory.last().map_or(start, |memory| memory.ptr(0)).wrapping_add(HEAD);
        // SAFETY: the slot is zeroed memory of this writer, the data lies behind it in the same.
        let end = unsafe { self.encoder.put_at(key, span, slot) }?;
        let mut overflow = self.overflow.borrow_mut();
        if let Some(memory) = overflow.memory.pop() {
            overflow.memory.clear();
            self.memory = memory;
        }
        let end = (end as usize - self.memory.ptr(0) as usize).max(data);
        let padded = end.next_multiple_of(16);
        if padded > self.memory.len || padded > u32::MAX as usize {
            return Err(EncodeError::new(
                ErrorKind::NotSendable,
                "a key of such a length: use a hash of it as the key",
            ));
        }
        self.memory.zero(end, padded);
        self.key_len = padded - HEAD;
        Ok(())
    }

    /// The bytes of the key.
    #[inline]
    pub(super) fn key_words(&self) -> &[u64] {
        self.memory.words(HEAD, HEAD + self.key_len)
    }

    /// A block with the key, if there is one, and `value`.
    pub(super) fn block<V: Message>(
        &mut self,
        arena: &'static Arena,
        (hash, tag): (u64, u64),
        value: &V,
    ) -> Result<Block, SharedError> {
        let root = value_offset::<V>(self.key_len);
        let data = (root + size_of::<V::Archived>()).next_multiple_of(16);
        self.overflow.borrow_mut().begin(Some(arena), data & !63);
        if data + 64 > self.memory.len {
            // A long key, or a long root: all of it into one memory.
            let memory = Memory::new(data + KEPT);
            for (index, word) in self.key_words().iter().enumerate() {
                // SAFETY: inside, as the key lies before `data`.
                unsafe { memory.ptr(HEAD + index * 8).cast::<u64>().write(*word) };
            }
            self.memory = memory;
        }
        let (start, room, overflow) = (self.memory.ptr(0), self.memory.len, &self.overflow);
        let slot = || overflow.borrow().blocks.last().map_or(start, Block::as_ptr).wrapping_add(root);
        // SAFETY: the slot and the data behind it are this writer's memory, or a block that nobody else knows.
        let end = unsafe { self.encoder.put_at(value, (start.wrapping_add(data), start.wrapping_add(room)), slot) }?;
        let direct = self.overflow.borrow_mut().blocks.pop();
        let base = direct.as_ref().map_or(start, Block::as_ptr);
        let total = (end as usize - base as usize).max(data).next_multiple_of(16);
        self.memory.set(0, hash);
        self.memory.set(1, self.key_len as u64);
        self.memory.set(2, tag);
        self.memory.set(3, total as u64);
        let (block, copied) = match direct {
            Some(mut block) => {
                // It was made longer than what had been written until then, as nobody knew how long it would become.
                if block.capacity() - total > total / 8 {
                    block.shrink_to(total);
                }
                (block, HEAD + self.key_len)
            }
            None => (arena.alloc(total)?, total.min(room)),
        };
        debug_assert!(block.capacity() >= copied);
        // SAFETY: both are at least that long: the block was made for it, and the image lies in this memory up to there.
        unsafe { std::ptr::copy_nonoverlapping(self.memory.ptr(0), block.as_ptr(), copied.min(block.capacity())) };
        let mut overflow = self.overflow.borrow_mut();
        if !overflow.pins.is_empty() {
            let mut pins = Pins::default();
            for (object, role, _keep) in overflow.pins.drain(..) {
                pins.add(arena, block.id(), object, role)?;
            }
        }
        Ok(block)
    }
}

/// What the first words of an image say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) hash: u64,
    pub(super) key_len: usize,
    pub(super) tag: u64,
    pub(super) total: usize,
}

/// The words of a block in shared memory that somebody may be writing to.
#[derive(Clone, Copy)]
pub(super) struct Shown {
    arena: &'static Arena,
    pos: Pos,
}

impl Shown {
    pub(super) fn new(arena: &'static Arena, pos: Pos) -> Shown {
        Shown { arena, pos }
    }

    #[inline]
    fn words(&self, len: usize) -> Option<&'static [AtomicU64]> {
        let start = self.arena.at(self.pos, len)?;
        // SAFETY: payload, aligned to 64; any bytes are valid atomics, and the mapping stays.
        Some(unsafe { std::slice::from_raw_parts(start.as_ptr().cast::<AtomicU64>(), len / 8) })
    }

    /// What the image says of itself; `None` if it is none.
    #[inline]
    pub(super) fn head(&self) -> Option<Head> {
        let words = self.words(HEAD)?;
        let [hash, key_len, tag, total] = [0, 1, 2, 3].map(|index| words[index].load(Ordering::Relaxed));
        let (key_len, total) = (key_len as u32 as usize, usize::try_from(total).ok()?);
        (HEAD + key_len <= total && total.is_multiple_of(8) && key_len.is_multiple_of(8)).then_some(())?;
        Some(Head { hash, key_len, tag, total })
    }

    /// Whether the image has this key.
    #[inline]
    pub(super) fn has_key(&self, key: &[u64]) -> bool {
        self.words(HEAD + key.len() * 8).is_some_and(|words| {
            words[HEAD / 8..].iter().zip(key).all(|(word, key)| word.load(Ordering::Relaxed) == *key)
        })
    }

    /// The bytes of the key.
    pub(super) fn key(&self, head: &Head) -> Option<Vec<u64>> {
        let words = self.words(HEAD + head.key_len)?;
        Some(words[HEAD / 8..].iter().map(|word| word.load(Ordering::Relaxed)).collect())
    }
}

/// A private copy of an image.
pub(super) struct Buffer {
    memory: Memory,
    head: Head,
}

/// Runs `body` with a buffer of this thread.
#[inline]
pub(super) fn with_buffer<R>(body: impl FnOnce(&mut Buffer) -> R) -> R {
    let kept = BUFFER.try_with(Cell::take).ok().flatten();
    let mut buffer = kept.unwrap_or_else(Buffer::new);
    let result = body(&mut buffer);
    if buffer.memory.len > KEPT_COPY {
        buffer.memory = Memory::new(KEPT);
    }
    // A thread that is being torn down keeps nothing.
    let _ = BUFFER.try_with(|kept| kept.set(Some(buffer)));
    result
}

impl Buffer {
    #[cold]
    fn new() -> Box<Buffer> {
        Box::new(Buffer { memory: Memory::new(KEPT), head: Head { hash: 0, key_len: 0, tag: 0, total: HEAD } })
    }

    /// Copies an image; `false` if `still` says that it was changed meanwhile.
    pub(super) fn copy(&mut self, from: Shown, still: impl Fn() -> bool) -> bool {
        let Some(head) = from.head() else { return false };
        if head.total > LOOK_AGAIN {
            fence(Ordering::Acquire);
            if !still() {
                return false;
            }
        }
        let Some(words) = from.words(head.total) else { return false };
        if head.total > self.memory.len {
            self.memory = Memory::new(head.total);
        }
        let to = self.memory.start.as_ptr().cast::<u64>();
        self.head = head;
        // SAFETY: the memory is at least `total` bytes long, and `words` not longer.
        copied(words, |index, word| unsafe { to.add(index).write(word) }, still)
    }

    pub(super) fn tag(&self) -> u64 {
        self.head.tag
    }

    /// The value of the copy, which was written as a `V`.
    ///
    /// # Safety
    /// It was, and the copy is one that [`Buffer::copy`] called good.
    pub(super) unsafe fn value<V: Message>(&self) -> Result<V, SharedError> {
        // SAFETY: the caller vouches for it.
        unsafe { read_at(self.memory.start.as_ptr(), value_offset::<V>(self.head.key_len), self.head.total) }
    }
}

/// The value of an image in a block that nobody changes.
///
/// # Safety
/// It was written as a `V`, and stays as it is during the call.
pub(super) unsafe fn value_in<V: Message>(arena: &'static Arena, pos: Pos) -> Result<V, SharedError> {
    let shown = Shown::new(arena, pos);
    let (Some(head), Some(start)) = (shown.head(), arena.at(pos, HEAD)) else { return Err(SharedError::Damaged) };
    // SAFETY: the caller vouches for it.
    unsafe { read_at(start.as_ptr(), value_offset::<V>(head.key_len), head.total) }
}

/// The key of an image in a block that nobody changes.
///
/// # Safety
/// It was written as a `K`, and stays as it is during the call.
pub(super) unsafe fn key_in<K: Message>(arena: &'static Arena, pos: Pos) -> Result<K, SharedError> {
    let shown = Shown::new(arena, pos);
    let (Some(head), Some(start)) = (shown.head(), arena.at(pos, HEAD)) else { return Err(SharedError::Damaged) };
    // SAFETY: the caller vouches for it.
    unsafe { read_at(start.as_ptr(), HEAD, HEAD + head.key_len) }
}

/// The key with these bytes, which were written as a `K`.
pub(super) fn key_of<K: super::Key>(key: &[u64]) -> Result<K, SharedError> {
    let len = key.len() * 8;
    let memory = Memory::new(HEAD + len);
    for (index, word) in key.iter().enumerate() {
        // SAFETY: inside, aligned.
        unsafe { memory.ptr(HEAD + index * 8).cast::<u64>().write(*word) };
    }
    // SAFETY: the keys of a dictionary are all written as `K`; this is a copy of one, at the same offset from a multiple of 64.
    unsafe { read_at(memory.ptr(0), HEAD, HEAD + len) }
}

/// # Safety
/// At `start + offset` is an archived `V` within an image of `total` bytes that nobody changes.
unsafe fn read_at<V: Message>(start: *const u8, offset: usize, total: usize) -> Result<V, SharedError> {
    if offset + size_of::<V::Archived>() > total.max(HEAD) {
        return Err(SharedError::Damaged);
    }
    // SAFETY: as said above; images are aligned to 64.
    let archived = unsafe { &*start.add(offset).cast::<V::Archived>() };
    Ok(V::read(archived, &mut Decoder::new())?)
}

/// A number that tells one type from another within a build, which all processes of a family run. Names would not do: types
/// declared in two blocks of one function may have the same.
pub(super) fn type_tag<T: 'static>() -> u64 {
    /// FNV-1a.
    struct Folded(u64);

    impl Hasher for Folded {
        fn write(&mut self, bytes: &[u8]) {
            let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            self.0 = bytes.iter().fold(self.0, fold);
        }

        fn finish(&self) -> u64 {
            self.0
        }
    }

    let mut folded = Folded(0xcbf2_9ce4_8422_2325);
    TypeId::of::<T>().hash(&mut folded);
    folded.finish()
}

/// The hash of a key's bytes.
#[inline]
pub(super) fn hash(seed: u64, key: &[u64]) -> u64 {
    const A: u64 = 0x9e37_79b9_7f4a_7c15;
    const B: u64 = 0xd1b5_4a32_d192_ed03;
    let mut state = seed ^ (key.len() as u64).wrapping_mul(A);
    for pair in key.chunks(2) {
        let (one, two) = (pair[0], pair.get(1).copied().unwrap_or(0));
        state = fold(one ^ state ^ A, two ^ B.wrapping_add(state));
    }
    fold(state ^ A, B)
}

/// The two halves of a product, mixed: as wyhash and foldhash do.
#[inline]
fn fold(one: u64, two: u64) -> u64 {
    let product = u128::from(one) * u128::from(two);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::create;

    /// What a reader's copy comes to if a writer replaces the value, and the block is written again, at each look of the
    /// reader's at the cell.
    fn interrupted(arena: &'static Arena, len: usize, at: usize) -> (bool, Vec<u8>) {
        let make = |with: u8| with_writer(|writer| writer.block(arena, (0, 0), &vec![with; len])).unwrap();
        let (old, new) = (make(1), make(2));
        let looks = Cell::new(0);
        let still = || {
            let changed = looks.get() >= at;
            looks.set(looks.get() + 1);
            if looks.get() == at {
                // SAFETY: both blocks are that long, and nobody else has them.
                unsafe {
                    std::ptr::copy_nonoverlapping(new.as_ptr(), old.as_ptr(), old.capacity().min(new.capacity()))
                };
            }
            !changed
        };
        let mut buffer = Buffer::new();
        let good = buffer.copy(Shown::new(arena, old.pos()), still);
        // SAFETY: the copy is of one of two images of such a vector, even if it was taken in the middle.
        (good, if good { unsafe { buffer.value() }.unwrap() } else { Vec::new() })
    }

    #[test]
    fn a_copy_of_what_was_replaced_meanwhile_is_not_believed() {
        let arena = create(256 << 20, 64 << 20).unwrap();
        for len in [10, 500, 5_000, 40_000] {
            assert_eq!(interrupted(arena, len, usize::MAX), (true, vec![1; len]));
            assert!(!interrupted(arena, len, 0).0, "changed before");
            if len > LOOK_AGAIN {
                // Between the first look and the copy.
                assert!(!interrupted(arena, len, 1).0, "changed in the middle");
            }
        }
    }
}
