//! One value, written once and read by everybody where it lies.
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

use super::SharedError;
use super::image::{self, value_offset, with_writer};
use super::kinds::BroadcastKind;
use crate::arena::{Arena, ArenaError, BlockId};
use crate::message::{Archived, DecodeError, Decoder, EncodeError, Encoder, Message};
use crate::object::{ArchivedHandle, Handle, Object, Role};

/// The shared part of a broadcast.
#[repr(C, align(64))]
pub(crate) struct Root {
    /// The block of the value.
    block: AtomicU64,
    /// Which type it has.
    tag: AtomicU64,
}

/// Gives back what a broadcast has, when nobody uses it any more.
pub(super) fn destroy(object: &Object<'_, BroadcastKind>) -> Result<(), ArenaError> {
    match BlockId::from_raw(object.shared().block.load(Ordering::Acquire)) {
        Some(id) => object.arena().free_owned(id),
        None => Ok(()),
    }
}

/// A value that is written once and read in place by all processes of a program: a model, a table, a configuration.
///
/// It derefs to `Archived<T>`, the value as it lies in shared memory: nobody copies it, however many read it. A handle is a
/// small value and a message, so that a task takes `model: Shared<Model>`. The value is freed when the last handle is gone.
///
/// Reading costs nothing and blocks nobody. A process that dies while it reads leaves nothing behind but its reference, which
/// is dropped for it.
///
/// # Panics
/// To read it panics in a `fork()` of a process of the program, where the memory is not.
///
/// ```
/// use offspring::shared::Shared;
/// use offspring::{Pool, task};
///
/// #[task]
/// fn price(list: Shared<Vec<f64>>, item: usize) -> f64 {
///     list[item].to_native()
/// }
///
/// let list = Shared::new(&vec![0.5; 100_000])?;
/// let prices = Pool::new()?.map(price, (0..4).map(|item| (list.clone(), item)))?;
/// assert_eq!(prices, [0.5; 4]);
/// # Ok::<(), offspring::Error>(())
/// ```
#[doc(alias = "SharedMemory")]
pub struct Shared<T: Message> {
    pub(super) handle: Handle<BroadcastKind>,
    value: *const Archived<T>,
    types: PhantomData<fn() -> T>,
}

// SAFETY: what is shared is read only; an archived form has no interior mutability.
unsafe impl<T: Message> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Message> Sync for Shared<T> {}

impl<T: Message> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Shared { handle: self.handle.clone(), value: self.value, types: PhantomData }
    }
}

impl<T: Message> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("id", &self.handle.id()).finish_non_exhaustive()
    }
}

/// Equal handles are handles to one value.
impl<T: Message> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        self.handle == other.handle
    }
}

impl<T: Message> Eq for Shared<T> {}

impl<T: Message> Deref for Shared<T> {
    type Target = Archived<T>;

    fn deref(&self) -> &Archived<T> {
        assert!(self.handle.check().is_ok(), "shared memory cannot be read in a fork() of the process that has it");
        // SAFETY: `Shared::of` found it; it lives as long as the handle, and nobody changes it.
        unsafe { &*self.value }
    }
}

impl<T: Message> Shared<T> {
    /// Writes `value` into shared memory: once, however large it is.
    ///
    /// ```
    /// use offspring::shared::Shared;
    ///
    /// let words = Shared::new(&vec!["a".to_string(), "b".to_string()])?;
    /// assert_eq!(words.len(), 2); // read where it lies
    /// assert_eq!(words.to_value()?, ["a", "b"]); // built anew
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::OutOfMemory`](crate::ErrorKind::OutOfMemory) if the program's budget of shared memory does not hold it.
    pub fn new(value: &T) -> Result<Self, SharedError> {
        Shared::in_arena(crate::arena::family()?, value)
    }

    pub(crate) fn in_arena(arena: &'static Arena, value: &T) -> Result<Self, SharedError> {
        let tag = image::type_tag::<T>();
        let handle: Handle<BroadcastKind> =
            Handle::create_in(arena, 0, Role::Plain, |object: &Object<'_, BroadcastKind>| {
                object.shared().tag.store(tag, Ordering::Relaxed);
            })?;
        let block = with_writer(|writer| writer.block(arena, (0, tag), value))?;
        handle.lock()?.give(block, &handle.shared().block, &[]);
        Shared::of(handle).ok_or(SharedError::Damaged)
    }

    /// `None` if it is of another type.
    pub(super) fn of(handle: Handle<BroadcastKind>) -> Option<Self> {
        let root = handle.shared();
        let id = BlockId::from_raw(root.block.load(Ordering::Acquire))?;
        (root.tag.load(Ordering::Relaxed) == image::type_tag::<T>()).then_some(())?;
        let offset = value_offset::<T>(0);
        let start = handle.arena().at(id.pos(), offset + size_of::<Archived<T>>())?;
        Some(Shared { value: start.as_ptr().wrapping_add(offset).cast(), handle, types: PhantomData })
    }

    /// A value of this process's own, made of the shared one.
    ///
    /// ```
    /// let words = offspring::shared::Shared::new(&vec!["a".to_string()])?;
    /// let mut own: Vec<String> = words.to_value()?;
    /// own.push("b".to_string());
    /// assert_eq!((own.len(), words.len()), (2, 1));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`InvalidData`](crate::ErrorKind::InvalidData) when a handle in it leads to an object that is gone.
    pub fn to_value(&self) -> Result<T, SharedError> {
        self.handle.check()?;
        Ok(T::read(self, &mut Decoder::new())?)
    }
}

// SAFETY: as the handle, which is all that is written.
unsafe impl<T: Message> Message for Shared<T> {
    type Archived = ArchivedHandle;
    type Resolver = ();

    fn write_parts(this: &Self, encoder: &mut Encoder) -> Result<(), EncodeError> {
        Message::write_parts(&this.handle, encoder)
    }

    fn write_root(this: &Self, (): (), out: rkyv::Place<ArchivedHandle>) {
        Message::write_root(&this.handle, (), out);
    }

    fn read(archived: &ArchivedHandle, decoder: &mut Decoder) -> Result<Self, DecodeError> {
        Shared::of(Message::read(archived, decoder)?)
            .ok_or_else(|| DecodeError::new("it holds a handle to a shared value of another type"))
    }
}
