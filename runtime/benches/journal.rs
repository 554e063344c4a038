//! What a journal costs: the same batch without one, with a commit every 100 ms, and with a commit for each item, of tasks that take
//! 1 us, 100 us and 10 ms of a CPU. Rounds are interleaved; the medians count.
//!
//! `cargo bench -p offspring --features journal --bench journal`
#![allow(clippy::print_stdout, reason = "a program")]

use std::time::{Duration, Instant};

use offspring::{Durability, Journal, Pool, task};

#[task]
fn burn(item: u64, nanos: u64) -> u64 {
    let start = Instant::now();
    while start.elapsed() < Duration::from_nanos(nanos) {}
    item
}

fn run(pool: &Pool, journal: Option<Journal>, items: u64, nanos: u64) -> f64 {
    let inputs = (0..items).map(|item| (item, nanos));
    let start = Instant::now();
    let results = match journal {
        Some(journal) => pool.batch().journal(journal).map(burn, inputs),
        None => pool.map(burn, inputs),
    };
    let took = start.elapsed().as_secs_f64();
    assert!(results.is_ok_and(|results| results.len() as u64 == items));
    took
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() -> offspring::Result<()> {
    let directory = tempfile::tempdir()?;
    let pool = Pool::builder().workers(2).build()?;
    println!(
        "{:>8} {:>8} {:>12} {:>12} {:>8} {:>14}",
        "task", "items", "plain s", "journal s", "ratio", "us/item more"
    );
    for (nanos, items, each) in [(1_000, 200_000, false), (100_000, 10_000, true), (10_000_000, 200, true)] {
        let mut times: [Vec<f64>; 3] = Default::default();
        for round in 0..5 {
            let journal = |kind: &str| Journal::at(directory.path().join(format!("{nanos}-{kind}-{round}.db")));
            times[0].push(run(&pool, None, items, nanos));
            times[1].push(run(&pool, Some(journal("interval")), items, nanos));
            if each {
                times[2].push(run(&pool, Some(journal("each").durability(Durability::EachItem)), items, nanos));
            }
        }
        let [plain, interval, each_item] = times.map(|times| if times.is_empty() { f64::NAN } else { median(times) });
        for (name, time) in [("interval", interval), ("each item", each_item)] {
            if time.is_nan() {
                continue;
            }
            let more = (time - plain) / items as f64 * 1e6;
            println!(
                "{:>6}us {items:>8} {plain:>12.3} {time:>12.3} {:>8.2} {more:>14.2}  {name}",
                nanos / 1000,
                time / plain
            );
        }
    }
    Ok(())
}
