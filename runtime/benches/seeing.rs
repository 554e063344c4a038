//! What it costs to see: the same batch as it is, told of by a callback, and measured item by item. Rounds are interleaved; the medians count.
//!
//! `cargo bench -p offspring --bench seeing`
#![allow(clippy::print_stdout, reason = "a program")]

use std::time::{Duration, Instant};

use offspring::{Pool, task};

#[task]
fn burn(item: u64, nanos: u64) -> u64 {
    let start = Instant::now();
    while start.elapsed() < Duration::from_nanos(nanos) {}
    item
}

#[task]
fn square(x: u64, _: u64) -> u64 {
    x.wrapping_mul(x)
}

/// May fail, as far as its type says: then being told costs something for each item.
#[task]
fn checked(x: u64, _: u64) -> Result<u64, u64> {
    if x == u64::MAX { Err(x) } else { Ok(x) }
}

const WAYS: [&str; 3] = ["plain", "progress_with", "account"];
const ROUNDS: usize = 7;

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() -> offspring::Result<()> {
    let pool = Pool::builder().workers(2).build()?;
    println!("two workers, {ROUNDS} rounds, medians; ns by the item, on two workers together");
    println!("{:<10} {:>8} {:>10} {:>14} {:>10}", "task", "items", WAYS[0], WAYS[1], WAYS[2]);
    for (name, items, nanos) in
        [("square", 200_000u64, 0u64), ("checked", 200_000, 0), ("1 us", 100_000, 1_000), ("100 us", 4_000, 100_000)]
    {
        let mut times: [Vec<f64>; 3] = Default::default();
        for _ in 0..ROUNDS {
            for (way, times) in times.iter_mut().enumerate() {
                let batch = match way {
                    0 => pool.batch(),
                    1 => pool.batch().progress_with(|_| ()),
                    _ => pool.batch().account(true),
                };
                let inputs = (0..items).map(|item| (item, nanos));
                let start = Instant::now();
                let done = match name {
                    "square" => batch.map(square, inputs)?.len(),
                    "checked" => batch.map(checked, inputs)?.len(),
                    _ => batch.map(burn, inputs)?.len(),
                };
                times.push(start.elapsed().as_nanos() as f64 / items as f64);
                assert_eq!(done as u64, items);
            }
        }
        let [plain, told, measured] = times.each_mut().map(|times| median(times));
        println!("{name:<10} {items:>8} {plain:>10.1} {told:>14.1} {measured:>10.1}");
    }
    Ok(())
}
