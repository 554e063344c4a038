//! W10: two idle workers, to be looked at from outside.

use std::error::Error;
use std::io::{self, Read, Write};
use std::thread;
use std::time::Duration;

use offspring::{Pool, task};

/// Sleeps a little, so that two of these take two workers.
#[task]
fn pid() -> u32 {
    thread::sleep(Duration::from_millis(100));
    std::process::id()
}

pub(crate) fn hold() -> Result<(), Box<dyn Error>> {
    let pool = Pool::builder().workers(2).build()?;
    let (a, b) = (pool.submit(pid, ())?, pool.submit(pid, ())?);
    writeln!(io::stdout(), "PIDS {} {}", a.get()?, b.get()?)?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
