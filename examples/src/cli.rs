//! The command line that the programs over directory trees have in common.

use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

/// What to read and with how many processes.
#[derive(Debug, Args)]
pub struct Input {
    /// Directories (or files) to read
    ///
    /// A symbolic link named here is followed; those met below are not.
    #[arg(required = true, value_name = "DIR")]
    pub dirs: Vec<PathBuf>,

    /// Worker processes [default: as many as this process may use CPUs]
    #[arg(long, value_name = "N")]
    pub workers: Option<NonZeroUsize>,
}

impl Input {
    /// How many worker processes to use.
    pub fn workers(&self) -> usize {
        self.workers.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get)
    }
}

/// Turns the outcome of a program's `run` into its exit code, and prints the error on stderr.
///
/// A closed pipe on stdout (`| head`) is no error to tell anybody about: the code is then that of death by `SIGPIPE`.
pub fn exit_code(program: &str, outcome: Result<ExitCode, Box<dyn std::error::Error>>) -> ExitCode {
    match outcome {
        Ok(code) => code,
        Err(error) => match error.downcast_ref::<io::Error>() {
            Some(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(128 + 13),
            _ => {
                eprintln!("{program}: {error}");
                ExitCode::FAILURE
            }
        },
    }
}
