//! Tasks as stages: which functions take which values, and how they are called.
//!
//! A value passes from stage to stage as it is, by a plain call: what the compiler checks here is what it would check of `g(f(x))`.
//! The markers say how the value is passed; the compiler finds them.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use crate::message::Message;
use crate::task::{TaskFault, WorkerState, function_of};

/// The stage takes the value.
#[derive(Debug)]
pub struct Whole;
/// The stage takes `&T`.
#[derive(Debug)]
pub struct ByRef;
/// The stage takes what the value derefs to: `&str` of a `String`, `&[T]` of a `Vec`, `&Path` of a `PathBuf`.
#[derive(Debug)]
pub struct ByDeref;
/// The stage has several parameters, and takes a tuple apart.
#[derive(Debug)]
pub struct Spread;
/// The stage borrows the worker's state as well.
pub struct WithState<S>(PhantomData<fn() -> S>);

impl<S> fmt::Debug for WithState<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WithState")
    }
}

/// A task that can be a stage of a flow after one that gives `T`.
///
/// You do not implement it: any function with `#[task]` is one whose parameter is `T`, `&T`, what `T` derefs to (`&str` for a `String`,
/// `&[U]` for a `Vec<U>`), or the parts of the tuple `T`; before the parameter may stand the worker's state, `&mut S`. `M` is found by the compiler.
#[diagnostic::on_unimplemented(
    message = "the stage `{Self}` does not take what the stage before it gives: `{T}`",
    label = "this stage takes something else than `{T}`",
    note = "a stage takes the value that comes out of the stage before it, by value or by reference; a tuple may be taken apart"
)]
pub trait StageFn<T, M>: Copy + 'static {
    /// What the stage gives.
    type Output;

    #[doc(hidden)]
    const STATEFUL: bool = false;

    #[doc(hidden)]
    fn run(value: T, state: &mut WorkerState) -> Result<Self::Output, TaskFault>;
}

impl<F, T, R> StageFn<T, Whole> for F
where
    F: Fn(T) -> R + Copy + 'static,
    R: Message,
{
    type Output = R;

    #[inline(always)]
    fn run(value: T, _: &mut WorkerState) -> Result<R, TaskFault> {
        Ok(function_of::<F>()(value))
    }
}

impl<F, T, R> StageFn<T, ByRef> for F
where
    F: for<'a> Fn(&'a T) -> R + Copy + 'static,
    R: Message,
{
    type Output = R;

    #[inline(always)]
    fn run(value: T, _: &mut WorkerState) -> Result<R, TaskFault> {
        Ok(function_of::<F>()(&value))
    }
}

impl<F, T, R> StageFn<T, ByDeref> for F
where
    T: Deref,
    F: for<'a> Fn(&'a T::Target) -> R + Copy + 'static,
    R: Message,
{
    type Output = R;

    #[inline(always)]
    fn run(value: T, _: &mut WorkerState) -> Result<R, TaskFault> {
        Ok(function_of::<F>()(&value))
    }
}

impl<F, T, S, R> StageFn<T, WithState<S>> for F
where
    F: for<'a> Fn(&'a mut S, T) -> R + Copy + 'static,
    S: 'static,
    R: Message,
{
    type Output = R;
    const STATEFUL: bool = true;

    #[inline(always)]
    fn run(value: T, state: &mut WorkerState) -> Result<R, TaskFault> {
        Ok(function_of::<F>()(state.lend::<S>()?, value))
    }
}

macro_rules! spread {
    ($($a:ident)*) => {
        impl<F, $($a,)* R> StageFn<($($a,)*), Spread> for F
        where
            F: Fn($($a),*) -> R + Copy + 'static,
            R: Message,
        {
            type Output = R;

            #[inline(always)]
            #[allow(non_snake_case)]
            fn run(value: ($($a,)*), _: &mut WorkerState) -> Result<R, TaskFault> {
                let ($($a,)*) = value;
                Ok(function_of::<F>()($($a),*))
            }
        }
    };
}

spread!(A B);
spread!(A B C);
spread!(A B C D);
spread!(A B C D E);
spread!(A B C D E G);
spread!(A B C D E G H);
spread!(A B C D E G H J);

/// A task that looks at a value and leaves it to the stages after it: `fn(&T)`.
///
/// You do not implement it: any function with `#[task]` is one whose parameter is `&T`, or a reference to what `T` derefs to. `M` is found by the
/// compiler.
#[diagnostic::on_unimplemented(
    message = "the stage `{Self}` does not look at what the stage before it gives: `{T}`",
    label = "this stage does not take `&{T}`",
    note = "`filter`, `inspect`, `min_by_key` and `max_by_key` lend the value: write `fn(value: &{T})`"
)]
pub trait LookFn<T, M>: Copy + 'static {
    /// What the task says of the value.
    type Output: Message;

    #[doc(hidden)]
    fn look(value: &T) -> Self::Output;
}

impl<F, T, R> LookFn<T, ByRef> for F
where
    F: for<'a> Fn(&'a T) -> R + Copy + 'static,
    R: Message,
{
    type Output = R;

    #[inline(always)]
    fn look(value: &T) -> R {
        function_of::<F>()(value)
    }
}

impl<F, T, R> LookFn<T, ByDeref> for F
where
    T: Deref,
    F: for<'a> Fn(&'a T::Target) -> R + Copy + 'static,
    R: Message,
{
    type Output = R;

    #[inline(always)]
    fn look(value: &T) -> R {
        function_of::<F>()(value)
    }
}

/// A task that puts an item's value to what others gave before: `fn(A, T) -> A`.
///
/// You do not implement it: any function with `#[task]` of that shape is one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot put a `{T}` to a `{A}`",
    label = "not `fn({A}, {T}) -> {A}`",
    note = "`reduce` and `reduce_by_key` take a task of two values of one type that gives a third; `fold` one that takes what there is and the next value"
)]
pub trait FoldFn<A, T>: Copy + 'static {
    #[doc(hidden)]
    fn fold(so_far: A, value: T) -> A;
}

impl<F, A, T> FoldFn<A, T> for F
where
    F: Fn(A, T) -> A + Copy + 'static,
{
    #[inline(always)]
    fn fold(so_far: A, value: T) -> A {
        function_of::<F>()(so_far, value)
    }
}
