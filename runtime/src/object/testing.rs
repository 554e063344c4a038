//! The smallest kind there is, for tests and for the single-step killer: a box that holds one message or none.
#![allow(missing_docs, clippy::missing_errors_doc)]
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::wait_any::{Bell, Waitable, sealed::Sealed};
use super::{Doomed, Handle, Kind, Locked, Object, Role, Set, Spill, Watch, message_by_handle};
use crate::arena::{ArenaError, Block, BlockId, Owner};
use crate::message::{self, EncodeError, Encoder, Message};
use crate::testing::{Arena, Refused};

/// The kind of a box.
#[derive(Debug)]
pub(crate) struct BoxKind;

/// A box's words.
#[repr(C)]
pub(crate) struct Shared {
    /// The block.
    pub(crate) cell: AtomicU64,
    /// How many changes there were.
    pub(crate) changes: AtomicU64,
    /// As many.
    pub(crate) twin: AtomicU32,
    /// Raised whenever waiters are to look again.
    pub(crate) wakes: AtomicU32,
}

// SAFETY: four atomics; the code is this kind's alone.
unsafe impl Kind for BoxKind {
    const CODE: u32 = 2;
    const NAME: &'static str = "a box for tests";
    type Shared = Shared;

    fn recover(_: &Locked<'_, Self>, _: Owner) -> Result<(), ArenaError> {
        Ok(())
    }

    fn destroy(object: &Doomed<'_, Self>) -> Result<(), ArenaError> {
        match BlockId::from_raw(object.shared().cell.load(Ordering::Acquire)) {
            Some(block) => object.free(block),
            None => Ok(()),
        }
    }

    fn wake(object: &Object<'_, Self>) {
        object.shared().wakes.fetch_add(1, Ordering::SeqCst);
        crate::sys::futex::wake_all(&object.shared().wakes);
    }
}

/// A box that holds one message or none. A message itself.
#[derive(Debug, Clone, PartialEq)]
pub struct TestBox {
    handle: Handle<BoxKind>,
}

message_by_handle!([] TestBox, handle, TestBox::of);

/// A wrapper of another kind with the same archived form.
#[derive(Debug, Clone)]
pub struct OtherBox {
    handle: Handle<OtherKind>,
}

message_by_handle!([] OtherBox, handle, |handle| OtherBox { handle });

/// The kind of [`OtherBox`].
#[derive(Debug)]
pub(crate) struct OtherKind;

// SAFETY: one atomic; the code is this kind's alone.
unsafe impl Kind for OtherKind {
    const CODE: u32 = 3;
    const NAME: &'static str = "another box for tests";
    type Shared = AtomicU64;

    fn recover(_: &Locked<'_, Self>, _: Owner) -> Result<(), ArenaError> {
        Ok(())
    }

    fn destroy(_: &Doomed<'_, Self>) -> Result<(), ArenaError> {
        Ok(())
    }

    fn wake(_: &Object<'_, Self>) {}
}

impl OtherBox {
    pub fn new() -> Result<OtherBox, Refused> {
        Ok(OtherBox { handle: Handle::create(0, Role::Plain, |_| ())? })
    }

    /// How often the object is referred to.
    pub fn references(&self) -> u32 {
        self.handle.object().count(Role::Plain)
    }
}

/// Roles, as numbers.
fn role(raw: u32) -> Role {
    Role::from_raw(raw).unwrap_or(Role::Plain)
}

impl Sealed for TestBox {
    fn is_ready(&self) -> bool {
        self.handle.check().is_err() || self.handle.shared().cell.load(Ordering::SeqCst) != 0
    }

    fn ring_when_ready(&self, bell: &Bell) {
        bell.watch(&self.handle);
    }
}

/// Ready when it is full.
impl Waitable for TestBox {}

impl TestBox {
    fn of(handle: Handle<BoxKind>) -> TestBox {
        TestBox { handle }
    }

    /// An empty box in the family's arena.
    pub fn new() -> Result<TestBox, Refused> {
        Ok(TestBox::of(Handle::create(0, Role::Plain, |_| ())?))
    }

    /// An empty box with `extra` bytes that nobody uses.
    pub fn new_in(arena: Arena, extra: usize) -> Result<TestBox, Refused> {
        Ok(TestBox::of(Handle::create_in(arena.inner(), extra, Role::Plain, |_| ())?))
    }

    /// One more reference in another role.
    pub fn with_role(&self, raw: u32) -> Result<TestBox, Refused> {
        Ok(TestBox::of(self.handle.with_role(role(raw))?))
    }

    /// How many references in a role there are.
    pub fn references(&self, raw: u32) -> u32 {
        self.handle.object().count(role(raw))
    }

    /// How often waiters were told to look again.
    pub fn wakes(&self) -> u32 {
        self.handle.shared().wakes.load(Ordering::SeqCst)
    }

    pub fn id(&self) -> u64 {
        self.handle.id().raw()
    }

    /// A reference of another member of a stage, as it gets it by decoding a message.
    pub fn open(arena: Arena, id: u64) -> Result<TestBox, String> {
        let id = BlockId::from_raw(id).ok_or("no id")?;
        match Handle::open(arena.inner(), id, Role::Plain) {
            Ok(handle) => Ok(TestBox::of(handle)),
            Err(why) => Err(format!("{why:?}")),
        }
    }

    /// A block with an archived value, and what the value refers to.
    fn block_of<T: Message>(&self, value: &T) -> Result<Block, EncodeError> {
        let arena = self.handle.arena();
        let refused = |error: ArenaError| EncodeError::new(error.kind(), error.to_string());
        let block = arena.alloc(size_of::<T::Archived>()).map_err(refused)?;
        let mut encoder = Encoder::new(std::boxed::Box::new(Spill::new(arena, block.id())));
        // SAFETY: a fresh block of that size; aligned to 64.
        unsafe { encoder.put(value, block.as_ptr())? };
        Ok(block)
    }

    /// Puts a value in the place of the one that is there.
    pub fn put<T: Message>(&self, value: &T) -> Result<(), Refused> {
        let block = self.block_of(value).map_err(|error| Refused { kind: error.kind(), text: error.to_string() })?;
        let locked = self.handle.lock()?;
        let shared = locked.shared();
        let next = shared.changes.load(Ordering::Relaxed) + 1;
        let old = locked.swap(
            block,
            &shared.cell,
            &[Set::wide(&shared.changes, next), Set::narrow(&shared.twin, next as u32)],
        );
        drop(locked);
        drop(old);
        self.handle.ring();
        Ok(())
    }

    /// Puts an empty block of `len` bytes there.
    pub fn put_block(&self, len: usize) -> Result<(), Refused> {
        let block = self.handle.arena().alloc(len)?;
        let locked = self.handle.lock()?;
        let shared = locked.shared();
        let next = shared.changes.load(Ordering::Relaxed) + 1;
        let old = locked.swap(
            block,
            &shared.cell,
            &[Set::wide(&shared.changes, next), Set::narrow(&shared.twin, next as u32)],
        );
        drop(locked);
        drop(old);
        Ok(())
    }

    /// Counts a change.
    pub fn touch(&self) -> Result<(), Refused> {
        let locked = self.handle.lock()?;
        let shared = locked.shared();
        let next = shared.changes.load(Ordering::Relaxed) + 1;
        locked.store(&[Set::wide(&shared.changes, next), Set::narrow(&shared.twin, next as u32)]);
        Ok(())
    }

    /// The two words that [`TestBox::touch`] changes.
    pub fn touched(&self) -> (u64, u32) {
        (self.handle.shared().changes.load(Ordering::SeqCst), self.handle.shared().twin.load(Ordering::SeqCst))
    }

    /// What is there, which stays. `T` is the type that was put.
    pub fn get<T: Message>(&self) -> Result<Option<T>, String> {
        let locked = self.handle.lock().map_err(|error| error.to_string())?;
        let Some(id) = BlockId::from_raw(locked.shared().cell.load(Ordering::Acquire)) else { return Ok(None) };
        let block = locked.arena().resolve(id).ok_or("the block is gone")?;
        // SAFETY: `put` wrote a `T` there, as the caller knows; the lock keeps it.
        unsafe { message::decode::<T>(block.ptr.as_ptr()) }.map(Some).map_err(|error| error.to_string())
    }

    /// Takes out what is there, and frees it; says whether there was something.
    pub fn take(&self) -> Result<bool, Refused> {
        Ok(self.take_block()?.is_some())
    }

    /// Takes out what is there.
    pub fn take_block(&self) -> Result<Option<crate::testing::Block>, Refused> {
        let locked = self.handle.lock()?;
        let shared = locked.shared();
        let next = shared.changes.load(Ordering::Relaxed) + 1;
        Ok(locked
            .take(&shared.cell, &[Set::wide(&shared.changes, next), Set::narrow(&shared.twin, next as u32)])?
            .map(crate::testing::Block::of))
    }

    /// Makes the block with this id, of anybody, refer to the box; `lent`: until it gives that back.
    pub fn pin_to(&self, parent: u64, lent: bool) -> Result<(), Refused> {
        let parent = BlockId::from_raw(parent).ok_or(ArenaError::Foreign { what: "no block" })?;
        let mut pins = crate::arena::refs::Pins::new(lent);
        Ok(pins.add(self.handle.arena(), parent, self.handle.id(), self.handle.role())?)
    }

    /// How many processes watch.
    pub fn watchers(&self) -> u32 {
        self.handle.object().count_watchers()
    }

    /// A waiting that the other process only ends by ringing.
    pub fn watch(&self) -> Result<impl Drop + use<>, Refused> {
        struct Guard {
            _watch: Watch,
        }
        impl Drop for Guard {
            fn drop(&mut self) {}
        }
        Ok(Guard { _watch: Watch::new(&self.handle)? })
    }

    /// Keeps the lock for as long as the guard lives.
    pub fn lock(&self) -> Result<impl Drop + '_, Refused> {
        struct Guard<'a> {
            _locked: Locked<'a, BoxKind>,
        }
        impl Drop for Guard<'_> {
            fn drop(&mut self) {}
        }
        Ok(Guard { _locked: self.handle.lock()? })
    }
}

/// The shared static with this name, as this member of a stage finds or makes it.
pub fn shared_static(arena: Arena, name: &'static str, value: &str) -> Result<String, String> {
    super::directory::find_or_make(arena.inner(), name, name, || Ok(value.to_owned()))
        .map_err(|error| error.to_string())
}

/// Releases what a block of anybody was lent.
pub fn give_back(arena: Arena, parent: u64) -> Result<(), Refused> {
    let parent = BlockId::from_raw(parent).ok_or(ArenaError::Foreign { what: "no block" })?;
    Ok(arena.inner().give_back(parent)?)
}
