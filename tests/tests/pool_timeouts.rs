//! Tasks that may run only so long.

use std::time::{Duration, Instant};

use offspring::{Executor, Inline, Pool, RunOptions, task};
use offspring_tests::{Watchdog, watchdog};

#[task]
fn nap(millis: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(millis));
    millis
}

#[task]
fn spin(millis: u64) -> u64 {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(millis) {
        std::hint::spin_loop();
    }
    millis
}

/// Ends when it is asked to.
#[task]
fn polite(millis: u64) -> Result<u64, String> {
    task::sleep(Duration::from_millis(millis)).map_err(|cancelled| cancelled.to_string())?;
    Ok(millis)
}

/// How long it has left, in milliseconds.
#[task]
fn left(_: u8) -> Option<u64> {
    let deadline = task::current().unwrap().deadline?;
    Some(deadline.saturating_duration_since(Instant::now()).as_millis() as u64)
}

#[task]
fn square(x: u64) -> u64 {
    x.wrapping_mul(x)
}

const FOREVER: u64 = 600_000;

fn watch() -> Watchdog {
    watchdog(Duration::from_secs(120))
}

fn pool(workers: usize) -> Pool {
    Pool::builder().workers(workers).build().unwrap()
}

#[test]
fn an_item_that_runs_too_long_is_the_only_one_ended() {
    let _watch = watch();
    let pool = pool(2);
    let limit = Duration::from_millis(120);
    for chunk in [1, 7] {
        let millis = (0..40).map(|item| if item % 13 == 5 { FOREVER } else { item % 4 });
        let begun = Instant::now();
        let results = pool.batch().chunk_size(chunk).timeout(limit).try_map(nap, millis.clone()).unwrap();
        assert!(begun.elapsed() >= limit);
        for (item, (result, millis)) in results.into_iter().zip(millis).enumerate() {
            if millis < FOREVER {
                assert_eq!(result, Ok(millis), "item {item}");
                continue;
            }
            let error = result.unwrap_err();
            assert!(error.is_timed_out() && error.item() == Some(item), "{error}");
            assert!(error.worker().is_some() && error.tries() == Some(1), "{error:?}");
            assert!(error.to_string().contains("120ms"), "{error}");
        }
    }
}

#[test]
fn time_in_the_queue_is_not_counted() {
    let _watch = watch();
    let pool = Pool::builder().workers(1).task_timeout(Duration::from_millis(400)).build().unwrap();
    // The last one waits far longer than it may run.
    let handles: Vec<_> = (0..12).map(|_| pool.submit(nap, 60u64).unwrap()).collect();
    for handle in handles {
        assert_eq!(handle.get().unwrap(), 60);
    }
    assert_eq!(pool.map(nap, [60u64; 12]).unwrap(), [60; 12]);
}

#[test]
fn a_batch_has_a_limit_of_its_own() {
    let _watch = watch();
    let pool = Pool::builder().workers(1).task_timeout(Duration::from_millis(30)).build().unwrap();
    assert!(pool.call(nap, FOREVER).unwrap_err().is_timed_out());
    assert_eq!(pool.batch().timeout(Duration::from_secs(60)).call(nap, 100).unwrap(), 100);
    assert!(pool.batch().timeout(Duration::from_millis(5)).call(spin, FOREVER).unwrap_err().is_timed_out());
    assert_eq!(pool.call(square, 3).unwrap(), 9);
}

#[test]
fn with_a_grace_the_task_is_asked_first() {
    let _watch = watch();
    let pool = pool(2);
    let (limit, grace) = (Duration::from_millis(50), Duration::from_millis(200));
    let batch = pool.batch().chunk_size(1).timeout(limit).grace(grace);
    // One listens: what it returns then is its result.
    let begun = Instant::now();
    assert_eq!(batch.call(polite, FOREVER).unwrap().unwrap_err(), "the task was asked to end");
    assert!(begun.elapsed() >= limit);
    assert_eq!(pool.stats().started, 1, "its worker lives on");
    // One does not.
    let begun = Instant::now();
    assert!(batch.call(nap, FOREVER).unwrap_err().is_timed_out());
    assert!(begun.elapsed() >= limit + grace);
    // Who is asked is one item, not its batch.
    let results = batch.try_map(polite, [1, FOREVER, 2, 3]).unwrap();
    assert_eq!([0, 2, 3].map(|item: usize| results[item].as_ref().unwrap().as_ref().unwrap()), [&1, &2, &3]);
    assert!(results[1].as_ref().unwrap().is_err());
}

#[test]
fn a_task_knows_when_its_time_is_up() {
    let _watch = watch();
    let pool = pool(1);
    assert_eq!(pool.call(left, 0).unwrap(), None);
    let left_of = pool.batch().timeout(Duration::from_secs(100)).map(left, [0, 1, 2]).unwrap();
    assert!(left_of.iter().all(|left| left.is_some_and(|left| (90_000..=100_000).contains(&left))), "{left_of:?}");
    // Nothing of it is left for the next task.
    assert_eq!(pool.call(left, 0).unwrap(), None);
}

#[test]
fn many_timed_tasks_in_chunks_all_come_back() {
    let _watch = watch();
    let pool = pool(3);
    let expected: Vec<u64> = (0..20_000).map(square).collect();
    let batch = pool.batch().timeout(Duration::from_secs(60));
    assert_eq!(batch.map(square, 0..20_000).unwrap(), expected);
    assert_eq!(batch.clone().chunk_size(1).map(square, 0..20_000).unwrap(), expected);
}

#[test]
fn timed_calls_one_after_the_other_and_from_many_threads() {
    let _watch = watch();
    let pool = pool(3);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let pool = &pool;
            scope.spawn(move || {
                for round in 0..15 {
                    let batch = pool.batch().timeout(Duration::from_millis(40 + thread * 7));
                    if (round + thread) % 5 == 0 {
                        assert!(batch.call(nap, FOREVER).unwrap_err().is_timed_out());
                    } else {
                        // Slow machines may be slow to wake; then it is a timeout, and nothing else.
                        let result = batch.call(nap, 1);
                        assert!(result == Ok(1) || result.unwrap_err().is_timed_out());
                    }
                }
            });
        }
    });
}

#[test]
fn inline_tells_of_tasks_that_ran_too_long() {
    let _watch = watch();
    let inline = Inline::new();
    let options = RunOptions::new().timeout(Duration::from_millis(20));
    let engine = inline.with_options(&options);
    assert_eq!(engine.call(square, 3).unwrap(), 9);
    assert!(engine.call(nap, 40).unwrap_err().is_timed_out());
    // It cannot be ended by force, but it can ask.
    assert!(engine.call(polite, FOREVER).unwrap_err().is_timed_out());
}
