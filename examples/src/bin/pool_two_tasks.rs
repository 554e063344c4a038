//! Two tasks, five items each, in one pool of three workers.
use std::thread::sleep;
use std::time::Duration;

use offspring::{Pool, task};

#[task]
fn sing(i: u32) -> String {
    sleep(Duration::from_millis(100));
    format!("sing {i}")
}

#[task]
fn dance(i: u32) -> String {
    sleep(Duration::from_millis(100));
    format!("dance {i}")
}

fn main() -> offspring::Result<()> {
    let pool = Pool::builder().workers(3).build()?;
    let mut handles = Vec::new();
    for i in 0..5 {
        handles.push(pool.submit(sing, i)?);
        handles.push(pool.submit(dance, i)?);
    }
    for handle in handles {
        println!("{}", handle.get()?);
    }
    Ok(())
}
