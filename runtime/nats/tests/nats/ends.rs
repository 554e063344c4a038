//! Ends of all kinds: of tasks, of workers, of pools.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use offspring::{CancelLevel, CancelToken, ErrorKind, Executor, RunOptions};
use offspring_nats::NatsPool;
use offspring_tests::watchdog;

use crate::tasks::{fragile, marks, nap, panics, triple, triple_marked};
use crate::workers::{Workers, options, pool};
use offspring_tests::nats::{Server, nats_server};

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("marks");
    (directory, file)
}

#[test]
fn errors_of_tasks_come_with_their_causes_and_limits_hold() {
    if !nats_server() {
        return;
    }
    let _watch = watchdog(Duration::from_secs(120));
    let server = Server::start();
    let mut workers = Workers::of(&server);
    workers.start();
    let pool = pool(&server);
    let (_directory, file) = scratch();

    let results = pool.try_map(panics, 0..4).unwrap();
    let error = results[2].as_ref().unwrap_err();
    assert!(error.is_panicked());
    assert_eq!((error.item(), error.message()), (Some(2), Some("two is out")));
    assert_eq!(results[3], Ok(3));

    let once = pool.with_options(&RunOptions::new().retries(1)).map(fragile, (0..6).map(|n| (n, file.clone())));
    assert_eq!(once.unwrap(), [0, 1, 2, 3, 4, 5]);
    std::fs::remove_file(&file).unwrap();
    let died = pool.try_map(fragile, (0..6).map(|n| (n, file.clone()))).unwrap();
    assert!(died[3].as_ref().unwrap_err().is_worker_died());

    let hasty = RunOptions::new().timeout(Duration::from_millis(300)).chunk_size(1);
    let late = pool.with_options(&hasty).try_map(nap, [(1, file.clone()), (60_000, file.clone())]).unwrap();
    assert_eq!(late[0], Ok(1));
    assert!(late[1].as_ref().unwrap_err().is_timed_out(), "{late:?}");
}

#[test]
fn a_cancelled_run_ends_and_the_pool_goes_on() {
    if !nats_server() {
        return;
    }
    let _watch = watchdog(Duration::from_secs(120));
    let server = Server::start();
    let mut workers = Workers::of(&server);
    workers.start();
    let pool = pool(&server);
    let (_directory, file) = scratch();
    let token = CancelToken::new().unwrap();
    let canceller = token.clone();
    let seen = file.clone();
    let waiting = std::thread::spawn(move || {
        while marks(&seen) == 0 {
            std::thread::sleep(Duration::from_millis(10));
        }
        canceller.cancel_with(CancelLevel::Hard);
    });
    let run = RunOptions::new().cancel(&token).chunk_size(1);
    let results = pool.with_options(&run).try_map(nap, vec![(60_000, file.clone()); 20]).unwrap();
    waiting.join().unwrap();
    assert!(results.iter().all(|result| result.as_ref().is_err_and(|error| error.is_cancelled())), "{results:?}");
    // Its worker was ended, so there is room at once.
    assert_eq!(pool.map(triple, 0..10).unwrap(), (0..10).map(|n| 3 * n).collect::<Vec<_>>());
    assert!(marks(&file) < 20, "what had not begun was begun all the same");
}

#[test]
fn a_long_task_keeps_its_lease() {
    if !nats_server() {
        return;
    }
    let _watch = watchdog(Duration::from_secs(120));
    let server = Server::start();
    let mut workers = Workers::of(&server);
    workers.start();
    workers.start();
    let pool = pool(&server);
    assert!(pool.wait_for_workers(2, Duration::from_secs(60)));
    let (_directory, file) = scratch();
    // The lease is 2 seconds.
    assert_eq!(pool.call(nap, (7000, &file)), Ok(7000));
    assert_eq!(marks(&file), 1, "it was handed out again");
}

#[test]
fn what_waits_behind_a_long_task_is_given_to_others() {
    if !nats_server() {
        return;
    }
    let _watch = watchdog(Duration::from_secs(120));
    let server = Server::start();
    let mut workers = Workers::of(&server);
    workers.start();
    let pool = pool(&server);
    let (_directory, file) = scratch();
    let each = RunOptions::new().chunk_size(1);
    // Short ones first, so that the worker asks for many ahead.
    let items = std::iter::repeat_n(1, 300)
        .chain([12_000])
        .chain(std::iter::repeat_n(1, 150))
        .map(|millis| (millis, file.clone()));
    let mut order = Vec::new();
    for (item, result) in pool.with_options(&each).imap_unordered(nap, items) {
        result.unwrap();
        order.push(item);
        if order.len() == 250 {
            workers.start();
        }
    }
    assert_eq!(order.len(), 451);
    assert_eq!(order.last(), Some(&300), "short tasks waited for the long one");
}

#[test]
fn a_worker_that_is_asked_to_leave_finishes_what_it_does_and_gives_back_the_rest() {
    if !nats_server() {
        return;
    }
    let _watch = watchdog(Duration::from_secs(120));
    let server = Server::start();
    let mut workers = Workers::of(&server);
    workers.start();
    let pool = pool(&server);
    let (_directory, file) = scratch();
    let each = RunOptions::new().chunk_size(1);
    let mut count = 0;
    for (_, result) in pool.with_options(&each).imap_unordered(triple_marked, (0..2000).map(|n| (n, file.clone()))) {
        result.unwrap();
        count += 1;
        if count == 500 {
            workers.start();
            let status = workers.ask_one_to_leave();
            assert!(status.success(), "{status}");
        }
    }
    assert_eq!((count, marks(&file)), (2000, 2000), "no task is run twice for it");
}

#[test]
fn work_waits_for_the_first_worker_and_survives_that_there_is_none() {
    if !nats_server() {
        return;
    }
    let _watch = watchdog(Duration::from_secs(120));
    let server = Server::start();
    let pool = pool(&server);
    assert!(!pool.wait_for_workers(1, Duration::from_millis(300)));
    let handle = pool.submit(triple, 5).unwrap();
    assert!(!handle.wait(Duration::from_millis(300)).unwrap());
    let mut workers = Workers::of(&server);
    workers.start();
    assert_eq!(handle.get().unwrap(), 15);
    workers.kill_one();
    let deadline = Instant::now() + Duration::from_secs(60);
    while pool.workers() > 0 {
        assert!(Instant::now() < deadline, "the dead worker is still counted");
        std::thread::sleep(Duration::from_millis(20));
    }
    let handle = pool.submit(triple, 6).unwrap();
    workers.start();
    assert_eq!(handle.get().unwrap(), 18);
}

#[test]
fn a_pool_that_is_terminated_or_dropped_ends_what_runs() {
    if !nats_server() {
        return;
    }
    let _watch = watchdog(Duration::from_secs(120));
    let server = Server::start();
    let mut workers = Workers::of(&server);
    workers.start();
    let (_directory, file) = scratch();
    let first = pool(&server);
    let handle = first.submit(nap, (600_000, file.clone())).unwrap();
    while marks(&file) == 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    first.terminate();
    assert!(handle.get().unwrap_err().is_pool_closed());
    drop(first);
    // The only worker there is has room again.
    assert_eq!(pool(&server).call(triple, 1), Ok(3));
}

#[test]
fn a_server_that_is_not_there_is_an_error_that_names_it() {
    let _watch = watchdog(Duration::from_secs(60));
    let quick = options().connect_timeout(Duration::from_secs(1));
    let error = NatsPool::builder("nats://me:secret@127.0.0.1:1").options(quick).connect().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("127.0.0.1:1") && !error.to_string().contains("secret"), "{error}");
    let senseless = NatsPool::builder("nats://127.0.0.1:1").options(options().replicas(9)).connect().unwrap_err();
    assert_eq!(senseless.kind(), ErrorKind::InvalidInput);
}
