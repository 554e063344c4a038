//! W7: a lock around a counter.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use offspring::sync::{Barrier, Mutex};
use offspring::{Failure, Process, task};

use crate::line::figure;

const PAIRS: u64 = 1_000_000;

#[task]
fn increment(counter: Mutex<u64>, start: Barrier) -> Result<(), Failure> {
    start.wait()?;
    for _ in 0..PAIRS {
        *counter.lock()? += 1;
    }
    Ok(())
}

pub(crate) fn w7() -> Result<(), Box<dyn Error>> {
    let counter = Mutex::new(0u64)?;
    for round in 0..2 {
        let start = Instant::now();
        for _ in 0..PAIRS {
            drop(black_box(counter.lock()?));
        }
        let each = start.elapsed().as_secs_f64() * 1e9 / PAIRS as f64;
        // The first round warms up.
        if round == 1 {
            figure("W7", "uncontended lock+unlock", "offspring sync::Mutex", each, "ns", PAIRS as usize)?;
        }
    }
    let meet = Barrier::new(3)?;
    let other = Process::new(increment, (&counter, &meet)).spawn()?;
    let another = Process::new(increment, (&counter, &meet)).spawn()?;
    meet.wait()?;
    let start = Instant::now();
    other.join()??;
    another.join()??;
    let total = 2 * PAIRS;
    let each = start.elapsed().as_secs_f64() * 1e9 / total as f64;
    assert_eq!(*counter.lock()?, total, "increments were lost");
    figure("W7", "contended increment, 2 processes", "offspring sync::Mutex", each, "ns", total as usize)?;
    Ok(())
}
