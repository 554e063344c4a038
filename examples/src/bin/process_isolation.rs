//! Processes do not share memory: a child's change of a static stays in the child.
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use offspring::task;

static COUNTER: AtomicU32 = AtomicU32::new(100);

#[task]
fn reset() -> u32 {
    COUNTER.store(0, Relaxed);
    COUNTER.load(Relaxed)
}

fn main() -> offspring::Result<()> {
    println!("child: {}", offspring::spawn(reset, ())?.join()?);
    println!("main: {}", COUNTER.load(Relaxed));
    Ok(())
}
