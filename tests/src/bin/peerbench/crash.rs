//! W9: a task kills its worker.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, raise};
use nix::time::{ClockId, clock_gettime};
use offspring::{Pool, TaskError, task};

use crate::line;

const TASKS: u64 = 40;
const DEADLY: u64 = 10;

/// Sleeps and returns its number; the deadly one first writes down the time and kills its process, once per file.
#[task]
fn nap(i: u64, time_of_death: &Path) -> u64 {
    thread::sleep(Duration::from_millis(50));
    if i == DEADLY && !time_of_death.exists() && fs::write(time_of_death, now().as_nanos().to_string()).is_ok() {
        let _ = raise(Signal::SIGKILL);
    }
    i
}

/// A clock that all processes share.
fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

pub(crate) fn w9() -> Result<(), Box<dyn Error>> {
    let case = "worker SIGKILLed in task 10 of 40";
    let dir = tempfile::tempdir()?;
    let inputs = |file: PathBuf| (0..TASKS).map(move |i| (i, file.clone()));

    let died = dir.path().join("imap_unordered");
    let pool = Pool::builder().workers(2).build()?;
    let start = now();
    let mut good = 0;
    let mut bad = Vec::new();
    for (i, outcome) in pool.imap_unordered(nap, inputs(died.clone())) {
        match outcome {
            Ok(value) => {
                assert_eq!(value, i as u64);
                good += 1;
            }
            Err(error) => bad.push(format!("{error}; told {:.1} ms after the kill", since(&died)?)),
        }
    }
    let total = (now() - start).as_secs_f64();
    let text = format!("{good}/{TASKS} results, total {total:.2} s; {}", bad.join("; "));
    line::text("W9", case, "offspring Pool::imap_unordered", &text)?;

    let outcomes = pool.try_map(nap, inputs(dir.path().join("try_map")));
    let outcomes: Vec<Result<u64, TaskError>> = outcomes?;
    let good = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let bad: Vec<String> = outcomes.iter().filter_map(|outcome| Some(outcome.as_ref().err()?.to_string())).collect();
    line::text("W9", case, "offspring Pool::try_map", &format!("{good}/{TASKS} results; {}", bad.join("; ")))?;

    let pool = Pool::builder().workers(2).retries(1).build()?;
    let values = pool.map(nap, inputs(dir.path().join("retried")))?;
    assert_eq!(values, (0..TASKS).collect::<Vec<_>>());
    let text = format!("{}/{TASKS} results, the first try of task {DEADLY} killed its worker", values.len());
    line::text("W9", case, "offspring Pool::map, retries(1)", &text)?;
    Ok(())
}

/// Milliseconds since the time that was written into the file.
fn since(file: &Path) -> Result<f64, Box<dyn Error>> {
    let nanoseconds: u64 = fs::read_to_string(file)?.parse()?;
    Ok((now() - Duration::from_nanos(nanoseconds)).as_secs_f64() * 1e3)
}
