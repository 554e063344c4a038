//! A producer waits until all that it has put is done, by three daemon consumers.
use std::thread::sleep;
use std::time::Duration;

use offspring::{Failure, JoinableQueue, Process, task};

#[task]
fn produce(jobs: JoinableQueue<u32>) -> Result<(), Failure> {
    for item in 0..10 {
        jobs.put(&item)?;
    }
    jobs.join()?;
    println!("Ended");
    Ok(())
}

#[task]
fn consume(jobs: JoinableQueue<u32>) -> Result<(), Failure> {
    loop {
        let item = jobs.get()?;
        sleep(Duration::from_millis(30));
        println!("item {item} is done");
        jobs.task_done()?;
    }
}

fn main() -> offspring::Result<()> {
    let jobs = JoinableQueue::unbounded()?;
    for _ in 0..3 {
        Process::new(consume, &jobs).daemon(true).spawn()?;
    }
    offspring::spawn(produce, &jobs)?.join()??;
    if let Err(error) = jobs.task_done() {
        println!("once more: {error}");
    }
    Ok(())
}
