//! Files that could not be read: collected while the others are done, told at the end.

use std::fmt::Display;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::checksum_line;

/// The files that could not be read, and why.
#[derive(Debug, Default)]
pub struct Problems(Vec<(PathBuf, String)>);

impl Problems {
    /// Notes that `path` could not be read because of `reason`.
    pub fn add(&mut self, path: impl Into<PathBuf>, reason: impl Display) {
        self.0.push((path.into(), reason.to_string()));
    }

    /// Prints them on stderr, one a line, and returns the program's exit code: 1 if there are any.
    pub fn tell(&self, program: &str) -> ExitCode {
        let mut err = io::stderr().lock();
        for (path, reason) in &self.0 {
            // Nothing is left to be done where even stderr is gone; the exit code still says it.
            let _ = err.write_all(&line(program, path, reason));
        }
        if self.0.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn line(program: &str, path: &Path, reason: &str) -> Vec<u8> {
    let mut line = format!("{program}: ").into_bytes();
    checksum_line::escape(&mut line, path.as_os_str().as_bytes());
    line.extend(format!(": {}\n", reason.trim_end().replace('\n', " ")).into_bytes());
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_line_whatever_the_name() {
        assert_eq!(line("p", Path::new("a\nb"), "went\nwrong\n"), b"p: a\\nb: went wrong\n");
    }
}
