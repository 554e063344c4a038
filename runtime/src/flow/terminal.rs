//! The ends of flows: what a worker makes of all values that come out of a chunk, and how two of those become one.

use std::fmt;
use std::marker::PhantomData;

use super::stage::{FoldFn, LookFn};
use crate::message::{DecodeError, Decoder, Message};

/// What a chunk of a flow should last, where its result is small: long against the cost of a claim, short against what a
/// user waits for.
pub(super) const CHUNK_NANOS: u64 = 1_000_000;

/// What a flow makes of the values that come out of its stages.
pub trait Terminal<T>: 'static {
    /// What it makes them in.
    type Acc;
    /// What a chunk gives.
    type Partial: Message;
    /// What a chunk should last.
    const NANOS: u64 = CHUNK_NANOS;
    /// How many partial results are merged at once.
    const FAN: usize = 64;

    /// Nothing yet.
    fn begin() -> Self::Acc;

    /// Takes a value. May panic, where it calls a task; the accumulator is thrown away then.
    fn feed(acc: &mut Self::Acc, value: T);

    /// The chunk's result.
    fn finish(acc: Self::Acc) -> Self::Partial;

    /// Takes what a chunk gave; the chunks come in order. May panic as `feed` may.
    fn absorb(acc: &mut Self::Acc, partial: Self::Partial);

    /// The same, of what lies where the chunk's worker wrote it.
    ///
    /// # Errors
    /// It cannot be read; the accumulator is thrown away then.
    fn absorb_archived(acc: &mut Self::Acc, partial: &<Self::Partial as Message>::Archived) -> Result<(), DecodeError> {
        Self::absorb(acc, Self::Partial::read(partial, &mut Decoder::new())?);
        Ok(())
    }
}

/// All values.
#[derive(Debug)]
pub struct Collect;

impl<T: Message> Terminal<T> for Collect {
    type Acc = Vec<T>;
    type Partial = Vec<T>;

    fn begin() -> Vec<T> {
        Vec::new()
    }

    #[inline(always)]
    fn feed(acc: &mut Vec<T>, value: T) {
        acc.push(value);
    }

    fn finish(acc: Vec<T>) -> Vec<T> {
        acc
    }

    fn absorb(acc: &mut Vec<T>, partial: Vec<T>) {
        acc.extend(partial);
    }
}

/// How many there are.
#[derive(Debug)]
pub struct Count;

impl<T> Terminal<T> for Count {
    type Acc = u64;
    type Partial = u64;

    fn begin() -> u64 {
        0
    }

    #[inline(always)]
    fn feed(acc: &mut u64, _: T) {
        *acc += 1;
    }

    fn finish(acc: u64) -> u64 {
        acc
    }

    fn absorb(acc: &mut u64, partial: u64) {
        *acc += partial;
    }
}

macro_rules! with_function {
    ($($(#[$doc:meta])* $name:ident<$($type:ident),*>;)*) => {$(
        $(#[$doc])*
        pub struct $name<$($type),*>(PhantomData<fn() -> ($($type,)*)>);

        impl<$($type),*> fmt::Debug for $name<$($type),*> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )*};
}

with_function! {
    /// Two values become one, until one is left.
    Reduce<F>;
    /// Values are put to what there is.
    Fold<N, F, G>;
    /// The value with the least key; of equals the first.
    MinByKey<F, M>;
    /// The value with the greatest key; of equals the last.
    MaxByKey<F, M>;
}

/// What there is, if anything, and one more.
#[inline(always)]
fn put<F: FoldFn<T, T>, T>(acc: &mut Option<T>, value: T) {
    let value = match acc.take() {
        Some(so_far) => F::fold(so_far, value),
        None => value,
    };
    *acc = Some(value);
}

impl<T: Message, F: FoldFn<T, T>> Terminal<T> for Reduce<F> {
    type Acc = Option<T>;
    type Partial = Option<T>;

    fn begin() -> Option<T> {
        None
    }

    #[inline(always)]
    fn feed(acc: &mut Option<T>, value: T) {
        put::<F, T>(acc, value);
    }

    fn finish(acc: Option<T>) -> Option<T> {
        acc
    }

    fn absorb(acc: &mut Option<T>, partial: Option<T>) {
        if let Some(value) = partial {
            put::<F, T>(acc, value);
        }
    }
}

impl<T, A, N, F, G> Terminal<T> for Fold<N, F, G>
where
    A: Message,
    N: Fn() -> A + Copy + 'static,
    F: FoldFn<A, T>,
    G: FoldFn<A, A>,
{
    type Acc = Option<A>;
    type Partial = Option<A>;

    fn begin() -> Option<A> {
        None
    }

    #[inline(always)]
    fn feed(acc: &mut Option<A>, value: T) {
        let so_far = acc.take().unwrap_or_else(|| crate::task::function_of::<N>()());
        *acc = Some(F::fold(so_far, value));
    }

    fn finish(acc: Option<A>) -> Option<A> {
        acc
    }

    fn absorb(acc: &mut Option<A>, partial: Option<A>) {
        if let Some(value) = partial {
            put::<G, A>(acc, value);
        }
    }
}

macro_rules! extreme {
    ($name:ident: $new:ident, $old:ident => $better:expr) => {
        impl<T, F, M> Terminal<T> for $name<F, M>
        where
            T: Message,
            M: 'static,
            F: LookFn<T, M, Output: Ord>,
        {
            type Acc = Option<(F::Output, T)>;
            type Partial = Option<(F::Output, T)>;

            fn begin() -> Self::Acc {
                None
            }

            #[inline(always)]
            fn feed(acc: &mut Self::Acc, value: T) {
                Self::absorb(acc, Some((F::look(&value), value)));
            }

            fn finish(acc: Self::Acc) -> Self::Partial {
                acc
            }

            #[inline(always)]
            fn absorb(acc: &mut Self::Acc, partial: Self::Partial) {
                let Some(new) = partial else { return };
                let better = acc.as_ref().is_none_or(|old| {
                    let ($new, $old) = (&new.0, &old.0);
                    $better
                });
                if better {
                    *acc = Some(new);
                }
            }
        }
    };
}

extreme!(MinByKey: new, old => new < old);
extreme!(MaxByKey: new, old => new >= old);
