//! Chaos: workers are killed with SIGKILL about every 20 milliseconds, all of them at once now and then, while a million tiny tasks, ten
//! thousand of a millisecond, calls, and pools within tasks go on. Every result is right and delivered once; nothing hangs, nothing is
//! left. The kills must have met every phase of a worker's life.
//!
//! `OFFSPRING_TESTS_SEED=…` repeats a run, as far as the kernel's scheduling lets it.
#![allow(clippy::print_stderr, reason = "how many kills hit where is what the reader wants to know")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use offspring::testing::pool::phases;
use offspring::{Pool, task};
use offspring_tests::kill::{self, Random};
use offspring_tests::{leaks, proc, watchdog};

const WORKERS: usize = 3;
const TINY: u64 = 1_000_000;
const SHORT: u64 = 10_000;
/// A storm's mean pause is 20 milliseconds.
const PAUSE: std::ops::Range<Duration> = Duration::from_millis(5)..Duration::from_millis(35);
/// So many kills at least have to have met each phase.
const LEAST: &[(&str, u64)] = &[("idle", 10), ("claim", 5), ("run", 50), ("commit", 5), ("audit", 5), ("auditor", 1)];

#[task]
fn square(x: u64) -> u64 {
    x.wrapping_mul(x)
}

/// A millisecond of work; and which try it was.
#[task]
fn short(x: u64) -> (u64, u32) {
    thread::sleep(Duration::from_millis(1));
    (x + 1, task::current().map_or(0, |run| run.tries))
}

/// A result with memory of its own.
#[task]
fn text(x: u64) -> Vec<String> {
    (0..x % 9).map(|n| format!("{x}.{n} {}", "y".repeat((x % 300) as usize))).collect()
}

/// A pool within a task, whose workers are killed as well: so this process is an auditor, and may be killed as one.
#[task]
fn nested(seed: u64, rounds: u64) -> u64 {
    let pool = Pool::builder().workers(2).name("chaos-inner").retries(u32::MAX).crash_limit(u32::MAX).build().unwrap();
    let storm = Storm::start("chaos-inner", Random::new(seed), Duration::from_micros(300)..Duration::from_millis(2));
    let sum = (0..rounds).map(|round| pool.map(square, 0..round + 50).unwrap().into_iter().sum::<u64>()).sum();
    drop(storm);
    sum
}

/// Kills children of this process whose names begin in this way.
struct Storm {
    stop: Arc<AtomicBool>,
    hits: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Storm {
    fn start(name: &'static str, mut random: Random, pause: std::ops::Range<Duration>) -> Storm {
        let (stop, hits) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, hit) = (stop.clone(), hits.clone());
        let me = std::process::id() as i32;
        let run = move || {
            while !stopped.load(Relaxed) {
                thread::sleep(random.time(&pause));
                let children = proc::children(me);
                let alive = children.iter().filter(|it| it.name.starts_with(name) && it.state != 'Z');
                let mut pids: Vec<i32> = alive.map(|it| it.pid).collect();
                // All at once now and then: so that one is dead before the audit of another is over.
                if random.below(8) != 0 && !pids.is_empty() {
                    pids = vec![pids[random.below(pids.len() as u64) as usize]];
                }
                let killed = pids.into_iter().filter(|&pid| kill::sigkill(pid).is_ok()).count();
                hit.fetch_add(killed as u64, Relaxed);
            }
        };
        let thread = thread::Builder::new().name("storm".to_owned()).spawn(run).unwrap();
        Storm { stop, hits, thread: Some(thread) }
    }

    fn hits(&self) -> u64 {
        self.hits.load(Relaxed)
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

fn pool(name: &str) -> Pool {
    Pool::builder().workers(WORKERS).retries(u32::MAX).crash_limit(u32::MAX).name(name).build().unwrap()
}

fn counts() -> BTreeMap<&'static str, u64> {
    phases().into_iter().collect()
}

/// Were so many kills met in each of these phases?
fn have_met(names: &[&str]) -> bool {
    let now = counts();
    LEAST.iter().filter(|(name, _)| names.contains(name)).all(|(name, least)| now[name] >= *least)
}

/// A million tiny tasks, by single items and by the pool's own chunks; again until the kills have met what they can meet here.
fn tiny_tasks(random: &mut Random) {
    let pool = pool("chaos");
    let storm = Storm::start("chaos", Random::new(random.number()), PAUSE);
    let mut rounds = 0;
    while rounds < 2 || !have_met(&["claim", "run", "commit", "audit"]) {
        let batch = if rounds % 2 == 0 { pool.batch().chunk_size(1) } else { pool.batch() };
        let mut given = vec![false; TINY as usize];
        for (index, result) in batch.imap_unordered(square, 0..TINY) {
            assert!(!std::mem::replace(&mut given[index], true), "{index} twice");
            assert_eq!(result.unwrap(), (index as u64).wrapping_mul(index as u64));
        }
        assert!(given.into_iter().all(|it| it));
        let all = batch.map(square, 0..TINY).unwrap();
        assert!(all.len() == TINY as usize && (0..TINY).zip(&all).all(|(x, square)| *square == x * x));
        rounds += 1;
    }
    eprintln!("tiny: {rounds} rounds of 2 x {TINY}, {} kills, {:?}", storm.hits(), counts());
}

/// Ten thousand tasks of a millisecond.
fn short_tasks(random: &mut Random) {
    let pool = pool("chaos");
    let storm = Storm::start("chaos", Random::new(random.number()), PAUSE);
    let results = pool.batch().chunk_size(1).map(short, 0..SHORT).unwrap();
    let kills = storm.hits();
    drop(storm);
    let mut retried = 0;
    for (x, (value, tries)) in results.into_iter().enumerate() {
        assert_eq!(value, x as u64 + 1);
        assert!(tries >= 1);
        retried += u64::from(tries > 1);
    }
    eprintln!("short: {kills} kills, {retried} of {SHORT} tasks tried again");
    assert!(retried >= 20 && retried <= kills, "{retried} tasks tried again with {kills} kills");
}

/// Calls with pauses between them, so that workers are killed while they sleep; and results with memory of their own.
fn sparse_calls(random: &mut Random) {
    let pool = pool("chaos");
    let storm = Storm::start("chaos", Random::new(random.number()), PAUSE);
    let expected: Vec<Vec<String>> = (0..200).map(text).collect();
    let mut rounds = 0;
    while rounds < 20 || !have_met(&["idle"]) {
        let handles: Vec<_> = (0..WORKERS as u64).map(|x| pool.submit(square, x).unwrap()).collect();
        for (x, handle) in handles.into_iter().enumerate() {
            assert_eq!(handle.get().unwrap(), (x * x) as u64);
        }
        thread::sleep(Duration::from_millis(20));
        assert!(pool.map(text, 0..200u64).unwrap() == expected);
        rounds += 1;
    }
    eprintln!("sparse: {rounds} rounds, {} kills, {:?}", storm.hits(), counts());
}

/// Pools within tasks: auditors are killed in the middle of an audit.
fn nested_pools(random: &mut Random) {
    let pool = pool("chaos");
    let storm = Storm::start("chaos", Random::new(random.number()), PAUSE);
    let sum_below = |n: u64| (0..n).map(|x| x * x).sum::<u64>();
    let expected: u64 = (0..5).map(|round| sum_below(round + 50)).sum();
    let mut rounds = 0;
    while rounds < 10 || !have_met(&["auditor"]) {
        let seeds: Vec<(u64, u64)> = (0..6).map(|_| (random.number(), 5)).collect();
        assert_eq!(pool.batch().chunk_size(1).map(nested, seeds).unwrap(), [expected; 6]);
        rounds += 1;
    }
    eprintln!("nested: {rounds} rounds, {} kills, {:?}", storm.hits(), counts());
}

#[test]
fn chaos() {
    let _watch = watchdog(Duration::from_secs(540));
    let mut random = Random::from_env();
    let warm_up = || assert_eq!(pool("chaos").map(square, 0..100).unwrap().len(), 100);
    leaks::check(warm_up, || {
        tiny_tasks(&mut random);
        short_tasks(&mut random);
        sparse_calls(&mut random);
        nested_pools(&mut random);
    });
    let met = counts();
    for (name, least) in LEAST {
        assert!(met[name] >= *least, "{name}: {} kills, {least} are wanted", met[name]);
    }
    // Nobody is left, also of those whose parents were killed.
    let left = || proc::processes().into_iter().filter(|it| it.name.starts_with("chaos-") && it.state != 'Z').count();
    for _ in 0..500 {
        if left() == 0 {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("{} workers are left", left());
}
