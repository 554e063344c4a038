//! Handling signals, pausing until one comes, and an alarm during a long sleep.
use std::thread;
use std::time::{Duration, Instant};

use offspring::{Signal, Signals};

fn main() -> offspring::Result<()> {
    println!("SIGINT: {:?}", Signal::INT.disposition());
    let handled = Signals::new([Signal::INT, Signal::ALRM])?;
    println!("SIGINT: {:?}", Signal::INT.disposition());
    // A handler is a thread that waits, so it may do anything.
    thread::spawn(move || {
        while let Ok(signal) = handled.wait() {
            println!("handler: {signal}");
        }
    });

    Signal::INT.raise();
    thread::sleep(Duration::from_millis(100));

    let pause = Signals::new([Signal::INT])?;
    thread::spawn(|| {
        thread::sleep(Duration::from_millis(200));
        Signal::INT.raise();
    });
    let signal = pause.wait()?;
    thread::sleep(Duration::from_millis(100));
    println!("pause ended by {signal}");

    nix::unistd::alarm::set(1);
    let start = Instant::now();
    thread::sleep(Duration::from_millis(1500));
    println!("slept for {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}
