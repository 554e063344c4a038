//! Messages as one contiguous piece of bytes, the same for the same value wherever and whenever it is written: for hashing, and for
//! keeping them outside of shared memory.
//!
//! The root lies at offset 0, its data from the next multiple of 64 on; what is not written is zero. All pointers within are relative.

use super::encode::Aligned;
use super::{DecodeError, EncodeError, Encoder, Message, Pin, Range, Sink, SinkSpan, decode, validate};
use crate::ErrorKind;

const ALIGN: usize = 64;
const SMALLEST: usize = 4096;
/// A buffer to write one message at a time into.
#[derive(Debug)]
pub(crate) struct Flat {
    buffer: Aligned,
    /// How many bytes of it may be other than zero.
    used: usize,
}

/// Gives out one piece of memory, once.
struct Once {
    span: Option<SinkSpan>,
}

impl Sink for Once {
    fn more(&mut self, min: usize) -> Result<SinkSpan, EncodeError> {
        match self.span.take() {
            Some(span) if span.len() >= min => Ok(span),
            _ => Err(EncodeError::new(ErrorKind::OutOfMemory, TOO_SMALL)),
        }
    }

    fn pin(&mut self, _: &Pin) -> Result<(), EncodeError> {
        let reason = "a handle of an object in shared memory (a queue, a lock, a value) means nothing outside of this family of processes";
        Err(EncodeError::new(ErrorKind::NotSendable, reason))
    }
}

/// What the encoder says when the buffer is to be made larger. No other error has this text and kind.
const TOO_SMALL: &str = "the flat buffer is too small";

impl Flat {
    pub(crate) fn new() -> Result<Flat, EncodeError> {
        Ok(Flat { buffer: Aligned::zeroed(SMALLEST)?, used: 0 })
    }

    /// A buffer that holds these bytes.
    #[cfg(feature = "engine")]
    pub(crate) fn over(buffer: Aligned) -> Flat {
        let used = buffer.len();
        Flat { buffer, used }
    }

    /// The bytes of a message whose slot has `slot` bytes and is written by `put`, which may be called more than once.
    pub(crate) fn write(
        &mut self,
        slot: usize,
        put: impl FnMut(&mut Encoder, *mut u8) -> Result<(), EncodeError>,
    ) -> Result<&[u8], EncodeError> {
        self.buffer.bytes_mut()[..self.used].fill(0);
        self.used = 0;
        let written = self.write_over(slot, put)?;
        Ok(&self.buffer.bytes()[..written])
    }

    /// As [`write`](Self::write), but padding has whatever was there before; how many bytes there are.
    pub(crate) fn write_over(
        &mut self,
        slot: usize,
        mut put: impl FnMut(&mut Encoder, *mut u8) -> Result<(), EncodeError>,
    ) -> Result<usize, EncodeError> {
        let data = slot.next_multiple_of(ALIGN);
        if self.buffer.len() < data + SMALLEST {
            self.replace(data + SMALLEST)?;
        }
        loop {
            let used = std::mem::replace(&mut self.used, self.buffer.len());
            let start = self.buffer.ptr();
            // SAFETY: the buffer is longer than `data`; its bytes from there on are initialised, aligned as `data` is, and used by
            // this encoder alone, which is gone before the buffer is read or replaced.
            let span = unsafe { SinkSpan::new(start.add(data), self.buffer.len() - data) };
            let mut encoder = Encoder::new(Box::new(Once { span: Some(span) }));
            let put = put(&mut encoder, start.as_ptr());
            let end = encoder.position() as usize;
            drop(encoder);
            match put {
                Ok(()) => {
                    let first = start.as_ptr() as usize;
                    let written =
                        if (first + data..=first + self.buffer.len()).contains(&end) { end - first } else { data };
                    self.used = used.max(written);
                    return Ok(written);
                }
                Err(error) if error.kind() == ErrorKind::OutOfMemory && error.to_string() == TOO_SMALL => {
                    self.replace(self.buffer.len().saturating_mul(4))?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The bytes of a message.
    pub(crate) fn of<T: Message>(&mut self, value: &T) -> Result<&[u8], EncodeError> {
        self.write(size_of::<T::Archived>(), |encoder, slot| {
            // SAFETY: a slot of `size_of` that type at the start of a buffer, which is aligned to 64; the sink's memory lies in the
            // same buffer.
            unsafe { encoder.put(value, slot) }
        })
    }

    /// Writes a message; padding has whatever was there before. How many bytes there are.
    #[cfg(feature = "engine")]
    pub(crate) fn put_over<T: Message>(&mut self, value: &T) -> Result<usize, EncodeError> {
        self.write_over(size_of::<T::Archived>(), |encoder, slot| {
            // SAFETY: as in `of`.
            unsafe { encoder.put(value, slot) }
        })
    }

    /// The first `len` bytes, of which the first `kept` are as they were.
    #[cfg(feature = "engine")]
    pub(crate) fn room_after(&mut self, kept: usize, len: usize) -> Result<&mut [u8], EncodeError> {
        if self.buffer.len() < len {
            let mut larger = Aligned::zeroed(len.max(self.buffer.len().saturating_mul(2)))?;
            larger.bytes_mut()[..kept].copy_from_slice(&self.buffer.bytes()[..kept]);
            self.buffer = larger;
        }
        self.used = self.used.max(len);
        Ok(&mut self.buffer.bytes_mut()[..len])
    }

    /// The first `len` bytes.
    #[cfg(feature = "engine")]
    pub(crate) fn bytes(&self, len: usize) -> &[u8] {
        &self.buffer.bytes()[..len]
    }

    /// The archived value in the first `len` bytes, once it was found valid.
    #[cfg(feature = "engine")]
    pub(crate) fn view<T: Message>(&self, len: usize) -> Result<&T::Archived, DecodeError> {
        let start = self.bytes(len).as_ptr();
        let range: Range = start as usize..start as usize + len;
        // SAFETY: the range is initialised, and borrowed with `self`, so that nobody writes to it; it was checked to hold a valid archive.
        unsafe {
            validate::<T>(start, std::slice::from_ref(&range))?;
            Ok(&*start.cast())
        }
    }

    /// The value in the first `len` bytes.
    #[cfg(feature = "engine")]
    pub(crate) fn get<T: Message>(&self, len: usize) -> Result<T, DecodeError> {
        let slot = std::ptr::from_ref(self.view::<T>(len)?).cast();
        // SAFETY: just found valid, and borrowed with `self`.
        unsafe { decode::<T>(slot) }
    }

    fn replace(&mut self, len: usize) -> Result<(), EncodeError> {
        self.buffer = Aligned::zeroed(len)?;
        self.used = 0;
        Ok(())
    }

    /// The value whose bytes these are. Bytes that are none are an error.
    pub(crate) fn read<T: Message>(&mut self, bytes: &[u8]) -> Result<T, DecodeError> {
        if self.buffer.len() < bytes.len() {
            self.replace(bytes.len()).map_err(|error| DecodeError::new(error.to_string()))?;
        }
        let len = self.used.max(bytes.len());
        self.buffer.bytes_mut()[..len].fill(0);
        self.buffer.bytes_mut()[..bytes.len()].copy_from_slice(bytes);
        self.used = bytes.len();
        let start = self.buffer.ptr().as_ptr();
        let range: Range = start as usize..start as usize + bytes.len();
        // SAFETY: the range is initialised, and nobody writes to it until the value is made; it was checked to hold a valid archive.
        unsafe {
            validate::<T>(start, std::slice::from_ref(&range))?;
            decode::<T>(start)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn bytes<T: Message>(value: &T) -> Vec<u8> {
        Flat::new().unwrap().of(value).unwrap().to_vec()
    }

    #[test]
    fn equal_values_have_equal_bytes_wherever_they_are_written() {
        let mut used = Flat::new().unwrap();
        let large = vec!["x".repeat(100); 10_000];
        let small = BTreeMap::from([("key".to_owned(), vec![Some(1u16), None])]);
        assert_eq!(used.of(&large).unwrap(), bytes(&large));
        assert_eq!(used.of(&small).unwrap(), bytes(&small));
        assert_eq!(used.of(&7u8).unwrap(), bytes(&7u8));
        assert_ne!(bytes(&"a".to_owned()), bytes(&"b".to_owned()));
        assert_ne!(bytes(&"a".repeat(100)), bytes(&"b".repeat(100)));
    }

    #[test]
    fn maps_of_all_sizes_come_back_from_bytes_that_hold_nothing_else() {
        let mut flat = Flat::new().unwrap();
        for len in [0, 1, 2, 5, 6, 20, 500] {
            let map: BTreeMap<String, f64> = (0..len).map(|n| (n.to_string(), f64::from(n))).collect();
            assert_eq!(flat.read::<BTreeMap<String, f64>>(&bytes(&map)).unwrap(), map);
            let hashed: std::collections::HashMap<u64, BTreeMap<String, f64>> = [(1, map)].into();
            assert_eq!(
                flat.read::<std::collections::HashMap<u64, BTreeMap<String, f64>>>(&bytes(&hashed)).unwrap(),
                hashed
            );
        }
    }

    #[test]
    fn values_come_back_and_damaged_bytes_do_not() {
        let mut flat = Flat::new().unwrap();
        let value =
            (vec!["one".to_owned(), "a longer text than fits in place".to_owned()], 3u64, Some("x".repeat(20_000)));
        let bytes = bytes(&value);
        assert_eq!(flat.read::<(Vec<String>, u64, Option<String>)>(&bytes).unwrap(), value);
        for len in 0..200 {
            assert!(flat.read::<(Vec<String>, u64, Option<String>)>(&bytes[..len]).is_err());
        }
        assert_eq!(flat.read::<()>(&[]), Ok(()));
        assert_eq!(flat.read::<u64>(&super::tests::bytes(&5u64)).unwrap(), 5);
    }
}
