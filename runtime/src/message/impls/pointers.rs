//! `Box`, `Rc`, `Arc` and `Cow`, of sized values, of strings and of slices.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use rkyv::Place;
use rkyv::boxed::{ArchivedBox, BoxResolver};
use rkyv::rc::{ArcFlavor, ArchivedRc, RcFlavor, RcResolver};
use rkyv::ser::WriterExt;
use rkyv::string::{ArchivedString, StringResolver};

use super::super::bridge::Bridge;
use super::sequences::read_slice;
use crate::message::{DecodeError, Decoder, EncodeError, Encoder, Message};

// SAFETY: a relative pointer to the target's archived form, written by rkyv.
unsafe impl<T: Message> Message for Box<T> {
    type Archived = ArchivedBox<T::Archived>;
    type Resolver = BoxResolver;

    fn write_parts(this: &Self, encoder: &mut Encoder) -> Result<BoxResolver, EncodeError> {
        ArchivedBox::serialize_from_ref(Bridge::of(&**this), encoder)
    }

    fn write_root(this: &Self, resolver: BoxResolver, out: Place<Self::Archived>) {
        ArchivedBox::resolve_from_ref(Bridge::of(&**this), resolver, out);
    }

    fn read(archived: &Self::Archived, decoder: &mut Decoder) -> Result<Self, DecodeError> {
        decoder.nested(|decoder| T::read(archived.get(), decoder)).map(Box::new)
    }
}

// SAFETY: a relative pointer to the target's archived form, written by rkyv.
unsafe impl<T: Message> Message for Box<[T]> {
    type Archived = ArchivedBox<[T::Archived]>;
    type Resolver = BoxResolver;

    fn write_parts(this: &Self, encoder: &mut Encoder) -> Result<BoxResolver, EncodeError> {
        ArchivedBox::serialize_from_ref(Bridge::slice(this), encoder)
    }

    fn write_root(this: &Self, resolver: BoxResolver, out: Place<Self::Archived>) {
        ArchivedBox::resolve_from_ref(Bridge::slice(this), resolver, out);
    }

    fn read(archived: &Self::Archived, decoder: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(read_slice(archived.get(), decoder)?.into_boxed_slice())
    }
}

/// Strings behind a pointer that owns them.
macro_rules! string {
    ($($type:ty)*) => {$(
        // SAFETY: a relative pointer to the target's archived form, written by rkyv.
        unsafe impl Message for $type {
            type Archived = ArchivedString;
            type Resolver = StringResolver;

            fn write_parts(this: &Self, encoder: &mut Encoder) -> Result<StringResolver, EncodeError> {
                ArchivedString::serialize_from_str(this, encoder)
            }

            fn write_root(this: &Self, resolver: StringResolver, out: Place<ArchivedString>) {
                ArchivedString::resolve_from_str(this, resolver, out);
            }

            fn read(archived: &ArchivedString, _: &mut Decoder) -> Result<Self, DecodeError> {
                Ok(archived.as_str().to_owned().into())
            }
        }
    )*};
}

string! { Box<str> Cow<'static, str> }

/// A shared pointer: written once per message, and shared again by what is made of it.
macro_rules! shared {
    ($($pointer:ident $flavor:ident)*) => {$(
        // SAFETY: a relative pointer to the target's archived form, written by rkyv.
        unsafe impl<T: Message> Message for $pointer<T> {
            type Archived = ArchivedRc<T::Archived, $flavor>;
            type Resolver = RcResolver;

            fn write_parts(this: &Self, encoder: &mut Encoder) -> Result<RcResolver, EncodeError> {
                ArchivedRc::<T::Archived, $flavor>::serialize_from_ref(Bridge::of(&**this), encoder)
            }

            fn write_root(this: &Self, resolver: RcResolver, out: Place<Self::Archived>) {
                ArchivedRc::resolve_from_ref(Bridge::of(&**this), resolver, out);
            }

            fn read(archived: &Self::Archived, decoder: &mut Decoder) -> Result<Self, DecodeError> {
                let target = archived.get();
                let address = std::ptr::from_ref(target) as usize;
                decoder.shared(address, |decoder| T::read(target, decoder).map($pointer::new))
            }
        }

        // SAFETY: a relative pointer to the target's archived form, written by rkyv.
        unsafe impl<T: Message> Message for $pointer<[T]> {
            type Archived = ArchivedRc<[T::Archived], $flavor>;
            type Resolver = RcResolver;

            fn write_parts(this: &Self, encoder: &mut Encoder) -> Result<RcResolver, EncodeError> {
                unique(this.is_empty(), encoder)?;
                ArchivedRc::<[T::Archived], $flavor>::serialize_from_ref(Bridge::slice(this), encoder)
            }

            fn write_root(this: &Self, resolver: RcResolver, out: Place<Self::Archived>) {
                ArchivedRc::resolve_from_ref(Bridge::slice(this), resolver, out);
            }

            fn read(archived: &Self::Archived, decoder: &mut Decoder) -> Result<Self, DecodeError> {
                let target = archived.get();
                let address = target.as_ptr() as usize;
                decoder.shared(address, |decoder| read_slice::<T>(target, decoder).map($pointer::from))
            }
        }

        // SAFETY: a relative pointer to the target's archived form, written by rkyv.
        unsafe impl Message for $pointer<str> {
            type Archived = ArchivedRc<str, $flavor>;
            type Resolver = RcResolver;

            fn write_parts(this: &Self, encoder: &mut Encoder) -> Result<RcResolver, EncodeError> {
                unique(this.is_empty(), encoder)?;
                ArchivedRc::<str, $flavor>::serialize_from_ref(&**this, encoder)
            }

            fn write_root(this: &Self, resolver: RcResolver, out: Place<Self::Archived>) {
                ArchivedRc::resolve_from_ref(&**this, resolver, out);
            }

            fn read(archived: &Self::Archived, decoder: &mut Decoder) -> Result<Self, DecodeError> {
                let target = archived.get();
                decoder.shared(target.as_ptr() as usize, |_| Ok($pointer::from(target)))
            }
        }
    )*};
}

/// Keeps an empty shared slice from having the position of what is written next: positions tell shared values apart.
fn unique(empty: bool, encoder: &mut Encoder) -> Result<(), EncodeError> {
    if empty { encoder.pad(1) } else { Ok(()) }
}

shared! { Rc RcFlavor Arc ArcFlavor }
