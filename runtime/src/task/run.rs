//! Running a task over a range of items, one loop per task.
//!
//! [`TaskCall`]s are made here, of functions that take their borrowed arguments for *every* lifetime: a function that
//! wants `&'static str`, and could keep a piece of shared memory that will be reused, does not fit.
#![allow(unsafe_code)]
// One maker per number of parameters takes that many.
#![allow(clippy::too_many_arguments)]

use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64, fence};

use super::entry::{Grain, Role, TaskCall};
use super::fault::TaskFault;
use super::panic;
use super::param::Kind;
use super::state::WorkerState;
use super::wire::Wire;
use crate::message::{DecodeError, Decoder, Encoder, Message};

/// Size and alignment of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotLayout {
    /// In bytes; slots of several items lie this far apart.
    pub size: usize,
    /// A power of two, at most 64.
    pub align: usize,
}

impl SlotLayout {
    pub(crate) const fn of<T>() -> Self {
        assert!(align_of::<T>() <= 64, "the archived form is aligned to more than 64 bytes");
        SlotLayout { size: size_of::<T>(), align: align_of::<T>() }
    }
}

/// One run of a task: which items, from where, to where.
pub struct RunCtx<'a> {
    /// The input slot of item 0. The slots of items `lo..hi` are valid for the task, as are their data.
    pub inputs: *const u8,
    /// The output slot of item 0. The slots of items `lo..hi` are aligned, initialised memory of this run alone.
    pub outputs: *mut u8,
    /// The first item.
    pub lo: usize,
    /// The item after the last.
    pub hi: usize,
    /// How far it is: `i << 1 | 1` before item `i` is begun; at the end `i << 1`, where `i` is the first item not done. A program of
    /// several tasks says in the bits from [`STAGE_SHIFT`] on which of them it is at.
    pub progress: &'a AtomicU64,
    /// Writes the results; its spans and the output slots lie in one mapping.
    pub encoder: &'a mut Encoder,
    /// What tasks with a first parameter `&mut S` borrow.
    pub state: &'a mut WorkerState,
    /// Told of each item without a result; its output slot means nothing then.
    pub fault: &'a mut dyn FnMut(usize, TaskFault),
    /// Not 0: `attend` is to be asked before each item.
    pub attention: &'a AtomicU32,
    /// Told of an item that is about to begin, if `attention` asks for it; `false`: end before it.
    pub attend: &'a mut dyn FnMut(usize, &Encoder) -> bool,
    /// Told, by programs that are committed by the chunk, of each item that has ended its way; before the chunk is done.
    pub mishap: &'a mut dyn FnMut(usize),
    /// Bit `i % 64` of word `i / 64` set: leave item `i` out. For programs that are committed by the chunk; may be shorter.
    pub skips: &'a [AtomicU64],
    /// So many items that ended their way end the whole batch: such a program leaves out the items after the last of them, where it may ask
    /// `attend` before each.
    pub most_mishaps: usize,
    /// Called by such programs after each panic of a task that they caught.
    pub caught: fn(),
}

/// Where the stage stands in a word of progress.
pub const STAGE_SHIFT: u32 = 48;

impl fmt::Debug for RunCtx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunCtx")
            .field("lo", &self.lo)
            .field("hi", &self.hi)
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

/// How a pass over items ended.
enum Pass {
    Done,
    /// Before this item somebody is to be asked.
    Attention(usize),
    /// At this item.
    Panicked(usize),
}

/// Calls the task for the items `from..hi`, until the end, a panic, or until `attention` is not 0.
///
/// # Safety
/// As said at the fields of [`RunCtx`].
#[inline(always)]
unsafe fn pass<A, R: Message>(
    cx: &mut RunCtxParts<'_, '_>,
    (from, hi, attention): (usize, usize, &AtomicU32),
    mut call: impl FnMut(*const A, &mut Decoder) -> Result<R, DecodeError>,
) -> Pass {
    // One frame for the whole pass, not one per item: `progress` says which item panicked.
    let result = panic::catch(|| {
        // Copies, as every store of an item might change what is captured by reference, for all the compiler knows.
        let (inputs, outputs, progress) = (cx.inputs.cast::<A>(), cx.outputs.cast::<R::Archived>(), cx.progress);
        for item in from..hi {
            if attention.load(Relaxed) != 0 {
                // Whoever sees what this leads to sees why.
                fence(Acquire);
                return Pass::Attention(item);
            }
            progress.store((item as u64) << 1 | 1, Release);
            // SAFETY: `lo <= item < hi`, for which the caller vouches.
            let (input, output) = unsafe { (inputs.add(item), outputs.add(item)) };
            match call(input, &mut Decoder::new()) {
                // SAFETY: the slot is this run's to write, and in the mapping of the encoder's spans.
                Ok(value) => match unsafe { cx.encoder.put(&value, output.cast()) } {
                    Ok(()) => {}
                    Err(error) => (cx.fault)(item, error.into()),
                },
                Err(error) => (cx.fault)(item, error.into()),
            }
        }
        Pass::Done
    });
    match result {
        Ok(pass) => pass,
        Err(record) => Pass::Panicked(panicked(cx, from, hi, record)),
    }
}

/// Reports the item that panicked, and which it was.
#[cold]
fn panicked(cx: &mut RunCtxParts<'_, '_>, from: usize, hi: usize, record: panic::PanicRecord) -> usize {
    let item = ((cx.progress.load(Relaxed) >> 1) as usize).clamp(from, hi - 1);
    cx.encoder.abandon();
    (cx.fault)(item, TaskFault::Panicked(record));
    item
}

/// [`RunCtx`] without the state.
struct RunCtxParts<'a, 'b> {
    inputs: *const u8,
    outputs: *mut u8,
    lo: usize,
    hi: usize,
    progress: &'a AtomicU64,
    encoder: &'b mut Encoder,
    fault: &'b mut dyn FnMut(usize, TaskFault),
    attention: &'a AtomicU32,
    attend: &'b mut dyn FnMut(usize, &Encoder) -> bool,
}

impl<'a> RunCtx<'a> {
    fn split(&mut self) -> (RunCtxParts<'a, '_>, &mut WorkerState) {
        let RunCtx { inputs, outputs, lo, hi, progress, attention, .. } = *self;
        let (encoder, fault, attend) = (&mut *self.encoder, &mut *self.fault, &mut *self.attend);
        (RunCtxParts { inputs, outputs, lo, hi, progress, encoder, fault, attention, attend }, self.state)
    }
}

/// Runs all items of `cx`.
///
/// # Safety
/// As said at the fields of [`RunCtx`].
#[inline(always)]
unsafe fn items<A, R: Message>(
    cx: &mut RunCtx<'_>,
    mut call: impl FnMut(*const A, &mut Decoder) -> Result<R, DecodeError>,
) {
    let (mut parts, _) = cx.split();
    let mut way = Way::new(&parts);
    while way.next < parts.hi {
        // SAFETY: passed on to the caller.
        let pass = unsafe { pass(&mut parts, way.range(), &mut call) };
        if !way.go_on(&mut parts, pass) {
            return;
        }
    }
    parts.progress.store((parts.hi as u64) << 1, Release);
}

/// In the place of the word where attention was paid already: always 0.
static PAID: AtomicU32 = AtomicU32::new(0);

/// How far a run is, pass by pass. While attention is asked for, each item is a pass by itself, so that the loop of all others knows nothing
/// of it.
struct Way<'a> {
    next: usize,
    hi: usize,
    attention: &'a AtomicU32,
    /// The next item was attended to.
    is_attended: bool,
}

impl<'a> Way<'a> {
    fn new(parts: &RunCtxParts<'a, '_>) -> Self {
        Way { next: parts.lo, hi: parts.hi, attention: parts.attention, is_attended: false }
    }

    /// The items of the next pass, and what ends it early.
    #[inline(always)]
    fn range(&self) -> (usize, usize, &'a AtomicU32) {
        match self.is_attended {
            true => (self.next, self.next + 1, &PAID),
            false => (self.next, self.hi, self.attention),
        }
    }

    /// Goes on after a pass; `false`: the run has ended before its end.
    #[inline(always)]
    fn go_on(&mut self, parts: &mut RunCtxParts<'_, '_>, pass: Pass) -> bool {
        let was_attended = std::mem::replace(&mut self.is_attended, false);
        self.next = match pass {
            Pass::Done if was_attended => self.next + 1,
            Pass::Done => self.hi,
            Pass::Panicked(item) => item + 1,
            Pass::Attention(item) => {
                if !(parts.attend)(item, parts.encoder) {
                    parts.progress.store((item as u64) << 1, Release);
                    return false;
                }
                self.is_attended = true;
                item
            }
        };
        true
    }
}

/// Runs all items of `cx` with the worker's state.
///
/// # Safety
/// As said at the fields of [`RunCtx`].
#[inline(always)]
unsafe fn items_with<S: 'static, A, R: Message>(
    cx: &mut RunCtx<'_>,
    mut call: impl FnMut(&mut S, *const A, &mut Decoder) -> Result<R, DecodeError>,
) {
    let (mut parts, state) = cx.split();
    let mut way = Way::new(&parts);
    while way.next < parts.hi {
        // The constructor may be what kills this process: that costs the item for which it was called.
        parts.progress.store((way.next as u64) << 1 | 1, Release);
        let lent = match state.lend::<S>() {
            Ok(lent) => lent,
            Err(why) => {
                for item in way.next..parts.hi {
                    parts.progress.store((item as u64) << 1 | 1, Release);
                    (parts.fault)(item, why.clone());
                }
                break;
            }
        };
        // SAFETY: passed on to the caller.
        let pass = unsafe { pass(&mut parts, way.range(), |input, decoder| call(lent, input, decoder)) };
        if let Pass::Panicked(_) = pass {
            state.spoil();
        }
        if !way.go_on(&mut parts, pass) {
            return;
        }
    }
    parts.progress.store((parts.hi as u64) << 1, Release);
}

/// Calls a state constructor and keeps what it makes.
///
/// # Safety
/// As said at the fields of [`RunCtx`].
unsafe fn construct<A, S: 'static>(
    cx: &mut RunCtx<'_>,
    call: impl FnOnce(*const A, &mut Decoder) -> Result<Result<S, String>, DecodeError>,
) {
    // SAFETY: passed on to the caller.
    let input = unsafe { cx.inputs.cast::<A>().add(cx.lo) };
    cx.progress.store((cx.lo as u64) << 1 | 1, Release);
    match panic::catch(|| call(input, &mut Decoder::new())) {
        Ok(Ok(Ok(state))) => cx.state.set(state),
        Ok(Ok(Err(reason))) => {
            (cx.fault)(cx.lo, TaskFault::NoState { reason, kind: crate::ErrorKind::Failed });
        }
        Ok(Err(error)) => (cx.fault)(cx.lo, error.into()),
        Err(record) => (cx.fault)(cx.lo, TaskFault::Panicked(record)),
    }
    cx.progress.store((cx.hi as u64) << 1, Release);
}

/// The function of type `F`.
#[inline(always)]
pub(crate) fn function<F: Copy>() -> F {
    const { assert!(size_of::<F>() == 0, "a task is a function, not a pointer to one") }
    // SAFETY: `F` has no bytes, and a value of it existed: the one that `TaskCall`'s makers were given. It is `Copy`.
    unsafe { std::ptr::NonNull::<F>::dangling().read() }
}

fn type_id<F: 'static>() -> TypeId {
    TypeId::of::<F>()
}

macro_rules! arity {
    (plain $n:ident $slots:ty; $($k:ident $h:ident $index:tt)*) => {
        /// A task of this many parameters.
        // Not public API. Used by generated code.
        pub const fn $n<F, R, $($k: Kind),*>(_: &F $(, _: PhantomData<$k>)*) -> TaskCall
        where
            F: for<'a> Fn($($k::Arg<'a>),*) -> R + Copy + 'static,
            R: Message,
        {
            unsafe fn run<F, R, $($k: Kind),*>(cx: &mut RunCtx<'_>)
            where
                F: for<'a> Fn($($k::Arg<'a>),*) -> R + Copy + 'static,
                R: Message,
            {
                let task = function::<F>();
                // SAFETY: `RunCtx` vouches for the input slots, which hold this tuple, while the run lasts; each hold is
                // lent once.
                unsafe {
                    items::<$slots, R>(cx, |_slot, _decoder| {
                        $(let mut $h = $k::hold(&raw const (*_slot).$index, _decoder)?;)*
                        Ok(task($($k::lend(&mut $h)),*))
                    });
                }
            }
            TaskCall {
                run: run::<F, R, $($k),*>,
                type_id: type_id::<F>,
                input: SlotLayout::of::<$slots>(),
                output: SlotLayout::of::<R::Archived>(),
                role: Role::Task,
                grain: Grain::Item,
                failure: None,
                wire: Wire::of::<$slots, R>(),
                show: None,
            }
        }
    };
    (with_state $n:ident $slots:ty; $($k:ident $h:ident $index:tt)*) => {
        /// A task of a worker's state and this many parameters.
        // Not public API. Used by generated code.
        pub const fn $n<F, R, S: 'static, $($k: Kind),*>(
            _: &F,
            _: PhantomData<S>
            $(, _: PhantomData<$k>)*
        ) -> TaskCall
        where
            F: for<'a> Fn(&'a mut S, $($k::Arg<'a>),*) -> R + Copy + 'static,
            R: Message,
        {
            unsafe fn run<F, R, S: 'static, $($k: Kind),*>(cx: &mut RunCtx<'_>)
            where
                F: for<'a> Fn(&'a mut S, $($k::Arg<'a>),*) -> R + Copy + 'static,
                R: Message,
            {
                let task = function::<F>();
                // SAFETY: `RunCtx` vouches for the input slots, which hold this tuple, while the run lasts; each hold is
                // lent once.
                unsafe {
                    items_with::<S, $slots, R>(cx, |state, _slot, _decoder| {
                        $(let mut $h = $k::hold(&raw const (*_slot).$index, _decoder)?;)*
                        Ok(task(state, $($k::lend(&mut $h)),*))
                    });
                }
            }
            TaskCall {
                run: run::<F, R, S, $($k),*>,
                type_id: type_id::<F>,
                input: SlotLayout::of::<$slots>(),
                output: SlotLayout::of::<R::Archived>(),
                role: Role::Task,
                grain: Grain::Item,
                failure: None,
                wire: Wire::of::<$slots, R>(),
                show: None,
            }
        }
    };
    (constructor $n:ident $slots:ty; $($k:ident $h:ident $index:tt)*) => {
        /// A state constructor of this many parameters. `finish` makes the state of what it returns.
        // Not public API. Used by generated code.
        pub const fn $n<F, R, S: 'static, M: Made<R, State = S>, $($k: Kind),*>(
            _: &F,
            _: PhantomData<M>
            $(, _: PhantomData<$k>)*
        ) -> TaskCall
        where
            F: for<'a> Fn($($k::Arg<'a>),*) -> R + Copy + 'static,
        {
            unsafe fn run<F, R, S: 'static, M: Made<R, State = S>, $($k: Kind),*>(cx: &mut RunCtx<'_>)
            where
                F: for<'a> Fn($($k::Arg<'a>),*) -> R + Copy + 'static,
            {
                let task = function::<F>();
                // SAFETY: `RunCtx` vouches for the input slot, which holds this tuple, while the run lasts; each hold is
                // lent once.
                unsafe {
                    construct::<$slots, S>(cx, |_slot, _decoder| {
                        $(let mut $h = $k::hold(&raw const (*_slot).$index, _decoder)?;)*
                        Ok(M::made(task($($k::lend(&mut $h)),*)))
                    });
                }
            }
            TaskCall {
                run: run::<F, R, S, M, $($k),*>,
                type_id: type_id::<F>,
                input: SlotLayout::of::<$slots>(),
                output: SlotLayout::of::<()>(),
                role: Role::State,
                grain: Grain::Item,
                failure: None,
                wire: Wire::of::<$slots, ()>(),
                show: None,
            }
        }
    };
}

/// How a state constructor's return value becomes the state.
// Not public API. Used by generated code.
pub trait Made<R> {
    /// The state.
    type State;

    /// The state, or why there is none.
    fn made(returned: R) -> Result<Self::State, String>;
}

/// The constructor returns the state.
#[derive(Debug)]
pub struct Plainly;

/// The constructor returns a `Result` of it.
#[derive(Debug)]
pub struct Fallibly;

impl<S> Made<S> for Plainly {
    type State = S;

    fn made(returned: S) -> Result<S, String> {
        Ok(returned)
    }
}

impl<S, E: fmt::Display> Made<Result<S, E>> for Fallibly {
    type State = S;

    fn made(returned: Result<S, E>) -> Result<S, String> {
        returned.map_err(|error| format!("{error:#}"))
    }
}

/// The state that `&mut S` borrows.
// Not public API. Used by generated code.
pub const fn state<B: super::Borrowed>() -> PhantomData<B::State> {
    PhantomData
}

/// Plain tasks by number of parameters.
// Not public API. Used by generated code.
pub mod plain {
    use super::*;
    use rkyv::tuple::*;
    arity!(plain n0 (););
    arity!(plain n1 ArchivedTuple1<K0::Slot>; K0 h0 0);
    arity!(plain n2 ArchivedTuple2<K0::Slot, K1::Slot>; K0 h0 0 K1 h1 1);
    arity!(plain n3 ArchivedTuple3<K0::Slot, K1::Slot, K2::Slot>; K0 h0 0 K1 h1 1 K2 h2 2);
    arity!(plain n4 ArchivedTuple4<K0::Slot, K1::Slot, K2::Slot, K3::Slot>; K0 h0 0 K1 h1 1 K2 h2 2 K3 h3 3);
    arity!(plain n5 ArchivedTuple5<K0::Slot, K1::Slot, K2::Slot, K3::Slot, K4::Slot>;
        K0 h0 0 K1 h1 1 K2 h2 2 K3 h3 3 K4 h4 4);
    arity!(plain n6 ArchivedTuple6<K0::Slot, K1::Slot, K2::Slot, K3::Slot, K4::Slot, K5::Slot>;
        K0 h0 0 K1 h1 1 K2 h2 2 K3 h3 3 K4 h4 4 K5 h5 5);
    arity!(plain n7 ArchivedTuple7<K0::Slot, K1::Slot, K2::Slot, K3::Slot, K4::Slot, K5::Slot, K6::Slot>;
        K0 h0 0 K1 h1 1 K2 h2 2 K3 h3 3 K4 h4 4 K5 h5 5 K6 h6 6);
    arity!(plain n8 ArchivedTuple8<K0::Slot, K1::Slot, K2::Slot, K3::Slot, K4::Slot, K5::Slot, K6::Slot, K7::Slot>;
        K0 h0 0 K1 h1 1 K2 h2 2 K3 h3 3 K4 h4 4 K5 h5 5 K6 h6 6 K7 h7 7);
}

/// Tasks that borrow the worker's state, by number of the other parameters.
// Not public API. Used by generated code.
pub mod with_state {
    use super::*;
    use rkyv::tuple::*;
    arity!(with_state n0 (););
    arity!(with_state n1 ArchivedTuple1<K0::Slot>; K0 h0 0);
    arity!(with_state n2 ArchivedTuple2<K0::Slot, K1::Slot>; K0 h0 0 K1 h1 1);
    arity!(with_state n3 ArchivedTuple3<K0::Slot, K1::Slot, K2::Slot>; K0 h0 0 K1 h1 1 K2 h2 2);
    arity!(with_state n4 ArchivedTuple4<K0::Slot, K1::Slot, K2::Slot, K3::Slot>; K0 h0 0 K1 h1 1 K2 h2 2 K3 h3 3);
    arity!(with_state n5 ArchivedTuple5<K0::Slot, K1::Slot, K2::Slot, K3::Slot, K4::Slot>;
        K0 h0 0 K1 h1 1 K2 h2 2 K3 h3 3 K4 h4 4);
    arity!(with_state n6 ArchivedTuple6<K0::Slot, K1::Slot, K2::Slot, K3::Slot, K4::Slot, K5::Slot>;
        K0 h0 0 K1 h1 1 K2 h2 2 K3 h3 3 K4 h4 4 K5 h5 5);
    arity!(with_state n7 ArchivedTuple7<K0::Slot, K1::Slot, K2::Slot, K3::Slot, K4::Slot, K5::Slot, K6::Slot>;
        K0 h0 0 K1 h1 1 K2 h2 2 K3 h3 3 K4 h4 4 K5 h5 5 K6 h6 6);
    arity!(with_state n8 ArchivedTuple8<K0::Slot, K1::Slot, K2::Slot, K3::Slot, K4::Slot, K5::Slot, K6::Slot, K7::Slot>;
        K0 h0 0 K1 h1 1 K2 h2 2 K3 h3 3 K4 h4 4 K5 h5 5 K6 h6 6 K7 h7 7);
}

/// Constructors of a worker's state, by number of parameters.
// Not public API. Used by generated code.
pub mod constructor {
    use super::*;
    use rkyv::tuple::*;
    arity!(constructor n0 (););
    arity!(constructor n1 ArchivedTuple1<K0::Slot>; K0 h0 0);
    arity!(constructor n2 ArchivedTuple2<K0::Slot, K1::Slot>; K0 h0 0 K1 h1 1);
    arity!(constructor n3 ArchivedTuple3<K0::Slot, K1::Slot, K2::Slot>; K0 h0 0 K1 h1 1 K2 h2 2);
    arity!(constructor n4 ArchivedTuple4<K0::Slot, K1::Slot, K2::Slot, K3::Slot>; K0 h0 0 K1 h1 1 K2 h2 2 K3 h3 3);
    arity!(constructor n5 ArchivedTuple5<K0::Slot, K1::Slot, K2::Slot, K3::Slot, K4::Slot>;
        K0 h0 0 K1 h1 1 K2 h2 2 K3 h3 3 K4 h4 4);
    arity!(constructor n6 ArchivedTuple6<K0::Slot, K1::Slot, K2::Slot, K3::Slot, K4::Slot, K5::Slot>;
        K0 h0 0 K1 h1 1 K2 h2 2 K3 h3 3 K4 h4 4 K5 h5 5);
    arity!(constructor n7 ArchivedTuple7<K0::Slot, K1::Slot, K2::Slot, K3::Slot, K4::Slot, K5::Slot, K6::Slot>;
        K0 h0 0 K1 h1 1 K2 h2 2 K3 h3 3 K4 h4 4 K5 h5 5 K6 h6 6);
    arity!(constructor n8 ArchivedTuple8<K0::Slot, K1::Slot, K2::Slot, K3::Slot, K4::Slot, K5::Slot, K6::Slot, K7::Slot>;
        K0 h0 0 K1 h1 1 K2 h2 2 K3 h3 3 K4 h4 4 K5 h5 5 K6 h6 6 K7 h7 7);
}
