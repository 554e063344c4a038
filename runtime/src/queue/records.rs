//! Records and segments: how items lie in a queue.
//!
//! A segment is a run of records, each a header word and a payload, at multiples of 8:
//!
//! ```text
//! header   sequence number 32 bits | payload bytes 28 bits | kind 4 bits
//! FREE     nothing there yet: the sequence number is that of the item to come
//! INLINE   the item itself: root, then what it points to, in one piece
//! BLOCK    the id of the block that the item lies in
//! LINK     the id of the next segment, and its length: this one has no more records
//! ```
//! The store of a header other than FREE is what makes a record visible. The header behind it, FREE with the next number, is
//! written before. So whoever has the position of a record knows, with nothing else, whether there is one, and its number.
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a header.
pub(super) const HEADER: u64 = 8;
/// What every record but the last of a segment leaves behind itself: room for a link, and the free header after it.
pub(super) const RESERVE: u64 = HEADER + LINK_BYTES + HEADER;
/// Bytes of a link's payload.
pub(super) const LINK_BYTES: u64 = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Free,
    Inline,
    Block,
    Link,
}

/// A record's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) number: u32,
    pub(super) what: What,
    pub(super) bytes: u32,
}

impl Head {
    pub(super) fn free(number: u32) -> Head {
        Head { number, what: What::Free, bytes: 0 }
    }

    #[inline]
    pub(super) fn raw(self) -> u64 {
        u64::from(self.number) << 32 | u64::from(self.bytes) << 4 | self.what as u64
    }

    #[inline]
    pub(super) fn from_raw(raw: u64) -> Head {
        let what = match raw & 15 {
            1 => What::Inline,
            2 => What::Block,
            3 => What::Link,
            _ => What::Free,
        };
        Head { number: (raw >> 32) as u32, what, bytes: raw as u32 >> 4 }
    }

    /// Where the next record begins, from where this one does.
    #[inline]
    pub(super) fn len(self) -> u64 {
        HEADER + u64::from(self.bytes).next_multiple_of(8)
    }
}

/// A segment as this process sees it: `len` bytes of shared memory, aligned to 8, that stay mapped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    start: NonNull<u8>,
    len: u64,
}

impl Segment {
    /// # Safety
    /// `start` is aligned to 8, and `len` bytes from there are shared memory that stays mapped for ever.
    pub(super) unsafe fn new(start: NonNull<u8>, len: u64) -> Segment {
        Segment { start, len }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The word at `at`; `None` if that is not in here.
    #[inline]
    pub(super) fn word(&self, at: u64) -> Option<&AtomicU64> {
        (at.is_multiple_of(8) && at < self.len && self.len - at >= 8).then_some(())?;
        // SAFETY: inside, aligned; any eight bytes are a valid atomic word.
        Some(unsafe { self.start.add(at as usize).cast().as_ref() })
    }

    #[inline]
    pub(super) fn head(&self, at: u64) -> Option<Head> {
        Some(Head::from_raw(self.word(at)?.load(Ordering::Acquire)))
    }

    /// The address of `bytes` bytes at `at`; `None` if not all of them are in here.
    #[inline]
    pub(super) fn bytes(&self, at: u64, bytes: u64) -> Option<*mut u8> {
        (at <= self.len && self.len - at >= bytes).then_some(())?;
        // SAFETY: inside, or one past the end for no bytes.
        Some(unsafe { self.start.as_ptr().add(at as usize) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_their_raw_form() {
        for head in [
            Head::free(u32::MAX),
            Head { number: 7, what: What::Inline, bytes: (1 << 28) - 1 },
            Head { number: 0, what: What::Link, bytes: 16 },
        ] {
            assert_eq!(Head::from_raw(head.raw()), head);
        }
        assert_eq!(Head::from_raw(0), Head::free(0));
        assert_eq!(Head { number: 0, what: What::Inline, bytes: 9 }.len(), 24);
    }
}
