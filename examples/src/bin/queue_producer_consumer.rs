//! One process puts random numbers into a queue, another takes them until it is closed and empty.
use std::thread::sleep;
use std::time::Duration;

use offspring::{Failure, Queue, task};

#[task]
fn produce(queue: Queue<u8>) -> Result<(), Failure> {
    for _ in 0..10 {
        let number = fastrand::u8(..);
        queue.put(&number)?;
        println!("put {number}, size {}", queue.len());
        sleep(Duration::from_millis(10));
    }
    Ok(queue.close()?)
}

#[task]
fn consume(queue: Queue<u8>) -> Result<(), Failure> {
    for number in &queue {
        println!("taken {}", number?);
        sleep(Duration::from_millis(20));
    }
    println!("The queue is empty");
    Ok(())
}

fn main() -> offspring::Result<()> {
    let queue = Queue::unbounded()?;
    let children = [offspring::spawn(produce, &queue)?, offspring::spawn(consume, &queue)?];
    for child in children {
        child.join()??;
    }
    Ok(())
}
