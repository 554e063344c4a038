//! A task's input in short: for reports, which name the slowest items.
//!
//! Generated code makes a function with the task's own parameters that shows each; the compiler takes the first of these that fits: a parameter that can
//! be debugged, any other. Input slots are read for that as the task itself reads them.
#![allow(unsafe_code)]
// One maker per number of parameters takes that many.
#![allow(clippy::too_many_arguments)]

use std::fmt::{Debug, Write};
use std::marker::PhantomData;

use super::entry::TaskCall;
use super::param::Kind;
use super::run::function;
use crate::message::Decoder;
use crate::seeing::Short;

/// An argument that is to be shown.
// Not public API. Used by generated code.
#[derive(Debug)]
pub struct Shown<'a, T: ?Sized>(pub &'a T);

/// The argument can be debugged.
// Not public API. Used by generated code.
pub trait DebugArgument {
    /// Writes it; `false`: it cannot be shown.
    #[doc(hidden)]
    fn show(&self, out: &mut Arguments) -> bool;
}

impl<T: Debug + ?Sized> DebugArgument for &Shown<'_, T> {
    fn show(&self, out: &mut Arguments) -> bool {
        // An error: there is enough.
        let _ = write!(out.short, "{}{:?}", if out.count > 0 { ", " } else { "" }, self.0);
        out.count += 1;
        true
    }
}

/// The argument cannot be shown.
// Not public API. Used by generated code.
pub trait AnyArgument {
    /// Writes nothing.
    #[doc(hidden)]
    fn show(&self, out: &mut Arguments) -> bool;
}

impl<T: ?Sized> AnyArgument for Shown<'_, T> {
    fn show(&self, _: &mut Arguments) -> bool {
        false
    }
}

/// What was shown so far.
// Not public API. Used by generated code.
#[derive(Debug, Default)]
pub struct Arguments {
    short: Short,
    count: usize,
}

impl Arguments {
    /// The text.
    pub fn finish(self) -> String {
        self.short.finish()
    }
}

type Show = unsafe fn(*const u8) -> Option<String>;

impl TaskCall {
    /// Says how an input is shown.
    // Not public API. Used by generated code.
    #[must_use]
    pub const fn with_show(mut self, show: Show) -> Self {
        self.show = Some(show);
        self
    }
}

macro_rules! arity {
    ($n:ident $slots:ty; $($k:ident $h:ident $index:tt)*) => {
        /// Shows the inputs of a task of this many parameters.
        // Not public API. Used by generated code.
        pub const fn $n<F, $($k: Kind),*>(_: &F $(, _: PhantomData<$k>)*) -> Show
        where
            F: for<'a> Fn($($k::Arg<'a>),*) -> Option<String> + Copy + 'static,
        {
            unsafe fn show<F, $($k: Kind),*>(slot: *const u8) -> Option<String>
            where
                F: for<'a> Fn($($k::Arg<'a>),*) -> Option<String> + Copy + 'static,
            {
                let show = function::<F>();
                let slot = slot.cast::<$slots>();
                let mut decoder = Decoder::new();
                let _ = (&slot, &mut decoder);
                #[allow(unused_unsafe, reason = "without parameters nothing is read")]
                // SAFETY: the caller vouches for the slot, which holds this tuple; each hold is lent once.
                unsafe {
                    $(let mut $h = $k::hold(&raw const (*slot).$index, &mut decoder).ok()?;)*
                    show($($k::lend(&mut $h)),*)
                }
            }
            show::<F, $($k),*>
        }
    };
}

/// By number of parameters.
// Not public API. Used by generated code.
pub mod show {
    use super::*;
    use rkyv::tuple::*;
    arity!(n0 (););
    arity!(n1 ArchivedTuple1<K0::Slot>; K0 h0 0);
    arity!(n2 ArchivedTuple2<K0::Slot, K1::Slot>; K0 h0 0 K1 h1 1);
    arity!(n3 ArchivedTuple3<K0::Slot, K1::Slot, K2::Slot>; K0 h0 0 K1 h1 1 K2 h2 2);
    arity!(n4 ArchivedTuple4<K0::Slot, K1::Slot, K2::Slot, K3::Slot>; K0 h0 0 K1 h1 1 K2 h2 2 K3 h3 3);
    arity!(n5 ArchivedTuple5<K0::Slot, K1::Slot, K2::Slot, K3::Slot, K4::Slot>;
        K0 h0 0 K1 h1 1 K2 h2 2 K3 h3 3 K4 h4 4);
    arity!(n6 ArchivedTuple6<K0::Slot, K1::Slot, K2::Slot, K3::Slot, K4::Slot, K5::Slot>;
        K0 h0 0 K1 h1 1 K2 h2 2 K3 h3 3 K4 h4 4 K5 h5 5);
    arity!(n7 ArchivedTuple7<K0::Slot, K1::Slot, K2::Slot, K3::Slot, K4::Slot, K5::Slot, K6::Slot>;
        K0 h0 0 K1 h1 1 K2 h2 2 K3 h3 3 K4 h4 4 K5 h5 5 K6 h6 6);
    arity!(n8 ArchivedTuple8<K0::Slot, K1::Slot, K2::Slot, K3::Slot, K4::Slot, K5::Slot, K6::Slot, K7::Slot>;
        K0 h0 0 K1 h1 1 K2 h2 2 K3 h3 3 K4 h4 4 K5 h5 5 K6 h6 6 K7 h7 7);
}
