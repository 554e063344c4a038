//! A batch with a journal, to be killed and started again: `journaled FILE ITEMS MICROSECONDS [each]`. Prints a sum over its results in their
//! order.
#![allow(clippy::print_stdout, reason = "a program")]

use std::time::{Duration, Instant};

use offspring::{Durability, Journal, Pool, task};

#[task]
fn squared(x: u64, micros: u64) -> u64 {
    let start = Instant::now();
    while start.elapsed() < Duration::from_micros(micros) {}
    x * x
}

fn main() -> offspring::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let mut journal = Journal::at(&arguments[0]);
    if arguments.get(3).is_some_and(|text| text == "each") {
        journal = journal.durability(Durability::EachItem);
    }
    let micros = number(2);
    let pool = Pool::builder().workers(2).build()?;
    let mut sum = 0u64;
    for (index, square) in pool.batch().journal(&journal).imap(squared, (0..number(1)).map(|x| (x, micros))).enumerate()
    {
        let square = square?;
        assert_eq!(square, (index * index) as u64);
        sum = sum.wrapping_mul(31).wrapping_add(square);
        if index == 0 {
            println!("begun");
        }
    }
    println!("{sum}");
    Ok(())
}
