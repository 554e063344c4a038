//! Ending a process from outside, and the exit codes of processes that end in other ways.
use std::thread::sleep;
use std::time::Duration;

use offspring::{Child, task};

#[task]
fn sleeper() {
    sleep(Duration::from_secs(60));
}

#[task]
fn normal() {}

#[task]
fn faulty() {
    panic!("something went wrong");
}

fn show<R: offspring::Message>(when: &str, child: &Child<R>) {
    let code = child.exit_status().and_then(|status| status.exitcode());
    println!("{when}: alive {}, exit code {code:?}", child.is_alive());
}

fn main() -> offspring::Result<()> {
    let mut child = offspring::spawn(sleeper, ())?;
    show("running", &child);
    child.terminate()?;
    println!("terminated");
    child.wait()?;
    show("joined", &child);

    for (name, mut child) in [("normal", offspring::spawn(normal, ())?), ("panicked", offspring::spawn(faulty, ())?)] {
        child.wait()?;
        show(name, &child);
    }
    Ok(())
}
