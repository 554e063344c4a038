//! Becomes a daemon that owns a pool. Without an argument it starts that daemon, a second one in vain, and stops it.
use std::fs::File;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::signal::{Signal::SIGTERM, kill};
use nix::sys::stat::{Mode, umask};
use nix::unistd::Pid;
use offspring::process::{Command, Daemon, Redirect};
use offspring::{Pool, Signal, Signals, task};

#[task]
fn square(x: u64) -> u64 {
    x * x
}

fn serve(directory: &Path) -> offspring::Result<()> {
    let log = File::options().create(true).append(true).open(directory.join("log"))?;
    let daemon = Daemon::new().pid_file(directory.join("pid")).stdout(log.try_clone()?).stderr(log).start()?;
    let signals = Signals::new([Signal::TERM])?;
    println!("daemon {} in {}", daemon.pid(), std::env::current_dir()?.display());
    println!("umask {:o}, a terminal: {}", umask(Mode::empty()).bits(), File::open("/dev/tty").is_ok());
    println!("{:?}", Pool::new()?.map(square, 0..5)?);
    println!("ended by {}", signals.wait()?);
    Ok(())
}

fn demonstrate() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let (log, pid) = (directory.path().join("log"), directory.path().join("pid"));
    let start = Command::new(std::env::current_exe()?).arg(directory.path());
    println!("first start: {}", start.status()?);
    println!("second start: {}", start.stderr(Redirect::Stdout).status()?);
    let daemon = Pid::from_raw(std::fs::read_to_string(&pid)?.trim().parse()?);
    kill(daemon, SIGTERM)?;
    while pid.exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    print!("{}", std::fs::read_to_string(log)?);
    Ok(())
}

fn main() -> ExitCode {
    let done = match std::env::args_os().nth(1) {
        Some(directory) => serve(Path::new(&directory)).map_err(Into::into),
        None => demonstrate(),
    };
    offspring_examples::cli::exit_code("daemonize", done.map(|()| ExitCode::SUCCESS))
}
