//! The ways in which a process ends by itself, and what its parent sees.
use offspring::{Signal, task};

#[task]
fn returns() {}

#[task]
fn exits(code: i32) {
    std::process::exit(code);
}

#[task]
#[allow(unsafe_code)]
fn aborts() -> Result<(), offspring::Failure> {
    // SAFETY: the handler makes one system call, `write`, which a signal handler may.
    unsafe {
        signal_hook::low_level::register(Signal::ABRT.as_raw(), || {
            _ = nix::unistd::write(std::io::stdout(), b"the handler of SIGABRT\n");
        })?;
    }
    std::process::abort();
}

fn main() -> offspring::Result<()> {
    println!("returns: {:?}", offspring::spawn(returns, ())?.wait()?.exitcode());
    println!("exits: {:?}", offspring::spawn(exits, 3)?.wait()?.exitcode());
    println!("aborts: {:?}", offspring::spawn(aborts, ())?.wait()?.exitcode());
    Ok(())
}
