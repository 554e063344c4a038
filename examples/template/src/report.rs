//! What failed, told at the end.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The files that could not be done, and why.
#[derive(Default)]
pub struct Report {
    failures: Vec<(PathBuf, String)>,
}

impl Report {
    /// Notes that `path` could not be done.
    pub fn add(&mut self, path: &Path, reason: impl Display) {
        self.failures.push((path.to_owned(), reason.to_string()));
    }

    /// Prints all on standard error; the program's exit code is 1 if there are any.
    pub fn tell(&self) -> ExitCode {
        for (path, reason) in &self.failures {
            eprintln!("batch: {}: {reason}", path.display());
        }
        if self.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
