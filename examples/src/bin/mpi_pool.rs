//! A pool over ranks: the same call as on a local pool, and the same results. `mpirun -n 4 mpi_pool`, or without `mpirun`.
//! (mpi4py: `mpi4py.futures.MPIPoolExecutor`.)

use offspring::{Executor, Pool, TaskError, task};
use offspring_mpi::MpiPool;

#[task]
fn collatz(mut n: u64) -> u32 {
    let mut steps = 0;
    while n > 1 {
        n = if n.is_multiple_of(2) { n / 2 } else { 3 * n + 1 };
        steps += 1;
    }
    steps
}

/// The number below `limit` whose way to 1 is the longest, and how long that is.
fn longest(engine: &impl Executor, limit: u64) -> Result<(u64, u32), TaskError> {
    let steps = engine.map(collatz, 1..limit)?;
    let longest = (1..).zip(steps).max_by_key(|(n, steps)| (*steps, std::cmp::Reverse(*n)));
    Ok(longest.unwrap_or((1, 0)))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Ranks other than 0 serve in here, and end with the pool.
    let ranks = MpiPool::new()?;
    let over_ranks = longest(&ranks, 100_000)?;
    drop(ranks);
    let here = longest(&Pool::new()?, 100_000)?;
    println!(
        "longest below 100000: {} with {} steps; the same here: {}",
        over_ranks.0,
        over_ranks.1,
        over_ranks == here
    );
    Ok(())
}
