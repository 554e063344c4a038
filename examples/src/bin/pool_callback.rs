//! Each result goes to a callback, and each failure: both run in the process that submitted the work.
use std::sync::mpsc;

use offspring::{Pool, task};

#[task]
fn square(x: u32) -> u32 {
    assert!(x != 3, "three is not allowed");
    x * x
}

fn main() -> offspring::Result<()> {
    println!("main: pid {}", std::process::id());
    let pool = Pool::builder().workers(3).build()?;
    let (sender, called) = mpsc::channel();
    for x in 0..5 {
        let sender = sender.clone();
        pool.submit(square, x)?.on_done(move |result| {
            match result {
                Ok(value) => println!("callback in {}: {x} gave {value}", std::process::id()),
                Err(error) => {
                    println!("error callback in {}: {}", std::process::id(), error.message().unwrap_or("no panic"))
                }
            }
            _ = sender.send(());
        });
    }
    drop(sender);
    println!("called {} times", called.iter().count());
    Ok(())
}
