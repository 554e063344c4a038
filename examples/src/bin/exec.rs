//! Replaces this program by another one, in the same process.
use offspring::process::Command;

fn main() -> offspring::Result<()> {
    println!("pid {}", std::process::id());
    let error = Command::shell("echo the other program, pid $$").exec();
    println!("only reached if it could not be replaced");
    Err(error.into())
}
