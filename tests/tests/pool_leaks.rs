//! What a pool leaves behind: nothing. Alone in its binary, as it counts this process's children and descriptors.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use futures_core::Stream;
use offspring::{CancelLevel, CancelToken, OnError, Pool, task};
use offspring_tests::{leaks, watchdog};

#[task]
fn square(x: u64) -> u64 {
    x.wrapping_mul(x)
}

#[task]
fn nap(millis: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(millis));
    millis
}

#[test]
fn a_dropped_pool_leaves_nothing_behind() {
    let _watch = watchdog(Duration::from_secs(120));
    let work = || {
        let pool = Pool::builder().workers(3).build().unwrap();
        assert_eq!(pool.map(square, 0..1_000u64).unwrap().len(), 1_000);
        let _running = pool.submit(nap, 60_000u64).unwrap();
        std::mem::drop(pool.imap(square, 0..).take(10).collect::<Vec<_>>());
        drop(_running);
    };
    leaks::check(work, work);
}

/// Input that panics after 100 items.
fn breaks() -> impl Iterator<Item = u64> {
    (0..).inspect(|x| assert!(*x < 100, "the input broke"))
}

#[test]
fn unusual_ends_of_results_leave_nothing_behind() {
    let _watch = watchdog(Duration::from_secs(120));
    let work = || {
        let pool = Pool::builder().workers(2).build().unwrap();
        assert!(catch_unwind(AssertUnwindSafe(|| pool.map(square, breaks()))).is_err());
        assert_eq!(pool.imap_ahead(square, 0..).take(10).count(), 10);
        let mut stream = pin!(pool.imap(square, 0..).into_stream());
        let _ = stream.as_mut().poll_next(&mut Context::from_waker(Waker::noop()));
        assert_eq!(pool.map_with(square, 0..10, |_, _| ()).unwrap().items, 10);
    };
    leaks::check(work, work);
}

#[test]
fn ended_work_leaves_nothing_behind() {
    let _watch = watchdog(Duration::from_secs(120));
    let work = || {
        let pool = Pool::builder().workers(2).task_timeout(Duration::from_millis(40)).build().unwrap();
        assert!(pool.call(nap, 60_000u64).unwrap_err().is_timed_out());
        let token = CancelToken::new().unwrap();
        let handle = pool.batch().timeout(Duration::from_secs(60)).cancel(&token).submit(nap, 60_000u64).unwrap();
        token.cancel_with(CancelLevel::Hard);
        assert!(handle.get().unwrap_err().is_cancelled());
        let stopped = pool.batch().on_error(OnError::Stop).timeout(Duration::from_millis(5)).map(nap, [60_000u64; 8]);
        let error = stopped.unwrap_err();
        assert!(error.is_timed_out(), "{error}");
        let _running = pool.submit(nap, 60_000u64).unwrap();
    };
    leaks::check(work, work);
}
