//! The pool's promises, each with real worker processes.

use std::time::{Duration, Instant};

use offspring::{ErrorKind, Pool, PoolError, Signal, task};
use offspring_tests::{proc, watchdog};

fn watch() -> offspring_tests::Watchdog {
    watchdog(Duration::from_secs(120))
}

#[task]
fn square(x: u64) -> u64 {
    x.wrapping_mul(x)
}

#[task]
fn nap(millis: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(millis));
    millis
}

#[task]
fn pid_after(millis: u64) -> u32 {
    std::thread::sleep(Duration::from_millis(millis));
    std::process::id()
}

#[task]
fn exits(code: i32) -> i32 {
    if code >= 0 {
        std::process::exit(code);
    }
    code
}

#[task]
fn grow(n: usize) -> Vec<u8> {
    vec![1; n]
}

struct Counter {
    start: u64,
    calls: u64,
}

#[task(state)]
fn counter(start: u64) -> Counter {
    Counter { start, calls: 0 }
}

#[task]
fn count(counter: &mut Counter, add: u64) -> u64 {
    assert!(add != 13, "unlucky");
    counter.calls += add;
    counter.start + counter.calls
}

fn plain(x: u64) -> u64 {
    x
}

fn pool(workers: usize) -> Pool {
    Pool::builder().workers(workers).build().unwrap()
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    for workers in [0, 1024, 100_000] {
        let error = Pool::builder().workers(workers).build().unwrap_err();
        assert!(matches!(error, PoolError::InvalidWorkers { asked, most: 1023 } if asked == workers), "{error}");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn a_function_without_the_attribute_is_refused_by_name_in_the_caller() {
    let _watch = watch();
    let pool = pool(1);
    let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pool.map(plain, [1u64])));
    let message = *refused.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("plain") && message.contains("#[offspring::task]"), "{message}");
    assert_eq!(pool.stats().started, 0);
    assert_eq!(pool.map(square, [3u64]).unwrap(), [9]);
}

#[test]
fn workers_start_on_demand_and_no_more_than_the_work_needs() {
    let _watch = watch();
    let pool = pool(4);
    assert_eq!(pool.workers().len(), 0);
    pool.call(square, 1u64).unwrap();
    assert_eq!(pool.workers().len(), 1);
    let pids = pool.map(pid_after, vec![100u64; 8]).unwrap();
    let distinct: std::collections::BTreeSet<u32> = pids.into_iter().collect();
    assert!((2..=4).contains(&distinct.len()), "{distinct:?}");
    assert!(!distinct.contains(&std::process::id()));
}

#[test]
fn tasks_run_side_by_side() {
    let _watch = watch();
    let pool = pool(10);
    let begun = Instant::now();
    pool.map(nap, vec![300u64; 10]).unwrap();
    assert!(begun.elapsed() < Duration::from_millis(2_500), "ten naps of 0.3 s took {:?}", begun.elapsed());
}

#[test]
fn a_long_task_does_not_delay_the_short_ones() {
    let _watch = watch();
    let pool = pool(2);
    let begun = Instant::now();
    let mut short = pool.imap_unordered(nap, std::iter::once(4_000u64).chain(std::iter::repeat_n(1, 100)));
    for _ in 0..100 {
        assert_eq!(short.next().unwrap().1.unwrap(), 1);
    }
    assert!(begun.elapsed() < Duration::from_millis(3_500), "{:?}", begun.elapsed());
}

#[test]
fn exit_inside_a_task_is_that_tasks_failure() {
    let _watch = watch();
    let pool = pool(2);
    let results = pool.try_map(exits, [-1, 3, -2, 0]).unwrap();
    assert_eq!(*results[0].as_ref().unwrap(), -1);
    assert_eq!(*results[2].as_ref().unwrap(), -2);
    for (item, code) in [(1, 3), (3, 0)] {
        let error = results[item].as_ref().unwrap_err();
        assert!(error.is_worker_died() && error.item() == Some(item), "{error}");
        assert_eq!(error.exit_status().unwrap().code(), Some(code));
    }
}

#[test]
fn close_finishes_what_was_handed_in_and_refuses_more() {
    let _watch = watch();
    let pool = pool(3);
    let handles: Vec<_> = (0..20).map(|_| pool.submit(nap, 20u64).unwrap()).collect();
    assert!(matches!(pool.join(), Err(PoolError::NotClosed)));
    pool.close();
    let refused = pool.submit(nap, 1u64).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Closed);
    assert_eq!(pool.map(square, [1u64]).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(pool.imap(square, [1u64]).next().unwrap().unwrap_err().kind(), ErrorKind::Closed);
    pool.join().unwrap();
    assert!(pool.workers().is_empty());
    assert!(handles.into_iter().all(|handle| handle.is_ready() && handle.get().unwrap() == 20));
}

#[test]
fn terminate_ends_everything_at_once_and_whoever_waits_hears_of_it() {
    let _watch = watch();
    let pool = pool(2);
    let handles: Vec<_> = (0..1_000).map(|_| pool.submit(nap, 60_000u64).unwrap()).collect();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| pool.map(nap, vec![60_000u64; 10]));
        std::thread::sleep(Duration::from_millis(200));
        pool.terminate();
        assert_eq!(waiting.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
    });
    pool.join().unwrap();
    for handle in handles {
        let kind = handle.get().unwrap_err().kind();
        assert!(matches!(kind, ErrorKind::Closed | ErrorKind::Cancelled), "{kind:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn handles_outlive_their_pool() {
    let _watch = watch();
    let pool = pool(2);
    let handles: Vec<_> = (0..10).map(|i| pool.submit(nap, 50 + i).unwrap()).collect();
    drop(pool);
    let values: Vec<u64> = handles.into_iter().map(|handle| handle.get().unwrap()).collect();
    assert_eq!(values, (50..60).collect::<Vec<u64>>());
}

#[test]
fn a_timeout_of_the_wait_leaves_the_task_alone_and_cancel_ends_it() {
    let _watch = watch();
    let pool = pool(1);
    let mut handle = pool.submit(nap, 400u64).unwrap();
    assert!(!handle.wait(Duration::from_millis(10)).unwrap());
    assert_eq!(handle.get_timeout(Duration::from_millis(10)).unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(handle.get().unwrap(), 400);
    let long = pool.submit(nap, 600_000u64).unwrap();
    let queued = pool.submit(nap, 600_000u64).unwrap();
    while !pool.workers().iter().any(|worker| worker.busy) {
        std::thread::sleep(Duration::from_millis(5));
    }
    queued.cancel();
    assert!(queued.get().unwrap_err().is_cancelled());
    long.cancel();
    assert!(long.get().unwrap_err().is_cancelled());
    assert_eq!(pool.call(square, 5u64).unwrap(), 25);
}

#[test]
fn a_failed_map_leaves_the_pool_usable() {
    let _watch = watch();
    let pool = pool(2);
    for _ in 0..20 {
        let error = pool.map(exits, (0..50).map(|i| if i == 7 { 1 } else { -1 })).unwrap_err();
        assert_eq!(error.item(), Some(7), "{error}");
        assert_eq!(pool.map(square, 0..10u64).unwrap()[9], 81);
    }
}

#[test]
fn workers_lend_their_state_to_each_task_and_make_it_anew_after_a_panic() {
    let _watch = watch();
    let pool = Pool::builder().workers(1).state(counter, 100u64).build().unwrap();
    assert_eq!(pool.map(count, [1u64, 2, 3]).unwrap(), [101, 103, 106]);
    assert!(pool.call(count, 13u64).unwrap_err().is_panicked());
    assert_eq!(pool.map(count, [1u64]).unwrap(), [101]);
    let without = self::pool(1).call(count, 1u64).unwrap_err();
    assert!(without.to_string().contains("Pool::builder().state("), "{without}");
}

#[test]
fn a_panicking_input_iterator_reaches_the_caller_and_harms_nothing() {
    let _watch = watch();
    let pool = pool(2);
    let items = (0..1_000u64).inspect(|i| assert!(*i < 500, "no more items"));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pool.map(square, items)));
    assert!(panicked.is_err());
    assert_eq!(pool.map(square, 0..10u64).unwrap()[3], 9);
}

#[test]
fn threads_share_a_pool() {
    let _watch = watch();
    let pool = pool(3);
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let pool = &pool;
            scope.spawn(move || {
                for round in 0..20 {
                    let items = thread * 1_000..thread * 1_000 + 200 + round;
                    let expected: Vec<u64> = items.clone().map(square).collect();
                    assert_eq!(pool.map(square, items.clone()).unwrap(), expected);
                    assert_eq!(pool.call(square, thread).unwrap(), thread * thread);
                    let lazy: u64 = pool.imap_unordered(square, items).map(|(_, r)| r.unwrap()).sum();
                    assert_eq!(lazy, expected.iter().sum::<u64>());
                }
            });
        }
    });
}

#[test]
fn results_can_be_read_in_place() {
    let _watch = watch();
    let pool = pool(2);
    let views = pool.map_in_place(grow, (0..200).map(|i| i * 1_000)).unwrap();
    assert_eq!(views.len(), 200);
    assert!(views.iter().enumerate().all(|(i, bytes)| bytes.len() == i * 1_000));
    let one = views.view(7).unwrap();
    drop((views, pool));
    assert_eq!(one.len(), 7_000);
    assert!(one.iter().all(|byte| *byte == 1));
}

#[test]
fn a_worker_killed_from_outside_costs_one_item_at_most() {
    let _watch = watch();
    let pool = pool(2);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| pool.try_map(nap, vec![30u64; 60]).unwrap());
        while begun.elapsed() < Duration::from_millis(300) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let victim = pool.workers()[0].pid;
        offspring_tests::kill::sigkill(victim as i32).unwrap();
        let results = running.join().unwrap();
        let lost: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
        assert!(lost.len() <= 1, "{lost:?}");
        for error in lost {
            assert_eq!(error.exit_status().unwrap().signal(), Some(Signal::KILL), "{error}");
        }
    });
    assert!(proc::children(std::process::id() as i32).iter().all(|child| child.state != 'Z'));
}

#[task]
fn panics_then_aborts(step: u32) -> u32 {
    match step {
        0 => panic!("caught and forgotten"),
        1 => std::process::abort(),
        2 => {
            assert!(std::panic::catch_unwind(|| panic!("caught by the task")).is_err());
            std::process::abort()
        }
        _ => step,
    }
}

#[test]
fn an_abort_is_not_blamed_on_an_earlier_panic() {
    let _watch = watch();
    let results = pool(1).try_map(panics_then_aborts, 0..4).unwrap();
    assert!(results[0].as_ref().unwrap_err().is_panicked());
    for aborted in &results[1..3] {
        let error = aborted.as_ref().unwrap_err();
        assert_eq!(error.exit_status().and_then(|status| status.signal()), Some(Signal::ABRT), "{error}");
    }
    assert_eq!(*results[3].as_ref().unwrap(), 3);
}
