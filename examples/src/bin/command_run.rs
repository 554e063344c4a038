//! Running a command and waiting for it: its exit status, and an error where it must not fail.
use offspring::process::{Command, Redirect};

fn main() -> offspring::Result<()> {
    println!("{}", Command::shell("echo a line of the command").status()?);
    println!("{}", Command::shell("exit 3").status()?);
    if let Err(error) = Command::new("ls").arg("/no/such/file").stderr(Redirect::Null).check() {
        println!("error: {error}");
    }
    if let Err(error) = Command::new("no-such-program").check() {
        println!("error: {error}");
    }
    Ok(())
}
