//! Five processes wait for an event as long as it takes, five with a timeout. It is set after 0.3 s.
use std::thread::sleep;
use std::time::Duration;

use offspring::sync::Event;
use offspring::{Failure, task};

#[task]
fn wait(event: Event) -> Result<bool, Failure> {
    event.wait()?;
    Ok(event.is_set())
}

#[task]
fn wait_timeout(event: Event, milliseconds: u64) -> Result<bool, Failure> {
    Ok(event.wait_timeout(Duration::from_millis(milliseconds))?)
}

fn main() -> offspring::Result<()> {
    let event = Event::new()?;
    let patient = (0..5).map(|_| offspring::spawn(wait, &event)).collect::<Result<Vec<_>, _>>()?;
    let timeouts = [0, 50, 100, 150, 400];
    let hasty = timeouts.map(|timeout| (timeout, offspring::spawn(wait_timeout, (&event, timeout))));
    sleep(Duration::from_millis(300));
    event.set()?;
    for child in patient {
        println!("without a timeout: {}", child.join()??);
    }
    for (timeout, child) in hasty {
        println!("timeout of {timeout} ms: {}", child?.join()??);
    }
    Ok(())
}
