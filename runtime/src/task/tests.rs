//! The run loop by itself: progress, stops, faults, and the worker's state.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};

use offspring_macros::task;

use super::*;
use crate::ErrorKind;
use crate::message::{Encoder, HeapSink, Message, decode};

/// What one run did: its results, faults and last progress.
#[derive(Debug, PartialEq)]
struct Ran<R> {
    results: Vec<Option<R>>,
    faults: Vec<(usize, TaskFault)>,
    progress: u64,
}

fn maker<F: 'static>(_: F) -> &'static TaskEntry {
    registry::entry_of::<F>(Role::State).expect("makes a state").1
}

fn entry<F: 'static>(_: F) -> &'static TaskEntry {
    registry::entry_of::<F>(Role::Task).expect("is a task").1
}

/// Runs items `lo..hi` of `items` with `state`; `stop` is told of each progress before an item.
fn run<F: TaskFn<M>, M, A: Accept<M>>(
    task: F,
    items: Vec<A>,
    (lo, hi): (usize, usize),
    state: &mut WorkerState,
    stop: &AtomicU32,
) -> Ran<F::Output> {
    let entry = entry(task);
    let count = items.len();
    // Slots of 64 bytes are too coarse: the task strides by its layout, so lay the slots out by it.
    let mut inputs = vec![0u128; (entry.input().size * count).div_ceil(16) + 1];
    let mut outputs = vec![0u128; (entry.output().size * count).div_ceil(16) + 1];
    let mut encoder = Encoder::new(Box::new(HeapSink::new()));
    for (index, item) in items.into_iter().enumerate() {
        // SAFETY: the slot of this item, on the heap as the encoder's spans are; no test aligns to more than 16.
        unsafe {
            let slot = inputs.as_mut_ptr().cast::<u8>().add(index * entry.input().size);
            item.write(&mut encoder, slot).expect("encodes");
        }
    }
    let progress = AtomicU64::new(0);
    let mut faults = Vec::new();
    let mut cx = RunCtx {
        inputs: inputs.as_ptr().cast(),
        outputs: outputs.as_mut_ptr().cast(),
        lo,
        hi,
        progress: &progress,
        skips: &[],
        most_mishaps: usize::MAX,
        caught: || (),
        encoder: &mut encoder,
        state,
        fault: &mut |item, fault| faults.push((item, fault)),
        attention: stop,
        attend: &mut |_, _| false,
        mishap: &mut |_| (),
    };
    // SAFETY: all inputs were written, the outputs are zeroed memory of the task's layout.
    unsafe { entry.run(&mut cx) };
    let done = progress.load(Relaxed) >> 1;
    let results = (0..count)
        .map(|item| {
            let ran = (lo..done as usize).contains(&item) && faults.iter().all(|(failed, _)| *failed != item);
            // SAFETY: the run says that this slot was written.
            ran.then(|| unsafe {
                decode(outputs.as_ptr().cast::<u8>().add(item * size_of::<<F::Output as Message>::Archived>()))
                    .expect("decodes")
            })
        })
        .collect();
    Ran { results, faults, progress: progress.load(Relaxed) }
}

fn stateless<F: TaskFn<M>, M, A: Accept<M>>(task: F, items: Vec<A>, range: (usize, usize)) -> Ran<F::Output> {
    run(task, items, range, &mut WorkerState::none(Home::default()), &AtomicU32::new(0))
}

#[task(crate = crate)]
fn fails_on_three(x: u32) -> String {
    assert_ne!(x, 3, "three");
    "long enough to lie out of line: ".repeat(2) + &x.to_string()
}

#[test]
fn only_the_range_is_run_and_a_panic_costs_one_item() {
    panic::install(|_| ());
    let ran = stateless(fails_on_three, vec![1, 2, 3, 4, 5, 6], (1, 5));
    assert_eq!(ran.progress, 5 << 1);
    assert_eq!(ran.results.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false, true, true, false]);
    let [(2, TaskFault::Panicked(record))] = &ran.faults[..] else { panic!("{:?}", ran.faults) };
    assert!(record.message.contains("three") && record.location.contains("tests.rs"), "{record:?}");
}

thread_local! {
    static STOP: Cell<Option<&'static AtomicU32>> = const { Cell::new(None) };
}

#[task(crate = crate)]
fn stops_after_two(x: u32) -> u32 {
    if x == 2
        && let Some(stop) = STOP.get()
    {
        stop.store(1, Relaxed);
    }
    x
}

#[test]
fn a_stop_ends_the_run_after_the_current_item() {
    let stop: &'static AtomicU32 = Box::leak(Box::new(AtomicU32::new(0)));
    STOP.set(Some(stop));
    let ran = run(stops_after_two, vec![1, 2, 3], (0, 3), &mut WorkerState::none(Home::default()), stop);
    assert_eq!(ran, Ran { results: vec![Some(1), Some(2), None], faults: vec![], progress: 2 << 1 });
}

struct Counter {
    made: u32,
    calls: u32,
}

thread_local! {
    static MADE: Cell<u32> = const { Cell::new(0) };
}

#[task(state, crate = crate)]
fn counter(start: u32) -> Result<Counter, Failure> {
    if start == 13 {
        return Err(Failure::msg("unlucky"));
    }
    assert_ne!(start, 14, "worse");
    MADE.set(MADE.get() + 1);
    Ok(Counter { made: MADE.get(), calls: start })
}

#[task(crate = crate)]
fn count(counter: &mut Counter, fail: bool) -> (u32, u32) {
    counter.calls += 1;
    assert!(!fail, "failed");
    (counter.made, counter.calls)
}

#[task(crate = crate)]
impl Counter {
    fn twice(&mut self, by: &str, n: u64) -> u64 {
        self.calls += 1;
        by.len() as u64 * n + u64::from(self.calls)
    }
}

#[task(crate = crate)]
#[expect(clippy::ptr_arg, reason = "the state's type, not what it derefs to")]
fn wants_another(state: &mut String) -> usize {
    state.len()
}

/// A state made of `start` by `counter`, and the input slot that it keeps reading.
fn counter_state(start: u32) -> (WorkerState, Box<u64>) {
    let slot = Box::new(u64::from(start));
    // SAFETY: a `u32` in a slot of eight bytes (the archived form is little-endian), kept by the caller.
    (unsafe { WorkerState::made_by(maker(counter), (&raw const *slot).cast(), Home::Pool) }, slot)
}

#[test]
fn state_is_made_once_and_again_after_a_panic() {
    let (mut state, _slot) = counter_state(10);
    let stop = AtomicU32::new(0);
    let ran = run(count, vec![false, false, true, false], (0, 4), &mut state, &stop);
    assert_eq!(ran.results, [Some((1, 11)), Some((1, 12)), None, Some((2, 11))]);
    assert!(matches!(ran.faults[..], [(2, TaskFault::Panicked(_))]));
    let ran = run(Counter::twice, vec![("ab", 5)], (0, 1), &mut state, &stop);
    assert_eq!(ran.results, [Some(22)]);
}

fn reason<R>(ran: &Ran<R>) -> (&str, ErrorKind) {
    match &ran.faults[0].1 {
        TaskFault::NoState { reason, kind } => (reason, *kind),
        _ => ("another fault", ErrorKind::Io),
    }
}

#[test]
fn missing_failing_and_mismatched_states_are_said_for_each_item() {
    let stop = AtomicU32::new(0);
    let ran = run(count, vec![false, false], (0, 2), &mut WorkerState::none(Home::default()), &stop);
    assert_eq!((ran.faults.len(), ran.progress), (2, 2 << 1));
    assert!(reason(&ran).0.contains("Pool::builder().state("), "{:?}", ran.faults);

    let (mut state, _slot) = counter_state(13);
    let ran = run(count, vec![false], (0, 1), &mut state, &stop);
    assert!(reason(&ran).0.ends_with("counter` failed: unlucky"), "{:?}", ran.faults);
    assert_eq!(reason(&ran).1, ErrorKind::Failed);

    let (mut state, _slot) = counter_state(14);
    let ran = run(count, vec![false], (0, 1), &mut state, &stop);
    assert!(reason(&ran).0.contains("counter` panicked at ") && reason(&ran).1 == ErrorKind::Panicked);

    let (mut state, _slot) = counter_state(1);
    let ran = run(wants_another, vec![()], (0, 1), &mut state, &stop);
    let text = reason(&ran).0;
    assert!(text.contains("`alloc::string::String`") && text.contains("Counter`"), "{text}");
}

#[task(crate = crate)]
fn odd_is_an_error(x: u32) -> Result<u32, Failure> {
    if x % 2 == 1 { Err(Failure::msg(format!("{x} is odd")).context("cannot halve")) } else { Ok(x / 2) }
}

#[task(crate = crate)]
fn odd_is_a_number(x: u32) -> Result<u32, Vec<u32>> {
    if x % 2 == 1 { Err(vec![x]) } else { Ok(x / 2) }
}

#[test]
fn failures_of_tasks_are_told_without_taking_results_apart() {
    fn failure<F: TaskFn<M, Output = R>, M, R: Message>(task: F, result: R) -> Option<String> {
        let mut slot = [0u128; 16];
        let mut encoder = Encoder::new(Box::new(HeapSink::new()));
        // SAFETY: the slot is aligned and large enough for these results.
        unsafe {
            encoder.put(&result, slot.as_mut_ptr().cast()).expect("encodes");
            entry(task).failure(slot.as_ptr().cast())
        }
    }
    assert_eq!(failure(odd_is_an_error, odd_is_an_error(2)), None);
    assert_eq!(failure(odd_is_an_error, odd_is_an_error(3)).as_deref(), Some("cannot halve: 3 is odd"));
    assert_eq!(failure(odd_is_a_number, odd_is_a_number(3)).as_deref(), Some("[3]"));
    assert_eq!(failure(stops_after_two, 1), None);
}

#[task(crate = crate, state)]
fn seed(start: u64) -> u64 {
    start
}

#[test]
fn tasks_and_state_constructors_are_told_apart() {
    use super::registry::LookupError;
    fn lookup<F: 'static>(_: F, role: Role) -> Result<&'static str, LookupError> {
        registry::entry_of::<F>(role).map(|(_, entry)| entry.name())
    }
    assert!(matches!(lookup(seed, Role::Task), Err(LookupError::MakesState { name }) if name.ends_with("seed")));
    assert!(matches!(lookup(count, Role::State), Err(LookupError::MakesNoState { name }) if name.ends_with("count")));
    assert!(lookup(seed, Role::State).is_ok() && lookup(count, Role::Task).is_ok());
}
