//! From [`Message`] to rkyv's traits: what rkyv's containers ask of their parts.

use std::hash::{Hash, Hasher};

use rkyv::traits::CopyOptimization;
use rkyv::vec::{ArchivedVec, VecResolver};
use rkyv::{Archive, Place, Serialize};

use super::{EncodeError, Encoder, Message};

/// A message in the place of a `Serialize` type. Transparent, so that `&[T]` is `&[Bridge<T>]`.
#[repr(transparent)]
pub(super) struct Bridge<T>(T);

impl<T> Bridge<T> {
    pub(super) fn of(value: &T) -> &Self {
        // SAFETY: `Bridge` is transparent.
        unsafe { &*std::ptr::from_ref(value).cast() }
    }

    pub(super) fn slice(values: &[T]) -> &[Self] {
        // SAFETY: `Bridge` is transparent, so slices of it have the same layout.
        unsafe { &*(std::ptr::from_ref(values) as *const [Self]) }
    }
}

impl<T: Message> Archive for Bridge<T> {
    // SAFETY: the bytes of a `Bridge<T>` are those of a `T`, for which its `COPY` vouches.
    const COPY_OPTIMIZATION: CopyOptimization<Self> = unsafe { CopyOptimization::enable_if(T::COPY.is_enabled()) };

    type Archived = T::Archived;
    type Resolver = T::Resolver;

    #[inline]
    fn resolve(&self, resolver: T::Resolver, out: Place<T::Archived>) {
        T::write_root(&self.0, resolver, out);
    }
}

impl<T: Message> Serialize<Encoder> for Bridge<T> {
    #[inline]
    fn serialize(&self, encoder: &mut Encoder) -> Result<T::Resolver, EncodeError> {
        T::write_parts(&self.0, encoder)
    }
}

/// A borrowed message in the place of a `Serialize` type, for containers that are taken apart and rebuilt of references.
pub(super) struct Ref<'a, T>(pub(super) &'a T);

impl<T: Message> Archive for Ref<'_, T> {
    type Archived = T::Archived;
    type Resolver = T::Resolver;

    #[inline]
    fn resolve(&self, resolver: T::Resolver, out: Place<T::Archived>) {
        T::write_root(self.0, resolver, out);
    }
}

impl<T: Message> Serialize<Encoder> for Ref<'_, T> {
    #[inline]
    fn serialize(&self, encoder: &mut Encoder) -> Result<T::Resolver, EncodeError> {
        T::write_parts(self.0, encoder)
    }
}

impl<T: Hash> Hash for Ref<'_, T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<T: PartialEq> PartialEq for Ref<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T: Eq> Eq for Ref<'_, T> {}

/// Writes the elements of a borrowed slice.
pub(crate) fn write_slice<T: Message>(values: &[T], encoder: &mut Encoder) -> Result<VecResolver, EncodeError> {
    ArchivedVec::<T::Archived>::serialize_from_slice(Bridge::slice(values), encoder)
}
