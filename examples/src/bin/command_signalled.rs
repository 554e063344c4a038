//! How a command ended that was killed by a signal.
use offspring::{Signal, process::Command};

fn main() -> offspring::Result<()> {
    for signal in [Signal::INT, Signal::KILL] {
        let mut command = Command::new("sleep").arg("600").spawn()?;
        command.signal(signal)?;
        let status = command.wait()?;
        println!("{status}: {:?}", status.exitcode());
    }
    Ok(())
}
