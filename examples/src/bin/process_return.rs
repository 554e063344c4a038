//! Results come back through a queue, or as what `join` gives.
use std::thread::sleep;
use std::time::Duration;

use offspring::{Failure, Queue, task};

#[task]
fn slow_square(x: u64) -> u64 {
    sleep(Duration::from_millis(300));
    x * x
}

#[task]
fn put_square(x: u64, results: Queue<u64>) -> Result<(), Failure> {
    Ok(results.put(&slow_square(x))?)
}

fn main() -> offspring::Result<()> {
    let results = Queue::unbounded()?;
    let children = [3, 4].map(|x| offspring::spawn(put_square, (x, &results)));
    println!("from the queue: {}", results.get()? + results.get()?);
    for child in children {
        child?.join()??;
    }

    let children = [3, 4].map(|x| offspring::spawn(slow_square, x));
    for child in children {
        println!("from join: {}", child?.join()?);
    }
    Ok(())
}
