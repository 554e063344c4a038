//! Pools whose workers, or whose own process, are killed with SIGKILL at random times.
#![allow(clippy::print_stderr, reason = "how many kills hit is what the reader wants to know")]

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use offspring::{ExitStatus, Pool, Signal, TaskError, task};
use offspring_tests::kill::{Random, Storm};
use offspring_tests::{kill, proc, watchdog};

const WORKERS: usize = 3;
/// So many kills have to hit.
const KILLS: u64 = 60;
const PAUSE: Range<Duration> = Duration::from_micros(500)..Duration::from_millis(12);

/// Keeps a processor busy for a while, so that kills hit within tasks as well as between them.
fn work(micros: u64) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_micros(micros) {
        std::hint::spin_loop();
    }
}

#[task]
fn square(x: u64) -> u64 {
    work(x % 300);
    x * x
}

/// A result with memory of its own, which the worker hands over to the job.
#[task]
fn text(x: u64) -> Vec<String> {
    work(x % 200);
    (0..x % 20).map(|n| format!("{x}.{n} {}", "x".repeat((x % 700) as usize))).collect()
}

fn pool(retries: u32) -> Pool {
    Pool::builder().workers(WORKERS).retries(retries).name("storm").build().unwrap()
}

/// Kills random workers of the pools above.
fn storm() -> Storm {
    let me = std::process::id() as i32;
    Storm::start(Random::from_env(), PAUSE, move || {
        let workers = proc::children(me).into_iter().filter(|it| it.name.starts_with("storm") && it.state != 'Z');
        workers.map(|it| it.pid).collect()
    })
}

/// How many workers had to be replaced: each was a kill that hit.
fn replaced(pool: &Pool) -> u64 {
    pool.stats().started.saturating_sub(WORKERS as u64)
}

/// One storm after another: each test kills what it takes for a worker of its own pool.
#[test]
fn workers_killed_in_loops() {
    let _watch = watchdog(Duration::from_secs(240));
    cost_nothing_where_items_may_be_tried_again();
    cost_their_own_items_and_no_others();
    spoil_no_result_with_memory_of_its_own();
    leave_calls_that_end();
}

fn cost_nothing_where_items_may_be_tried_again() {
    let pool = pool(10_000);
    let storm = storm();
    let mut rounds = 0;
    while replaced(&pool) < KILLS {
        let expected: Vec<u64> = (0..3000).map(|x| x * x).collect();
        assert_eq!(pool.map(square, 0..3000u64).unwrap(), expected);
        rounds += 1;
    }
    let hits = storm.stop();
    eprintln!("map: {hits} signals, {} workers replaced in {rounds} maps of 3000", replaced(&pool));
}

fn cost_their_own_items_and_no_others() {
    let pool = pool(0);
    let storm = storm();
    let (mut lost, mut items) = (0, 0);
    while replaced(&pool) < KILLS {
        for (x, end) in pool.try_map(square, 0..2000u64).unwrap().into_iter().enumerate() {
            items += 1;
            match end {
                Ok(value) => assert_eq!(value, (x * x) as u64),
                Err(TaskError::WorkerDied { context, status, tries, .. }) => {
                    assert_eq!((context.item, tries), (Some(x), 1));
                    let killed = matches!(status, ExitStatus::Signaled { signal: Signal::KILL, .. });
                    assert!(killed, "{status:?}");
                    lost += 1;
                }
                Err(other) => panic!("item {x}: {other}"),
            }
        }
    }
    let hits = storm.stop() as u64;
    assert!(lost <= hits, "{lost} items lost with {hits} kills");
    eprintln!("try_map: {hits} signals, {} workers replaced, {lost} of {items} items lost", replaced(&pool));
}

fn spoil_no_result_with_memory_of_its_own() {
    let pool = pool(10_000);
    let storm = storm();
    let expected: Vec<Vec<String>> = (0..1500).map(text).collect();
    while replaced(&pool) < KILLS {
        assert!(pool.map(text, 0..1500u64).unwrap() == expected);
        let mut lazy = pool.imap(text, 0..1500u64);
        assert!(expected.iter().all(|it| lazy.next().unwrap().unwrap() == *it) && lazy.next().is_none());
    }
    let hits = storm.stop();
    eprintln!("texts: {hits} signals, {} workers replaced", replaced(&pool));
}

fn leave_calls_that_end() {
    let pool = pool(0);
    let storm = storm();
    let mut lost = 0;
    while replaced(&pool) < KILLS / 2 {
        let handles: Vec<_> = (0..200u64).map(|x| pool.submit(square, x).unwrap()).collect();
        for (x, handle) in handles.into_iter().enumerate() {
            match handle.get() {
                Ok(value) => assert_eq!(value, (x * x) as u64),
                Err(error) if error.is_worker_died() => lost += 1,
                Err(other) => panic!("call {x}: {other}"),
            }
        }
    }
    eprintln!("submit: {} signals, {} workers replaced, {lost} lost", storm.stop(), replaced(&pool));
}

/// Task 10 kills its worker; with a file, only the first time.
#[task]
fn deadly(x: u64, marker: Option<PathBuf>) -> u64 {
    let first = |marker: &Path| fs::File::create_new(marker).is_ok();
    if x == 10 && marker.is_none_or(|marker| first(&marker)) {
        kill::sigkill(std::process::id() as i32).unwrap();
        std::thread::sleep(Duration::from_secs(60));
    }
    x + 1
}

#[test]
fn a_task_that_kills_its_worker_is_the_only_one_without_a_value() {
    let _watch = watchdog(Duration::from_secs(60));
    let pool = Pool::builder().workers(2).build().unwrap();
    let ends = pool.try_map(deadly, (0..40u64).map(|x| (x, None))).unwrap();
    for (x, end) in ends.into_iter().enumerate() {
        match end {
            Ok(value) => assert_eq!(value, x as u64 + 1),
            Err(error) => assert!(x == 10 && error.is_worker_died(), "item {x}: {error}"),
        }
    }
    assert_eq!(pool.map(square, [3u64]).unwrap(), [9]);
}

#[test]
fn a_second_try_has_a_value() {
    let _watch = watchdog(Duration::from_secs(60));
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("tried");
    let pool = Pool::builder().workers(2).retries(1).build().unwrap();
    let values = pool.map(deadly, (0..40u64).map(|x| (x, Some(marker.clone())))).unwrap();
    assert_eq!(values, (1..=40).collect::<Vec<u64>>());
    assert!(marker.exists());
}

const FAMILY: &str = "OFFSPRING_TESTS_FAMILY";

/// A pool in a task, so that there are grandchildren.
#[task]
fn nested(x: u64) -> u64 {
    let pool = Pool::builder().workers(1).build().unwrap();
    pool.map(square, 0..x).unwrap().into_iter().sum()
}

/// What the killed parent does; nothing when run as a test.
#[test]
fn a_parent() {
    let Ok(token) = std::env::var(FAMILY) else { return };
    let pool = Pool::builder().workers(2).build().unwrap();
    let with_grandchildren = token.ends_with("deep");
    loop {
        if with_grandchildren {
            let _ = pool.map(nested, [200_000u64, 200_000]);
        } else {
            let _ = pool.map(square, 0..20_000u64);
        }
    }
}

/// The living processes whose environment holds the token.
fn family(token: &str) -> Vec<i32> {
    let alive = proc::processes().into_iter().filter(|it| it.state != 'Z' && it.state != 'X');
    let member = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.windows(token.len()).any(|it| it == token.as_bytes())
    };
    alive.map(|it| it.pid).filter(member).collect()
}

#[test]
fn nobody_outlives_a_killed_parent() {
    const RUNS: usize = 100;
    let _watch = watchdog(Duration::from_secs(300));
    let mut random = Random::from_env();
    let (mut most, mut slowest) = (0, Duration::ZERO);
    for run in 0..RUNS {
        let depth = if run % 4 == 0 { "deep" } else { "flat" };
        let token = format!("{}-{run}-{depth}", std::process::id());
        let mut parent = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_parent", "--nocapture"])
            .env(FAMILY, &token)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(random.time(&(Duration::from_millis(2)..Duration::from_millis(150))));
        most = most.max(family(&token).len());
        parent.kill().unwrap();
        // A second in which this process ran, too: on a machine that stands still nobody can die.
        let (mut waited, mut last) = (Duration::ZERO, Instant::now());
        while let left = family(&token)
            && !left.is_empty()
        {
            if waited > Duration::from_secs(1) {
                let said: String = left.iter().map(|pid| proc::describe(*pid)).collect();
                left.iter().for_each(|pid| drop(kill::sigkill(*pid)));
                panic!("run {run} ({depth}): alive a second after the parent was killed:\n{said}");
            }
            std::thread::sleep(Duration::from_millis(1));
            waited += last.elapsed().min(Duration::from_millis(50));
            last = Instant::now();
        }
        slowest = slowest.max(waited);
        parent.wait().unwrap();
    }
    eprintln!("{RUNS} parents killed, at most {most} in a family, nobody left after {slowest:?}");
    assert!(most > 3, "no parent had workers when it was killed");
}
