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

/// Items of a batch for tasks of this length: about a second of work for two workers, less where the disk has to be awaited for each item.
const TASKS: [(u64, u64); 3] = [(1_000, 100_000), (100_000, 5_000), (10_000_000, 100)];
const ROUNDS: usize = 5;
/// Commits that are awaited one by one take milliseconds on some disks: no more of them than this.
const MOST_AWAITED: u64 = 1_000;

fn main() -> offspring::Result<()> {
    let directory = tempfile::tempdir()?;
    let pool = Pool::builder().workers(2).build()?;
    println!("two workers, {ROUNDS} rounds, medians; us more: what the journal adds to the batch's time, by the item");
    println!(
        "{:>8} {:>8}  {:<12} {:>10} {:>10} {:>8} {:>12}",
        "task us", "items", "durability", "without s", "with s", "ratio", "us more"
    );
    for (nanos, items) in TASKS {
        for (name, durability, items) in
            [("100 ms", None, items), ("each item", Some(Durability::EachItem), items.min(MOST_AWAITED))]
        {
            let mut times: [Vec<f64>; 2] = Default::default();
            for round in 0..ROUNDS {
                let file = directory.path().join(format!("{nanos}-{name}-{round}.db"));
                let mut journal = Journal::at(&file);
                if let Some(durability) = durability {
                    journal = journal.durability(durability);
                }
                times[0].push(run(&pool, None, items, nanos));
                times[1].push(run(&pool, Some(journal), items, nanos));
                std::fs::remove_file(file)?;
            }
            let [without, with] = times.map(median);
            println!(
                "{:>8} {items:>8}  {name:<12} {without:>10.3} {with:>10.3} {:>8.2} {:>12.2}",
                nanos / 1000,
                with / without,
                (with - without) / items as f64 * 1e6
            );
        }
    }
    Ok(())
}
