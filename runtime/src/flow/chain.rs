//! Chains of stages: what happens to one value between a flow's input and its end.
//!
//! A chain has no fields: it is a type made of the types of its functions, which have no bytes. So nothing of it needs to be sent.

use std::marker::PhantomData;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::mishap::{self, Mishap};
use super::stage::{LookFn, StageFn};
use crate::message::Message;
use crate::task::{STAGE_SHIFT, TaskFault, WorkerState};

/// What the stages of a running chunk share.
#[derive(Debug)]
pub struct Cx<'a> {
    pub(super) progress: &'a AtomicU64,
    /// The word of progress for the item at hand, without its stage.
    pub(super) word: u64,
    pub(super) state: &'a mut WorkerState,
    pub(super) mishaps: Vec<Mishap>,
}

impl Cx<'_> {
    /// Says that the item at hand is now at this stage. Whoever comes after a panic or a death reads it.
    #[inline(always)]
    pub(super) fn enter(&mut self, stage: u32) {
        self.progress.store(self.word | u64::from(stage) << STAGE_SHIFT, Relaxed);
    }

    /// The item at hand, counted from the chunk's start.
    pub(super) fn item(&self) -> usize {
        (self.word >> 1) as usize
    }

    /// The value at hand ends its way here.
    #[cold]
    pub(super) fn fail(&mut self, stage: u32, fault: &TaskFault) {
        self.mishaps.push(Mishap::fault(self.item(), stage, fault));
    }
}

/// Stages after one another, from values of type `S` on.
pub trait Chain<S>: 'static {
    /// What comes out.
    type Out;
    /// How many stages there are.
    const LEN: u32;
    /// May several values come of one?
    const FANS_OUT: bool;
    /// Does a stage borrow the worker's state?
    const STATEFUL: bool;

    /// Sends a value through, and what comes of it to `next`.
    fn push<K: FnMut(Self::Out, &mut Cx<'_>)>(value: S, cx: &mut Cx<'_>, next: &mut K);

    /// What comes out if there is no stage at all.
    fn unchanged(value: S) -> Result<Self::Out, S> {
        Err(value)
    }
}

/// No stage.
#[derive(Debug)]
pub struct Start;

impl<S> Chain<S> for Start {
    type Out = S;
    const LEN: u32 = 0;
    const FANS_OUT: bool = false;
    const STATEFUL: bool = false;

    #[inline(always)]
    fn push<K: FnMut(S, &mut Cx<'_>)>(value: S, cx: &mut Cx<'_>, next: &mut K) {
        next(value, cx);
    }

    fn unchanged(value: S) -> Result<S, S> {
        Ok(value)
    }
}

macro_rules! stages {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        pub struct $name<C, F, M>(PhantomData<fn() -> (C, F, M)>);

        impl<C, F, M> std::fmt::Debug for $name<C, F, M> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )*};
}

stages! {
    /// One value becomes another.
    Map;
    /// One value becomes another, or ends its way.
    TryMap;
    /// One value becomes any number of others.
    FlatMap;
    /// A value goes on or not.
    Filter;
    /// A value is looked at.
    Inspect;
}

impl<S, C, F, M> Chain<S> for Map<C, F, M>
where
    C: Chain<S>,
    F: StageFn<C::Out, M>,
    M: 'static,
{
    type Out = F::Output;
    const LEN: u32 = C::LEN + 1;
    const FANS_OUT: bool = C::FANS_OUT;
    const STATEFUL: bool = C::STATEFUL || F::STATEFUL;

    #[inline(always)]
    fn push<K: FnMut(F::Output, &mut Cx<'_>)>(value: S, cx: &mut Cx<'_>, next: &mut K) {
        C::push(value, cx, &mut |value, cx: &mut Cx<'_>| {
            cx.enter(Self::LEN);
            match F::run(value, cx.state) {
                Ok(value) => next(value, cx),
                Err(fault) => cx.fail(Self::LEN, &fault),
            }
        });
    }
}

impl<S, C, F, M, T, E> Chain<S> for TryMap<C, F, M>
where
    C: Chain<S>,
    F: StageFn<C::Out, M, Output = Result<T, E>>,
    M: 'static,
    T: Message,
    E: Message,
{
    type Out = T;
    const LEN: u32 = C::LEN + 1;
    const FANS_OUT: bool = C::FANS_OUT;
    const STATEFUL: bool = C::STATEFUL || F::STATEFUL;

    #[inline(always)]
    fn push<K: FnMut(T, &mut Cx<'_>)>(value: S, cx: &mut Cx<'_>, next: &mut K) {
        C::push(value, cx, &mut |value, cx: &mut Cx<'_>| {
            cx.enter(Self::LEN);
            match F::run(value, cx.state) {
                Ok(Ok(value)) => next(value, cx),
                Ok(Err(error)) => {
                    let text = mishap::text_of::<F, T, E>(error);
                    let refused = Mishap::refused(cx.item(), Self::LEN, text);
                    cx.mishaps.push(refused);
                }
                Err(fault) => cx.fail(Self::LEN, &fault),
            }
        });
    }
}

impl<S, C, F, M> Chain<S> for FlatMap<C, F, M>
where
    C: Chain<S>,
    F: StageFn<C::Out, M, Output: IntoIterator>,
    M: 'static,
{
    type Out = <F::Output as IntoIterator>::Item;
    const LEN: u32 = C::LEN + 1;
    const FANS_OUT: bool = true;
    const STATEFUL: bool = C::STATEFUL || F::STATEFUL;

    #[inline(always)]
    fn push<K: FnMut(Self::Out, &mut Cx<'_>)>(value: S, cx: &mut Cx<'_>, next: &mut K) {
        C::push(value, cx, &mut |value, cx: &mut Cx<'_>| {
            cx.enter(Self::LEN);
            match F::run(value, cx.state) {
                Ok(values) => values.into_iter().for_each(|value| next(value, cx)),
                Err(fault) => cx.fail(Self::LEN, &fault),
            }
        });
    }
}

impl<S, C, F, M> Chain<S> for Filter<C, F, M>
where
    C: Chain<S>,
    F: LookFn<C::Out, M, Output = bool>,
    M: 'static,
{
    type Out = C::Out;
    const LEN: u32 = C::LEN + 1;
    const FANS_OUT: bool = C::FANS_OUT;
    const STATEFUL: bool = C::STATEFUL;

    #[inline(always)]
    fn push<K: FnMut(C::Out, &mut Cx<'_>)>(value: S, cx: &mut Cx<'_>, next: &mut K) {
        C::push(value, cx, &mut |value, cx: &mut Cx<'_>| {
            cx.enter(Self::LEN);
            if F::look(&value) {
                next(value, cx);
            }
        });
    }
}

impl<S, C, F, M> Chain<S> for Inspect<C, F, M>
where
    C: Chain<S>,
    F: LookFn<C::Out, M, Output = ()>,
    M: 'static,
{
    type Out = C::Out;
    const LEN: u32 = C::LEN + 1;
    const FANS_OUT: bool = C::FANS_OUT;
    const STATEFUL: bool = C::STATEFUL;

    #[inline(always)]
    fn push<K: FnMut(C::Out, &mut Cx<'_>)>(value: S, cx: &mut Cx<'_>, next: &mut K) {
        C::push(value, cx, &mut |value, cx: &mut Cx<'_>| {
            cx.enter(Self::LEN);
            F::look(&value);
            next(value, cx);
        });
    }
}
