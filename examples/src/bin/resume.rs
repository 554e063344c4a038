//! A batch that may be stopped at any time: start it again, and it goes on where it was.
//!
//! `resume [FILE]` works on forty items, each of which takes a tenth of a second, and keeps what is done in FILE. Press Ctrl-C, kill it, pull the
//! plug; then run the same command again.

use std::thread::sleep;
use std::time::Duration;

use offspring::{Pool, task};

#[task]
fn slow_square(x: u64) -> u64 {
    sleep(Duration::from_millis(100));
    x * x
}

fn main() -> offspring::Result<()> {
    let file = std::env::args().nth(1).unwrap_or_else(|| "resume.db".into());
    let pool = Pool::builder().workers(4).build()?;
    for (x, square) in pool.batch().journal(&file).imap(slow_square, 0..40).enumerate() {
        println!("{x} squared is {}", square?);
    }
    println!("All done; {file} can be deleted.");
    Ok(())
}
