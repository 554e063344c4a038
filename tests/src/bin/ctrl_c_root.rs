//! Programs on which Ctrl-C is pressed: `ctrl_c_root default|handled|own|loop DIRECTORY`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "programs talk to the test that runs them")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use offspring::{ErrorKind, Pool, Signal, Signals, task};

/// Marks its begin and, half a second later, its end.
#[task]
fn step(directory: PathBuf, number: u64, millis: u64) -> u64 {
    let mark = |what: &str| std::fs::write(directory.join(format!("{what}-{number}")), "").expect("a file");
    mark("begun");
    std::thread::sleep(Duration::from_millis(millis));
    mark("ended");
    number
}

/// The same in a pool of its own.
#[task]
fn nested(directory: PathBuf, number: u64, millis: u64) -> u64 {
    let pool = Pool::builder().workers(1).build().expect("a pool");
    pool.call(step, (directory, number, millis)).expect("a value")
}

fn main() -> offspring::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let directory = Path::new(&arguments[1]).to_owned();
    let pool = Pool::builder().workers(2).build()?;
    let items = |millis| (0..20).map(|number| (directory.clone(), number, millis)).collect::<Vec<_>>();
    match arguments[0].as_str() {
        // No word about signals.
        "default" => drop(pool.batch().chunk_size(1).try_map(step, items(60_000))?),
        "handled" => {
            offspring::handle_ctrl_c()?;
            offspring::handle_ctrl_c()?;
            let child = offspring::spawn(step, (directory.clone(), 100, 700))?;
            let task = pool.submit(nested, (directory.clone(), 50, 600))?;
            let results = pool.batch().chunk_size(1).try_map(step, items(600))?;
            let done = results.iter().filter(|result| result.is_ok()).count();
            let cancelled = results
                .iter()
                .flat_map(|result| result.as_ref().err())
                .all(|error| error.kind() == ErrorKind::Cancelled);
            println!("done {done}, nested {:?}, child {:?}, cancelled {cancelled}", task.get().ok(), child.join().ok());
            println!(
                "again {:?}, interrupted {}",
                pool.call(step, (directory, 200, 1)).map_err(|error| error.kind()),
                offspring::interrupted()
            );
        }
        "twice" => {
            offspring::handle_ctrl_c()?;
            _ = pool.try_map(nested, items(60_000))?;
        }
        // The program's own way.
        "own" => {
            let signals = Signals::new([Signal::INT])?;
            println!("refused {}", offspring::handle_ctrl_c().is_err_and(|error| error.kind() == ErrorKind::InUse));
            let handle = pool.submit(step, (directory.clone(), 0, 600))?;
            let signal = signals.wait()?;
            println!("{signal}, then {}", handle.get()?);
        }
        other => panic!("what is {other}?"),
    }
    Ok(())
}
