//! W8: a dictionary that two processes work on.

use std::error::Error;
use std::time::Instant;

use offspring::shared::{Dict, Value};
use offspring::{Failure, Process, task};

use crate::line::figure;

const KEYS: u64 = 100_000;
const PROCESSES: u64 = 2;

/// Sets, then gets, the keys that are `k` modulo 2, when all are there.
#[task]
fn work(dict: Dict<String, u64>, ready: Value<u64>, k: u64) -> Result<(), Failure> {
    ready.fetch_add(1)?;
    while ready.get()? <= PROCESSES {
        std::hint::spin_loop();
    }
    for i in (k..KEYS).step_by(PROCESSES as usize) {
        dict.set(&format!("key:{i}"), &i)?;
    }
    for i in (k..KEYS).step_by(PROCESSES as usize) {
        let found = dict.get(&format!("key:{i}"))?;
        assert_eq!(found, Some(i));
    }
    Ok(())
}

pub(crate) fn w8() -> Result<(), Box<dyn Error>> {
    let (dict, ready) = (Dict::new()?, Value::new(0u64)?);
    let children = (0..PROCESSES)
        .map(|k| Process::new(work, (dict.clone(), ready.clone(), k)).spawn())
        .collect::<Result<Vec<_>, _>>()?;
    while ready.get()? < PROCESSES {
        std::thread::yield_now();
    }
    let start = Instant::now();
    ready.fetch_add(1)?;
    for child in children {
        child.join()??;
    }
    let time = start.elapsed();
    assert_eq!(dict.len() as u64, KEYS);
    let rate = (2 * KEYS) as f64 / time.as_secs_f64();
    figure("W8", "100k set + 100k get by 2 processes", "offspring Dict", rate, "op/s", 2 * KEYS as usize)?;
    Ok(())
}
