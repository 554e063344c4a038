//! More than a pipe holds goes into a command and comes out of it; and a command that takes too long.
use std::time::Duration;

use offspring::process::Command;

fn main() -> offspring::Result<()> {
    let lines: String = (0..200_000).rev().map(|i| format!("{i}\n")).collect();
    let output = Command::new("sort").arg("-n").input(lines.as_str()).output()?;
    println!("{} bytes in, {} bytes out, {}", lines.len(), output.stdout.len(), output.status);
    println!("first line {:?}", output.text().lines().next());

    let slow = Command::shell("sleep 600 & echo $! >&2; wait").timeout(Duration::from_millis(300));
    if let Err(error) = slow.status() {
        println!("error: {error}");
    }
    Ok(())
}
