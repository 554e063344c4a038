//! What programs do with errors of tasks, and with values that cannot be shown.

use std::error::Error;
use std::panic::catch_unwind;
use std::time::Duration;

use offspring::{ErrorKind, Executor, Failure, Inline, Pool, TaskError, message, task};
use offspring_tests::watchdog;

#[task]
fn double(x: u64) -> u64 {
    assert!(x != 3, "three");
    2 * x
}

/// It can be shown neither as it is nor archived.
#[message]
struct Mute(u64);

#[task]
fn mute(x: u64) -> Mute {
    Mute(x)
}

struct Counter {
    calls: u64,
}

#[task(state)]
fn counter(start: u64) -> Result<Counter, Failure> {
    if start == 13 { Err(Failure::msg("unlucky")) } else { Ok(Counter { calls: start }) }
}

#[task]
fn count(counter: &mut Counter, by: u64) -> u64 {
    assert!(by != 99, "spoilt");
    counter.calls += by;
    counter.calls
}

#[test]
fn results_can_be_compared() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let results = Pool::builder().workers(1).build().unwrap().try_map(double, 1..4u64).unwrap();
    assert_eq!(results[..2], [Ok(2), Ok(4)]);
    let error = results[2].as_ref().unwrap_err();
    assert_eq!(results[2], Err(error.clone()));
    assert_eq!((error.message(), error.tries()), (Some("three"), Some(1)));
    assert!(error.location().unwrap().contains("task_errors.rs:"), "{error}");
    assert!(error.worker().is_some_and(|worker| worker != std::process::id()), "{error}");
}

#[test]
fn values_without_debug_do_not_hinder_unwrap_err() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let pool = Pool::builder().workers(1).build().unwrap();
    let views = pool.map_archived(mute, [7u64]).unwrap();
    assert!(format!("{views:?}").starts_with("[View {"), "{views:?}");
    assert_eq!(views[0].0, 7);
    let handle = pool.submit(mute, 8u64).unwrap();
    let text = format!("{handle:?}");
    assert!(text.starts_with("TaskHandle { task: \"task_errors::mute\""), "{text}");
    assert_eq!(handle.get().map(|mute| mute.0), Ok(8));
    pool.close();
    assert!(pool.submit(mute, 9u64).unwrap_err().is_pool_closed());
    assert!(pool.map_archived(mute, [9u64]).map(|mut views| views.pop()).unwrap_err().is_pool_closed());
}

#[test]
fn a_missing_state_is_an_error_of_its_own_that_names_the_cure_of_the_place() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let errors = [
        (
            Pool::builder().workers(1).build().unwrap().call(count, 1u64).unwrap_err(),
            "give the pool one with `Pool::builder",
        ),
        (Inline::new().call(count, 1u64).unwrap_err(), "give the executor one with `Inline::with_state("),
        (offspring::spawn(count, 1u64).unwrap().join().unwrap_err(), "run the task in a pool, with `Pool::builder"),
    ];
    for (error, cure) in errors {
        assert!(error.is_no_state() && error.kind() == ErrorKind::InvalidInput, "{error:?}");
        assert!(error.to_string().contains(cure) && !error.to_string().contains("no worker could"), "{error}");
    }
    let failed = Pool::builder().workers(1).state(counter, 13u64).build().unwrap().call(count, 1u64).unwrap_err();
    assert!(failed.is_no_state() && failed.kind() == ErrorKind::Failed, "{failed:?}");
    assert!(failed.to_string().ends_with("failed: unlucky"), "{failed}");
}

#[test]
fn an_inline_executor_lends_its_state() {
    let inline = Inline::with_state(counter, 100u64).unwrap();
    assert_eq!(inline.map(count, [1u64, 2]), Ok(vec![101, 103]));
    assert!(inline.call(count, 99u64).unwrap_err().is_panicked());
    assert_eq!(inline.call(count, 1u64), Ok(101), "made anew");
    let failed = Inline::with_state(counter, 13u64).unwrap().call(count, 1u64).unwrap_err();
    assert!(failed.is_no_state() && failed.kind() == ErrorKind::Failed, "{failed:?}");
    let text = catch_unwind(|| Inline::with_state(double, 1u64)).err();
    let text = text.and_then(|payload| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
    assert!(text.contains("`task_errors::double` is a task"), "{text}");
}

static SHARED: std::sync::LazyLock<Result<Inline, TaskError>> =
    std::sync::LazyLock::new(|| Inline::with_state(counter, 0u64));

fn shared() -> &'static Inline {
    SHARED.as_ref().expect("a number can be sent")
}

/// Uses the executor that runs it, while it has a state in its hands.
#[task]
fn nest(counter: &mut Counter, depth: u64) -> u64 {
    counter.calls += 1;
    if depth == 0 { 0 } else { 1 + shared().call(nest, depth - 1).expect("it runs") }
}

#[test]
fn threads_and_nested_tasks_share_an_inline_executor() {
    let _watchdog = watchdog(Duration::from_secs(60));
    assert_eq!(shared().call(nest, 3u64), Ok(3));
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            scope.spawn(move || assert_eq!(shared().call(nest, thread), Ok(thread)));
        }
    });
}

#[test]
fn a_failure_goes_through_the_question_mark_of_any_main() {
    fn local() -> Result<(), Box<dyn Error>> {
        Err(Failure::msg("no such row").context("cannot load"))?
    }
    fn shared() -> Result<(), Box<dyn Error + Send + Sync>> {
        Err(Failure::msg("no such row").context("cannot load"))?
    }
    let local = local().unwrap_err();
    let shared: Box<dyn Error> = shared().unwrap_err();
    for error in [local, shared] {
        assert_eq!(error.to_string(), "cannot load");
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("no such row"));
    }
}
