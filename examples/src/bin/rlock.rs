//! A function that calls itself takes the same lock at each level; another process waits for the last release.
use std::thread::sleep;
use std::time::Duration;

use offspring::sync::{Event, ReentrantMutex};
use offspring::{Failure, task};

fn descend(lock: &ReentrantMutex, level: u32) -> Result<(), Failure> {
    let guard = lock.lock()?;
    println!("first: level {level}, held {} times", guard.depth());
    match level {
        0 => sleep(Duration::from_millis(300)),
        _ => descend(lock, level - 1)?,
    }
    println!("first: leaves level {level}");
    Ok(())
}

#[task]
fn first(lock: ReentrantMutex, inside: Event) -> Result<(), Failure> {
    let _guard = lock.lock()?;
    inside.set()?;
    descend(&lock, 2)
}

#[task]
fn second(lock: ReentrantMutex) -> Result<(), Failure> {
    println!("second: free at once: {}", lock.try_lock().is_ok());
    let _guard = lock.lock()?;
    println!("second: inside");
    Ok(())
}

fn main() -> offspring::Result<()> {
    let (lock, inside) = (ReentrantMutex::new()?, Event::new()?);
    let first = offspring::spawn(first, (&lock, &inside))?;
    inside.wait()?;
    offspring::spawn(second, &lock)?.join()??;
    first.join()??;
    Ok(())
}
