//! Each stage of a flow has to take what the one before it gives.
use offspring::{Pool, task};

#[task]
fn square(x: u64) -> u64 {
    x * x
}

#[task]
fn length(text: &str) -> usize {
    text.len()
}

#[task]
fn is_even(x: &u64) -> bool {
    x % 2 == 0
}

#[task]
fn join(a: String, b: String) -> String {
    a + &b
}

#[task]
fn takes_it(x: u64) -> bool {
    x > 1
}

#[task]
fn nothing() -> u64 {
    0
}

#[task]
fn append(texts: Vec<String>, text: String) -> Vec<String> {
    [texts, vec![text]].concat()
}

struct Unsendable;

fn main() -> offspring::Result<()> {
    let pool = Pool::new()?;
    let _ = pool.flow(0..9u64).map(square).map(length);
    let _ = pool.flow(["a"]).filter(is_even);
    let _ = pool.flow(0..9u64).map(square).reduce(join);
    let _ = pool.flow(0..9u64).filter(takes_it);
    let _ = pool.flow(0..9u64).map(square).group_by_key();
    let _ = pool.flow(0..9u64).try_map(square);
    let _ = pool.flow([Unsendable]);
    let _ = pool.flow(0..9u64).flat_map(square);
    let _ = pool.flow(0..9u64).flat_map(length);
    let _ = pool.flow(["a"]).fold(nothing, append, join);
    let _ = pool.flow(0..9u64).for_each(square);
    let _ = pool.flow(0..9u64).for_each(length);
    let _ = pool.flow(0..9u64).inspect(is_even);
    let _ = pool.flow(["a"]).min_by_key(is_even);
    let _ = pool.flow(["a"]).map(length).chunks(2).map(square);
    let _ = pool.flow(0..9u64).map(square).reduce_by_key(join);
    Ok(())
}
