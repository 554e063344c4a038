//! What every executor must do: for tests of each of them, in whichever package.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use offspring::{CancelToken, ErrorKind, Executor, OnError, RunOptions, task};

#[task]
fn square(x: u64) -> u64 {
    x.wrapping_mul(x)
}

#[task]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[task]
fn nothing() -> u32 {
    7
}

#[task]
fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

#[task]
fn shout(text: String) -> String {
    text.to_uppercase()
}

#[task]
fn picky(x: i32) -> i32 {
    assert!(x != 3, "three is out");
    -x
}

#[task]
fn parse(text: String) -> Result<i64, String> {
    text.parse::<i64>().map_err(|error| error.to_string())
}

#[task]
fn bytes(n: usize) -> Vec<u8> {
    vec![n as u8; n]
}

#[task]
fn length(data: &[u8]) -> usize {
    data.len()
}

/// Fails where an engine does not do what every one must. It needs no more than one worker.
pub fn conforms(engine: &impl Executor) {
    maps_in_order(engine);
    takes_every_shape_of_parameters(engine);
    keeps_other_items_when_one_fails(engine);
    is_lazy(engine);
    submits(engine);
    flows(engine);
    hands_results_to_callbacks(engine);
    keeps_to_options(engine);
    tells_how_far_it_is(engine);
    errors_have_what_the_task_noted(engine);
}

fn tells_how_far_it_is(engine: &impl Executor) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let teller = told.clone();
    let watched = RunOptions::new().progress_with(move |progress| teller.lock().unwrap().push(progress.clone()));
    let watched = engine.with_options(&watched);
    assert_eq!(watched.map(square, 0..1000).unwrap().len(), 1000);
    let last = told.lock().unwrap().pop().unwrap();
    assert_eq!((last.done, last.failed, last.retried, last.total), (1000, 0, 0, Some(1000)));
    assert!(last.is_over && told.lock().unwrap().iter().all(|progress| !progress.is_over && progress.done <= 1000));
    // A panic, and errors of tasks; and an input that does not say how long it is.
    assert!(watched.try_map(picky, 0..6).unwrap()[3].is_err());
    let last = told.lock().unwrap().pop().unwrap();
    assert_eq!((last.done, last.failed, last.is_over), (6, 1, true));
    let texts = ["1", "?", "3", "!"].into_iter().filter(|text| !text.is_empty());
    assert_eq!(watched.imap_unordered(parse, texts.map(str::to_owned)).count(), 4);
    let last = told.lock().unwrap().pop().unwrap();
    assert_eq!((last.done, last.failed, last.total, last.is_over), (4, 2, Some(4), true));
}

fn errors_have_what_the_task_noted(engine: &impl Executor) {
    let together = RunOptions::new().chunk_size(4);
    let results = engine.with_options(&together).try_map(noting, 0..4).unwrap();
    let error = results[2].as_ref().unwrap_err();
    assert_eq!(error.notes(), ["at 2", "two is out"]);
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 3);
}

#[task]
fn noting(n: u32) -> u32 {
    task::note(format!("at {n}"));
    if n == 2 {
        task::note("two is out");
        panic!("two");
    }
    n
}

fn hands_results_to_callbacks(engine: &impl Executor) {
    let mut seen = Vec::new();
    let tally = engine
        .map_with(picky, 0..6, |index, result| {
            seen.push((index, result.ok()));
            assert!(index != 5, "a callback's own panic");
        })
        .unwrap();
    seen.sort_unstable();
    assert_eq!(seen, [(0, Some(0)), (1, Some(-1)), (2, Some(-2)), (3, None), (4, Some(-4)), (5, Some(-5))]);
    assert_eq!((tally.items, tally.failed, tally.panicked), (6, 1, 1));
    let (sender, receiver) = std::sync::mpsc::channel();
    let failed = sender.clone();
    let [good, bad] = [2, 3].map(|x| engine.submit(picky, x).unwrap());
    good.on_value(move |value| sender.send(*value).unwrap());
    bad.on_error(move |error| failed.send(error.is_panicked().into()).unwrap());
    let mut heard = [receiver.recv().unwrap(), receiver.recv().unwrap()];
    heard.sort_unstable();
    assert_eq!(heard, [-2, 1]);
    assert_eq!(good.get().unwrap(), -2);
}

fn keeps_to_options(engine: &impl Executor) {
    // What fails stops the rest: a panic, and a task's own error.
    let stopping = RunOptions::new().chunk_size(1).on_error(OnError::Stop);
    let stopping = engine.with_options(&stopping);
    let error = stopping.map(picky, (0..).map(|x| x % 1_000)).unwrap_err();
    assert!(error.is_panicked() && error.item() == Some(3), "{error}");
    let texts = (0..100_000).map(|x| if x == 7 { "?".to_owned() } else { x.to_string() });
    let results = stopping.try_map(parse, texts).unwrap();
    assert!(results[7].as_ref().unwrap().is_err());
    assert!(results.last().unwrap().as_ref().unwrap_err().is_stopped());
    assert_eq!(stopping.map(square, 0..5).unwrap(), [0, 1, 4, 9, 16]);
    // A token, and options upon options.
    let token = CancelToken::new().unwrap();
    let with_token = RunOptions::new().cancel(&token).retries(1).retry_delay(Duration::from_millis(1));
    let with_token = stopping.with_options(&with_token);
    assert_eq!(with_token.map(square, 0..5).unwrap(), [0, 1, 4, 9, 16]);
    token.cancel();
    assert!(with_token.map(square, 0..5).unwrap_err().is_cancelled());
    assert!(with_token.call(square, 5).unwrap_err().is_cancelled());
    // Time limits: kept, and known to the task.
    let limited = RunOptions::new().timeout(Duration::from_secs(1_000)).grace(Duration::from_secs(1)).crash_limit(3);
    assert_eq!(engine.with_options(&limited).map(knows, [0, 1]).unwrap(), [(Some(0), true), (Some(1), true)]);
    assert_eq!(engine.map(knows, [0]).unwrap(), [(Some(0), false)]);
    let short = RunOptions::new().timeout(Duration::from_millis(20));
    assert!(engine.with_options(&short).call(nap, 100).unwrap_err().is_timed_out());
    assert_eq!(task::current(), None);
}

/// Which item it is, and whether there is a limit.
#[task]
fn knows(_: u8) -> (Option<usize>, bool) {
    let run = task::current().unwrap();
    assert!(!task::cancelled() && run.tries == 1 && run.task.ends_with("knows"));
    (run.item, run.deadline.is_some())
}

#[task]
fn nap(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

fn maps_in_order(engine: &impl Executor) {
    assert_eq!(engine.map(square, 0..10).unwrap(), [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]);
    assert_eq!(engine.map(square, std::iter::empty::<u64>()).unwrap(), Vec::<u64>::new());
    for n in [1u64, 2, 3, 100, 1_000, 30_000] {
        let expected: Vec<u64> = (0..n).map(square).collect();
        assert_eq!(engine.map(square, 0..n).unwrap(), expected);
        // An iterator that does not know its length.
        assert_eq!(engine.map(square, (0..n).filter(|_| true)).unwrap(), expected);
    }
    let texts: Vec<String> = (0..500).map(|i| "ab ".repeat(i)).collect();
    let loud: Vec<String> = texts.iter().map(|text| text.to_uppercase()).collect();
    assert_eq!(engine.map(shout, texts.clone()).unwrap(), loud);
    assert_eq!(engine.map(words, &texts).unwrap(), (0..500).collect::<Vec<_>>());
}

fn takes_every_shape_of_parameters(engine: &impl Executor) {
    assert_eq!(engine.map(add, [(1, 2), (3, 4)]).unwrap(), [3, 7]);
    assert_eq!(engine.map(nothing, [(), ()]).unwrap(), [7, 7]);
    assert_eq!(engine.map(words, ["a b", "c"]).unwrap(), [2, 1]);
    assert_eq!(engine.map(length, [vec![1u8; 5], vec![]]).unwrap(), [5, 0]);
    let sizes = [0, 1, 100, 5_000, 200_000, 3_000_000];
    let back: Vec<usize> = engine.map(bytes, sizes).unwrap().iter().map(Vec::len).collect();
    assert_eq!(back, sizes);
}

fn keeps_other_items_when_one_fails(engine: &impl Executor) {
    let error = engine.map(picky, 0..6).unwrap_err();
    assert!(error.is_panicked(), "{error:?}");
    assert_eq!((error.item(), error.kind()), (Some(3), ErrorKind::Panicked));
    assert!(error.to_string().contains("three is out"), "{error}");
    assert!(error.to_string().contains("conformance.rs"), "{error}");
    assert!(error.task().ends_with("picky"), "{error}");
    let results = engine.try_map(picky, 0..6).unwrap();
    let values: Vec<Option<i32>> = results.into_iter().map(Result::ok).collect();
    assert_eq!(values, [Some(0), Some(-1), Some(-2), None, Some(-4), Some(-5)]);
    let parsed = engine.map(parse, ["12".to_owned(), "x".to_owned()]).unwrap();
    assert_eq!(*parsed[0].as_ref().unwrap(), 12);
    assert!(parsed[1].as_ref().unwrap_err().contains("invalid digit"));
}

fn is_lazy(engine: &impl Executor) {
    let pulled = std::cell::Cell::new(0u64);
    let endless = std::iter::from_fn(|| {
        pulled.set(pulled.get() + 1);
        Some(pulled.get())
    });
    let first: Vec<u64> = engine.imap(square, endless).take(100).map(Result::unwrap).collect();
    assert_eq!(first, (1..=100).map(square).collect::<Vec<u64>>());
    assert!(pulled.get() < 10_000_000, "pulled {} items for 100 results", pulled.get());
    let mut seen: Vec<(usize, u64)> = engine.imap_unordered(square, 0..2_000).map(|(i, r)| (i, r.unwrap())).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..2_000u64).map(|i| (i as usize, square(i))).collect::<Vec<_>>());
    let mixed: Vec<bool> = engine.imap(picky, 0..6).map(|r| r.is_ok()).collect();
    assert_eq!(mixed, [true, true, true, false, true, true]);
    let mut failed: Vec<usize> =
        engine.imap_unordered(picky, 0..6).filter(|(_, r)| r.is_err()).map(|(i, _)| i).collect();
    failed.sort_unstable();
    assert_eq!(failed, [3]);
}

fn flows(engine: &impl Executor) {
    assert_eq!(engine.flow(0..1_000u64).map(square).reduce(add_up).unwrap(), Some((0..1_000).map(square).sum()));
    assert_eq!(engine.flow(["a b", "", "c"]).map(words).collect().unwrap(), [2, 0, 1]);
    let mut bad = Vec::new();
    let good = engine.flow(["1", "x", "3"]).try_map(parse).on_failure(|error| bad.push(error)).collect().unwrap();
    assert_eq!((good, bad.len()), (vec![1, 3], 1));
    assert_eq!((bad[0].item(), bad[0].stage(), bad[0].kind()), (Some(1), 1, ErrorKind::Failed));
    let lengths = engine.flow([5usize, 0, 70_000]).map(bytes).map(length).map(keyed).reduce_by_key(add_up).unwrap();
    assert_eq!(lengths.sorted_by_key(), [(0, 70_005), (1, 0)]);
    let error = engine.flow(0..9i32).map(picky).count().unwrap_err();
    assert_eq!((error.item(), error.kind()), (Some(3), ErrorKind::Panicked));
}

#[task]
fn add_up(a: u64, b: u64) -> u64 {
    a + b
}

#[task]
fn keyed(n: usize) -> (u64, u64) {
    (u64::from(n == 0), n as u64)
}

fn submits(engine: &impl Executor) {
    assert_eq!(engine.call(add, (20, 22)).unwrap(), 42);
    let handles: Vec<_> = (0..200).map(|i| engine.submit(square, i).unwrap()).collect();
    let values: Vec<u64> = handles.into_iter().map(|h| h.get().unwrap()).collect();
    assert_eq!(values, (0..200).map(square).collect::<Vec<u64>>());
    let mut handle = engine.submit(square, 9).unwrap();
    assert!(handle.wait(Duration::from_secs(60)).unwrap());
    assert!(handle.is_ready());
    assert_eq!(handle.get_timeout(Duration::from_secs(60)).unwrap(), 81);
    assert_eq!(handle.get_timeout(Duration::from_secs(60)).unwrap_err().kind(), ErrorKind::Taken);
    let error = engine.call(picky, 3).unwrap_err();
    assert!(error.is_panicked() && error.item().is_none(), "{error:?}");
}
