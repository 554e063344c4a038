//! Exclusive parts of an array.
//!
//! Invariant of the unsafe code here: a [`PartGuard`] exists only while its claim stands in the table, and no other claim and
//! no lock of the array overlaps it.
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Range, RangeBounds};
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::SharedError;
use super::super::kinds::{ArrayKind, pos_of};
use super::super::range::bounds;
use super::{Array, Result};
use crate::Plain;
use crate::arena::journal::Action;
use crate::arena::{ArenaError, BlockId, mutant, step};
use crate::message::{DecodeError, Decoder, EncodeError, Encoder, Message};
use crate::object::{Handle, Object};
use crate::shared::mutants;

/// How many parts of an array can be written at a time.
const CLAIMS: usize = 256;

/// One claim: a range of items, and the thread that has it, 0 for nobody.
#[repr(C)]
struct Claim {
    owner: AtomicU64,
    start: AtomicU64,
    end: AtomicU64,
}

/// The claims of an array, if there ever were any.
fn claims<'a>(object: &Object<'a, ArrayKind>) -> &'a [Claim] {
    let id = BlockId::from_raw(object.shared().claims.load(Ordering::Acquire));
    let start = id.and_then(|id| object.arena().at(id.pos(), CLAIMS * size_of::<Claim>()));
    // SAFETY: the block belongs to the array, is so long, aligned, and all atomics.
    start.map_or(&[], |start| unsafe { std::slice::from_raw_parts(start.as_ptr().cast(), CLAIMS) })
}

/// Gives back what an array has besides its own block.
pub(in super::super) fn destroy(object: &Object<'_, ArrayKind>) -> Result<(), ArenaError> {
    match BlockId::from_raw(object.shared().claims.load(Ordering::Acquire)) {
        Some(id) => object.arena().free_owned(id),
        None => Ok(()),
    }
}

/// Frees the claims of the dead.
pub(super) fn recover(object: &Object<'_, ArrayKind>, is_dead: impl Fn(u32) -> bool) {
    for claim in claims(object) {
        let owner = claim.owner.load(Ordering::Acquire);
        if owner != 0 && is_dead(owner as u32) && !mutant(mutants::CLAIM_KEPT) {
            claim.owner.store(0, Ordering::Release);
        }
    }
}

/// Is any part being written? To be asked with the array's lock.
pub(super) fn any_claimed(handle: &Handle<ArrayKind>) -> bool {
    claims(&handle.object()).iter().any(|claim| claim.owner.load(Ordering::Acquire) != 0)
}

/// A part of an [`Array`] that one at a time can write, without a lock: made by [`Array::split`] and its relatives.
///
/// It is a message, to be moved into a task. It can be sent twice, or two parts may overlap; [`write`](ArrayPart::write)
/// sees to it that items are in one writer's hands only.
///
/// # When a process is killed
/// A part that it was writing is free again for others, with what it had written by then.
pub struct ArrayPart<T: Plain> {
    array: Array<T>,
    range: Range<usize>,
}

impl<T: Plain> fmt::Debug for ArrayPart<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArrayPart").field("array", &self.array).field("range", &self.range).finish()
    }
}

impl<T: Plain> Array<T> {
    /// The array in `parts` parts of almost equal length, in order; the last ones are empty if there are fewer items.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for 0 parts.
    ///
    /// ```
    /// let array = offspring::shared::Array::<u8>::zeroed(10)?;
    /// let parts = array.split(3)?;
    /// assert_eq!(parts.iter().map(|part| part.range()).collect::<Vec<_>>(), [0..4, 4..7, 7..10]);
    /// let mut first = parts[0].write()?;
    /// first[0] = 7;
    /// assert_eq!(parts[0].write().unwrap_err().kind(), offspring::ErrorKind::InUse);
    /// drop(first);
    /// assert_eq!(array.get(0)?, 7);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn split(&self, parts: usize) -> Result<Vec<ArrayPart<T>>> {
        if parts == 0 {
            return Err(SharedError::Length { expected: 1, found: 0 });
        }
        let (short, longer) = (self.len() / parts, self.len() % parts);
        let start = |part: usize| part * short + part.min(longer);
        (0..parts).map(|part| self.part(start(part)..start(part + 1))).collect()
    }

    /// The array in parts of `len` items, the last of which may be shorter. As [`Array::split`] otherwise.
    ///
    /// ```
    /// let array = offspring::shared::Array::<u64>::zeroed(10)?;
    /// let lengths: Vec<usize> = array.split_by(4)?.iter().map(|part| part.len()).collect();
    /// assert_eq!(lengths, [4, 4, 2]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`InvalidInput`](crate::ErrorKind::InvalidInput) for a length of 0, of kind [`OutOfMemory`](crate::ErrorKind::OutOfMemory) as for [`part`](Array::part).
    #[doc(alias = "chunks")]
    pub fn split_by(&self, len: usize) -> Result<Vec<ArrayPart<T>>> {
        if len == 0 {
            return Err(SharedError::Length { expected: 1, found: 0 });
        }
        (0..self.len()).step_by(len).map(|start| self.part(start..(start + len).min(self.len()))).collect()
    }

    /// The part of the array with the items of `range`.
    ///
    /// ```
    /// let array = offspring::shared::Array::<u64>::zeroed(10)?;
    /// let part = array.part(2..5)?;
    /// assert_eq!((part.range(), part.len()), (2..5, 3));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`InvalidInput`](crate::ErrorKind::InvalidInput) for a range beyond the array; of kind
    /// [`OutOfMemory`](crate::ErrorKind::OutOfMemory) when there is no room to note who writes which part.
    pub fn part(&self, range: impl RangeBounds<usize>) -> Result<ArrayPart<T>> {
        let (start, end) = bounds(&range, self.len())?;
        self.make_claims()?;
        Ok(ArrayPart { array: self.clone(), range: start..end })
    }

    /// Makes the table of claims if there is none.
    fn make_claims(&self) -> Result<()> {
        let root = self.root()?;
        if root.claims.load(Ordering::Acquire) != 0 {
            return Ok(());
        }
        let (arena, object) = (self.handle.arena(), self.handle.object());
        let block = arena.alloc_zeroed(CLAIMS * size_of::<Claim>())?;
        let mut guard = arena.guard(&root.guarded, pos_of(&object, &root.guarded)?)?;
        if root.claims.load(Ordering::Relaxed) == 0 {
            guard.apply(&[block.give(), Action::Store(pos_of(&object, &root.claims)?, block.id().raw())]);
            drop(guard);
            block.given();
        }
        Ok(())
    }
}

impl<T: Plain> ArrayPart<T> {
    /// Which items of the array these are.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// How many items.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The array that this is a part of.
    pub fn array(&self) -> &Array<T> {
        &self.array
    }

    /// Claims the part and lends its items, to be written in place, until the guard is dropped. Waits for nobody but the
    /// holder of the whole array's lock. Whether the array is poisoned does not matter here.
    ///
    /// ```
    /// use offspring::{ErrorKind, shared::Array};
    ///
    /// let array = Array::<u64>::zeroed(10)?;
    /// let part = array.part(2..4)?;
    /// let mut writing = part.write()?;
    /// writing[0] = 7;
    /// assert_eq!(array.part(3..5)?.write().map(drop).unwrap_err().kind(), ErrorKind::InUse);
    /// drop(writing);
    /// assert_eq!(array.get(2)?, 7);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InUse`](crate::ErrorKind::InUse) if some of its items are in other hands: this part was sent twice, or
    /// one that overlaps it is being written. [`ErrorKind::Limit`](crate::ErrorKind::Limit) if 256 parts of the array are.
    ///
    /// # Kill safety
    /// The claim of a process that dies is void; the items are as it left them.
    pub fn write(&self) -> Result<PartGuard<'_, T>> {
        self.array.make_claims()?;
        let held = self.array.held_beside_parts(None)?;
        let mut free = None;
        for claim in claims(&self.array.handle.object()) {
            if claim.owner.load(Ordering::Acquire) == 0 {
                free = free.or(Some(claim));
                continue;
            }
            let start = claim.start.load(Ordering::Relaxed) as usize;
            let end = claim.end.load(Ordering::Relaxed) as usize;
            // One without items is in nobody's way.
            if start.max(self.range.start) < end.min(self.range.end) {
                return Err(SharedError::InUse { what: "the part of the array" });
            }
        }
        let claim = free.ok_or(SharedError::TooManyParts)?;
        claim.start.store(self.range.start as u64, Ordering::Relaxed);
        claim.end.store(self.range.end as u64, Ordering::Relaxed);
        step();
        claim.owner.store(u64::from(held.me), Ordering::Release);
        drop(held);
        Ok(PartGuard { part: self, claim, stays: PhantomData })
    }
}

/// A part of an array that is being written. Derefs to its items; the claim ends when this is dropped.
#[must_use = "a part whose guard is dropped at once is not claimed"]
pub struct PartGuard<'a, T: Plain> {
    part: &'a ArrayPart<T>,
    claim: &'a Claim,
    stays: PhantomData<*const ()>,
}

impl<T: Plain> Deref for PartGuard<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let range = &self.part.range;
        // SAFETY: items of the array, which lives as long as its handle; any bytes are values of a plain type; the claim keeps
        // others off.
        unsafe { std::slice::from_raw_parts(self.part.array.data().as_ptr().add(range.start), range.len()) }
    }
}

impl<T: Plain> DerefMut for PartGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let range = &self.part.range;
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.part.array.data().as_ptr().add(range.start), range.len()) }
    }
}

impl<T: Plain> Drop for PartGuard<'_, T> {
    fn drop(&mut self) {
        if self.part.array.handle.check().is_ok() {
            self.claim.owner.store(0, Ordering::Release);
        }
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for PartGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// How a part is written: its array, and from where to where.
type Written<T> = (Array<T>, u64, u64);

fn written<T: Plain>(part: &ArrayPart<T>) -> Written<T> {
    (part.array.clone(), part.range.start as u64, part.range.end as u64)
}

// SAFETY: as the tuple, which is all that is written.
unsafe impl<T: Plain> Message for ArrayPart<T> {
    type Archived = <Written<T> as Message>::Archived;
    type Resolver = <Written<T> as Message>::Resolver;

    fn write_parts(this: &Self, encoder: &mut Encoder) -> Result<Self::Resolver, EncodeError> {
        Message::write_parts(&written(this), encoder)
    }

    fn write_root(this: &Self, resolver: Self::Resolver, out: rkyv::Place<Self::Archived>) {
        Message::write_root(&written(this), resolver, out);
    }

    fn read(archived: &Self::Archived, decoder: &mut Decoder) -> Result<Self, DecodeError> {
        let (array, start, end) = <Written<T> as Message>::read(archived, decoder)?;
        let range = start as usize..end as usize;
        if range.start > range.end || range.end > array.len() {
            return Err(DecodeError::new("it holds a part that is larger than its array"));
        }
        Ok(ArrayPart { array, range })
    }
}
