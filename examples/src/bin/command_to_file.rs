//! Standard output of a command goes to a file.
use offspring::process::{Command, Redirect};

fn main() -> offspring::Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("output");
    Command::new("echo").arg("into the file").stdout(Redirect::File(file.clone())).check()?;
    print!("the file holds: {}", std::fs::read_to_string(&file)?);
    Ok(())
}
