//! Tasks and state constructors are told apart wherever one of them is asked for.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use offspring::{ErrorKind, Executor, Inline, Pool, PoolError, SpawnError, task};
use offspring_tests::watchdog;

#[task(state)]
fn seed(start: u64) -> u64 {
    start
}

#[task]
fn square(x: u64) -> u64 {
    x * x
}

/// What `call` panics with.
fn panic_of<T>(call: impl FnOnce() -> T) -> String {
    let payload = catch_unwind(AssertUnwindSafe(call)).err().expect("it panics");
    payload.downcast_ref::<String>().cloned().unwrap_or_default()
}

#[test]
fn a_state_constructor_is_not_run_as_a_task() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let pool = Pool::builder().workers(1).build().unwrap();
    let refused = [
        panic_of(|| pool.map(seed, 0..4u64)),
        panic_of(|| pool.submit(seed, 1u64)),
        panic_of(|| pool.imap(seed, 0..4u64).count()),
        panic_of(|| Inline::new().map(seed, 0..4u64)),
        panic_of(|| Inline::new().submit(seed, 1u64)),
        match offspring::spawn(seed, 1u64) {
            Err(error @ SpawnError::UnknownTask { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        },
    ];
    for text in refused {
        assert!(text.starts_with("`task_roles::seed` makes a worker's state, so it cannot be run as a task"), "{text}");
        assert!(text.contains("Pool::builder().state("), "{text}");
    }
}

#[test]
fn a_task_does_not_make_state() {
    let error = Pool::builder().workers(1).state(square, 7u64).build().unwrap_err();
    assert!(matches!(error, PoolError::State { .. }) && error.kind() == ErrorKind::UnknownTask, "{error:?}");
    let text = error.to_string();
    assert!(text.contains("`task_roles::square` is a task") && text.contains("#[offspring::task(state)]"), "{text}");
}
