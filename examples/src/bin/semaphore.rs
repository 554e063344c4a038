//! Ten processes share two permits.
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use offspring::sync::Semaphore;
use offspring::{Failure, task};

#[task]
fn work(i: u64, semaphore: Semaphore) -> Result<(SystemTime, SystemTime), Failure> {
    let _permit = semaphore.acquire()?;
    let start = SystemTime::now();
    println!("child {i}: has a permit");
    sleep(Duration::from_millis(10 * i));
    Ok((start, SystemTime::now()))
}

fn main() -> offspring::Result<()> {
    let start = Instant::now();
    let semaphore = Semaphore::new(2)?;
    let children = (0..10).map(|i| offspring::spawn(work, (i, &semaphore))).collect::<Result<Vec<_>, _>>()?;
    let times = children.into_iter().map(|child| Ok(child.join()??)).collect::<offspring::Result<Vec<_>>>()?;
    let inside = |at: SystemTime| times.iter().filter(|(start, end)| (*start..*end).contains(&at)).count();
    println!("most at once: {}", times.iter().map(|(start, _)| inside(*start)).max().unwrap_or(0));
    println!("took {} ms", start.elapsed().as_millis());
    Ok(())
}
