//! Three processes that run side by side: 0.3 s in all, not 0.6 s.
use std::thread::sleep;
use std::time::Duration;

use offspring::task;

#[task]
fn nap(i: u64) {
    sleep(Duration::from_millis(100 * i));
    println!("process {i}: done");
}

fn main() -> offspring::Result<()> {
    let children = [1, 2, 3].map(|i| offspring::spawn(nap, i));
    println!("main: all are started");
    for child in children {
        child?.join()?;
    }
    println!("main: all are joined");
    Ok(())
}
