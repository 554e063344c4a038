//! The blocking form: one call after another.
use std::thread::sleep;
use std::time::Duration;

use offspring::{Pool, task};

#[task]
fn work(i: u32) -> u32 {
    sleep(Duration::from_millis(50));
    i
}

fn main() -> offspring::Result<()> {
    let pool = Pool::builder().workers(3).build()?;
    for i in 0..10 {
        println!("result {}", pool.call(work, i)?);
    }
    Ok(())
}
