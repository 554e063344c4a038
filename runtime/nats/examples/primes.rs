//! Counts prime numbers on whatever machines join: `primes [URL [MILLIONS]]`. With `OFFSPRING_NATS_SERVE=URL` in the environment it is a worker.

use offspring::{Executor, task};
use offspring_nats::NatsPool;

/// So many numbers are one task.
const SPAN: u64 = 10_000;

/// How many primes there are from `start` on, among the next so many numbers.
#[task]
fn primes(start: u64) -> u64 {
    let is_prime = |n: &u64| *n > 1 && (2..).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    (start..start + SPAN).filter(is_prime).count() as u64
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "nats://127.0.0.1:4222".to_owned());
    let millions: u64 = arguments.next().map_or(Ok(1), |text| text.parse())?;
    // A worker stays in here.
    let pool = NatsPool::connect(&url)?;
    let spans = (0..millions * 1_000_000).step_by(SPAN as usize);
    let counts = pool.map(primes, spans)?;
    writeln(&format!("{} primes below {millions} million", counts.iter().sum::<u64>()))?;
    Ok(())
}

fn writeln(line: &str) -> std::io::Result<()> {
    use std::io::Write;
    writeln!(std::io::stdout(), "{line}")
}
