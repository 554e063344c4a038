//! Four processes meet three times. Then one is late, and the barrier breaks.
use std::thread::sleep;
use std::time::Duration;

use offspring::sync::Barrier;
use offspring::{Failure, task};

#[task]
fn rounds(barrier: Barrier, i: u64) -> Result<(), Failure> {
    for round in 1..=3 {
        sleep(Duration::from_millis(20 * i));
        println!("round {round}: child {i} comes");
        // Nobody goes on before the lines of all are there.
        if barrier.wait()?.is_leader() {
            println!("round {round}: all are there");
        }
        barrier.wait()?;
    }
    Ok(())
}

#[task]
fn meet(barrier: Barrier, late: u64) -> String {
    sleep(Duration::from_millis(late));
    match barrier.wait_timeout(Duration::from_millis(200)) {
        Ok(_) => "met".to_owned(),
        Err(error) => format!("{:?}", error.kind()),
    }
}

fn meet_all(barrier: &Barrier, late: [u64; 4]) -> offspring::Result<()> {
    for child in late.map(|late| offspring::spawn(meet, (barrier, late))) {
        println!("{}", child?.join()?);
    }
    Ok(())
}

fn main() -> offspring::Result<()> {
    let barrier = Barrier::new(4)?;
    for child in [0, 1, 2, 3].map(|i| offspring::spawn(rounds, (&barrier, i))) {
        child?.join()??;
    }
    println!("one is late");
    meet_all(&barrier, [0, 0, 0, 600])?;
    println!("broken: {}", barrier.is_broken());
    barrier.reset()?;
    println!("after a reset");
    meet_all(&barrier, [0, 0, 0, 0])
}
