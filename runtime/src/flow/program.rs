//! What a worker runs for a chunk: all stages on each item, then the end; or the end alone, over what other chunks gave.
//!
//! # Exactly once
//!
//! A chunk's result is one message in one slot, and counts when the chunk's word says done. Until then nothing of it stands: when the
//! worker dies, or when a panic leaves the accumulator half done, the chunk begins anew, without the item that was to blame. So an
//! item is in the result once, whole, or not at all.
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::fence;

use rkyv::result::ArchivedResult;

use super::chain::{Chain, Cx};
use super::mishap::Mishap;
use super::terminal::Terminal;
use crate::ErrorKind;
use crate::message::{DecodeError, Decoder, Message};
use crate::task::{Program, RunCtx, STAGE_SHIFT, SlotLayout, TaskCall, TaskEntry, TaskFault, TaskSource, Wire, catch};

/// What a chunk gives: its partial result and what became of items that are not in it; or why there is none, a [`TaskFault`].
pub type Outcome<P> = Result<(P, Vec<Mishap>), Vec<u8>>;

/// Runs a chain and an end over items that hold an `S`.
pub struct Work<S, C, T>(PhantomData<fn() -> (S, C, T)>);

/// Merges what chunks gave to an end `T` of values `V`.
pub struct Merge<V, T>(PhantomData<fn() -> (V, T)>);

impl<S, C, T> fmt::Debug for Work<S, C, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Work")
    }
}

impl<V, T> fmt::Debug for Merge<V, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Merge")
    }
}

const fn source(name: &'static str) -> TaskSource {
    TaskSource { name, file: "", line: 0, column: 0, signature: "", version: 0 }
}

// SAFETY: `run` leaves an `Outcome` in the chunk's slot, unless it was told to stop.
unsafe impl<S, C, T> Program for Work<S, C, T>
where
    S: Message,
    C: Chain<S>,
    T: Terminal<C::Out>,
{
    type Output = Outcome<T::Partial>;

    const ENTRY: &'static TaskEntry = &TaskEntry::new(
        source("a flow"),
        TaskCall::of_program::<Self>(
            work::<S, C, T>,
            SlotLayout::of::<S::Archived>(),
            SlotLayout::of::<<Self::Output as Message>::Archived>(),
            T::NANOS,
            Wire::of::<S::Archived, Self::Output>(),
        ),
    );
}

// SAFETY: as above.
unsafe impl<V: 'static, T: Terminal<V>> Program for Merge<V, T> {
    type Output = Outcome<T::Partial>;

    const ENTRY: &'static TaskEntry = &TaskEntry::new(
        source("the merging of a flow"),
        TaskCall::of_program::<Self>(
            merge::<V, T>,
            SlotLayout::of::<<Box<Self::Output> as Message>::Archived>(),
            SlotLayout::of::<<Self::Output as Message>::Archived>(),
            T::NANOS,
            Wire::of::<<Box<Self::Output> as Message>::Archived, Self::Output>(),
        ),
    );
}

/// # Safety
/// As said at the fields of [`RunCtx`], for `Work<S, C, T>`.
unsafe fn work<S, C, T>(run: &mut RunCtx<'_>)
where
    S: Message,
    C: Chain<S>,
    T: Terminal<C::Out>,
{
    let inputs = run.inputs.cast::<S::Archived>();
    let last = C::LEN + 1;
    // SAFETY: passed on to the caller.
    unsafe {
        run_chunk::<C::Out, T>(run, C::LEN, C::FANS_OUT, C::STATEFUL, |item, acc, cx| {
            // SAFETY: `item` is one of the run's items.
            let value = match S::read(&*inputs.add(item), &mut Decoder::new()) {
                Ok(value) => value,
                Err(error) => {
                    cx.fail(0, &error.into());
                    return true;
                }
            };
            C::push(value, cx, &mut |value, cx: &mut Cx<'_>| {
                cx.enter(last);
                T::feed(acc, value);
            });
            true
        });
    }
}

/// # Safety
/// As said at the fields of [`RunCtx`], for `Merge<V, T>`.
unsafe fn merge<V: 'static, T: Terminal<V>>(run: &mut RunCtx<'_>) {
    let inputs = run.inputs.cast::<<Box<Outcome<T::Partial>> as Message>::Archived>();
    // SAFETY: passed on to the caller.
    unsafe {
        run_chunk::<V, T>(run, 0, false, false, |item, acc, cx| {
            // SAFETY: `item` is one of the run's items: a box, whose contents may be what a chunk's worker left. The caller keeps that,
            // unchanged, until this run is over.
            let outcome: &<Outcome<T::Partial> as Message>::Archived = &*inputs.add(item);
            cx.enter(1);
            let absorbed = match outcome {
                ArchivedResult::Ok(parts) => T::absorb_archived(acc, &parts.0),
                ArchivedResult::Err(_) => Err(DecodeError::new("a chunk that failed has no partial result")),
            };
            if let Err(error) = absorbed {
                cx.fail(1, &error.into());
                return false;
            }
            true
        });
    }
}

/// How a pass over items ended.
enum Pass {
    Done,
    Stopped,
    /// The item at hand left the accumulator half done.
    Broken,
    /// The item at hand ended its way, and the accumulator is whole.
    Passed,
}

/// Runs `each` on the items of a chunk, and writes what the end makes of it. `each` says whether the accumulator is whole.
///
/// # Safety
/// As said at the fields of [`RunCtx`], for a program whose output is `Outcome<T::Partial>`.
#[inline(always)]
unsafe fn run_chunk<V, T: Terminal<V>>(
    run: &mut RunCtx<'_>,
    stages: u32,
    fans_out: bool,
    stateful: bool,
    mut each: impl FnMut(usize, &mut T::Acc, &mut Cx<'_>) -> bool,
) {
    let RunCtx { lo, hi, progress, attention, skips, most_mishaps, caught, .. } = *run;
    let attend = &mut *run.attend;
    let encoder = &mut *run.encoder;
    let mut cx = Cx { progress, word: 0, state: &mut *run.state, mishaps: Vec::new() };
    let mut acc = T::begin();
    // Items that are not run again when the chunk begins anew; their mishaps stay.
    let mut left_out: Vec<usize> = Vec::new();
    let mut from = lo;
    loop {
        let pass = catch(|| {
            for item in from..hi {
                if attention.load(Relaxed) != 0 {
                    // Whoever sees what this leads to sees why.
                    fence(Acquire);
                    if cx.mishaps.len() >= most_mishaps {
                        return Pass::Done;
                    }
                    if !attend(item, encoder) {
                        return Pass::Stopped;
                    }
                }
                if !skips.is_empty() && is_skipped(skips, item) || !left_out.is_empty() && left_out.contains(&item) {
                    continue;
                }
                cx.word = (item as u64) << 1 | 1;
                progress.store(cx.word, Release);
                if !each(item, &mut acc, &mut cx) {
                    return Pass::Broken;
                }
            }
            Pass::Done
        });
        let pass = pass.unwrap_or_else(|record| {
            let at = (progress.load(Relaxed) >> STAGE_SHIFT) as u32;
            cx.mishaps.push(Mishap::fault(cx.item(), at, &TaskFault::Panicked(record)));
            caught();
            if stateful {
                cx.state.spoil();
            }
            // Nothing of the item was in the accumulator before it reached the end, if it has but one value.
            if at > stages || fans_out { Pass::Broken } else { Pass::Passed }
        });
        let item = cx.item();
        match pass {
            Pass::Done => break,
            // Nothing of this chunk stands.
            Pass::Stopped => return progress.store((lo as u64) << 1, Release),
            Pass::Passed => {
                left_out.push(item);
                from = item + 1;
            }
            Pass::Broken => {
                left_out.push(item);
                let broken = std::mem::replace(&mut acc, T::begin());
                // Its drop may panic as well.
                let _ = catch(move || drop(broken));
                cx.mishaps.retain(|mishap| left_out.contains(&(mishap.item as usize)));
                from = lo;
            }
        }
    }
    let mishaps = std::mem::take(&mut cx.mishaps);
    mishaps.iter().for_each(|mishap| (run.mishap)(mishap.item as usize));
    // Still the last item's: whoever dies here has someone to blame, so that it ends.
    progress.store((hi as u64 - 1) << 1 | 1 | u64::from(stages + 1) << STAGE_SHIFT, Release);
    let written = catch(|| {
        let outcome: Outcome<T::Partial> = Ok((T::finish(acc), mishaps));
        // SAFETY: the caller vouches for the slot, and for its type.
        unsafe { encoder.put(&outcome, run.outputs) }
    });
    let fault = match written {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(TaskFault::from(error)),
        Err(record) => {
            encoder.abandon();
            Some(TaskFault::Panicked(record))
        }
    };
    if let Some(fault) = fault {
        let outcome: Outcome<T::Partial> = Err(fault.encode());
        // SAFETY: as above.
        if unsafe { encoder.put(&outcome, run.outputs) }.is_err() {
            let outcome: Outcome<T::Partial> = Err(Vec::new());
            // SAFETY: as above. An empty vector needs no memory.
            let _ = unsafe { encoder.put(&outcome, run.outputs) };
        }
    }
    progress.store((hi as u64) << 1, Release);
}

#[cold]
fn is_skipped(skips: &[std::sync::atomic::AtomicU64], item: usize) -> bool {
    skips.get(item / 64).is_some_and(|word| word.load(Relaxed) & 1 << (item % 64) != 0)
}

/// Why a chunk gave nothing.
pub(super) fn fault_of(bytes: &[u8]) -> TaskFault {
    if bytes.is_empty() {
        let reason = "there is no shared memory left, not even for the reason".to_owned();
        return TaskFault::NotSendable { reason, kind: ErrorKind::OutOfMemory };
    }
    TaskFault::decode(bytes)
}
