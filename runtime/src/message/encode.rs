//! Writing messages into memory that somebody else hands out.
//!
//! # How positions work
//!
//! rkyv links data by differences of *positions*. Here a position is an address plus `delta`. While an item's data stays
//! in one span, `delta` is [`BIAS`]. When the span proves too small, the item's bytes so far are copied to a new span and
//! `delta` grows by (old address - new address), so that every position rkyv has been told stays true; since both addresses
//! are equal modulo 64, alignment of a position is alignment of the address. At the end the root, which lies somewhere
//! else, is written as if at its own address plus `delta`: the differences then are those of the real addresses.
//!
//! Invariants of [`Encoder`]: `start <= cur <= end`, all three within the newest span, or all equal where there is no room;
//! bytes `start..cur` belong to the item being written, none between items; what lies before `start` belongs to earlier items and is never
//! touched again.

use std::alloc::Layout;
use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

use rkyv::Place;
use rkyv::rancor::Fallible;
use rkyv::ser::sharing::SharingState;
use rkyv::ser::{Allocator, Positional, Sharing, Writer};

use super::scratch::Scratch;
use super::{EncodeError, Message, Pin};
use crate::ErrorKind;

/// Alignment of spans, and the modulus that keeps alignment when data moves.
const ALIGN: usize = 64;

/// Keeps positions far from both ends of the number range whatever `delta` adds: rkyv checks their differences for overflow,
/// and addresses differ by less than 2^57.
const BIAS: usize = 1 << 62;

/// Hands out memory for data that does not fit a slot.
pub trait Sink {
    /// At least `min` fresh bytes. What was handed out before stays where it is.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfMemory`] and the like; the message being written is given up.
    fn more(&mut self, min: usize) -> Result<SinkSpan, EncodeError>;

    /// Keeps an object alive as long as the memory that was handed out.
    ///
    /// # Errors
    /// [`ErrorKind::NotSendable`] where that memory may outlive the family, in a file for instance; and as for `more`.
    fn pin(&mut self, pin: &Pin) -> Result<(), EncodeError>;

    /// Can whoever reads what is written also read what lies at `address`, at the same distance from it?
    fn reaches(&self, address: *const u8) -> bool {
        let _ = address;
        false
    }
}

/// Memory that a [`Sink`] handed out.
///
/// # Safety
/// Whoever makes one vouches that `len` initialised bytes at `ptr`, aligned to 64, belong to the encoder alone until
/// it is gone, and that relative pointers between them and the slots written are valid (one mapping, or the heap).
#[derive(Debug, Clone, Copy)]
pub struct SinkSpan {
    ptr: NonNull<u8>,
    len: usize,
}

impl SinkSpan {
    /// `len` bytes at `ptr`.
    ///
    /// # Safety
    /// As said at the type.
    pub unsafe fn new(ptr: NonNull<u8>, len: usize) -> Self {
        debug_assert!((ptr.as_ptr() as usize).is_multiple_of(ALIGN));
        SinkSpan { ptr, len }
    }

    #[cfg(any(feature = "engine", feature = "journal"))]
    pub(super) fn len(&self) -> usize {
        self.len
    }
}

/// Writes messages: each root into a slot given by the caller, everything else into the sink's spans.
pub struct Encoder {
    cur: *mut u8,
    end: *mut u8,
    start: *mut u8,
    delta: usize,
    sink: Box<dyn Sink>,
    scratch: Scratch,
    /// Address of a shared value to its position; `None` while it is being written.
    shared: HashMap<usize, Option<usize>>,
    /// Where the data of the item began for which the newest span was got.
    span_start: *mut u8,
}

/// How far an [`Encoder`] is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Written {
    span_start: usize,
    cur: usize,
    room: usize,
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").field("room", &(self.end as usize - self.cur as usize)).finish_non_exhaustive()
    }
}

impl Encoder {
    /// An encoder that gets its memory from `sink`, on demand.
    pub fn new(sink: Box<dyn Sink>) -> Self {
        // Never read or written: an empty span. Far from both ends of the address space, as rkyv's differences of positions must not wrap
        // around, and the first item's data keeps the position that it has before there is a real span.
        let nowhere = std::ptr::without_provenance_mut::<u8>(1 << 62);
        Encoder {
            cur: nowhere,
            end: nowhere,
            start: nowhere,
            delta: BIAS,
            sink,
            scratch: Scratch::new(),
            shared: HashMap::new(),
            span_start: nowhere,
        }
    }

    /// How far it is.
    pub(crate) fn written(&self) -> Written {
        let room = self.end as usize - self.cur as usize;
        Written { span_start: self.span_start as usize, cur: self.cur as usize, room }
    }

    /// How many bytes the one message has that was written since, its slot not counted.
    pub(crate) fn written_since(&self, before: Written) -> u64 {
        let cur = self.cur as usize;
        if self.span_start as usize != before.span_start {
            return cur.saturating_sub(self.span_start as usize) as u64;
        }
        // A message without data may have moved the end of a full span to its slot.
        let data = cur.wrapping_sub(before.cur);
        if data > before.room { 0 } else { data as u64 }
    }

    /// Writes `value`: its root at `slot`, the rest into the sink's memory.
    ///
    /// On an error nothing of it is visible: the slot is untouched.
    ///
    /// # Safety
    /// `slot` is aligned and initialised memory of an `Archived<T>`, this caller's to write, in the same mapping as the
    /// sink's spans.
    #[inline(always)]
    pub unsafe fn put<T: Message>(&mut self, value: &T, slot: *mut u8) -> Result<(), EncodeError> {
        // SAFETY: as for this function; the resolver is that of `value`.
        unsafe {
            self.put_with(
                slot.cast::<T::Archived>(),
                |encoder| T::write_parts(value, encoder),
                |resolver, out| T::write_root(value, resolver, out),
            )
        }
    }

    /// [`Encoder::put`] for what is no message by itself, such as a borrowed `str`.
    ///
    /// # Safety
    /// As for [`Encoder::put`]; and `root` writes a valid `A`, given what `parts` returned.
    #[inline(always)]
    pub unsafe fn put_with<A, R>(
        &mut self,
        slot: *mut A,
        parts: impl FnOnce(&mut Encoder) -> Result<R, EncodeError>,
        root: impl FnOnce(R, Place<A>),
    ) -> Result<(), EncodeError> {
        // What has no resolver points nowhere: no data of its own, nothing to begin or to end.
        if size_of::<R>() == 0 {
            let resolver = parts(self)?;
            // SAFETY: the caller vouches for the slot.
            root(resolver, unsafe { Place::new_unchecked(BIAS, slot) });
            return Ok(());
        }
        self.delta = BIAS;
        if self.cur == self.end {
            // No room: what needs none (an empty vector) shall still point into the receiver's memory.
            (self.start, self.cur, self.end) = (slot.cast(), slot.cast(), slot.cast());
        }
        match parts(self) {
            Ok(resolver) => {
                // SAFETY: the caller vouches for the slot. The position is the address plus delta, see the module doc.
                root(resolver, unsafe { Place::new_unchecked((slot as usize).wrapping_add(self.delta), slot) });
                self.start = self.cur;
                if !self.shared.is_empty() {
                    self.shared.clear();
                }
                Ok(())
            }
            Err(error) => {
                self.abandon();
                Err(error)
            }
        }
    }

    /// Keeps an object alive as long as the message that is being written.
    pub(crate) fn pin(&mut self, pin: &Pin) -> Result<(), EncodeError> {
        self.sink.pin(pin)
    }

    /// Up to where the newest span is written.
    #[cfg(any(feature = "engine", feature = "journal"))]
    pub(super) fn position(&self) -> *const u8 {
        self.cur
    }

    /// [`Encoder::put`] with the item's data beginning at `start`, where there is room up to `end`; the sink is asked when that
    /// proves too small. `slot` is called when all data is written and says where the root goes. Returns the end of the data.
    ///
    /// # Safety
    /// As for [`Encoder::put`]; what lies from `start` to `end` is this caller's to write, like a [`SinkSpan`], except that
    /// `start` needs only the alignment of the data, and that a span of the sink gets the data at the same offset modulo 64.
    pub(crate) unsafe fn put_at<T: Message>(
        &mut self,
        value: &T,
        (start, end): (*mut u8, *mut u8),
        slot: impl FnOnce() -> *mut u8,
    ) -> Result<*mut u8, EncodeError> {
        self.delta = BIAS;
        (self.start, self.cur, self.end) = (start, start, end);
        match T::write_parts(value, self) {
            Ok(resolver) => {
                let slot = slot().cast::<T::Archived>();
                // SAFETY: the caller vouches for the slot. The position is the address plus delta, see the module doc.
                let place = unsafe { Place::new_unchecked((slot as usize).wrapping_add(self.delta), slot) };
                T::write_root(value, resolver, place);
                let end = self.cur;
                if !self.shared.is_empty() {
                    self.shared.clear();
                }
                (self.start, self.cur, self.end) = (start, start, start);
                Ok(end)
            }
            Err(error) => {
                self.abandon();
                Err(error)
            }
        }
    }

    /// Can whoever reads what is written also read what lies at `address`, at the same distance from it?
    pub(crate) fn reaches(&self, address: *const u8) -> bool {
        self.sink.reaches(address)
    }

    /// Forgets the item being written, after an error or a panic.
    #[cold]
    pub(crate) fn abandon(&mut self) {
        self.cur = self.start;
        self.shared.clear();
        self.scratch.reset();
    }

    /// Room for `more` bytes after the item's bytes so far, in a new span.
    #[cold]
    #[inline(never)]
    fn grow(&mut self, more: usize) -> Result<(), EncodeError> {
        let written = self.cur as usize - self.start as usize;
        let need = written.checked_add(more).and_then(|sum| sum.checked_add(ALIGN)).ok_or_else(|| {
            EncodeError::new(ErrorKind::OutOfMemory, "a message longer than the address space: send it in parts")
        })?;
        let span = self.sink.more(need.max(written.saturating_mul(2)))?;
        if span.len < need {
            return Err(EncodeError::new(ErrorKind::OutOfMemory, "not enough shared memory for this message"));
        }
        let skew = self.start as usize % ALIGN;
        // SAFETY: `skew + written + more < need <= span.len`, so all pointers stay inside the span; the old bytes
        // `start..cur` are inside the old span, which the sink leaves where it is; a new span overlaps no old one.
        unsafe {
            let start = span.ptr.as_ptr().add(skew);
            std::ptr::copy_nonoverlapping(self.start, start, written);
            self.delta = self.delta.wrapping_add(self.start as usize).wrapping_sub(start as usize);
            self.start = start;
            self.span_start = start;
            self.cur = start.add(written);
            self.end = span.ptr.as_ptr().add(span.len);
        }
        Ok(())
    }
}

impl Fallible for Encoder {
    type Error = EncodeError;
}

impl Positional for Encoder {
    #[inline]
    fn pos(&self) -> usize {
        (self.cur as usize).wrapping_add(self.delta)
    }
}

impl Writer<EncodeError> for Encoder {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        if bytes.len() > self.end as usize - self.cur as usize {
            self.grow(bytes.len())?;
        }
        // SAFETY: `bytes.len() <= end - cur`, checked above or made so by `grow`; the span is ours alone, so the
        // caller's bytes are elsewhere.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.cur, bytes.len());
            self.cur = self.cur.add(bytes.len());
        }
        Ok(())
    }
}

// SAFETY: `Scratch::push` returns memory of the layout asked for, valid until popped or reset; it is reset only between
// items.
unsafe impl Allocator<EncodeError> for Encoder {
    unsafe fn push_alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, EncodeError> {
        match self.scratch.push(layout) {
            Some(ptr) => Ok(NonNull::slice_from_raw_parts(ptr, layout.size())),
            None => Err(EncodeError::new(ErrorKind::OutOfMemory, "no memory left while a message was written")),
        }
    }

    unsafe fn pop_alloc(&mut self, ptr: NonNull<u8>, _: Layout) -> Result<(), EncodeError> {
        self.scratch.pop(ptr);
        Ok(())
    }
}

impl Sharing<EncodeError> for Encoder {
    fn start_sharing(&mut self, address: usize) -> SharingState {
        match self.shared.get(&address) {
            None => {
                self.shared.insert(address, None);
                SharingState::Started
            }
            Some(None) => SharingState::Pending,
            Some(&Some(pos)) => SharingState::Finished(pos),
        }
    }

    fn finish_sharing(&mut self, address: usize, pos: usize) -> Result<(), EncodeError> {
        self.shared.insert(address, Some(pos));
        Ok(())
    }
}

/// A sink on the heap: for the inline executor and for tests. The memory lives as long as the sink.
#[derive(Debug, Default)]
pub struct HeapSink {
    spans: Vec<Aligned>,
    pinned: Vec<Arc<dyn Any + Send + Sync>>,
}

/// Zeroed bytes aligned to [`ALIGN`].
#[derive(Debug)]
pub(crate) struct Aligned(NonNull<u8>, Layout);

// SAFETY: plain memory with one owner.
unsafe impl Send for Aligned {}

// SAFETY: shared references only read it.
unsafe impl Sync for Aligned {}

impl Aligned {
    /// At least `len` bytes, and at least one.
    pub(crate) fn zeroed(len: usize) -> Result<Aligned, EncodeError> {
        let out_of_memory = || EncodeError::new(ErrorKind::OutOfMemory, format!("no memory for {len} bytes"));
        let size = len.max(1).checked_next_multiple_of(ALIGN).ok_or_else(out_of_memory)?;
        let layout = Layout::from_size_align(size, ALIGN).map_err(|_| out_of_memory())?;
        // SAFETY: the size is not 0.
        let ptr = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) }).ok_or_else(out_of_memory)?;
        Ok(Aligned(ptr, layout))
    }

    pub(crate) fn ptr(&self) -> NonNull<u8> {
        self.0
    }

    pub(crate) fn len(&self) -> usize {
        self.1.size()
    }

    #[cfg(any(feature = "engine", feature = "journal"))]
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: allocated with this size, zeroed, and borrowed with `self`.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr(), self.1.size()) }
    }

    #[cfg(any(feature = "engine", feature = "journal"))]
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_ptr(), self.1.size()) }
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with this layout.
        unsafe { std::alloc::dealloc(self.0.as_ptr(), self.1) };
    }
}

impl HeapSink {
    /// An empty sink.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Sink for HeapSink {
    fn more(&mut self, min: usize) -> Result<SinkSpan, EncodeError> {
        // Small at first, as most uses are one message; growing, as the others are many.
        let usual = 4096 << self.spans.len().min(8);
        let memory = Aligned::zeroed(min.max(usual))?;
        let (ptr, size) = (memory.ptr(), memory.len());
        self.spans.push(memory);
        // SAFETY: fresh zeroed memory of this size and alignment, kept as long as the sink.
        Ok(unsafe { SinkSpan::new(ptr, size) })
    }

    fn pin(&mut self, pin: &Pin) -> Result<(), EncodeError> {
        self.pinned.push(pin.keep());
        Ok(())
    }
}
