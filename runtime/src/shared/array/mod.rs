//! Arrays of plain data in shared memory.
//!
//! The lock's word names its holder; `dirty` says that the holder may be changing items, so that its death poisons the lock.
//! Whoever only looks, or claims a part, holds the lock without being dirty. Claims of parts are a table in a block of its
//! own: bounds first, then the owner, whose word makes it a claim. They are made under the lock, and given back by one store,
//! or by the audit of the process that had it.
//!
//! Invariants of the unsafe code here: `in_arena` makes room for the items behind the fixed part, and `of` looks whether it is
//! there; any bytes are values of a plain type; items are read and written with the lock, while no part is claimed.
#![allow(unsafe_code)]

mod guard;
mod part;
#[cfg(test)]
mod tests;

use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeBounds;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub use guard::ArrayGuard;
pub(super) use part::destroy;
pub use part::{ArrayPart, PartGuard};

use super::SharedError;
use super::kinds::{ArrayKind, pos_of};
use super::range::bounds;
use crate::Plain;
use crate::arena::journal::{Action, Guarded};
use crate::arena::{Arena, Owner, ThreadId};
use crate::message::{DecodeError, Decoder, EncodeError, Encoder, Message};
use crate::object::{ArchivedHandle, Handle, Object, Role};
use crate::sync::raw::{NotGot, RawMutex};

type Result<T, E = SharedError> = std::result::Result<T, E>;

/// The shared part of an array.
#[repr(C, align(64))]
pub(crate) struct Root {
    lock: RawMutex,
    poisoned: AtomicU32,
    dirty: AtomicU32,
    /// How many items.
    len: AtomicU64,
    /// The block of the claims; 0 as long as nobody made one.
    claims: AtomicU64,
    _spare: [AtomicU64; 4],
    guarded: Guarded,
}

/// What the death of a process means for an array.
pub(super) fn recover(object: &Object<'_, ArrayKind>, dead: Owner) {
    let (root, arena) = (object.shared(), object.arena());
    let is_dead = |thread: u32| {
        let owner = ThreadId::from_raw(thread).and_then(|id| arena.owner_of_thread(id));
        owner.is_none_or(|owner| owner == dead)
    };
    root.lock.recover(is_dead, || {
        if root.dirty.load(Ordering::Acquire) != 0 {
            root.poisoned.store(1, Ordering::Release);
        }
    });
    part::recover(object, is_dead);
}

/// Wakes who waits for an array.
pub(super) fn wake(object: &Object<'_, ArrayKind>) {
    object.shared().lock.wake_sleepers();
}

/// An array of plain data that all processes of a program share: Python's `Array`, and its `SharedMemory` as numpy shows it.
///
/// Items lie side by side, as in a slice. There are two ways to change many of them: [`lock`](Array::lock), one holder at a
/// time, as with Python's; and [`split`](Array::split), which gives exclusive parts to be written by several processes at
/// once, without a lock. A handle is a small value and a message.
///
/// # Kill safety
/// A process that dies while it holds [`lock`](Array::lock)'s guard poisons the array, as a mutex: see
/// [`recover`](Array::recover). One that dies while it writes a part leaves that as it is, and the part can be claimed again.
/// All other calls leave the array as it was before, or as it is after, unless they say otherwise.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for an index out of range,
/// [`ErrorKind::InUse`](crate::ErrorKind::InUse) while parts of it are being written,
/// [`ErrorKind::Poisoned`](crate::ErrorKind::Poisoned) as said,
/// [`ErrorKind::OutOfMemory`](crate::ErrorKind::OutOfMemory) if the program's budget of shared memory does not hold it;
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) in a `fork()` of a process of the program.
///
/// ```
/// use offspring::shared::{Array, ArrayPart};
/// use offspring::{Pool, task};
///
/// #[task]
/// fn squares(part: ArrayPart<f64>) -> Result<(), offspring::Failure> {
///     let first = part.range().start;
///     for (at, item) in part.write()?.iter_mut().enumerate() {
///         *item = ((first + at) as f64).powi(2);
///     }
///     Ok(())
/// }
///
/// let array = Array::<f64>::zeroed(1000)?;
/// for result in Pool::new()?.map(squares, array.split(8)?)? {
///     result?;
/// }
/// array.lock()?[3] += 0.5;
/// assert_eq!((array.get(3)?, array.get(999)?), (9.5, 998001.0));
/// # Ok::<(), offspring::Error>(())
/// ```
#[doc(alias = "multiprocessing.Array")]
#[doc(alias = "RawArray")]
#[doc(alias = "ShareableList")]
pub struct Array<T: Plain> {
    pub(super) handle: Handle<ArrayKind>,
    types: PhantomData<fn() -> T>,
}

impl<T: Plain> Clone for Array<T> {
    fn clone(&self) -> Self {
        Array { handle: self.handle.clone(), types: PhantomData }
    }
}

impl<T: Plain> fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Array").field("id", &self.handle.id()).finish_non_exhaustive()
    }
}

/// Equal handles are handles to one array.
impl<T: Plain> PartialEq for Array<T> {
    fn eq(&self, other: &Self) -> bool {
        self.handle == other.handle
    }
}

impl<T: Plain> Eq for Array<T> {}

/// The lock, held without a wish to change items.
struct Held<'a> {
    root: &'a Root,
    me: u32,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.root.lock.unlock(self.me);
    }
}

impl<T: Plain> Array<T> {
    /// An array of `len` zeros.
    ///
    /// ```
    /// let array = offspring::shared::Array::<f64>::zeroed(1_000_000)?;
    /// array.set(3, &1.5)?;
    /// assert_eq!((array.len(), array.get(3)?), (1_000_000, 1.5));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "Array")]
    pub fn zeroed(len: usize) -> Result<Self> {
        Array::in_arena(crate::arena::family()?, len)
    }

    /// An array of these items.
    ///
    /// ```
    /// let array = offspring::shared::Array::from_slice(&[0u32, 1, 2])?;
    /// assert_eq!(array.snapshot()?, [0, 1, 2]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn from_slice(items: &[T]) -> Result<Self> {
        let array = Array::zeroed(items.len())?;
        array.copy_from(items)?;
        Ok(array)
    }

    pub(crate) fn in_arena(arena: &'static Arena, len: usize) -> Result<Self> {
        const { assert!(align_of::<T>() <= 64, "items of an array are aligned to 64 bytes at most") };
        let bytes = len.checked_mul(size_of::<T>()).ok_or_else(|| arena.out_of_memory(u64::MAX))?;
        let handle = Handle::create_in(arena, bytes, Role::Plain, |object: &Object<'_, ArrayKind>| {
            object.shared().len.store(len as u64, Ordering::Relaxed);
        })?;
        Ok(Array { handle, types: PhantomData })
    }

    /// `None` if it is one of another type, as far as can be told.
    pub(super) fn of(handle: Handle<ArrayKind>) -> Option<Self> {
        let len = handle.shared().len.load(Ordering::Relaxed) as usize;
        let fits = len.checked_mul(size_of::<T>()).is_some_and(|bytes| bytes <= handle.extra().1);
        fits.then_some(Array { handle, types: PhantomData })
    }

    fn root(&self) -> Result<&Root> {
        self.handle.check()?;
        Ok(self.handle.shared())
    }

    /// Where the items are.
    fn data(&self) -> NonNull<T> {
        self.handle.extra().0.cast()
    }

    /// Holds the lock, while no part is claimed, of an array that is not poisoned.
    fn held(&self, deadline: Option<Instant>) -> Result<Held<'_>> {
        let held = self.held_anyway(deadline)?;
        if held.root.poisoned.load(Ordering::Relaxed) != 0 {
            return Err(SharedError::Poisoned);
        }
        Ok(held)
    }

    fn held_anyway(&self, deadline: Option<Instant>) -> Result<Held<'_>> {
        let held = self.held_beside_parts(deadline)?;
        if part::any_claimed(&self.handle) {
            return Err(SharedError::InUse { what: "a part of the array" });
        }
        Ok(held)
    }

    fn held_beside_parts(&self, deadline: Option<Instant>) -> Result<Held<'_>> {
        let (root, me) = (self.root()?, self.handle.arena().thread()?.id.raw());
        match root.lock.lock(me, deadline) {
            Ok(()) => {
                // A dead holder may have left it.
                root.dirty.store(0, Ordering::Release);
                Ok(Held { root, me })
            }
            Err(NotGot::Timeout) => Err(SharedError::Timeout),
            Err(NotGot::Mine) => Err(SharedError::Mine),
        }
    }

    fn check_index(&self, index: usize) -> Result<()> {
        let len = self.len();
        if index < len { Ok(()) } else { Err(SharedError::OutOfRange { index, len }) }
    }

    /// How many items there are. 0 in a `fork()` of a process of the program.
    #[doc(alias = "__len__")]
    pub fn len(&self) -> usize {
        self.root().map_or(0, |root| root.len.load(Ordering::Relaxed) as usize)
    }

    /// Are there no items?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until nobody else holds the lock, and holds it until the guard is dropped. The guard derefs to `[T]`.
    ///
    /// ```
    /// let array = offspring::shared::Array::<u32>::zeroed(4)?;
    /// for (at, item) in array.lock()?.iter_mut().enumerate() {
    ///     *item = at as u32;
    /// }
    /// assert_eq!(array.snapshot()?, [0, 1, 2, 3]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As said at [`Array`]; kind `InUse` also when this thread holds the lock already.
    #[doc(alias = "buf")]
    #[doc(alias = "get_obj")]
    #[doc(alias = "synchronized")]
    #[doc(alias = "get_lock")]
    pub fn lock(&self) -> Result<ArrayGuard<'_, T>> {
        self.held(None).map(|held| ArrayGuard::new(self, held))
    }

    /// As [`Array::lock`], but does not wait: kind `InUse`.
    pub fn try_lock(&self) -> Result<ArrayGuard<'_, T>> {
        self.lock_timeout(Duration::ZERO).map_err(|error| match error {
            SharedError::Timeout => SharedError::InUse { what: "the array" },
            other => other,
        })
    }

    /// As [`Array::lock`], but waits no longer than that: kind `Timeout`.
    pub fn lock_timeout(&self, timeout: Duration) -> Result<ArrayGuard<'_, T>> {
        self.held(Instant::now().checked_add(timeout)).map(|held| ArrayGuard::new(self, held))
    }

    /// Locks, and heals the array if it is poisoned: the items are as the dead left them.
    ///
    /// Should this thread panic or its process die before the guard is dropped, it is poisoned again.
    ///
    /// ```
    /// let array = offspring::shared::Array::<u8>::zeroed(2)?;
    /// let inside = array.clone();
    /// let _ = std::thread::spawn(move || {
    ///     let mut items = inside.lock().unwrap();
    ///     items[0] = 1;
    ///     panic!("half-way through");
    /// })
    /// .join();
    /// assert_eq!(array.get(0).unwrap_err().kind(), offspring::ErrorKind::Poisoned);
    /// array.recover()?[1] = 1;
    /// assert_eq!(array.snapshot()?, [1, 1]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn recover(&self) -> Result<ArrayGuard<'_, T>> {
        let guard = ArrayGuard::new(self, self.held_anyway(None)?);
        self.root()?.poisoned.store(0, Ordering::Release);
        Ok(guard)
    }

    /// Whether a holder of the lock died or panicked, and nobody has healed the array since.
    pub fn is_poisoned(&self) -> bool {
        self.root().is_ok_and(|root| root.poisoned.load(Ordering::Acquire) != 0)
    }

    /// The item at `index`.
    ///
    /// ```
    /// use offspring::ErrorKind;
    ///
    /// let array = offspring::shared::Array::from_slice(&[1u8, 2, 3])?;
    /// assert_eq!(array.get(1)?, 2);
    /// assert_eq!(array.get(3).unwrap_err().kind(), ErrorKind::InvalidInput);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "__getitem__")]
    pub fn get(&self, index: usize) -> Result<T> {
        self.check_index(index)?;
        let _held = self.held(None)?;
        // SAFETY: in range, and locked.
        Ok(unsafe { self.data().as_ptr().add(index).read() })
    }

    /// Makes `item` the one at `index`.
    ///
    /// ```
    /// let array = offspring::shared::Array::<u64>::zeroed(3)?;
    /// array.set(2, &7)?;
    /// assert_eq!(array.snapshot()?, [0, 0, 7]);
    /// assert!(array.set(3, &7).is_err());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "__setitem__")]
    pub fn set(&self, index: usize, item: &T) -> Result<()> {
        self.check_index(index)?;
        let held = self.held(None)?;
        let (arena, object, size) = (self.handle.arena(), self.handle.object(), size_of::<T>());
        // SAFETY: in range.
        let place = unsafe { self.data().as_ptr().add(index) };
        let first = pos_of(&object, held.root)? + (place.addr() - std::ptr::from_ref(held.root).addr()) as u64;
        // By whole words, in one redo record: the lock covers the neighbours.
        let (from, to) = (first & !7, (first + size as u64).next_multiple_of(8));
        let mut words: Vec<u64> = (from..to)
            .step_by(8)
            .map(|pos| arena.word_at(pos).map_or(0, |word| word.load(Ordering::Relaxed)))
            .collect();
        let item = std::hint::black_box(std::ptr::from_ref(item).cast::<u8>());
        let inside = words.as_mut_ptr().cast::<u8>().wrapping_add((first - from) as usize);
        // SAFETY: the item's bytes, to where they are in the words.
        unsafe { std::ptr::copy_nonoverlapping(item, inside, size) };
        let actions: Vec<Action> =
            words.iter().zip((from..).step_by(8)).map(|(word, pos)| Action::Store(pos, *word)).collect();
        let mut guard = arena.guard(&held.root.guarded, pos_of(&object, &held.root.guarded)?)?;
        guard.apply_all(&actions)?;
        Ok(())
    }

    /// A copy of all items, as they are at one moment.
    ///
    /// ```
    /// let array = offspring::shared::Array::from_slice(&[1.5, 2.5])?;
    /// let copy: Vec<f64> = array.snapshot()?;
    /// array.set(0, &0.0)?;
    /// assert_eq!(copy, [1.5, 2.5]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "[:]")]
    pub fn snapshot(&self) -> Result<Vec<T>> {
        self.slice(..)
    }

    /// A copy of the items in `range`, as they are at one moment.
    ///
    /// ```
    /// let array = offspring::shared::Array::from_slice(&[1u8, 2, 3, 4])?;
    /// assert_eq!(array.slice(1..3)?, [2, 3]);
    /// assert!(array.slice(3..5).is_err());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Result<Vec<T>> {
        let (from, to) = bounds(&range, self.len())?;
        let _held = self.held(None)?;
        // SAFETY: in range, and locked.
        Ok(unsafe { std::slice::from_raw_parts(self.data().as_ptr().add(from), to - from) }.to_vec())
    }

    /// Makes all items `item`. As if written through [`Array::lock`]'s guard: a death in the middle poisons the array.
    ///
    /// ```
    /// let array = offspring::shared::Array::<u8>::zeroed(3)?;
    /// array.fill(7)?;
    /// assert_eq!(array.snapshot()?, [7, 7, 7]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn fill(&self, item: T) -> Result<()> {
        self.lock()?.fill(item);
        Ok(())
    }

    /// Makes the items these; there must be as many. As if written through [`Array::lock`]'s guard: a death in the middle
    /// poisons the array.
    ///
    /// ```
    /// let array = offspring::shared::Array::<u64>::zeroed(3)?;
    /// array.copy_from(&[1, 2, 3])?;
    /// assert_eq!(array.slice(1..)?, [2, 3]);
    /// assert!(array.copy_from(&[1]).is_err());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn copy_from(&self, items: &[T]) -> Result<()> {
        if items.len() != self.len() {
            return Err(SharedError::Length { expected: self.len(), found: items.len() });
        }
        self.lock()?.copy_from_slice(items);
        Ok(())
    }
}

// SAFETY: as the handle, which is all that is written.
unsafe impl<T: Plain> Message for Array<T> {
    type Archived = ArchivedHandle;
    type Resolver = ();

    fn write_parts(this: &Self, encoder: &mut Encoder) -> Result<(), EncodeError> {
        Message::write_parts(&this.handle, encoder)
    }

    fn write_root(this: &Self, (): (), out: rkyv::Place<ArchivedHandle>) {
        Message::write_root(&this.handle, (), out);
    }

    fn read(archived: &ArchivedHandle, decoder: &mut Decoder) -> Result<Self, DecodeError> {
        Array::of(Message::read(archived, decoder)?)
            .ok_or_else(|| DecodeError::new("it holds a handle to an array of another type"))
    }
}
