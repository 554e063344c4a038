//! What a pool leaves behind: nothing. Alone in its binary, as it counts this process's children and descriptors.

use std::time::Duration;

use offspring::{Pool, task};
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
