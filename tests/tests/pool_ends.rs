//! How pools and batches end when something about them is unusual: iterators that are still held, rings that are full,
//! constructors that kill, calls that are cancelled while others run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use offspring::{Pool, task};
use offspring_tests::{Watchdog, watchdog};

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
fn length(data: &[u8]) -> usize {
    data.len()
}

struct Never;

#[task(state)]
fn exits(code: i32) -> Never {
    std::process::exit(code)
}

#[task(state)]
fn refuses(why: String) -> Result<Never, String> {
    Err(why)
}

#[task]
fn wants(_: &mut Never, x: u32) -> u32 {
    x
}

fn watch() -> Watchdog {
    watchdog(Duration::from_secs(120))
}

fn pool(workers: usize) -> Pool {
    Pool::builder().workers(workers).build().unwrap()
}

#[test]
fn an_exhausted_iterator_does_not_keep_the_pool_from_ending() {
    let _watch = watch();
    let pool = pool(2);
    let mut ordered = pool.imap(square, 0..10u64);
    let mut unordered = pool.imap_unordered(square, 0..10u64);
    assert_eq!(ordered.by_ref().count() + unordered.by_ref().count(), 20);
    pool.close();
    pool.join().unwrap();
    assert!(ordered.next().is_none() && unordered.next().is_none());
}

#[test]
fn terminate_ends_a_pool_whose_iterator_is_held() {
    let _watch = watch();
    let pool = pool(2);
    let mut held = pool.imap(nap, std::iter::repeat(5u64));
    assert_eq!(held.next().unwrap().unwrap(), 5);
    pool.terminate();
    pool.join().unwrap();
    let errors = held.filter(|result| result.is_err()).count();
    assert!((1..1_000).contains(&errors), "{errors}");
}

#[test]
fn more_calls_than_the_ring_has_room_for_are_all_run() {
    let _watch = watch();
    let pool = pool(2);
    let mut handles: Vec<_> = (0..90_000u64).map(|x| pool.submit(square, x).unwrap()).collect();
    // The last first: nothing is given back meanwhile.
    assert_eq!(handles.pop().unwrap().get().unwrap(), 89_999 * 89_999);
    pool.close();
    pool.join().unwrap();
    assert!(handles.iter().all(|handle| handle.is_ready()));
    assert_eq!(handles.swap_remove(7).get().unwrap(), 49);
}

#[test]
fn a_constructor_that_ends_its_process_costs_the_items_that_wanted_the_state() {
    let _watch = watch();
    let pool = Pool::builder().workers(2).state(exits, 3).build().unwrap();
    let results = pool.try_map(wants, 0..5u32).unwrap();
    for (item, result) in results.into_iter().enumerate() {
        let error = result.unwrap_err();
        assert!(error.is_worker_died() && error.item() == Some(item), "{error}");
        assert_eq!(error.exit_status().unwrap().code(), Some(3));
    }
    assert_eq!(pool.call(square, 3u64).unwrap(), 9);
}

#[test]
fn a_constructor_that_refuses_fails_each_item_with_its_words() {
    let _watch = watch();
    let pool = Pool::builder().workers(2).state(refuses, "no such database".to_owned()).build().unwrap();
    let results = pool.try_map(wants, 0..300u32).unwrap();
    assert_eq!(results.len(), 300);
    assert!(results.into_iter().all(|result| result.unwrap_err().to_string().contains("no such database")));
}

#[test]
fn cancelling_one_call_never_costs_another() {
    let _watch = watch();
    let pool = pool(2);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let others = scope.spawn(|| {
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) {
                let results = pool.map(square, 0..64u64).unwrap();
                assert_eq!(results[63], 63 * 63);
                rounds += 1;
            }
            rounds
        });
        for round in 0..400u64 {
            let handle = pool.submit(nap, u64::from(round % 7 == 0) * 20).unwrap();
            if round % 3 == 0 {
                std::thread::yield_now();
            }
            handle.cancel();
            if let Err(error) = handle.get() {
                assert!(error.is_cancelled(), "{error}");
            }
        }
        done.store(true, Ordering::Relaxed);
        assert!(others.join().unwrap() > 0);
    });
}

#[test]
fn finished_inputs_are_given_back_at_once() {
    let _watch = watch();
    let pool = pool(1);
    let family = offspring::testing::Arena::family().unwrap();
    let mut most = 0;
    for _ in 0..60 {
        assert_eq!(pool.call(length, vec![1u8; 20 << 20]).unwrap(), 20 << 20);
        most = most.max(family.ledger().granule_bytes);
    }
    assert!(most < 400 << 20, "{} MiB in use for one input of 20 MiB at a time", most >> 20);
}

#[test]
fn two_threads_wait_for_one_handle() {
    let _watch = watch();
    let pool = pool(1);
    for _ in 0..20 {
        let handle = pool.submit(nap, 30u64).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| handle.wait(Duration::from_millis(5)).unwrap());
            assert!(handle.wait(Duration::from_secs(60)).unwrap());
        });
    }
}
