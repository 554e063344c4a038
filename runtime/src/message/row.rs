//! Several slots in a row and their data, as one contiguous piece of bytes: ready to cross a network, and to be read wherever it arrives.
//!
//! The slots lie from offset 0 on, data from the next multiple of 64 on. All pointers within are relative, so the piece may be moved, if its start
//! stays aligned to 64.

use std::cell::Cell;
use std::ptr::NonNull;
use std::rc::Rc;

use super::encode::Aligned;
use super::{EncodeError, Encoder, Pin, Sink, SinkSpan};
use crate::ErrorKind;
use crate::sys::mem;

const ALIGN: usize = 64;
/// Room for data at first.
const SMALLEST: usize = 1024;

/// What the sinks here say of handles.
fn refuse_pin() -> EncodeError {
    let reason = "a handle of an object in shared memory (a queue, a lock, a value) means nothing outside of this family of processes";
    EncodeError::new(ErrorKind::NotSendable, reason)
}

/// Slots that are written one after the other into memory that grows.
#[derive(Debug)]
pub(crate) struct Row {
    /// Before the memory that it writes to, which it must not outlive.
    encoder: Option<Encoder>,
    wanted: Rc<Cell<usize>>,
    buffer: Aligned,
    stride: usize,
    capacity: usize,
    written: usize,
    /// Where the data ends.
    end: usize,
}

/// Gives out one piece of memory, once; then notes how much was wanted.
struct Rest {
    span: Option<SinkSpan>,
    wanted: Rc<Cell<usize>>,
}

impl Sink for Rest {
    fn more(&mut self, min: usize) -> Result<SinkSpan, EncodeError> {
        match self.span.take() {
            Some(span) if span.len() >= min => Ok(span),
            _ => {
                self.wanted.set(min);
                Err(EncodeError::new(ErrorKind::OutOfMemory, "the piece has no room"))
            }
        }
    }

    fn pin(&mut self, _: &Pin) -> Result<(), EncodeError> {
        Err(refuse_pin())
    }
}

impl Row {
    /// Room for so many slots that lie `stride` apart.
    pub(crate) fn new(stride: usize, capacity: usize) -> Result<Row, EncodeError> {
        let too_long = || EncodeError::new(ErrorKind::OutOfMemory, "more slots than there is memory");
        let slots = stride.checked_mul(capacity).and_then(|len| len.checked_next_multiple_of(ALIGN));
        let data = slots.ok_or_else(too_long)?;
        let buffer = Aligned::zeroed(data.checked_add(SMALLEST).ok_or_else(too_long)?)?;
        Ok(Row { encoder: None, wanted: Rc::default(), buffer, stride, capacity, written: 0, end: data })
    }

    /// How many slots are written.
    pub(crate) fn written(&self) -> usize {
        self.written
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.end
    }

    /// Writes the next slot by `put`, which may be called more than once.
    ///
    /// # Errors
    /// Those of `put`, and when there is no memory. The slot is free again.
    pub(crate) fn push(
        &mut self,
        mut put: impl FnMut(&mut Encoder, *mut u8) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        if self.written == self.capacity {
            return Err(EncodeError::new(ErrorKind::OutOfMemory, "the piece has no slot left"));
        }
        loop {
            let start = self.buffer.ptr();
            let data = self.end.next_multiple_of(ALIGN);
            let room = self.buffer.len().saturating_sub(data);
            let wanted = &self.wanted;
            let encoder = self.encoder.get_or_insert_with(|| {
                // SAFETY: within the buffer, which is initialised and aligned to 64, and behind all that was written before; the encoder is
                // dropped before the buffer is read, moved or replaced.
                let span = (room > 0).then(|| unsafe { SinkSpan::new(start.add(data), room) });
                Encoder::new(Box::new(Rest { span, wanted: wanted.clone() }))
            });
            wanted.set(0);
            // SAFETY: a slot of the buffer, which has `capacity` of them.
            let slot = unsafe { start.as_ptr().add(self.written * self.stride) };
            match put(encoder, slot) {
                Ok(()) => {
                    let (first, position) = (start.as_ptr() as usize, encoder.position() as usize);
                    if (first + self.end..=first + self.buffer.len()).contains(&position) {
                        self.end = position - first;
                    }
                    self.written += 1;
                    return Ok(());
                }
                Err(_) if wanted.get() > 0 => self.grow(wanted.get())?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Moves everything to larger memory.
    fn grow(&mut self, wanted: usize) -> Result<(), EncodeError> {
        self.encoder = None;
        let least = self.end.next_multiple_of(ALIGN).saturating_add(wanted).saturating_add(ALIGN);
        let mut larger = Aligned::zeroed(least.max(self.buffer.len().saturating_mul(2)))?;
        // What lies behind the end is of items that were given up.
        larger.bytes_mut()[..self.end].copy_from_slice(&self.buffer.bytes()[..self.end]);
        self.buffer = larger;
        Ok(())
    }

    /// The memory, and how many bytes of it are written.
    pub(crate) fn finish(mut self) -> (Aligned, usize) {
        self.encoder = None;
        let Row { buffer, end, .. } = self;
        (buffer, end)
    }
}

/// Address space in which an encoder has room for as much as there can be, in one piece: where values are written that exist only once.
#[derive(Debug)]
pub(crate) struct Space {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: plain memory with one owner.
unsafe impl Send for Space {}
// SAFETY: shared references only read it.
unsafe impl Sync for Space {}

/// Address space is asked for in this size first.
const LARGEST_SPACE: usize = 1 << 36;
/// Less is not worth it.
const SMALLEST_SPACE: usize = 1 << 20;
/// More than this is given back to the system after use.
const KEPT: usize = 4 << 20;

impl Space {
    /// New address space, as much as there is.
    pub(crate) fn new() -> Result<Space, EncodeError> {
        let mut len = LARGEST_SPACE;
        loop {
            match mem::map_private(len) {
                Ok(start) => return Ok(Space { start, len }),
                Err(_) if len > SMALLEST_SPACE => len /= 2,
                Err(error) => {
                    let reason = format!("no address space for a reply: {error}");
                    return Err(EncodeError::new(ErrorKind::OutOfMemory, reason));
                }
            }
        }
    }

    /// Where it begins.
    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// An encoder for what lies behind the first `slots` bytes; the end of what it has written is its position.
    ///
    /// # Safety
    /// The encoder is gone before the space is used in another way.
    pub(crate) unsafe fn encoder(&mut self, slots: usize) -> Result<Encoder, EncodeError> {
        let data = slots.checked_next_multiple_of(ALIGN).filter(|data| *data < self.len);
        let data = data.ok_or_else(|| EncodeError::new(ErrorKind::OutOfMemory, "more results than address space"))?;
        // SAFETY: within the mapping, zeroed by the kernel or written before, and the encoder's alone by the caller's promise.
        let span = unsafe { SinkSpan::new(self.start.add(data), self.len - data) };
        Ok(Encoder::new(Box::new(Rest { span: Some(span), wanted: Rc::default() })))
    }

    /// How many bytes are in use, given the encoder that has written behind `slots` bytes.
    pub(crate) fn end(&self, slots: usize, encoder: &Encoder) -> usize {
        let (first, data) = (self.as_ptr() as usize, slots.next_multiple_of(ALIGN));
        let position = encoder.position() as usize;
        if (first + data..=first + self.len).contains(&position) { position - first } else { data }
    }

    /// Its first bytes.
    pub(crate) fn bytes(&self, len: usize) -> &[u8] {
        // SAFETY: within the mapping, which is initialised, and borrowed with `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), len.min(self.len)) }
    }

    /// Its first bytes, to be written to; `None` where it has not so many.
    pub(crate) fn bytes_mut(&mut self, len: usize) -> Option<&mut [u8]> {
        // SAFETY: as in `bytes`, and borrowed exclusively.
        (len <= self.len).then(|| unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), len) })
    }

    /// Gives memory back of which `used` bytes were written, where it is much.
    pub(crate) fn trim(&mut self, used: usize) {
        if used > KEPT {
            // SAFETY: a range of this mapping, which nobody else uses; both ends are multiples of any page's size.
            unsafe { mem::discard(self.start.add(KEPT), self.len - KEPT) };
        }
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`, and nothing refers into it any more.
        unsafe { mem::unmap(self.start, self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::super::{decode, validate};
    use super::*;

    fn put(row: &mut Row, value: &(String, u32)) -> Result<(), EncodeError> {
        // SAFETY: a slot of this type, see `row`.
        row.push(|encoder, slot| unsafe { encoder.put(value, slot) })
    }

    fn row(capacity: usize) -> Row {
        Row::new(size_of::<<(String, u32) as super::super::Message>::Archived>(), capacity).unwrap()
    }

    #[test]
    fn values_are_whole_however_often_the_memory_grew() {
        let values: Vec<(String, u32)> = (0..200).map(|i| ("x".repeat(i * 37 % 5_000), i as u32)).collect();
        let mut row = row(values.len());
        values.iter().for_each(|value| put(&mut row, value).unwrap());
        assert!(put(&mut row, &values[0]).is_err());
        let stride = row.stride;
        let (buffer, len) = row.finish();
        // Somewhere else.
        let mut moved = Aligned::zeroed(len).unwrap();
        moved.bytes_mut()[..len].copy_from_slice(&buffer.bytes()[..len]);
        drop(buffer);
        let start = moved.ptr().as_ptr().cast_const();
        let range = start as usize..start as usize + len;
        for (at, value) in values.iter().enumerate() {
            // SAFETY: written above; the range is initialised and unchanged.
            let back = unsafe {
                let slot = start.add(at * stride);
                validate::<(String, u32)>(slot, std::slice::from_ref(&range)).unwrap();
                decode::<(String, u32)>(slot).unwrap()
            };
            assert_eq!(back, *value);
        }
    }

    #[test]
    fn space_tells_how_much_was_written() {
        let mut space = Space::new().unwrap();
        for text in ["", "a short one", &"x".repeat(100_000)] {
            let slots = 16;
            // SAFETY: dropped before the space is looked at.
            let mut encoder = unsafe { space.encoder(slots) }.unwrap();
            // SAFETY: the slot is the start of the space.
            unsafe { encoder.put(&text.to_owned(), space.as_ptr()) }.unwrap();
            let end = space.end(slots, &encoder);
            drop(encoder);
            assert!(end >= 64 && end < 64 + text.len() + 64);
            // SAFETY: just written.
            assert_eq!(unsafe { decode::<String>(space.as_ptr()) }.unwrap(), text);
            space.trim(end);
        }
    }
}
