//! W1: starting and joining processes.

use std::error::Error;

use offspring::{Process, StartMethod, task};

use crate::line::{figure, percentile, time_each};

#[task]
fn add_one(x: u64) -> u64 {
    x + 1
}

pub(crate) fn w1() -> Result<(), Box<dyn Error>> {
    let methods = [
        (StartMethod::ForkServer, "offspring Process (ForkServer)"),
        (StartMethod::Spawn, "offspring Process (Spawn)"),
    ];
    for (method, peer) in methods {
        for _ in 0..3 {
            start_and_join(method)?;
        }
        let times = time_each(300, || start_and_join(method))?;
        figure("W1", "spawn+join", peer, percentile(&times, 0.5), "us", times.len())?;
        figure("W1", "spawn+join-p99", peer, percentile(&times, 0.99), "us", times.len())?;
    }
    let ballast = vec![1u8; 1 << 30];
    for (method, peer) in methods {
        start_and_join(method)?;
        let times = time_each(60, || start_and_join(method))?;
        figure("W1", "spawn+join, 1 GiB parent", peer, percentile(&times, 0.5), "us", times.len())?;
    }
    // Keeps the pages until here.
    assert_eq!(std::hint::black_box(&ballast)[1 << 29], 1);
    Ok(())
}

fn start_and_join(method: StartMethod) -> Result<(), Box<dyn Error>> {
    let value = Process::new(add_one, 7).start_method(method).spawn()?.join()?;
    assert_eq!(value, 8);
    Ok(())
}
