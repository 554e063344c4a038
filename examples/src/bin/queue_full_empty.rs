//! Putting into a full queue and taking from an empty one: at once, with a timeout, and as long as it takes.
use std::fmt::Debug;
use std::thread::sleep;
use std::time::{Duration, Instant};

use offspring::{Failure, Queue, QueueError, task};

const TIMEOUT: Duration = Duration::from_millis(100);

#[task]
fn take_late(queue: Queue<u32>) -> Result<u32, Failure> {
    sleep(Duration::from_millis(300));
    Ok(queue.get()?)
}

#[task]
fn put_late(queue: Queue<u32>) -> Result<(), Failure> {
    sleep(Duration::from_millis(300));
    Ok(queue.put(&7)?)
}

fn show<T: Debug>(what: &str, call: impl FnOnce() -> Result<T, QueueError>) {
    let start = Instant::now();
    let outcome = call().map_err(|error| error.kind());
    println!("{what}: {outcome:?} after {} tenths of a second", start.elapsed().as_millis() / 100);
}

fn main() -> offspring::Result<()> {
    let queue = Queue::bounded(2)?;
    queue.put(&1)?;
    queue.put(&2)?;
    show("try_put", || queue.try_put(&3));
    show("put_timeout", || queue.put_timeout(&3, TIMEOUT));
    let child = offspring::spawn(take_late, &queue)?;
    show("put", || queue.put(&3));
    println!("the child has taken {}", child.join()??);

    println!("{} and {}", queue.get()?, queue.get()?);
    show("try_get", || queue.try_get());
    show("get_timeout", || queue.get_timeout(TIMEOUT));
    let child = offspring::spawn(put_late, &queue)?;
    show("get", || queue.get());
    child.join()??;
    Ok(())
}
