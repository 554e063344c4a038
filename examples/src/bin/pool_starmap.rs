//! `map` over pairs, with a task of two parameters.
use offspring::{Pool, task};

#[task]
fn sum(a: u64, b: u64) -> u64 {
    a + b
}

fn main() -> offspring::Result<()> {
    println!("{:?}", Pool::new()?.map(sum, [(1, 2), (3, 4), (5, 6)])?);
    Ok(())
}
