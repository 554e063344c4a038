//! Ten processes sleep while they hold one lock, then again without it.
use std::thread::sleep;
use std::time::{Duration, Instant};

use offspring::sync::Mutex;
use offspring::{Failure, task};

#[task]
fn work(i: u32, lock: Option<Mutex<()>>) -> Result<(), Failure> {
    let _guard = lock.as_ref().map(Mutex::lock).transpose()?;
    println!("child {i}: begins");
    sleep(Duration::from_millis(50));
    println!("child {i}: ends");
    Ok(())
}

fn ten(lock: Option<&Mutex<()>>) -> offspring::Result<Duration> {
    let start = Instant::now();
    let children = (0..10).map(|i| offspring::spawn(work, (i, lock.cloned()))).collect::<Result<Vec<_>, _>>()?;
    for child in children {
        child.join()??;
    }
    Ok(start.elapsed())
}

fn main() -> offspring::Result<()> {
    println!("with the lock: {} ms", ten(Some(&Mutex::new(())?))?.as_millis());
    println!("without: {} ms", ten(None)?.as_millis());
    Ok(())
}
