//! Starting a command without waiting for it.
use offspring::process::Command;

fn main() -> offspring::Result<()> {
    let mut command = Command::new("sleep").arg("0.3").spawn()?;
    println!("pid {}", command.pid());
    println!("{:?}", command.exit_status());
    println!("{}", command.wait()?);
    println!("{:?}", command.exit_status().and_then(|status| status.exitcode()));
    Ok(())
}
