//! Flows whose workers are killed with SIGKILL at random times.
#![allow(clippy::print_stderr, reason = "how many kills hit is what the reader wants to know")]

use std::collections::HashMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use offspring::{Pool, Signal, task};
use offspring_tests::kill::{Random, Storm};
use offspring_tests::{proc, watchdog};

const WORKERS: usize = 3;
/// So many kills have to hit, for each kind of flow.
const KILLS: u64 = 40;
const PAUSE: Range<Duration> = Duration::from_micros(500)..Duration::from_millis(9);

/// Keeps a processor busy for a while, so that kills hit within stages as well as between them.
fn work(micros: u64) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_micros(micros) {
        std::hint::spin_loop();
    }
}

#[task]
fn slow(x: u64) -> u64 {
    work(x % 100);
    x
}

#[task]
fn is_odd(x: &u64) -> bool {
    x % 2 == 1
}

#[task]
fn slow_sum(a: u64, b: u64) -> u64 {
    work(3);
    a + b
}

/// Associative, not commutative.
#[task]
fn slow_join(a: String, b: String) -> String {
    work(3);
    a + &b
}

#[task]
fn digit(x: u64) -> String {
    (x % 10).to_string()
}

#[task]
fn by_rest(x: u64) -> (String, u64) {
    (format!("rest {}", x % 40), x)
}

#[task]
fn texts(x: u64) -> Vec<String> {
    (0..x % 4).map(|n| format!("{x}.{n}")).collect()
}

fn pool(name: &str, retries: u32) -> Pool {
    Pool::builder().workers(WORKERS).retries(retries).name(name).build().unwrap()
}

/// Kills random workers of the pool above.
fn storm() -> Storm {
    let me = std::process::id() as i32;
    Storm::start(Random::from_env(), PAUSE, move || {
        let workers = proc::children(me).into_iter().filter(|it| it.name.starts_with("flowstorm") && it.state != 'Z');
        workers.map(|it| it.pid).collect()
    })
}

/// Runs `flow` in a storm until enough kills have hit its pool.
fn in_a_storm(what: &str, retries: u32, mut flow: impl FnMut(&Pool)) {
    let pool = pool("flowstorm", retries);
    let storm = storm();
    let mut rounds = 0;
    let replaced = || pool.stats().started.saturating_sub(WORKERS as u64);
    while replaced() < KILLS {
        flow(&pool);
        rounds += 1;
    }
    let hits = storm.stop();
    eprintln!("{what}: {hits} signals, {} workers replaced in {rounds} rounds", replaced());
}

const ITEMS: u64 = 3_000;

/// One storm after another: each part kills what it takes for a worker of its own pool.
#[test]
fn kills_change_nothing_in_the_result_where_items_may_be_tried_again() {
    let _watch = watchdog(Duration::from_secs(400));
    let all = || 0..ITEMS;
    in_a_storm("collect", 10_000, |pool| {
        let values = pool.flow(all()).map(slow).filter(is_odd).flat_map(texts).collect().unwrap();
        assert_eq!(values, all().filter(is_odd).flat_map(texts).collect::<Vec<_>>());
    });
    in_a_storm("reduce", 10_000, |pool| {
        assert_eq!(pool.flow(all()).map(slow).reduce(slow_sum).unwrap(), Some(all().sum()));
        let text = pool.flow(all()).chunk_size(5).map(digit).reduce(slow_join).unwrap();
        assert_eq!(text, Some(all().map(digit).collect()));
    });
    in_a_storm("tables", 10_000, |pool| {
        let table = pool.flow(all()).map(slow).map(by_rest).reduce_by_key(slow_sum).unwrap().into_map();
        let mut expected: HashMap<String, u64> = HashMap::new();
        all().map(by_rest).for_each(|(key, value)| *expected.entry(key).or_default() += value);
        assert_eq!(table, expected);
        let groups = pool.flow(all()).chunk_size(20).map(slow).map(by_rest).group_by_key().unwrap();
        let mut values: Vec<u64> = groups.into_iter().flat_map(|(_, values)| values).collect();
        values.sort_unstable();
        assert_eq!(values, all().collect::<Vec<_>>());
    });
    in_a_storm("stream", 10_000, |pool| {
        let mut values: Vec<u64> = pool.flow(all()).map(slow).unordered().stream().map(Result::unwrap).collect();
        values.sort_unstable();
        assert_eq!(values, all().collect::<Vec<_>>());
        let values: Vec<u64> = pool.flow(all()).map(slow).stream().map(Result::unwrap).collect();
        assert_eq!(values, all().collect::<Vec<_>>());
    });
    in_a_storm("other ends", 10_000, |pool| {
        assert_eq!(pool.flow(all()).map(slow).count().unwrap(), ITEMS);
        assert_eq!(pool.flow(all()).map(slow).inspect(look).max_by_key(rest).unwrap(), all().max_by_key(rest));
        assert_eq!(pool.flow(all()).chunk_size(7).map(slow).min_by_key(rest).unwrap(), all().min_by_key(rest));
        let values = pool.flow(all()).map(slow).fold(no_values, add_value, all_values).unwrap();
        assert_eq!(values, all().collect::<Vec<_>>());
        pool.flow(all()).map(slow).for_each(visit).unwrap();
    });
    in_a_storm("cuts", 10_000, |pool| {
        let some: Vec<u64> = pool.flow(0u64..).map(slow).filter(is_odd).take(1_000).map(slow).collect().unwrap();
        assert_eq!(some, (0u64..).filter(is_odd).take(1_000).collect::<Vec<_>>());
        let sums: Vec<u64> = pool.flow(all()).map(slow).chunks(7).map(total).collect().unwrap();
        assert_eq!(sums, all().collect::<Vec<_>>().chunks(7).map(total).collect::<Vec<_>>());
    });
}

#[task]
fn look(_: &u64) {
    work(2);
}

#[task]
fn visit(_: u64) {
    work(2);
}

#[task]
fn rest(x: &u64) -> u64 {
    x % 97
}

#[task]
fn no_values() -> Vec<u64> {
    Vec::new()
}

#[task]
fn add_value(mut values: Vec<u64>, x: u64) -> Vec<u64> {
    values.push(x);
    values
}

#[task]
fn all_values(mut a: Vec<u64>, b: Vec<u64>) -> Vec<u64> {
    work(3);
    a.extend(b);
    a
}

#[task]
fn total(values: &[u64]) -> u64 {
    work(10);
    values.iter().sum()
}

/// Without tries: each item is in the result, or it was told, and never both.
#[test]
fn kills_cost_the_items_that_were_running_and_no_others() {
    let _watch = watchdog(Duration::from_secs(200));
    in_a_storm("without tries", 0, |pool| {
        let mut lost = Vec::new();
        let table =
            pool.flow(0..ITEMS).map(slow).map(by_rest).on_failure(|error| lost.push(error)).group_by_key().unwrap();
        let mut values: Vec<u64> = table.into_iter().flat_map(|(_, values)| values).collect();
        for error in &lost {
            let death = error.as_task_error().unwrap();
            assert!(death.is_worker_died(), "{error}");
            assert_eq!(death.exit_status().unwrap().signal(), Some(Signal::KILL), "{error}");
            values.push(error.item().unwrap() as u64);
        }
        values.sort_unstable();
        assert_eq!(values, (0..ITEMS).collect::<Vec<_>>(), "{} lost", lost.len());
    });
}

#[task]
fn deadly(x: u64) -> u64 {
    if x % 100 == 42 {
        std::process::abort();
    }
    x
}

#[test]
fn an_item_that_kills_its_worker_costs_itself_and_is_told_with_its_stage() {
    let _watch = watchdog(Duration::from_secs(60));
    for (chunk, retries) in [(1, 0), (64, 0), (500, 1)] {
        let pool = pool("calm", 0);
        let mut lost = Vec::new();
        let flow = pool.flow(0..400u64).filter(is_even).map(deadly).chunk_size(chunk).retries(retries);
        let total = flow.on_failure(|error| lost.push(error)).reduce(slow_sum).unwrap();
        assert_eq!(total, Some((0..400).filter(|x| x % 2 == 0 && x % 100 != 42).sum()), "chunks of {chunk}");
        lost.sort_by_key(|error| error.item());
        assert_eq!(lost.iter().map(|error| error.item()).collect::<Vec<_>>(), [42, 142, 242, 342].map(Some));
        for error in lost {
            assert_eq!((error.stage(), error.task().ends_with("deadly")), (2, true), "{error}");
            let death = error.as_task_error().unwrap();
            assert_eq!((death.tries(), death.exit_status().unwrap().signal()), (Some(retries + 1), Some(Signal::ABRT)));
        }
    }
}

#[task]
fn is_even(x: &u64) -> bool {
    x.is_multiple_of(2)
}
