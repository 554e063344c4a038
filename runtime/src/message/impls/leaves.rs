//! Types without parts of other types: rkyv's own implementations, called through.

use std::ffi::CString;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::{
    NonZeroI8, NonZeroI16, NonZeroI32, NonZeroI64, NonZeroI128, NonZeroIsize, NonZeroU8, NonZeroU16, NonZeroU32,
    NonZeroU64, NonZeroU128, NonZeroUsize,
};
use std::ops::RangeFull;
use std::time::Duration;

use rkyv::rend::{
    NonZeroI16_le, NonZeroI32_le, NonZeroI64_le, NonZeroI128_le, NonZeroU16_le, NonZeroU32_le, NonZeroU64_le,
    NonZeroU128_le, char_le, f32_le, f64_le, i16_le, i32_le, i64_le, i128_le, u16_le, u32_le, u64_le, u128_le,
};
use rkyv::traits::CopyOptimization;
use rkyv::{Archive, Deserialize, Place, Serialize};

use crate::message::{DecodeError, Decoder, EncodeError, Encoder, Message};

/// A type whose archived form is itself.
macro_rules! same {
    ($($type:ty),*) => {$(
        // SAFETY: the archived form is rkyv's, and is written and read whole.
        #[diagnostic::do_not_recommend]
        unsafe impl Message for $type {
            type Archived = $type;
            type Resolver = ();

            // SAFETY: the archived form is the type itself, without padding.
            const COPY: CopyOptimization<Self> = unsafe { CopyOptimization::enable() };

            #[inline(always)]
            fn write_parts(_: &Self, _: &mut Encoder) -> Result<(), EncodeError> {
                Ok(())
            }

            #[inline(always)]
            fn write_root(this: &Self, (): (), out: Place<Self>) {
                // SAFETY: these types have no padding.
                unsafe { out.write_unchecked(*this) };
            }

            #[inline(always)]
            fn read(archived: &Self, _: &mut Decoder) -> Result<Self, DecodeError> {
                Ok(*archived)
            }
        }
    )*};
}

same! { u8, i8, bool, (), NonZeroU8, NonZeroI8 }

/// A number of several bytes: archived in little-endian order.
macro_rules! number {
    ($($type:ty = $archived:ty,)*) => {$(
        // SAFETY: the archived form is rkyv's, and is written and read whole.
        #[diagnostic::do_not_recommend]
        unsafe impl Message for $type {
            type Archived = $archived;
            type Resolver = ();

            // SAFETY: on a little-endian machine the two have the same size, alignment and bytes.
            const COPY: CopyOptimization<Self> = unsafe {
                CopyOptimization::enable_if(
                    cfg!(target_endian = "little")
                        && size_of::<$type>() == size_of::<$archived>()
                        && align_of::<$type>() == align_of::<$archived>(),
                )
            };

            #[inline(always)]
            fn write_parts(_: &Self, _: &mut Encoder) -> Result<(), EncodeError> {
                Ok(())
            }

            #[inline(always)]
            fn write_root(this: &Self, (): (), out: Place<$archived>) {
                out.write(<$archived>::from_native(*this));
            }

            #[inline(always)]
            fn read(archived: &$archived, _: &mut Decoder) -> Result<Self, DecodeError> {
                Ok(archived.to_native())
            }
        }
    )*};
}

number! {
    u16 = u16_le, u32 = u32_le, u64 = u64_le, u128 = u128_le,
    i16 = i16_le, i32 = i32_le, i64 = i64_le, i128 = i128_le,
    f32 = f32_le, f64 = f64_le, char = char_le,
    NonZeroU16 = NonZeroU16_le, NonZeroU32 = NonZeroU32_le, NonZeroU64 = NonZeroU64_le, NonZeroU128 = NonZeroU128_le,
    NonZeroI16 = NonZeroI16_le, NonZeroI32 = NonZeroI32_le, NonZeroI64 = NonZeroI64_le, NonZeroI128 = NonZeroI128_le,
}

/// A number of the machine's width: 64 bits in a message.
macro_rules! pointer_sized {
    ($($type:ty as $wide:ty = $archived:ty, $to:expr, $back:expr;)*) => {$(
        // SAFETY: the archived form is rkyv's, and is written and read whole.
        #[diagnostic::do_not_recommend]
        unsafe impl Message for $type {
            type Archived = $archived;
            type Resolver = ();

            // SAFETY: on a little-endian machine of 64 bits the two have the same size, alignment and bytes.
            const COPY: CopyOptimization<Self> = unsafe {
                CopyOptimization::enable_if(cfg!(all(target_endian = "little", target_pointer_width = "64")))
            };

            #[inline(always)]
            fn write_parts(_: &Self, _: &mut Encoder) -> Result<(), EncodeError> {
                Ok(())
            }

            #[inline(always)]
            fn write_root(this: &Self, (): (), out: Place<$archived>) {
                let wide: fn($type) -> $wide = $to;
                out.write(<$archived>::from_native(wide(*this)));
            }

            #[inline(always)]
            fn read(archived: &$archived, _: &mut Decoder) -> Result<Self, DecodeError> {
                let narrow: fn($wide) -> Option<$type> = $back;
                narrow(archived.to_native()).ok_or_else(|| DecodeError::new("a number too large for this machine"))
            }
        }
    )*};
}

pointer_sized! {
    usize as u64 = u64_le, |wide| wide as u64, |wide| usize::try_from(wide).ok();
    isize as i64 = i64_le, |wide| wide as i64, |wide| isize::try_from(wide).ok();
    NonZeroUsize as NonZeroU64 = NonZeroU64_le, |wide| NonZeroU64::MIN.saturating_add(wide.get() as u64 - 1),
        |wide| NonZeroUsize::try_from(wide).ok();
    NonZeroIsize as NonZeroI64 = NonZeroI64_le, |wide| NonZeroI64::new(wide.get() as i64).unwrap_or(NonZeroI64::MIN),
        |wide| NonZeroIsize::try_from(wide).ok();
}

/// A type that rkyv archives, by rkyv's implementation.
macro_rules! leaf {
    ($($type:ty)*) => {$(
        // SAFETY: the archived form is rkyv's, and is written and read whole.
        #[diagnostic::do_not_recommend]
        unsafe impl Message for $type {
            type Archived = <$type as Archive>::Archived;
            type Resolver = <$type as Archive>::Resolver;

            #[inline]
            fn write_parts(this: &Self, encoder: &mut Encoder) -> Result<Self::Resolver, EncodeError> {
                this.serialize(encoder)
            }

            #[inline]
            fn write_root(this: &Self, resolver: Self::Resolver, out: Place<Self::Archived>) {
                this.resolve(resolver, out);
            }

            #[inline]
            fn read(archived: &Self::Archived, decoder: &mut Decoder) -> Result<Self, DecodeError> {
                archived.deserialize(decoder)
            }
        }
    )*};
}

leaf! { String CString Duration RangeFull IpAddr Ipv4Addr Ipv6Addr SocketAddr SocketAddrV4 SocketAddrV6 }

// SAFETY: the archived form is rkyv's, and is written and read whole.
unsafe impl<T: 'static> Message for PhantomData<T> {
    type Archived = PhantomData<T>;
    type Resolver = ();

    fn write_parts(_: &Self, _: &mut Encoder) -> Result<(), EncodeError> {
        Ok(())
    }

    fn write_root(_: &Self, (): (), _: Place<Self::Archived>) {}

    fn read(_: &Self::Archived, _: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(PhantomData)
    }
}
