//! Ten submissions to three workers: four rounds of sleep. The results are gathered after the pool has ended.
use std::thread::sleep;
use std::time::Duration;

use offspring::{Pool, task};

#[task]
fn work(i: u32) -> u32 {
    sleep(Duration::from_millis(300));
    i * 10
}

fn main() -> offspring::Result<()> {
    let pool = Pool::builder().workers(3).build()?;
    let handles = (0..10).map(|i| pool.submit(work, i)).collect::<Result<Vec<_>, _>>()?;
    pool.close();
    pool.join()?;
    for handle in handles {
        println!("result {}", handle.get()?);
    }
    Ok(())
}
