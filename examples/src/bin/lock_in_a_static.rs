//! The lock is a static: every process that names it means the same one.
use std::thread::sleep;
use std::time::{Duration, Instant};

use offspring::sync::Mutex;
use offspring::{Failure, task};

#[offspring::shared]
static LOCK: Mutex<()> = Mutex::new(())?;

#[task]
fn work(i: u32) -> Result<(), Failure> {
    let _guard = LOCK.lock()?;
    println!("child {i}: begins");
    sleep(Duration::from_millis(50));
    println!("child {i}: ends");
    Ok(())
}

fn main() -> offspring::Result<()> {
    let start = Instant::now();
    let children = (0..10).map(|i| offspring::spawn(work, i)).collect::<Result<Vec<_>, _>>()?;
    for child in children {
        child.join()??;
    }
    println!("took {} ms", start.elapsed().as_millis());
    Ok(())
}
