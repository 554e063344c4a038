//! Four tasks of a pool take from one shared value, under a lock: both are arguments of the tasks.
use std::sync::mpsc;

use offspring::shared::Value;
use offspring::sync::Mutex;
use offspring::{Failure, Pool, task};

#[task]
fn take_ten(value: Value<i64>, lock: Mutex<()>) -> Result<i64, Failure> {
    for _ in 0..10 {
        let _guard = lock.lock()?;
        // Without the lock a change of another task could come between the two.
        value.set(&(value.get()? - 1))?;
    }
    Ok(value.get()?)
}

fn main() -> offspring::Result<()> {
    let (value, lock) = (Value::new(10)?, Mutex::new(())?);
    let pool = Pool::builder().workers(4).build()?;
    let (sender, called) = mpsc::channel();
    for i in 0..4 {
        let sender = sender.clone();
        pool.submit(take_ten, (&value, &lock))?.on_done(move |result| {
            println!("task {i}: {result:?}");
            _ = sender.send(());
        });
    }
    drop(sender);
    println!("{} tasks are done", called.iter().count());
    println!("{}", value.get()?);
    Ok(())
}
