//! A value in shared memory.
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

use super::SharedError;
use super::image::{self, Buffer, Shown, with_buffer, with_writer};
use super::kinds::{ValueKind, pos_in};
use super::nested::{ALL, calling, touch};
use crate::arena::journal::{Action, Guarded, Taker};
use crate::arena::{Arena, ArenaError, BlockId, Pos, mutant};
use crate::message::{Decoder, Message};
use crate::object::{Handle, Object, Role, message_by_handle};
use crate::shared::mutants;

type Result<T, E = SharedError> = std::result::Result<T, E>;

/// Reads that meet a change try again so often before they read under the lock.
const TRIES: usize = 48;

/// The shared part of a value.
#[repr(C, align(64))]
pub(crate) struct Root {
    /// The value's own bytes, or its block.
    word: AtomicU64,
    /// 1: a block.
    by_block: AtomicU64,
    _spare: [AtomicU64; 6],
    guarded: Guarded,
}

/// Gives back what a value has, when nobody uses it any more.
pub(super) fn destroy(object: &Object<'_, ValueKind>) -> Result<(), ArenaError> {
    let root = object.shared();
    match BlockId::from_raw(root.word.load(Ordering::Acquire)) {
        Some(id) if root.by_block.load(Ordering::Acquire) != 0 => object.arena().free_owned(id),
        _ => Ok(()),
    }
}

/// A value that all processes of a program share: Python's `Value`, without its lock.
///
/// Every call is atomic towards all processes. Numbers and other plain types of up to 8 bytes are an atomic variable, a few
/// nanoseconds a call. Any other [`Message`] lies in a block of its own, which is replaced as a whole: nobody sees half of
/// it, and readers wait for nobody.
///
/// A handle is a small value and a message; all handles mean the same value, which lives as long as there is one.
///
/// # Kill safety
/// A process that is killed in the middle of a call leaves the value as it was before, or as it is after.
///
/// # Errors
/// [`ErrorKind::OutOfMemory`](crate::ErrorKind::OutOfMemory) if the program's budget of shared memory is used up;
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) in a `fork()` of a process of the program.
///
/// ```
/// use offspring::shared::Value;
/// use offspring::{Pool, task};
///
/// #[task]
/// fn add(total: Value<i64>, n: i64) -> Result<i64, offspring::Failure> {
///     Ok(total.fetch_add(n)?)
/// }
///
/// let total = Value::new(0i64)?;
/// Pool::new()?.map(add, (1..=4).map(|n| (total.clone(), n)))?;
/// assert_eq!(total.get()?, 10);
/// # Ok::<(), offspring::Error>(())
/// ```
#[doc(alias = "multiprocessing.Value")]
#[doc(alias = "RawValue")]
#[doc(alias = "ValueProxy")]
pub struct Value<T> {
    pub(super) handle: Handle<ValueKind>,
    types: PhantomData<fn() -> T>,
}

impl<T> Clone for Value<T> {
    fn clone(&self) -> Self {
        Value { handle: self.handle.clone(), types: PhantomData }
    }
}

impl<T> fmt::Debug for Value<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Value").field("id", &self.handle.id()).finish_non_exhaustive()
    }
}

/// Equal handles are handles to one value, whatever that is.
impl<T> PartialEq for Value<T> {
    fn eq(&self, other: &Self) -> bool {
        self.handle == other.handle
    }
}

impl<T> Eq for Value<T> {}

message_by_handle!([T: Message] Value<T>, handle, Value::of);

impl<T: Message> Value<T> {
    /// Whether the value's bytes are kept in the word itself.
    const IN_WORD: bool = T::COPY.is_enabled() && size_of::<T>() <= 8 && size_of::<T>() == size_of::<T::Archived>();

    /// A value that is `value` at first.
    ///
    /// ```
    /// let name = offspring::shared::Value::new("nobody".to_string())?;
    /// name.set(&"Ada".to_string())?;
    /// assert_eq!(name.get()?, "Ada");
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn new(value: T) -> Result<Self> {
        Value::in_arena(crate::arena::family()?, &value)
    }

    pub(crate) fn in_arena(arena: &'static Arena, value: &T) -> Result<Self> {
        let this = Value::of(Handle::create_in(arena, 0, Role::Plain, |object: &Object<'_, ValueKind>| {
            object.shared().by_block.store(u64::from(!Self::IN_WORD), Ordering::Relaxed);
        })?);
        this.set(value)?;
        Ok(this)
    }

    pub(crate) fn of(handle: Handle<ValueKind>) -> Self {
        Value { handle, types: PhantomData }
    }

    /// What tells this value from all others.
    fn place(&self) -> Pos {
        self.handle.id().pos()
    }

    fn root(&self) -> Result<&Root> {
        self.handle.check()?;
        Ok(self.handle.shared())
    }

    fn to_word(value: &T) -> u64 {
        let mut bytes = [0; 8];
        // SAFETY: only called where the value has at most 8 bytes, which are all initialised, as `COPY` says.
        unsafe {
            std::ptr::copy_nonoverlapping(std::ptr::from_ref(value).cast(), bytes.as_mut_ptr(), size_of::<T>().min(8))
        };
        u64::from_ne_bytes(bytes)
    }

    fn of_word(word: u64) -> Result<T> {
        // SAFETY: only called where the value has at most 8 bytes, and so needs no more alignment: they are those of one that
        // `to_word` took, and the archived form's, as `COPY` says.
        let archived = unsafe { &*std::ptr::from_ref(&word).cast::<T::Archived>() };
        Ok(T::read(archived, &mut Decoder::new())?)
    }

    /// The value and its block, which it was read from.
    fn read(&self, buffer: &mut Buffer) -> Result<(BlockId, T)> {
        let root = self.root()?;
        let mut tries = 0;
        loop {
            let guard = match tries {
                TRIES.. => Some(self.handle.arena().guard(&root.guarded, pos_in(&self.handle, &root.guarded)?)?),
                _ => None,
            };
            let id = BlockId::from_raw(root.word.load(Ordering::Acquire)).ok_or(SharedError::Damaged)?;
            let still = || root.word.load(Ordering::Acquire) == id.raw();
            if buffer.copy(Shown::new(self.handle.arena(), id.pos()), still) {
                drop(guard);
                // SAFETY: a good copy of what was written as a `T`.
                match unsafe { buffer.value() } {
                    Ok(value) => return Ok((id, value)),
                    // What a handle in it means may be gone with it.
                    Err(_) if !still() => {}
                    Err(error) => return Err(error),
                }
            }
            tries += 1;
            std::hint::spin_loop();
        }
    }

    /// Puts `value` in the place of what is there, if that is still `expected` where one is given. The old block, if it was.
    fn publish(&self, value: &T, expected: Option<BlockId>) -> Result<Option<Taker>> {
        let (root, arena) = (self.root()?, self.handle.arena());
        let block = with_writer(|writer| writer.block(arena, (0, 0), value))?;
        let word = pos_in(&self.handle, &root.word)?;
        let mut guard = arena.guard(&root.guarded, pos_in(&self.handle, &root.guarded)?)?;
        let old = BlockId::from_raw(root.word.load(Ordering::Relaxed));
        if expected.is_some() && old != expected {
            return Ok(None);
        }
        let give = block.give();
        let store = Action::Store(word, block.id().raw());
        let (Some(old), Action::Give(entry, _)) = (old, give) else {
            guard.apply(&[give, store]);
            return Ok(Some(block.given()));
        };
        if mutant(mutants::OLD_VALUE_LOST) {
            guard.apply(&[give, store]);
            return Ok(Some(block.given()));
        }
        guard.apply(&[give, store, Action::Take(entry, old)]);
        drop(guard);
        touch(self.place(), ALL);
        let mut taker = block.given();
        taker.took(old);
        Ok(Some(taker))
    }

    fn taken(&self, taken: &Taker) -> Result<T> {
        let id = taken.id().ok_or(SharedError::Damaged)?;
        // SAFETY: written as a `T`; the block is in this process's hands alone.
        unsafe { image::value_in(self.handle.arena(), id.pos()) }
    }

    /// The value as it is now. Takes no lock.
    ///
    /// ```
    /// let name = offspring::shared::Value::new("nobody".to_string())?;
    /// assert_eq!(name.get()?, "nobody");
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "value")]
    pub fn get(&self) -> Result<T> {
        if Self::IN_WORD {
            return Self::of_word(self.root()?.word.load(Ordering::SeqCst));
        }
        with_buffer(|buffer| Ok(self.read(buffer)?.1))
    }

    /// Makes `value` the value.
    ///
    /// ```
    /// let rate = offspring::shared::Value::new(0.5)?;
    /// rate.set(&0.25)?;
    /// assert_eq!(rate.get()?, 0.25);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn set(&self, value: &T) -> Result<()> {
        if Self::IN_WORD {
            self.root()?.word.store(Self::to_word(value), Ordering::SeqCst);
            touch(self.place(), ALL);
            return Ok(());
        }
        self.publish(value, None).map(drop)
    }

    /// Makes `value` the value, and returns the old one.
    ///
    /// ```
    /// let name = offspring::shared::Value::new("Ada".to_string())?;
    /// assert_eq!(name.replace(&"Grace".to_string())?, "Ada");
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "swap")]
    pub fn replace(&self, value: &T) -> Result<T> {
        if Self::IN_WORD {
            let old = self.root()?.word.swap(Self::to_word(value), Ordering::SeqCst);
            touch(self.place(), ALL);
            return Self::of_word(old);
        }
        self.publish(value, None)?.as_ref().map_or(Err(SharedError::Damaged), |old| self.taken(old))
    }

    /// The value; it is `T::default()` from now on.
    ///
    /// ```
    /// let found = offspring::shared::Value::new(vec![1, 2])?;
    /// assert_eq!(found.take()?, [1, 2]);
    /// assert!(found.get()?.is_empty());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn take(&self) -> Result<T>
    where
        T: Default,
    {
        self.replace(&T::default())
    }

    /// Replaces the value by what `change` makes of it, and returns a copy of the new one.
    ///
    /// Nothing is locked while `change` runs. It is called again, with the newer value, when another process was faster; so it
    /// should do nothing but compute.
    ///
    /// # Errors
    /// As said at [`Value`]; [`ErrorKind::Deadlock`](crate::ErrorKind::Deadlock) if `change` changes this same value by itself:
    /// its result would never be taken.
    ///
    /// ```
    /// let path = offspring::shared::Value::new(vec!["a".to_string()])?;
    /// path.update(|mut path| {
    ///     path.push("b".into());
    ///     path
    /// })?;
    /// assert_eq!(path.get()?, ["a", "b"]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "get_lock")]
    pub fn update(&self, mut change: impl FnMut(T) -> T) -> Result<T> {
        if Self::IN_WORD {
            let word = &self.root()?.word;
            let mut seen = word.load(Ordering::SeqCst);
            loop {
                let call = calling(self.place(), ALL);
                let new = change(Self::of_word(seen)?);
                match word.compare_exchange(seen, Self::to_word(&new), Ordering::SeqCst, Ordering::SeqCst) {
                    Ok(_) => {
                        touch(self.place(), ALL);
                        return Ok(new);
                    }
                    Err(now) => seen = now,
                }
                call.refused()?;
            }
        }
        loop {
            let (id, old) = with_buffer(|buffer| self.read(buffer))?;
            let call = calling(self.place(), ALL);
            let new = change(old);
            if self.publish(&new, Some(id))?.is_some() {
                return Ok(new);
            }
            call.refused()?;
        }
    }

    /// Makes `new` the value if it is `current`; says whether it did.
    ///
    /// ```
    /// let owner = offspring::shared::Value::new(0u32)?;
    /// assert!(owner.compare_exchange(&0, &7)?);
    /// assert!(!owner.compare_exchange(&0, &8)?);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn compare_exchange(&self, current: &T, new: &T) -> Result<bool>
    where
        T: PartialEq,
    {
        loop {
            if Self::IN_WORD {
                let word = &self.root()?.word;
                let seen = word.load(Ordering::SeqCst);
                if Self::of_word(seen)? != *current {
                    return Ok(false);
                }
                let done = word.compare_exchange(seen, Self::to_word(new), Ordering::SeqCst, Ordering::SeqCst);
                if done.is_ok() {
                    touch(self.place(), ALL);
                    return Ok(true);
                }
                continue;
            }
            let (id, value) = with_buffer(|buffer| self.read(buffer))?;
            if value != *current {
                return Ok(false);
            }
            if self.publish(new, Some(id))?.is_some() {
                return Ok(true);
            }
        }
    }
}

/// An integer of up to 64 bits, for [`Value`]'s `fetch_*`. Implemented for all of them.
pub trait Integer: Message + Copy + private::Sealed {
    // Not public API.
    #[doc(hidden)]
    fn wrapping_add(self, other: Self) -> Self;
    // Not public API.
    #[doc(hidden)]
    fn wrapping_sub(self, other: Self) -> Self;
    // Not public API.
    #[doc(hidden)]
    fn bits(self, other: Self, operation: fn(u64, u64) -> u64) -> Self;
    // Not public API.
    #[doc(hidden)]
    fn is_less(self, other: Self) -> bool;
}

mod private {
    #[allow(unnameable_types, reason = "nobody else is to implement it")]
    pub trait Sealed {}
}

macro_rules! integers {
    ($($type:ty)*) => {$(
        impl private::Sealed for $type {}

        impl Integer for $type {
            fn wrapping_add(self, other: Self) -> Self {
                <$type>::wrapping_add(self, other)
            }

            fn wrapping_sub(self, other: Self) -> Self {
                <$type>::wrapping_sub(self, other)
            }

            fn bits(self, other: Self, operation: fn(u64, u64) -> u64) -> Self {
                operation(self as u64, other as u64) as $type
            }

            fn is_less(self, other: Self) -> bool {
                self < other
            }
        }
    )*};
}

integers! { u8 u16 u32 u64 usize i8 i16 i32 i64 isize }

/// As the methods of std's atomic integers: they return the value from before, and wrap around on overflow.
impl<T: Integer> Value<T> {
    fn fetch(&self, change: impl Fn(T) -> T) -> Result<T> {
        if !Self::IN_WORD {
            // Where the program has its messages written in another byte order.
            let mut before = None;
            self.update(|value| change(*before.insert(value)))?;
            return before.ok_or(SharedError::Damaged);
        }
        let word = &self.root()?.word;
        let mut seen = word.load(Ordering::Relaxed);
        loop {
            let value = Self::of_word(seen)?;
            let new = Self::to_word(&change(value));
            match word.compare_exchange(seen, new, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => {
                    touch(self.place(), ALL);
                    return Ok(value);
                }
                Err(now) => seen = now,
            }
        }
    }

    /// Adds.
    ///
    /// ```
    /// let count = offspring::shared::Value::new(10u64)?;
    /// assert_eq!(count.fetch_add(5)?, 10); // what it was
    /// assert_eq!(count.get()?, 15);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn fetch_add(&self, n: T) -> Result<T> {
        self.fetch(|value| value.wrapping_add(n))
    }

    /// Subtracts.
    ///
    /// ```
    /// let left = offspring::shared::Value::new(3u64)?;
    /// assert_eq!((left.fetch_sub(1)?, left.get()?), (3, 2));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn fetch_sub(&self, n: T) -> Result<T> {
        self.fetch(|value| value.wrapping_sub(n))
    }

    /// Keeps the bits that `n` has, too.
    ///
    /// ```
    /// let bits = offspring::shared::Value::new(0b110u8)?;
    /// assert_eq!((bits.fetch_and(0b011)?, bits.get()?), (0b110, 0b010));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn fetch_and(&self, n: T) -> Result<T> {
        self.fetch(|value| value.bits(n, |a, b| a & b))
    }

    /// Sets the bits that `n` has.
    ///
    /// ```
    /// let bits = offspring::shared::Value::new(0b100u8)?;
    /// assert_eq!((bits.fetch_or(0b001)?, bits.get()?), (0b100, 0b101));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn fetch_or(&self, n: T) -> Result<T> {
        self.fetch(|value| value.bits(n, |a, b| a | b))
    }

    /// Turns the bits over that `n` has.
    ///
    /// ```
    /// let bits = offspring::shared::Value::new(0b110u8)?;
    /// assert_eq!((bits.fetch_xor(0b011)?, bits.get()?), (0b110, 0b101));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn fetch_xor(&self, n: T) -> Result<T> {
        self.fetch(|value| value.bits(n, |a, b| a ^ b))
    }

    /// Makes it `n` if that is more.
    ///
    /// ```
    /// let highest = offspring::shared::Value::new(3i64)?;
    /// highest.fetch_max(7)?;
    /// highest.fetch_max(5)?;
    /// assert_eq!(highest.get()?, 7);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn fetch_max(&self, n: T) -> Result<T> {
        self.fetch(|value| if value.is_less(n) { n } else { value })
    }

    /// Makes it `n` if that is less.
    ///
    /// ```
    /// let lowest = offspring::shared::Value::new(3i64)?;
    /// lowest.fetch_min(-7)?;
    /// assert_eq!(lowest.get()?, -7);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn fetch_min(&self, n: T) -> Result<T> {
        self.fetch(|value| if n.is_less(value) { n } else { value })
    }
}
