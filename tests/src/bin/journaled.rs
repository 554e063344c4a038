//! A batch with a journal, to be killed and started again: `journaled FILE ITEMS MICROSECONDS [each|interval [imap|map|stream|reduce [stuck]]]`. Prints a
//! sum over its results in their order, made here or by the reduction of a flow. `stuck`: the first item does not end.
#![allow(clippy::print_stdout, reason = "a program")]

use std::time::{Duration, Instant};

use offspring::{Durability, Journal, Pool, task};

#[task]
fn squared(x: u64, micros: u64) -> u64 {
    if micros == u64::MAX {
        std::thread::sleep(Duration::from_secs(600));
    }
    let start = Instant::now();
    while start.elapsed() < Duration::from_micros(micros) {}
    x * x
}

#[task]
fn is_square(x: &u64) -> bool {
    x.isqrt().pow(2) == *x
}

/// `sum -> 31 * sum + square`, as what it multiplies by and what it adds.
#[task]
fn step(square: u64) -> (u64, u64) {
    (31, square)
}

/// One after the other.
#[task]
fn then(a: (u64, u64), b: (u64, u64)) -> (u64, u64) {
    (a.0.wrapping_mul(b.0), a.1.wrapping_mul(b.0).wrapping_add(b.1))
}

fn main() -> offspring::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let mut journal = Journal::at(&arguments[0]);
    if arguments.get(3).is_some_and(|text| text == "each") {
        journal = journal.durability(Durability::EachItem);
    }
    let micros = number(2);
    let is_stuck = arguments.get(5).is_some_and(|text| text == "stuck");
    let items = (0..number(1)).map(|x| (x, if is_stuck && x == 0 { u64::MAX } else { micros }));
    let pool = Pool::builder().workers(2).build()?;
    let squares: Box<dyn Iterator<Item = offspring::Result<u64>>> =
        match arguments.get(4).map_or("imap", String::as_str) {
            "map" => {
                let squares = pool.batch().journal(&journal).map(squared, items)?;
                Box::new(squares.into_iter().map(Ok))
            }
            "reduce" => {
                let steps = pool.flow(items).journal(&journal).map(squared).filter(is_square).map(step);
                println!("begun\n{}", steps.reduce(then)?.unwrap_or_default().1);
                return Ok(());
            }
            "stream" => {
                let squares = pool.flow(items).journal(&journal).map(squared).filter(is_square);
                Box::new(squares.stream().map(|square| Ok(square?)))
            }
            _ => Box::new(pool.batch().journal(&journal).imap(squared, items).map(|square| Ok(square?))),
        };
    let mut sum = 0u64;
    for (index, square) in squares.enumerate() {
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
