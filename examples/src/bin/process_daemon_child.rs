//! The end of the program waits for children, and ends daemon children.
use std::thread::sleep;
use std::time::Duration;

use offspring::{Process, task};

#[task]
fn work(name: String, milliseconds: u64) {
    println!("{name}: starts");
    sleep(Duration::from_millis(milliseconds));
    println!("{name}: done");
}

fn main() -> offspring::Result<()> {
    Process::new(work, ("daemon".to_owned(), 60_000)).daemon(true).spawn()?;
    Process::new(work, ("child".to_owned(), 200)).spawn()?;
    println!("main: ends");
    Ok(())
}
