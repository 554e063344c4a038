//! Handles: this process's references to objects.

use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

use super::kind::{self, Kind};
use super::lock::{Locked, Object, offset_of_extra};
use crate::arena::refs::NoRef;
use crate::arena::{self, Arena, ArenaError, BlockId, Role};

/// A reference of this process, dropped with the last handle that shares it.
pub(super) struct Hold {
    arena: &'static Arena,
    id: BlockId,
    /// Its entry in the hold table.
    index: u32,
    role: Role,
    /// The object's payload, as an address.
    base: usize,
    capacity: usize,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.arena.unrefer(self.index);
    }
}

impl Hold {
    /// The object, whatever its kind.
    pub(super) fn object(&self) -> Object<'_, ()> {
        let base = NonNull::new(self.base as *mut u8).unwrap_or(NonNull::dangling());
        Object::untyped(self.arena, self.id, base, self.capacity)
    }

    /// Which object of which arena it is.
    pub(super) fn key(&self) -> (u64, BlockId) {
        (self.arena.id(), self.id)
    }

    fn new(arena: &'static Arena, id: BlockId, index: u32, role: Role) -> Result<Hold, ArenaError> {
        // From here on the entry is looked after.
        let mut hold = Hold { arena, id, index, role, base: 0, capacity: 0 };
        let (base, capacity) = arena::refs::payload_of(arena, id).ok_or(ArenaError::Foreign { what: "an object" })?;
        (hold.base, hold.capacity) = (base.as_ptr() as usize, capacity);
        Ok(hold)
    }
}

/// A handle to an object of kind `K`. Its clones share one reference; none of them touches shared memory to be made.
///
/// The object lives at least as long as the handle. In a `fork` of a member its memory is absent: whatever an operation
/// does first, it asks [`Handle::check`], or an operation here that fails there.
pub(crate) struct Handle<K: Kind> {
    hold: Arc<Hold>,
    kind: PhantomData<fn() -> K>,
}

impl<K: Kind> Clone for Handle<K> {
    fn clone(&self) -> Self {
        Handle { hold: Arc::clone(&self.hold), kind: PhantomData }
    }
}

impl<K: Kind> fmt::Debug for Handle<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("kind", &K::NAME)
            .field("id", &self.hold.id)
            .field("role", &self.hold.role)
            .finish()
    }
}

impl<K: Kind> PartialEq for Handle<K> {
    /// Whether both are of the same object.
    fn eq(&self, other: &Self) -> bool {
        self.hold.id == other.hold.id && std::ptr::eq(self.hold.arena, other.hold.arena)
    }
}

impl<K: Kind> Handle<K> {
    /// A new object in the family's arena, with at least `extra` bytes of a variable part. All of it is zero when `init` gets it.
    pub(crate) fn create(extra: usize, role: Role, init: impl FnOnce(&Object<'_, K>)) -> Result<Handle<K>, ArenaError> {
        Handle::create_in(arena::family()?, extra, role, init)
    }

    /// As [`Handle::create`], in this arena.
    pub(crate) fn create_in(
        arena: &'static Arena,
        extra: usize,
        role: Role,
        init: impl FnOnce(&Object<'_, K>),
    ) -> Result<Handle<K>, ArenaError> {
        let len = offset_of_extra::<K>().checked_add(extra).ok_or_else(|| arena.out_of_memory(extra as u64))?;
        let block = arena.alloc_zeroed(len)?;
        let id = block.id();
        let base = NonNull::new(block.as_ptr()).ok_or_else(|| arena.out_of_memory(extra as u64))?;
        let object = Object::<K>::of(arena, id, base, block.capacity());
        object.set_kind();
        init(&object);
        let index = arena.make_object(block, role);
        Ok(Handle { hold: Arc::new(Hold::new(arena, id, index, role)?), kind: PhantomData })
    }

    /// One more reference, which this process takes to an object that something else keeps alive meanwhile.
    pub(crate) fn open(arena: &'static Arena, id: BlockId, role: Role) -> Result<Handle<K>, NoRef> {
        let index = arena.refer(id, K::CODE, role)?;
        Ok(Handle { hold: Arc::new(Hold::new(arena, id, index, role)?), kind: PhantomData })
    }

    /// One more reference to the same object, in another role.
    pub(crate) fn with_role(&self, role: Role) -> Result<Handle<K>, ArenaError> {
        Handle::open(self.hold.arena, self.hold.id, role).map_err(|error| match error {
            NoRef::Arena(error) => error,
            NoRef::Gone | NoRef::Kind(_) => ArenaError::Foreign { what: K::NAME },
        })
    }

    /// Refuses in a `fork` of a member, where the object's memory is absent.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), ArenaError> {
        self.hold.arena.check()
    }

    /// The object. Not to be used where [`Handle::check`] refuses.
    #[inline]
    pub(crate) fn object(&self) -> Object<'_, K> {
        // `Hold::new` took the address from a `NonNull`.
        let base = NonNull::new(self.hold.base as *mut u8).unwrap_or(NonNull::dangling());
        Object::of(self.hold.arena, self.hold.id, base, self.hold.capacity)
    }

    /// The object's fixed part. Not to be used where [`Handle::check`] refuses.
    #[inline]
    pub(crate) fn shared(&self) -> &K::Shared {
        self.object().shared()
    }

    /// The object's variable part: where it begins, and its length.
    #[inline]
    pub(crate) fn extra(&self) -> (NonNull<u8>, usize) {
        self.object().extra()
    }

    /// Locks the object: see [`Object::lock`].
    #[inline]
    pub(crate) fn lock(&self) -> Result<Locked<'_, K>, ArenaError> {
        self.check()?;
        self.object().lock()
    }

    pub(crate) fn arena(&self) -> &'static Arena {
        self.hold.arena
    }

    pub(crate) fn id(&self) -> BlockId {
        self.hold.id
    }

    pub(crate) fn role(&self) -> Role {
        self.hold.role
    }

    /// Wakes those who wait for this object by `wait_any`, in whichever process; see [`Object::ring`].
    #[inline]
    pub(crate) fn ring(&self) {
        self.object().ring();
    }

    /// Keeps the reference, whatever its type.
    pub(super) fn keep(&self) -> Arc<Hold> {
        Arc::clone(&self.hold)
    }
}

/// How a kind is called in errors.
pub(super) fn name_of(code: u32) -> &'static str {
    kind::find(code).map_or("something else", |table| table.name)
}
