//! Combinations of options at their edges: a pool that shrinks while a task gathers slots, limits of nothing and of all time, queued calls that end.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use offspring::{CancelToken, OnError, Pool, task};
use offspring_tests::watchdog;

#[task]
fn square(x: u64) -> u64 {
    x * x
}

#[task]
fn nap(millis: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(millis));
    millis
}

/// Says that it runs, and runs until the other file is there.
#[task]
fn until(begun: PathBuf, end: PathBuf) {
    std::fs::write(begun, "").unwrap();
    while !end.exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits for a task of its own pool that needs all slots, in a way that the library does not see.
#[task]
fn polls_for_wide(slots: u32) -> u64 {
    let pool = Pool::builder().workers(1).build().unwrap();
    let wide = pool.batch().slots(slots).submit(square, 7).unwrap();
    while !wide.is_ready() {
        std::thread::sleep(Duration::from_millis(5));
    }
    wide.get().unwrap()
}

#[test]
fn a_task_of_several_slots_runs_though_the_pool_shrinks_while_it_waits_for_them() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let dir = tempfile::tempdir().unwrap();
    let (begun, end) = (dir.path().join("begun"), dir.path().join("end"));
    let pool = Pool::builder().workers(2).build().unwrap();
    let narrow = pool.submit(until, (begun.clone(), end.clone())).unwrap();
    while !begun.exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    let wide = pool.batch().slots(2).submit(square, 7).unwrap();
    // Long enough for a worker to begin to gather.
    std::thread::sleep(Duration::from_millis(500));
    pool.resize(1).unwrap();
    std::fs::write(&end, "").unwrap();
    narrow.get().unwrap();
    assert_eq!(wide.get().unwrap(), 49);
    assert_eq!(pool.map(square, 0..4).unwrap(), [0, 1, 4, 9]);
}

#[test]
fn a_task_of_several_slots_runs_below_one_that_waits_for_it_unseen() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let pool = Pool::builder().workers(2).build().unwrap();
    assert_eq!(pool.call(polls_for_wide, 2).unwrap(), 49);
    assert_eq!(pool.map(polls_for_wide, [2, 2, 2]).unwrap(), [49; 3]);
}

#[test]
fn calls_that_nobody_waits_for_and_a_token_ends_leave_the_queue() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let dir = tempfile::tempdir().unwrap();
    let (begun, end) = (dir.path().join("begun"), dir.path().join("end"));
    let pool = Pool::builder().workers(1).build().unwrap();
    let first = pool.submit(until, (begun.clone(), end.clone())).unwrap();
    while !begun.exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    let token = CancelToken::new().unwrap();
    // All places of the ring, so that the next ones wait in line for one.
    let before: Vec<_> = (0..66_000).map(|n| pool.submit(square, n).unwrap()).collect();
    for n in 0..100 {
        drop(pool.batch().cancel(&token).submit(square, n).unwrap());
    }
    token.cancel();
    // Each that is dropped has some of the older ones looked at.
    for n in 0..100 {
        drop(pool.submit(square, n).unwrap());
    }
    std::fs::write(&end, "").unwrap();
    first.get().unwrap();
    for (n, handle) in before.into_iter().enumerate() {
        assert_eq!(handle.get().unwrap(), (n * n) as u64);
    }
    assert_eq!(pool.map(square, 0..4).unwrap(), [0, 1, 4, 9]);
}

#[test]
fn timeouts_of_nothing_and_of_all_time_are_kept() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let pool = Pool::builder().workers(2).build().unwrap();
    let results = pool.batch().timeout(Duration::ZERO).chunk_size(1).try_map(nap, [300, 300, 300]).unwrap();
    assert!(results.iter().all(|result| matches!(result, Err(error) if error.is_timed_out())), "{results:?}");
    assert_eq!(pool.batch().timeout(Duration::MAX).map(nap, [30, 30]).unwrap(), [30, 30]);
    assert_eq!(pool.batch().grace(Duration::MAX).timeout(Duration::MAX).map(nap, [30, 30]).unwrap(), [30, 30]);
    let mut handle = pool.submit(nap, 30).unwrap();
    assert_eq!(handle.get_timeout(Duration::MAX).unwrap(), 30);
    assert!(pool.submit(nap, 30).unwrap().wait(Duration::MAX).unwrap());
    let results = pool.batch().timeout(Duration::from_millis(50)).grace(Duration::MAX).try_map(nap, [150, 1]).unwrap();
    assert_eq!(results.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [150, 1]);
    let idle = Pool::builder().workers(2).idle_timeout(Duration::ZERO).build().unwrap();
    for _ in 0..50 {
        assert_eq!(idle.map(square, 0..4).unwrap(), [0, 1, 4, 9]);
    }
    let idle = Pool::builder().workers(2).idle_timeout(Duration::MAX).build().unwrap();
    assert_eq!(idle.map(square, 0..4).unwrap(), [0, 1, 4, 9]);
    let delayed = Pool::builder().workers(1).task_timeout(Duration::MAX).retry_delay(Duration::MAX).build().unwrap();
    assert_eq!(delayed.map(square, 0..4).unwrap(), [0, 1, 4, 9]);
}

#[test]
fn a_pool_may_be_dropped_or_terminated_in_a_callback() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let pool = Pool::builder().workers(2).build().unwrap();
    let pool = std::sync::Arc::new(pool);
    let (tx, rx) = std::sync::mpsc::channel();
    let handle = pool.submit(square, 3).unwrap();
    let held = pool.clone();
    let others: Vec<_> = (0..10).map(|_| pool.submit(nap, 10_000).unwrap()).collect();
    let begun = Instant::now();
    handle.on_done(move |result| {
        held.terminate();
        drop(others);
        drop(held);
        tx.send(result.clone()).unwrap();
    });
    drop(handle);
    drop(pool);
    assert_eq!(rx.recv().unwrap().unwrap(), 9);
    assert!(begun.elapsed() < Duration::from_secs(5));

    let pool = Pool::builder().workers(1).build().unwrap();
    let (tx, rx) = std::sync::mpsc::channel();
    let handle = pool.submit(nap, 50).unwrap();
    handle.on_done(move |_| {
        drop(pool);
        tx.send(()).unwrap();
    });
    rx.recv().unwrap();
    assert_eq!(handle.get().unwrap(), 50);
}

#[test]
fn a_batch_in_lanes_stops_with_retries_and_a_token() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let pool = Pool::builder().workers(3).resource("gpu", 1).max_tasks_per_worker(2).build().unwrap();
    let token = CancelToken::new().unwrap();
    token.cancel();
    assert!(pool.batch().needs("gpu", 1).cancel(&token).map(square, 0..100).is_err());
    for chunk in [1, 3, 7] {
        let batch = pool.batch().needs("gpu", 1).chunk_size(chunk).retries(2).on_error(OnError::Stop);
        assert_eq!(batch.map(square, 0..20).unwrap(), (0..20).map(|x| x * x).collect::<Vec<u64>>());
    }
    for workers in [1, 40, 3, 1, 2] {
        pool.resize(workers).unwrap();
        let batch = pool.batch().slots(2.min(workers as u32)).priority(3);
        assert_eq!(batch.map(square, 0..20).unwrap(), (0..20).map(|x| x * x).collect::<Vec<u64>>());
    }
    assert!(pool.resize(0).is_err());
}
