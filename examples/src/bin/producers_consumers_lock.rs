//! Two producers count a shared value up under a lock and put each number into a queue, from which two consumers print it.
use offspring::sync::Mutex;
use offspring::{Failure, Queue, task};

#[task]
fn produce(value: Mutex<u64>, queue: Queue<u64>) -> Result<(), Failure> {
    for _ in 0..1000 {
        let mut value = value.lock()?;
        *value += 1;
        queue.put(&value)?;
    }
    Ok(())
}

#[task]
fn consume(queue: Queue<u64>) -> Result<(), Failure> {
    for item in &queue {
        println!("item {}", item?);
    }
    Ok(())
}

fn main() -> offspring::Result<()> {
    let (value, queue) = (Mutex::new(0)?, Queue::bounded(100)?);
    let consumers = [offspring::spawn(consume, &queue)?, offspring::spawn(consume, &queue)?];
    let producers = [0; 2].map(|_| offspring::spawn(produce, (&value, &queue)));
    for producer in producers {
        producer?.join()??;
    }
    queue.close()?;
    for consumer in consumers {
        consumer.join()??;
    }
    println!("final value {}", *value.lock()?);
    Ok(())
}
