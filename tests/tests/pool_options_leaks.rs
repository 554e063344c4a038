//! Pools with options leave nothing behind. Alone in its binary, as what others hold would be counted.

use std::time::Duration;

use offspring::{Pool, task};
use offspring_tests::{leaks, watchdog};

#[task]
fn square(x: u64) -> u64 {
    x * x
}

#[task]
fn below(n: u64) -> u64 {
    Pool::builder().workers(2).build().unwrap().map(square, 0..n).unwrap().len() as u64
}

fn warm_up() {
    let pool = Pool::builder().workers(2).stderr_tail(true).build().unwrap();
    assert_eq!(pool.map(below, [1u64, 2]).unwrap(), [1, 2]);
}

#[test]
fn workers_with_hooks_that_are_replaced_and_resized_leave_nothing() {
    let _watch = watchdog(Duration::from_secs(120));
    leaks::check(warm_up, || {
        let pool = Pool::builder()
            .workers(2)
            .max_tasks_per_worker(2)
            .stderr_tail(true)
            .initializer(square, 1)
            .finalizer(square, 2)
            .build()
            .unwrap();
        assert_eq!(pool.map(square, 0..40u64).unwrap().len(), 40);
        pool.resize(4).unwrap();
        assert_eq!(pool.map(square, 0..40u64).unwrap().len(), 40);
        pool.resize(1).unwrap();
        pool.close();
        pool.join().unwrap();
        assert!(pool.finalizer_results(square).unwrap().into_iter().all(|result| result.unwrap() == 4));
    });
}

#[test]
fn lanes_and_nested_pools_leave_nothing() {
    let _watch = watchdog(Duration::from_secs(120));
    leaks::check(warm_up, || {
        let pool = Pool::builder().workers(3).resource("t", 1).build().unwrap();
        let handles: Vec<_> = (0..100u64).map(|x| pool.batch().needs("t", 1).submit(square, x).unwrap()).collect();
        assert_eq!(pool.batch().priority(1).slots(2).map(below, [3u64, 4]).unwrap(), [3, 4]);
        assert!(handles.into_iter().all(|handle| handle.get().is_ok()));
    });
}
