//! What a task returns is what `join` gives.
use std::thread::sleep;
use std::time::Duration;

use offspring::task;

#[task]
fn slow_square(x: u64) -> u64 {
    sleep(Duration::from_millis(300));
    x * x
}

fn main() -> offspring::Result<()> {
    let children = [offspring::spawn(slow_square, 3)?, offspring::spawn(slow_square, 4)?];
    for child in children {
        println!("{}", child.join()?);
    }
    Ok(())
}
