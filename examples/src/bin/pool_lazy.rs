//! Workers start on demand: ten calls, one after another, need one of the three.
use std::collections::HashSet;

use offspring::{Pool, task};

#[task]
fn pid() -> u32 {
    std::process::id()
}

fn main() -> offspring::Result<()> {
    let pool = Pool::builder().workers(3).build()?;
    let ran = (0..10).map(|_| pool.call(pid, ())).collect::<Result<HashSet<u32>, _>>()?;
    println!("workers that ran: {ran:?}");
    println!("workers started: {}", pool.workers().len());
    Ok(())
}
