//! Functions as tasks: what the caller's compiler checks.
//!
//! [`TaskFn`] is a facade over the `Fn` traits, one implementation per number of parameters. It is lenient about
//! lifetimes and holds for any function of the right shape, a task or not: what is run is found by the function's type
//! in the registry, and only [`TaskCall`](super::TaskCall), made by `#[task]`, decides how.

use std::marker::PhantomData;

use super::param::Param;
use crate::message::Message;

/// A parameter of type `A`, passed by `Way`: found by the compiler.
pub struct By<Way, A>(PhantomData<fn(Way, A)>);

/// A call with worker state `S` (or [`NoState`]) and these parameters: found by the compiler.
pub struct Call<S, Params>(PhantomData<fn(S, Params)>);

/// The task borrows no worker state.
#[derive(Debug)]
pub struct NoState;

impl<Way, A> std::fmt::Debug for By<Way, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("By")
    }
}

impl<S, Params> std::fmt::Debug for Call<S, Params> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Call")
    }
}

/// A function that can be a task: its parameters and its result are messages.
///
/// You do not implement it: write `#[offspring::task]` above a function. `M` is found by the compiler; in code of your
/// own that is generic over tasks, pass it through:
///
/// ```
/// use offspring::{Accept, TaskFn};
///
/// fn run<F, M, I>(task: F, items: I)
/// where
///     F: TaskFn<M>,
///     I: IntoIterator,
///     I::Item: Accept<M>,
/// {
///     // pool.map(task, items)
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a task",
    label = "cannot be a task",
    note = "a task is a function with `#[offspring::task]` whose parameters and result are messages"
)]
pub trait TaskFn<M>: Copy + 'static {
    /// What the task returns.
    type Output: Message;
}

/// A function that can make a worker's state: its parameters are messages, its result need not be one.
///
/// You do not implement it: write `#[offspring::task(state)]` above a function.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot make a worker's state",
    label = "cannot make a worker's state",
    note = "write `#[offspring::task(state)]` above a function whose parameters are messages"
)]
pub trait StateFn<M>: Copy + 'static {
    // Not public API.
    #[doc(hidden)]
    type State;
}

/// `&mut S`, without naming the lifetime.
// Not public API.
pub trait Borrowed {
    #[doc(hidden)]
    type State: 'static;
}

impl<S: 'static> Borrowed for &mut S {
    type State = S;
}

macro_rules! functions {
    ($($w:ident $a:ident)*) => {
        impl<F, R, $($w, $a),*> TaskFn<Call<NoState, ($(By<$w, $a>,)*)>> for F
        where
            F: Fn($($a),*) -> R + Copy + 'static,
            R: Message,
            $($a: Param<$w>,)*
        {
            type Output = R;
        }

        impl<F, R, B, $($w, $a),*> TaskFn<Call<B, ($(By<$w, $a>,)*)>> for F
        where
            F: Fn(B, $($a),*) -> R + Copy + 'static,
            B: Borrowed,
            R: Message,
            $($a: Param<$w>,)*
        {
            type Output = R;
        }

        impl<F, R, $($w, $a),*> StateFn<Call<NoState, ($(By<$w, $a>,)*)>> for F
        where
            F: Fn($($a),*) -> R + Copy + 'static,
            $($a: Param<$w>,)*
        {
            type State = R;
        }
    };
}

functions!();
functions!(W0 A0);
functions!(W0 A0 W1 A1);
functions!(W0 A0 W1 A1 W2 A2);
functions!(W0 A0 W1 A1 W2 A2 W3 A3);
functions!(W0 A0 W1 A1 W2 A2 W3 A3 W4 A4);
functions!(W0 A0 W1 A1 W2 A2 W3 A3 W4 A4 W5 A5);
functions!(W0 A0 W1 A1 W2 A2 W3 A3 W4 A4 W5 A5 W6 A6);
functions!(W0 A0 W1 A1 W2 A2 W3 A3 W4 A4 W5 A5 W6 A6 W7 A7);
