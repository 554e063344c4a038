//! What thousands of calls under way cost: by counts, not by times. Alone in its binary, as tokens are counted for the process.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use offspring::testing::pool::looks;
use offspring::{CancelLevel, CancelToken, Pool, task};
use offspring_tests::{kill, watchdog};

const MANY: usize = 3000;

#[task]
fn square(x: u64) -> u64 {
    x * x
}

#[task]
fn dies_at_first(mark: PathBuf) -> u64 {
    if std::fs::File::create_new(mark).is_ok() {
        kill::sigkill(std::process::id() as i32).unwrap();
    }
    7
}

/// Runs until the file is there.
#[task]
fn until(file: PathBuf) {
    while !file.exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Adds a line to a file.
#[task]
fn note(file: PathBuf, line: String) {
    use std::io::Write;
    let mut file = std::fs::File::options().append(true).create(true).open(file).unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// One worker, kept busy until `release` is called.
struct Held {
    pool: Pool,
    directory: tempfile::TempDir,
}

impl Held {
    fn new(builder: offspring::PoolBuilder, workers: usize) -> Held {
        let (pool, directory) = (builder.workers(workers).build().unwrap(), tempfile::tempdir().unwrap());
        for _ in 0..workers {
            drop(pool.submit(until, directory.path().join("go")).unwrap());
        }
        soon("the workers are busy", || pool.workers().iter().filter(|worker| worker.busy).count() == workers);
        Held { pool, directory }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn release(&self) {
        std::fs::write(self.file("go"), "").unwrap();
    }

    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.file("log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

#[test]
fn the_end_of_one_of_thousands_of_watched_calls_costs_no_look_at_the_others() {
    let _watch = watchdog(Duration::from_secs(120));
    let held = Held::new(Pool::builder(), 1);
    let done = Arc::new(AtomicUsize::new(0));
    let handles: Vec<_> = (0..MANY as u64)
        .map(|x| {
            let (handle, done) = (held.pool.submit(square, x).unwrap(), done.clone());
            handle.on_done(move |_| _ = done.fetch_add(1, SeqCst));
            handle
        })
        .collect();
    held.release();
    soon("all callbacks ran", || done.load(SeqCst) == MANY);
    let (looked, ..) = looks(&held.pool);
    assert!(looked <= 4 * MANY as u64, "{looked} looks at {MANY} calls");
    for (x, handle) in (0..MANY as u64).zip(handles) {
        assert_eq!(handle.get().unwrap(), x * x);
    }
}

#[test]
fn a_token_of_thousands_of_calls_is_one_to_be_looked_at_and_ends_them_all() {
    let _watch = watchdog(Duration::from_secs(120));
    let held = Held::new(Pool::builder(), 1);
    let token = CancelToken::new().unwrap();
    let ended = Arc::new(AtomicUsize::new(0));
    let calls: Vec<_> = (0..MANY as u64)
        .map(|x| {
            let call = held.pool.batch().cancel(&token).submit(square, x).unwrap();
            let ended = ended.clone();
            call.on_error(move |_| _ = ended.fetch_add(1, SeqCst));
            call
        })
        .collect();
    let (before, tokens, calls_heard) = looks(&held.pool);
    assert!(tokens >= 1 && calls_heard >= MANY, "{tokens} {calls_heard}");
    token.cancel_with(CancelLevel::Soft);
    token.cancel_with(CancelLevel::Hard);
    soon("all have ended", || ended.load(SeqCst) == MANY);
    let (after, ..) = looks(&held.pool);
    assert!(after - before <= 6 * MANY as u64, "{} looks", after - before);
    for call in calls {
        assert!(call.get().unwrap_err().is_cancelled());
    }
    // Thousands of tokens, each of one call.
    let calls: Vec<_> = (0..MANY as u64)
        .map(|x| {
            let token = CancelToken::new().unwrap();
            let call = held.pool.batch().cancel(&token).submit(square, x).unwrap();
            (token, call)
        })
        .collect();
    for (token, _) in &calls {
        token.cancel();
    }
    for (_, call) in calls {
        assert!(call.get().unwrap_err().is_cancelled());
    }
    held.release();
    assert_eq!(held.pool.map(square, 0..3).unwrap(), [0, 1, 4]);
    soon("nothing is listened to any more", || (looks(&held.pool).1, looks(&held.pool).2) == (0, 0));
}

#[test]
fn thousands_of_timed_calls_are_all_served_and_only_the_slow_ones_end() {
    let _watch = watchdog(Duration::from_secs(120));
    let held = Held::new(Pool::builder(), 1);
    let limit = Duration::from_millis(500);
    let timed = |x| held.pool.batch().timeout(limit).submit(square, x).unwrap();
    let quick: Vec<_> = (0..MANY as u64).map(timed).collect();
    let slow = held.pool.batch().timeout(limit).submit(until, held.file("never")).unwrap();
    held.release();
    for (x, call) in (0..MANY as u64).zip(quick) {
        assert_eq!(call.get().unwrap(), x * x);
    }
    assert!(slow.get().unwrap_err().is_timed_out());
}

#[test]
fn a_retry_after_an_endless_delay_is_not_begun_at_once() {
    let _watch = watchdog(Duration::from_secs(60));
    let directory = tempfile::tempdir().unwrap();
    let pool = Pool::builder().workers(1).build().unwrap();
    let mark = directory.path().join("mark");
    let mut call = pool.batch().retries(1).retry_delay(Duration::MAX).submit(dies_at_first, mark.clone()).unwrap();
    soon("it dies", || mark.exists());
    soon("it was noticed", || pool.workers().is_empty() || pool.stats().started > 1);
    assert!(!call.wait(Duration::from_millis(300)).unwrap(), "it was tried again");
    call.cancel();
    assert!(call.get_timeout(Duration::from_secs(30)).unwrap_err().is_cancelled());
}

#[test]
fn priorities_hold_among_more_calls_than_there_are_lanes() {
    let _watch = watchdog(Duration::from_secs(120));
    let held = Held::new(Pool::builder(), 1);
    let call = |priority: i32, line: String| {
        held.pool.batch().priority(priority).submit(note, (held.file("log"), line)).unwrap()
    };
    // Far more than lanes, the low ones first, so that they have all lanes when the others come.
    let mut calls = Vec::new();
    for priority in [1, 3, 2, 5] {
        calls.extend((0..100).map(|at| call(priority, format!("{priority} {at}"))));
    }
    held.release();
    calls.into_iter().for_each(|call| call.get().unwrap());
    let expected: Vec<String> =
        [5, 3, 2, 1].into_iter().flat_map(|priority| (0..100).map(move |at| format!("{priority} {at}"))).collect();
    assert_eq!(held.lines(), expected);
}

#[test]
fn hundreds_that_wait_for_one_thing_leave_a_lane_to_who_waits_for_another() {
    let _watch = watchdog(Duration::from_secs(120));
    let directory = tempfile::tempdir().unwrap();
    let go = directory.path().join("go");
    let pool = Pool::builder().workers(2).resource("gpu", 1).resource("disk", 1).build().unwrap();
    let holder = pool.batch().needs("gpu", 1).submit(until, go.clone()).unwrap();
    soon("the holder runs", || pool.workers().iter().any(|worker| worker.busy));
    let waiting: Vec<_> = (0..300).map(|x| pool.batch().needs("gpu", 1).submit(square, x).unwrap()).collect();
    for x in 0..20 {
        assert_eq!(pool.batch().needs("disk", 1).submit(square, x).unwrap().get().unwrap(), x * x);
        assert_eq!(pool.batch().priority(1).submit(square, x).unwrap().get().unwrap(), x * x);
    }
    assert!(!holder.is_ready() && !waiting[0].is_ready());
    std::fs::write(go, "").unwrap();
    for (x, call) in (0..300).zip(waiting) {
        assert_eq!(call.get().unwrap(), x * x);
    }
}

#[test]
fn who_waits_for_a_token_sleeps_until_it_is_given_back() {
    let _watch = watchdog(Duration::from_secs(60));
    let directory = tempfile::tempdir().unwrap();
    let go = directory.path().join("go");
    let pool = Pool::builder().workers(3).resource("gpu", 1).build().unwrap();
    // All three workers are there before.
    pool.batch().chunk_size(1).map(square, 0..100).unwrap();
    let holder = pool.batch().needs("gpu", 1).submit(until, go.clone()).unwrap();
    soon("the holder runs", || pool.workers().iter().any(|worker| worker.busy));
    let next = pool.batch().needs("gpu", 1).submit(square, 5).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let before = pool.stats().sleeps;
    std::thread::sleep(Duration::from_millis(700));
    // The last of them give their stores back once, 100 ms after they went to sleep.
    assert!(pool.stats().sleeps - before <= 2, "{} wakes while nothing was given back", pool.stats().sleeps - before);
    std::fs::write(go, "").unwrap();
    assert_eq!(next.get().unwrap(), 25);
    holder.get().unwrap();
}
