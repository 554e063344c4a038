//! Types that may lie in shared memory and be changed there.

/// A type of nothing but numbers, which may lie in shared memory and be changed there by several processes in turn.
///
/// Locks ([`Mutex<T>`](crate::sync::Mutex), [`RwLock<T>`](crate::sync::RwLock)) and arrays hold plain types. Plain are the
/// integers and floats, `()`, `Option` of the non-zero integers, arrays of plain types, and whatever implements
/// [`bytemuck::AnyBitPattern`], on which this is built. `#[message(plain)]` makes a struct of your own plain, and a message.
///
/// Any bytes are a value of a plain type, so a process that is killed half-way through writing one leaves a value, if perhaps a
/// strange one. That is why `bool`, `char` and enums are not plain: most bytes are none of their values. Hold a `u8` or
/// `u32` instead, and compare it or convert it where it is read. A plain type holds no pointer, reference, handle or file
/// descriptor, which would mean nothing in another process.
///
/// ```
/// use offspring::{Plain, message};
///
/// #[message(plain)]
/// #[derive(Clone, Copy)]
/// #[repr(C)]
/// struct Point {
///     x: f64,
///     y: f64,
///     marked: u8,
/// }
///
/// fn is_plain<T: Plain>() {}
/// is_plain::<Point>();
/// is_plain::<[[f32; 4]; 4]>();
/// ```
///
/// ```compile_fail,E0277
/// fn is_plain<T: offspring::Plain>() {}
/// is_plain::<bool>();
/// ```
///
/// # Safety
/// Do not implement it yourself: it is implemented for all types that have bytemuck's trait. Any bytes are a value of
/// `Self`, it has no pointers, no interior mutability and no use for its address.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not plain: it cannot lie in shared memory to be changed there",
    label = "not nothing but numbers",
    note = "for a struct of numbers, put `#[message(plain)]`, `#[repr(C)]` and `#[derive(Clone, Copy)]` on its definition",
    note = "hold `u8` instead of `bool`, `u32` instead of `char` or an enum, an array of bytes instead of a `String`"
)]
#[doc(alias = "ctypes")]
pub unsafe trait Plain: bytemuck::AnyBitPattern + Send + Sync {}

// SAFETY: `AnyBitPattern` promises all of it.
#[diagnostic::do_not_recommend]
unsafe impl<T: bytemuck::AnyBitPattern + Send + Sync> Plain for T {}

/// Not public API: where `#[message(plain)]` asks it of each field.
pub const fn is_plain<T: Plain>() {}

#[cfg(test)]
mod tests {
    use offspring_macros::message;

    use super::super::tests::round_trip;
    use crate::message::Message;

    #[message(plain, crate = crate)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(C)]
    struct Dense {
        at: [f64; 3],
        id: u64,
    }

    #[message(plain, crate = crate)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(C)]
    struct Gaps<T> {
        small: u8,
        large: T,
    }

    #[message(plain, crate = crate)]
    #[derive(Clone, Copy, Debug, PartialEq, Default)]
    #[repr(transparent)]
    struct Meters(f32);

    #[test]
    fn plain_types_are_messages_and_their_own_archived_form() {
        let dense = Dense { at: [1.0, -2.5, f64::MAX], id: 7 };
        round_trip(&[dense]);
        round_trip(&[vec![dense; 5]]);
        round_trip(&[Some(dense), None]);
        round_trip(&[Gaps { small: 3, large: 9u64 }]);
        round_trip(&[vec![Gaps { small: 3, large: Meters(2.0) }; 3]]);
        assert!(Dense::COPY.is_enabled());
        assert!(!Gaps::<u64>::COPY.is_enabled(), "padding is not copied");
        let same: fn(&<Dense as Message>::Archived) -> &Dense = |archived| archived;
        assert_eq!(same(&dense), &dense);
    }
}
