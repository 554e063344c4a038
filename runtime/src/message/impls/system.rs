//! Types of the operating system that rkyv does not know: names of any bytes, and times.

use std::borrow::Borrow;
use std::ffi::{OsStr, OsString};
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rkyv::munge::munge;
use rkyv::rend::{i64_le, u32_le};
use rkyv::vec::{ArchivedVec, VecResolver};
use rkyv::{Place, Portable};

use crate::message::{DecodeError, Decoder, EncodeError, Encoder, Message};

macro_rules! name {
    ($(#[$doc:meta])* $archived:ident of $owned:ident as $borrowed:ident: $parts:ident $root:ident) => {
        $(#[$doc])*
        #[derive(Portable, rkyv::bytecheck::CheckBytes)]
        #[bytecheck(crate = rkyv::bytecheck)]
        #[repr(transparent)]
        pub struct $archived(ArchivedVec<u8>);

        impl Deref for $archived {
            type Target = $borrowed;

            fn deref(&self) -> &$borrowed {
                $borrowed::new(OsStr::from_bytes(&self.0))
            }
        }

        impl AsRef<$borrowed> for $archived {
            fn as_ref(&self) -> &$borrowed {
                self
            }
        }

        impl Borrow<$borrowed> for $archived {
            fn borrow(&self) -> &$borrowed {
                self
            }
        }

        impl std::fmt::Debug for $archived {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&**self, f)
            }
        }

        impl Hash for $archived {
            fn hash<H: Hasher>(&self, state: &mut H) {
                (**self).hash(state);
            }
        }

        impl PartialEq for $archived {
            fn eq(&self, other: &Self) -> bool {
                **self == **other
            }
        }

        impl Eq for $archived {}

        impl PartialEq<$borrowed> for $archived {
            fn eq(&self, other: &$borrowed) -> bool {
                **self == *other
            }
        }

        impl PartialOrd for $archived {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $archived {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                (**self).cmp(&**other)
            }
        }

        // SAFETY: all fields of the archived form are written.
        unsafe impl Message for $owned {
            type Archived = $archived;
            type Resolver = VecResolver;

            fn write_parts(this: &Self, encoder: &mut Encoder) -> Result<VecResolver, EncodeError> {
                $parts(this, encoder)
            }

            fn write_root(this: &Self, resolver: VecResolver, out: Place<$archived>) {
                $root(this, resolver, out);
            }

            fn read(archived: &$archived, _: &mut Decoder) -> Result<Self, DecodeError> {
                Ok($owned::from(OsString::from_vec(archived.0.to_vec())))
            }
        }

        /// Writes the bytes of a borrowed name.
        pub(crate) fn $parts(name: &$borrowed, encoder: &mut Encoder) -> Result<VecResolver, EncodeError> {
            let name: &OsStr = name.as_ref();
            ArchivedVec::serialize_from_slice(name.as_bytes(), encoder)
        }

        /// Writes the root of a borrowed name.
        pub(crate) fn $root(name: &$borrowed, resolver: VecResolver, out: Place<$archived>) {
            let name: &OsStr = name.as_ref();
            munge!(let $archived(bytes) = out);
            ArchivedVec::resolve_from_len(name.len(), resolver, bytes);
        }
    };
}

name! {
    /// An archived [`OsString`]: any bytes.
    ArchivedOsString of OsString as OsStr: os_parts os_root
}

name! {
    /// An archived [`PathBuf`]: any bytes.
    ArchivedPathBuf of PathBuf as Path: path_parts path_root
}

/// An archived [`SystemTime`]: seconds from 1970, rounded down, and nanoseconds after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Portable, rkyv::bytecheck::CheckBytes)]
#[bytecheck(crate = rkyv::bytecheck)]
#[repr(C)]
pub struct ArchivedSystemTime {
    seconds: i64_le,
    nanos: u32_le,
}

impl ArchivedSystemTime {
    /// The time, if the system can express it: a valid message's always can on the system that wrote it.
    pub fn to_native(self) -> Option<SystemTime> {
        let (seconds, nanos) = (self.seconds.to_native(), self.nanos.to_native());
        let whole = Duration::from_secs(seconds.unsigned_abs());
        let time = if seconds < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(whole)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(whole)
        };
        time?.checked_add(Duration::from_nanos(nanos.into()))
    }
}

// SAFETY: all fields of the archived form are written.
unsafe impl Message for SystemTime {
    type Archived = ArchivedSystemTime;
    type Resolver = ();

    fn write_parts(_: &Self, _: &mut Encoder) -> Result<(), EncodeError> {
        Ok(())
    }

    fn write_root(this: &Self, (): (), out: Place<ArchivedSystemTime>) {
        // std's clock is an i64 of seconds and nanoseconds below a billion, so neither conversion loses anything.
        let (whole, part) = match this.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => (after.as_secs() as i64, after.subsec_nanos()),
            Err(error) => {
                let before = error.duration();
                let seconds = (before.as_secs() as i64).wrapping_neg();
                match before.subsec_nanos() {
                    0 => (seconds, 0),
                    nanos => (seconds.wrapping_sub(1), 1_000_000_000 - nanos),
                }
            }
        };
        munge!(let ArchivedSystemTime { seconds, nanos } = out);
        seconds.write(i64_le::from_native(whole));
        nanos.write(u32_le::from_native(part));
    }

    fn read(archived: &ArchivedSystemTime, _: &mut Decoder) -> Result<Self, DecodeError> {
        archived.to_native().ok_or_else(|| DecodeError::new("a time out of the system's range"))
    }
}
