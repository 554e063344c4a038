//! Pools inside of tasks, and the end of those who own them.

use std::time::Duration;

use offspring::{Pool, task};
use offspring_tests::{kill, proc, watchdog};

#[task]
fn square(x: u64) -> u64 {
    x * x
}

/// The sum of the squares below `n`, by a pool of this worker's own.
#[task]
fn sum_below(n: u64) -> u64 {
    let pool = Pool::builder().workers(2).build().unwrap();
    pool.map(square, 0..n).unwrap().into_iter().sum()
}

#[task]
fn nap(millis: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(millis));
    millis
}

/// Starts a pool of its own, keeps both of its workers busy for a minute, and never returns.
#[task]
fn hold(_: ()) -> u64 {
    let pool = Pool::builder().workers(2).build().unwrap();
    pool.map(nap, [60_000u64, 60_000]).unwrap().len() as u64
}

#[test]
fn tasks_use_pools_of_their_own() {
    let _watch = watchdog(Duration::from_secs(120));
    let pool = Pool::builder().workers(3).build().unwrap();
    let sums = pool.map(sum_below, (0..12u64).map(|n| n * 100)).unwrap();
    let expected: Vec<u64> = (0..12u64).map(|n| (0..n * 100).map(square).sum()).collect();
    assert_eq!(sums, expected);
}

#[test]
fn the_workers_of_a_killed_worker_are_gone_before_its_error_arrives() {
    let _watch = watchdog(Duration::from_secs(120));
    let pool = Pool::builder().workers(1).build().unwrap();
    let handle = pool.submit(hold, ()).unwrap();
    let middle = loop {
        let busy = pool.workers().into_iter().find(|worker| worker.busy).map(|worker| worker.pid as i32);
        // Two workers, and perhaps the fork server they come from.
        if let Some(pid) = busy.filter(|&pid| proc::descendants(pid).len() >= 2) {
            break pid;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    std::thread::sleep(Duration::from_millis(100));
    let family: Vec<i32> = proc::descendants(middle).into_iter().map(|process| process.pid).collect();
    kill::sigkill(middle).unwrap();
    let error = handle.get().unwrap_err();
    assert!(error.is_worker_died(), "{error}");
    let alive: Vec<_> = family.into_iter().filter_map(proc::process).filter(|process| process.state != 'Z').collect();
    assert!(alive.is_empty(), "{alive:?}");
    assert_eq!(pool.call(square, 4u64).unwrap(), 16);
}
