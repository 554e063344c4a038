//! Vectors, arrays, lists.

use std::collections::{BinaryHeap, LinkedList, VecDeque};

use rkyv::Place;
use rkyv::traits::CopyOptimization;
use rkyv::vec::{ArchivedVec, VecResolver};

use super::super::bridge::{Bridge, Ref};
use crate::ErrorKind;
use crate::message::{DecodeError, Decoder, EncodeError, Encoder, Message};

/// The values of an archived slice: copied at once where their bytes are the same.
pub(super) fn read_slice<T: Message>(archived: &[T::Archived], decoder: &mut Decoder) -> Result<Vec<T>, DecodeError> {
    let mut values = Vec::with_capacity(archived.len());
    if T::COPY.is_enabled() {
        // SAFETY: `COPY` says that an archived value's bytes are a value's; the room for `len` was reserved above.
        unsafe {
            std::ptr::copy_nonoverlapping(archived.as_ptr().cast::<T>(), values.as_mut_ptr(), archived.len());
            values.set_len(archived.len());
        }
        return Ok(values);
    }
    decoder.nested(|decoder| {
        for value in archived {
            values.push(T::read(value, decoder)?);
        }
        Ok(values)
    })
}

// SAFETY: an archived vector or array of the elements' archived forms, written by rkyv or element by element.
unsafe impl<T: Message> Message for Vec<T> {
    type Archived = ArchivedVec<T::Archived>;
    type Resolver = VecResolver;

    #[inline]
    fn write_parts(this: &Self, encoder: &mut Encoder) -> Result<VecResolver, EncodeError> {
        ArchivedVec::serialize_from_slice(Bridge::slice(this), encoder)
    }

    #[inline]
    fn write_root(this: &Self, resolver: VecResolver, out: Place<Self::Archived>) {
        ArchivedVec::resolve_from_len(this.len(), resolver, out);
    }

    fn read(archived: &Self::Archived, decoder: &mut Decoder) -> Result<Self, DecodeError> {
        read_slice(archived, decoder)
    }
}

/// A sequence without a slice of its own: archived as a vector.
macro_rules! sequence {
    ($($type:ident $(where T: $bound:ident)?;)*) => {$(
        // SAFETY: an archived vector or array of the elements' archived forms, written by rkyv or element by element.
        unsafe impl<T: Message $(+ $bound)?> Message for $type<T> {
            type Archived = ArchivedVec<T::Archived>;
            type Resolver = VecResolver;

            fn write_parts(this: &Self, encoder: &mut Encoder) -> Result<VecResolver, EncodeError> {
                // A `LinkedList`'s iterator, alone of these, is no slice; all know their length.
                let values: Vec<Ref<'_, T>> = this.iter().map(Ref).collect();
                ArchivedVec::serialize_from_slice(&values, encoder)
            }

            fn write_root(this: &Self, resolver: VecResolver, out: Place<Self::Archived>) {
                ArchivedVec::resolve_from_len(this.len(), resolver, out);
            }

            fn read(archived: &Self::Archived, decoder: &mut Decoder) -> Result<Self, DecodeError> {
                Ok(read_slice::<T>(archived, decoder)?.into_iter().collect())
            }
        }
    )*};
}

sequence! {
    LinkedList;
    VecDeque;
    BinaryHeap where T: Ord;
}

// SAFETY: an archived vector or array of the elements' archived forms, written by rkyv or element by element.
unsafe impl<T: Message, const N: usize> Message for [T; N] {
    type Archived = [T::Archived; N];
    type Resolver = [T::Resolver; N];

    // SAFETY: an array's bytes are its elements' bytes.
    const COPY: CopyOptimization<Self> = unsafe { CopyOptimization::enable_if(T::COPY.is_enabled()) };

    #[inline]
    fn write_parts(this: &Self, encoder: &mut Encoder) -> Result<Self::Resolver, EncodeError> {
        if T::COPY.is_enabled() && size_of::<Self::Resolver>() == 0 {
            // SAFETY: `COPY` says that elements are their bytes: there are no parts to write, and nothing to remember of them. A value
            // of no size has no bytes that could be wrong.
            return Ok(unsafe { std::ptr::NonNull::<Self::Resolver>::dangling().read() });
        }
        // Elements without parts have resolvers of no size: then this vector allocates nothing.
        let resolvers: Vec<_> = this.iter().map(|value| T::write_parts(value, encoder)).collect::<Result<_, _>>()?;
        resolvers.try_into().map_err(|_| EncodeError::new(ErrorKind::NotSendable, "an array changed its length"))
    }

    #[inline]
    fn write_root(this: &Self, resolver: Self::Resolver, out: Place<Self::Archived>) {
        if T::COPY.is_enabled() {
            // SAFETY: `COPY` says that the bytes are the same; a place is no part of `this`.
            unsafe { std::ptr::copy_nonoverlapping(this.as_ptr().cast(), out.ptr().cast::<T::Archived>(), N) };
            return;
        }
        for (at, (value, resolver)) in this.iter().zip(resolver).enumerate() {
            // SAFETY: `at < N`.
            T::write_root(value, resolver, unsafe { out.index(at) });
        }
    }

    #[inline]
    fn read(archived: &Self::Archived, decoder: &mut Decoder) -> Result<Self, DecodeError> {
        if T::COPY.is_enabled() {
            // SAFETY: `COPY` says that the archived bytes are an array's bytes; sizes and alignment are then equal.
            return Ok(unsafe { std::ptr::from_ref(archived).cast::<[T; N]>().read() });
        }
        read_slice(archived, decoder)?.try_into().map_err(|_| DecodeError::new("an array changed its length"))
    }
}
