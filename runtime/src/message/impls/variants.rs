//! `Option`, `Result`, ranges and tuples: taken apart into references, which rkyv's implementations then archive.

use std::ops::{Range, RangeInclusive};

use rkyv::ops::{ArchivedRange, ArchivedRangeInclusive};
use rkyv::option::ArchivedOption;
use rkyv::result::ArchivedResult;
use rkyv::traits::CopyOptimization;
use rkyv::{Archive, Place};

use super::super::bridge::Ref;
use crate::message::{DecodeError, Decoder, EncodeError, Encoder, Message};

// SAFETY: taken apart into references, which rkyv archives as it does the type itself.
unsafe impl<T: Message> Message for Option<T> {
    type Archived = ArchivedOption<T::Archived>;
    type Resolver = Option<T::Resolver>;

    #[inline]
    fn write_parts(this: &Self, encoder: &mut Encoder) -> Result<Self::Resolver, EncodeError> {
        match this {
            Some(value) => T::write_parts(value, encoder).map(Some),
            None => Ok(None),
        }
    }

    #[inline]
    fn write_root(this: &Self, resolver: Self::Resolver, out: Place<Self::Archived>) {
        this.as_ref().map(Ref).resolve(resolver, out);
    }

    #[inline]
    fn read(archived: &Self::Archived, decoder: &mut Decoder) -> Result<Self, DecodeError> {
        match archived {
            ArchivedOption::Some(value) => T::read(value, decoder).map(Some),
            ArchivedOption::None => Ok(None),
        }
    }
}

// SAFETY: taken apart into references, which rkyv archives as it does the type itself.
unsafe impl<T: Message, E: Message> Message for Result<T, E> {
    type Archived = ArchivedResult<T::Archived, E::Archived>;
    type Resolver = Result<T::Resolver, E::Resolver>;

    #[inline]
    fn write_parts(this: &Self, encoder: &mut Encoder) -> Result<Self::Resolver, EncodeError> {
        match this {
            Ok(value) => T::write_parts(value, encoder).map(Ok),
            Err(error) => E::write_parts(error, encoder).map(Err),
        }
    }

    #[inline]
    fn write_root(this: &Self, resolver: Self::Resolver, out: Place<Self::Archived>) {
        this.as_ref().map(Ref).map_err(Ref).resolve(resolver, out);
    }

    #[inline]
    fn read(archived: &Self::Archived, decoder: &mut Decoder) -> Result<Self, DecodeError> {
        match archived {
            ArchivedResult::Ok(value) => T::read(value, decoder).map(Ok),
            ArchivedResult::Err(error) => E::read(error, decoder).map(Err),
        }
    }
}

// SAFETY: taken apart into references, which rkyv archives as it does the type itself.
unsafe impl<T: Message> Message for Range<T> {
    type Archived = ArchivedRange<T::Archived>;
    type Resolver = Range<T::Resolver>;

    fn write_parts(this: &Self, encoder: &mut Encoder) -> Result<Self::Resolver, EncodeError> {
        Ok(T::write_parts(&this.start, encoder)?..T::write_parts(&this.end, encoder)?)
    }

    fn write_root(this: &Self, resolver: Self::Resolver, out: Place<Self::Archived>) {
        (Ref(&this.start)..Ref(&this.end)).resolve(resolver, out);
    }

    fn read(archived: &Self::Archived, decoder: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(T::read(&archived.start, decoder)?..T::read(&archived.end, decoder)?)
    }
}

// SAFETY: taken apart into references, which rkyv archives as it does the type itself.
unsafe impl<T: Message> Message for RangeInclusive<T> {
    type Archived = ArchivedRangeInclusive<T::Archived>;
    type Resolver = Range<T::Resolver>;

    fn write_parts(this: &Self, encoder: &mut Encoder) -> Result<Self::Resolver, EncodeError> {
        Ok(T::write_parts(this.start(), encoder)?..T::write_parts(this.end(), encoder)?)
    }

    fn write_root(this: &Self, resolver: Self::Resolver, out: Place<Self::Archived>) {
        (Ref(this.start())..=Ref(this.end())).resolve(resolver, out);
    }

    fn read(archived: &Self::Archived, decoder: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(T::read(&archived.start, decoder)?..=T::read(&archived.end, decoder)?)
    }
}

macro_rules! tuple {
    ($archived:ident $($type:ident $index:tt)*) => {
        // SAFETY: taken apart into references, which rkyv archives as it does the type itself.
        unsafe impl<$($type: Message),*> Message for ($($type,)*) {
            type Archived = rkyv::tuple::$archived<$($type::Archived),*>;
            type Resolver = ($($type::Resolver,)*);

            // rustc may order the fields as it likes: the bytes are the same where it happens to keep them in order,
            // and where there is no padding, which would be uninitialised.
            // SAFETY: the condition says just that.
            const COPY: CopyOptimization<Self> = unsafe {
                CopyOptimization::enable_if(
                    $($type::COPY.is_enabled()
                        && std::mem::offset_of!(Self, $index) == std::mem::offset_of!(Self::Archived, $index) &&)*
                    size_of::<Self>() == size_of::<Self::Archived>()
                        && size_of::<Self>() == 0 $(+ size_of::<$type>())*,
                )
            };

            #[inline]
            fn write_parts(this: &Self, encoder: &mut Encoder) -> Result<Self::Resolver, EncodeError> {
                Ok(($($type::write_parts(&this.$index, encoder)?,)*))
            }

            #[inline]
            fn write_root(this: &Self, resolver: Self::Resolver, out: Place<Self::Archived>) {
                ($(Ref(&this.$index),)*).resolve(resolver, out);
            }

            #[inline]
            fn read(archived: &Self::Archived, decoder: &mut Decoder) -> Result<Self, DecodeError> {
                Ok(($($type::read(&archived.$index, decoder)?,)*))
            }
        }
    };
}

tuple!(ArchivedTuple1 A 0);
tuple!(ArchivedTuple2 A 0 B 1);
tuple!(ArchivedTuple3 A 0 B 1 C 2);
tuple!(ArchivedTuple4 A 0 B 1 C 2 D 3);
tuple!(ArchivedTuple5 A 0 B 1 C 2 D 3 E 4);
tuple!(ArchivedTuple6 A 0 B 1 C 2 D 3 E 4 F 5);
tuple!(ArchivedTuple7 A 0 B 1 C 2 D 3 E 4 F 5 G 6);
tuple!(ArchivedTuple8 A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7);
tuple!(ArchivedTuple9 A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8);
tuple!(ArchivedTuple10 A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9);
tuple!(ArchivedTuple11 A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10);
tuple!(ArchivedTuple12 A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10 L 11);
