//! Programs run to their end, with what they printed and how long they took.
#![allow(unused_macros, unused_imports, reason = "each test binary uses a part")]

use std::process::{Command, Output};
use std::sync::Once;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigHandler, Signal, signal};

use super::text;

/// Runs a program that is to succeed; returns its lines and how long it took.
macro_rules! run {
    ($program:literal) => {
        $crate::common::run::run_program(env!(concat!("CARGO_BIN_EXE_", $program)))
    };
}
pub(crate) use run;

/// A program that has run.
pub(crate) struct Run {
    pub(crate) output: Output,
    pub(crate) took: Duration,
}

/// A shell that runs tests in the background has them ignore SIGINT, and what they start would ignore it, too.
#[allow(unsafe_code)]
fn end_by_interrupts() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: installs no handler.
        unsafe { signal(Signal::SIGINT, SigHandler::SigDfl) }.unwrap();
    });
}

/// Runs the program of this path.
#[track_caller]
pub(crate) fn run_program(program: &str) -> Run {
    end_by_interrupts();
    let start = Instant::now();
    let output = Command::new(program).output().unwrap();
    let took = start.elapsed();
    assert!(output.status.success(), "{:?}: {}", output.status, text(&output.stderr));
    Run { output, took }
}

impl Run {
    /// Its lines, as printed.
    pub(crate) fn lines(&self) -> Vec<String> {
        text(&self.output.stdout).lines().map(str::to_owned).collect()
    }

    /// The lines in alphabetical order, where the processes print in any order.
    pub(crate) fn sorted(&self) -> Vec<String> {
        let mut lines = self.lines();
        lines.sort();
        lines
    }

    /// What it sleeps, it takes.
    #[track_caller]
    pub(crate) fn took_at_least(&self, milliseconds: u64) {
        assert!(self.took >= Duration::from_millis(milliseconds), "{:?}", self.took);
    }
}

/// A program whose processes run side by side takes less than the time that they would take one after another. A busy
/// machine may spoil one run, not all of ten.
#[track_caller]
pub(crate) fn faster_than(milliseconds: u64, program: impl Fn() -> Run) -> Run {
    let mut runs = (0..10).map(|_| program());
    runs.find(|run| run.took < Duration::from_millis(milliseconds)).expect("it takes the serial time")
}

/// The number between two texts in one of a program's lines.
#[track_caller]
pub(crate) fn number(run: &Run, before: &str, after: &str) -> u64 {
    let lines = run.lines();
    let found = lines.iter().find_map(|line| line.strip_prefix(before)?.strip_suffix(after)?.parse().ok());
    found.unwrap_or_else(|| panic!("no line `{before}..{after}`: {lines:?}"))
}

/// A busy machine may spoil one run, not all of ten.
#[track_caller]
pub(crate) fn right_once(program: impl Fn() -> Run, is_right: impl Fn(&Run) -> bool) -> Run {
    let mut runs = (0..10).map(|_| program());
    let mut last = Vec::new();
    let right = runs.find(|run| {
        last = run.lines();
        is_right(run)
    });
    right.unwrap_or_else(|| panic!("never as it should be: {last:?}"))
}
