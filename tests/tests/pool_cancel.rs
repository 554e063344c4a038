//! Work that is ended: at three levels, through handles, batches and tokens.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use offspring::{CancelLevel, CancelToken, ErrorKind, Executor, Inline, Pool, RunOptions, TaskHandle, task, wait_any};
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

/// Says that it runs by making a file, then works until it is asked to end.
#[task]
fn until_asked(marker: PathBuf) -> String {
    std::fs::write(marker, "").unwrap();
    while !task::cancelled() {
        std::hint::spin_loop();
    }
    "asked".to_owned()
}

/// The same, asleep.
#[task]
fn asleep(marker: PathBuf) -> Result<(), String> {
    std::fs::write(marker, "").unwrap();
    task::sleep(Duration::from_secs(3600)).map_err(|cancelled| cancelled.to_string())
}

/// The same, in a system call that only a signal ends.
#[task]
fn in_a_read(marker: PathBuf) -> (String, bool) {
    let (mut quiet, _other) = UnixStream::pair().unwrap();
    std::fs::write(marker, "").unwrap();
    let error = quiet.read(&mut [0; 8]).unwrap_err();
    (format!("{:?}", error.kind()), task::cancelled())
}

/// Never listens.
#[task]
fn deaf(marker: PathBuf) {
    std::fs::write(marker, "").unwrap();
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

#[task]
fn cancels(token: CancelToken, level: u8) {
    match level {
        0 => token.cancel(),
        1 => token.cancel_with(CancelLevel::Soft),
        _ => token.cancel_with(CancelLevel::Hard),
    }
}

#[task]
fn is_cancelled(token: CancelToken) -> bool {
    token.is_cancelled()
}

/// Runs naps in a pool of its own, which the token ends.
#[task]
fn nested(token: CancelToken, marker: PathBuf) -> usize {
    let pool = Pool::builder().workers(1).build().unwrap();
    std::fs::write(marker, "").unwrap();
    let results = pool.batch().chunk_size(1).cancel(&token).try_map(nap, vec![20u64; 10_000]).unwrap();
    results.into_iter().filter(|result| result.is_ok()).count()
}

fn watch() -> Watchdog {
    watchdog(Duration::from_secs(120))
}

fn pool(workers: usize) -> Pool {
    Pool::builder().workers(workers).build().unwrap()
}

struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Scene {
        Scene { folder: tempfile::tempdir().unwrap() }
    }

    fn marker(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Waits until the task that got this marker runs.
    fn await_marker(&self, name: &str) {
        while !self.marker(name).exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        // And then some, so that it is where it wants to be.
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_running_task_that_asks_ends_by_itself_and_its_value_counts() {
    let _watch = watch();
    let (pool, scene) = (pool(1), Scene::new());
    let started = pool.stats().started;
    let handle = pool.submit(until_asked, scene.marker("a")).unwrap();
    scene.await_marker("a");
    handle.cancel_with(CancelLevel::Cooperative);
    assert_eq!(handle.get().unwrap(), "asked");
    let handle = pool.submit(asleep, scene.marker("b")).unwrap();
    scene.await_marker("b");
    handle.cancel_with(CancelLevel::Cooperative);
    assert_eq!(handle.get().unwrap().unwrap_err(), "the task was asked to end");
    // The worker lives on, and its next task is not taken for cancelled.
    assert_eq!(pool.call(square, 5).unwrap(), 25);
    assert!(!pool.call(is_asked, ()).unwrap());
    assert_eq!(pool.stats().started, started + 1);
}

#[task]
fn is_asked() -> bool {
    task::cancelled()
}

#[test]
fn a_soft_cancel_interrupts_a_blocking_call_and_no_other_task() {
    let _watch = watch();
    let (pool, scene) = (pool(2), Scene::new());
    for round in 0..20 {
        let name = format!("{round}");
        let handle = pool.submit(in_a_read, scene.marker(&name)).unwrap();
        while !scene.marker(&name).exists() {
            std::thread::yield_now();
        }
        // Just before it reads, or while it does: the signal is repeated.
        let other = pool.submit(nap, 3).unwrap();
        handle.cancel_with(CancelLevel::Soft);
        assert_eq!(handle.get().unwrap(), ("Interrupted".to_owned(), true));
        assert_eq!(other.get().unwrap(), 3);
    }
    assert_eq!(pool.stats().started, pool.stats().workers as u64, "no worker was replaced");
}

#[test]
fn a_soft_cancel_becomes_hard_after_its_grace() {
    let _watch = watch();
    let (pool, scene) = (pool(1), Scene::new());
    let grace = Duration::from_millis(150);
    let handle = pool.batch().grace(grace).submit(deaf, scene.marker("a")).unwrap();
    scene.await_marker("a");
    let begun = Instant::now();
    handle.cancel_with(CancelLevel::Soft);
    let error = handle.get().unwrap_err();
    assert!(error.is_cancelled(), "{error}");
    assert!(begun.elapsed() >= grace);
    // A task that listens needs no force.
    let handle = pool.batch().grace(Duration::from_secs(60)).submit(asleep, scene.marker("b")).unwrap();
    scene.await_marker("b");
    handle.cancel_with(CancelLevel::Soft);
    assert!(handle.get().unwrap().is_err());
}

#[test]
fn a_hard_cancel_ends_a_task_that_never_listens() {
    let _watch = watch();
    let (pool, scene) = (pool(1), Scene::new());
    let handle = pool.submit(deaf, scene.marker("a")).unwrap();
    scene.await_marker("a");
    handle.cancel();
    let error = handle.get().unwrap_err();
    assert_eq!((error.is_cancelled(), error.kind()), (true, ErrorKind::Cancelled));
    assert_eq!(pool.call(square, 5).unwrap(), 25);
}

#[test]
fn a_queued_task_is_always_cancellable_and_those_who_wait_hear_of_it() {
    let _watch = watch();
    let (pool, scene) = (pool(1), Scene::new());
    let running = pool.submit(deaf, scene.marker("a")).unwrap();
    scene.await_marker("a");
    for level in [CancelLevel::Cooperative, CancelLevel::Soft, CancelLevel::Hard] {
        let queued = pool.submit(square, 3).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        queued.on_done(move |result| sender.send(result.as_ref().unwrap_err().is_cancelled()).unwrap());
        assert!(!queued.is_ready());
        queued.cancel_with(level);
        assert!(receiver.recv().unwrap());
        assert!(queued.is_ready());
        assert_eq!(wait_any(&[&queued], None).unwrap(), Some(0));
        assert!(queued.get().unwrap_err().is_cancelled());
    }
    assert!(!running.is_ready(), "the running call goes on");
    running.cancel();
}

#[test]
fn ten_thousand_queued_calls_end_at_once_with_their_pool() {
    let _watch = watch();
    let (pool, scene) = (pool(2), Scene::new());
    let running = [pool.submit(deaf, scene.marker("a")).unwrap(), pool.submit(deaf, scene.marker("b")).unwrap()];
    scene.await_marker("a");
    scene.await_marker("b");
    let queued: Vec<TaskHandle<u64>> = (0..10_000).map(|x| pool.submit(square, x).unwrap()).collect();
    let begun = Instant::now();
    pool.terminate();
    pool.join().unwrap();
    assert!(queued.iter().all(TaskHandle::is_ready));
    for handle in queued {
        assert!(handle.get().unwrap_err().is_pool_closed());
    }
    for handle in running {
        assert!(handle.get().unwrap_err().is_pool_closed());
    }
    // Prompt: far below what any of this would take if a worker looked at each.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn a_token_ends_a_batch_from_this_process_and_from_a_task() {
    let _watch = watch();
    let pool = pool(2);
    for from_a_task in [false, true] {
        let token = CancelToken::new().unwrap();
        assert!(!token.is_cancelled() && token.level().is_none());
        let results = std::thread::scope(|scope| {
            let batch = scope.spawn(|| pool.batch().chunk_size(1).cancel(&token).try_map(nap, vec![20u64; 10_000]));
            std::thread::sleep(Duration::from_millis(100));
            if from_a_task {
                Pool::builder().workers(1).build().unwrap().call(cancels, (token.clone(), 0)).unwrap();
            } else {
                token.cancel();
            }
            batch.join().unwrap().unwrap()
        });
        assert_eq!(token.level(), Some(CancelLevel::Cooperative));
        let done = results.iter().filter(|result| result.is_ok()).count();
        assert!(done < 5_000, "{done}");
        assert!(results.iter().filter_map(|result| result.as_ref().err()).all(|error| error.is_cancelled()));
        // What is begun with it now never is.
        assert!(pool.batch().cancel(&token).map(square, 0..4).unwrap_err().is_cancelled());
        assert!(pool.batch().cancel(&token).call(square, 4).unwrap_err().is_cancelled());
        assert_eq!(pool.batch().cancel(&token).imap(square, 0..).count(), 0);
        assert_eq!(pool.map(square, 0..3).unwrap(), [0, 1, 4]);
    }
}

#[test]
fn a_token_works_at_every_level_and_its_level_rises() {
    let _watch = watch();
    let (pool, other, scene) = (pool(1), pool(1), Scene::new());
    let token = CancelToken::new().unwrap();
    let asked = pool.batch().cancel(&token).submit(until_asked, scene.marker("a")).unwrap();
    scene.await_marker("a");
    other.call(cancels, (token.clone(), 0)).unwrap();
    assert_eq!(asked.get().unwrap(), "asked");

    let token = CancelToken::new().unwrap();
    let reads = pool.batch().cancel(&token).submit(in_a_read, scene.marker("b")).unwrap();
    scene.await_marker("b");
    other.call(cancels, (token.clone(), 1)).unwrap();
    assert_eq!(reads.get().unwrap().0, "Interrupted");

    let token = CancelToken::new().unwrap();
    let never = pool.batch().cancel(&token).submit(deaf, scene.marker("c")).unwrap();
    scene.await_marker("c");
    other.call(cancels, (token.clone(), 0)).unwrap();
    assert!(!never.wait(Duration::from_millis(50)).unwrap());
    other.call(cancels, (token.clone(), 2)).unwrap();
    assert!(never.get().unwrap_err().is_cancelled());
    token.cancel();
    assert_eq!(token.level(), Some(CancelLevel::Hard));
}

#[test]
fn a_token_reaches_pools_of_other_processes() {
    let _watch = watch();
    let (pool, scene) = (pool(2), Scene::new());
    let token = CancelToken::new().unwrap();
    let handles = ["a", "b"].map(|name| pool.submit(nested, (token.clone(), scene.marker(name))).unwrap());
    scene.await_marker("a");
    scene.await_marker("b");
    std::thread::sleep(Duration::from_millis(100));
    token.cancel();
    for handle in handles {
        let done = handle.get().unwrap();
        assert!(done < 9_000, "{done}");
    }
    assert!(pool.call(is_cancelled, token.clone()).unwrap());
    // It is a thing to wait for, too.
    assert_eq!(wait_any(&[&token], None).unwrap(), Some(0));
}

#[test]
fn those_who_wait_for_a_token_are_woken_from_another_process() {
    let _watch = watch();
    let pool = pool(1);
    let token = CancelToken::new().unwrap();
    assert!(!token.wait_timeout(Duration::from_millis(5)));
    assert_eq!(wait_any(&[&token], Some(Duration::from_millis(5))).unwrap(), None);
    std::thread::scope(|scope| {
        let one = scope.spawn(|| token.wait_timeout(Duration::from_secs(100)));
        let other = scope.spawn(|| wait_any(&[&token], None).unwrap());
        std::thread::sleep(Duration::from_millis(50));
        pool.call(cancels, (token.clone(), 0)).unwrap();
        assert!(one.join().unwrap());
        assert_eq!(other.join().unwrap(), Some(0));
    });
}

#[test]
fn ending_some_batches_never_costs_another() {
    let _watch = watch();
    let pool = pool(3);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let others = scope.spawn(|| {
            let mut rounds = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                assert_eq!(pool.map(square, 0..64).unwrap()[63], 63 * 63);
                rounds += 1;
            }
            rounds
        });
        for round in 0..90u64 {
            let token = CancelToken::new().unwrap();
            let level = [CancelLevel::Cooperative, CancelLevel::Soft, CancelLevel::Hard][round as usize % 3];
            let results = std::thread::scope(|scope| {
                let batch = scope.spawn(|| pool.batch().chunk_size(1).cancel(&token).try_map(nap, [1u64; 60]).unwrap());
                std::thread::sleep(Duration::from_millis(round % 5));
                token.cancel_with(level);
                batch.join().unwrap()
            });
            for result in results {
                assert!(result.as_ref().map_or_else(|error| error.is_cancelled(), |value| *value == 1), "{result:?}");
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(others.join().unwrap() > 0);
    });
}

#[test]
fn a_token_works_inline() {
    let _watch = watch();
    let token = CancelToken::new().unwrap();
    let options = RunOptions::new().cancel(&token);
    let inline = Inline::new();
    let engine = inline.with_options(&options);
    assert_eq!(engine.map(square, 0..3).unwrap(), [0, 1, 4]);
    let results = engine.try_map(cancels, [(token.clone(), 0u8), (token.clone(), 0)]).unwrap();
    assert!(results[0].is_ok() && results[1].as_ref().unwrap_err().is_cancelled());
    assert!(engine.call(square, 3).unwrap_err().is_cancelled());
    assert!(engine.map(square, 0..3).unwrap_err().is_cancelled());
    assert_eq!(inline.call(square, 3).unwrap(), 9);
}
