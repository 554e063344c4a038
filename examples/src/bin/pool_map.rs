//! `map` over numbers.
use offspring::{Pool, task};

#[task]
fn square(x: u64) -> u64 {
    x * x
}

fn main() -> offspring::Result<()> {
    println!("{:?}", Pool::new()?.map(square, 0..10)?);
    Ok(())
}
