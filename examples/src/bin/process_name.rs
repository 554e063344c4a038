//! A process has a name: its own, or one by its number.
use std::thread::sleep;
use std::time::Duration;

use offspring::{Process, process, task};

#[task]
fn foo() {
    let me = process::current();
    println!("Starting {}", me.name());
    sleep(Duration::from_millis(100));
    println!("Exiting {}", me.name());
}

fn main() -> offspring::Result<()> {
    let named = Process::new(foo, ()).name("foo_process").spawn()?;
    let unnamed = Process::new(foo, ()).spawn()?;
    println!("main: {} and {}", named.name(), unnamed.name());
    named.join()?;
    unnamed.join()?;
    Ok(())
}
