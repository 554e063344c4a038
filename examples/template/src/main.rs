//! A batch program: one task over many files, with arguments, progress, a report of what failed, and a journal to go on from.
//!
//! To make it yours, change `work.rs`: what is done with one file. The rest can stay as it is.

mod report;
mod work;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use indicatif::ProgressBar;
use offspring::Pool;

use report::Report;

/// Counts the words of files, each in a worker process
///
/// A file that cannot be read, or whose worker crashes, costs that file: it is reported at the end, and the exit code is 1.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Files to work on
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Worker processes [default: as many as this process may use CPUs]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,

    /// How often a file is tried again whose worker was killed
    #[arg(long, value_name = "N", default_value_t = 1)]
    retries: u32,

    /// Longest time for one file, in seconds; then it is given up
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,

    /// Keep what is done in this file, and go on from there when started again
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(report) => report.tell(),
        // Nobody reads any more (`| head`): no error to tell anybody about.
        Err(offspring::Error::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("batch: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> offspring::Result<Report> {
    let mut builder = Pool::builder();
    if let Some(workers) = arguments.workers {
        builder = builder.workers(workers);
    }
    let pool = builder.build()?;
    let mut batch = pool.batch().retries(arguments.retries);
    if let Some(seconds) = arguments.timeout {
        batch = batch.timeout(Duration::from_secs(seconds));
    }
    if let Some(file) = &arguments.journal {
        batch = batch.journal(file);
    }

    let mut report = Report::default();
    // Draws on standard error, and only if that is a terminal.
    let bar = ProgressBar::new(arguments.files.len() as u64);
    // In order and lazy: results come while others are still worked on.
    for (path, result) in arguments.files.iter().zip(batch.imap(work::count, &arguments.files)) {
        match result {
            Ok(Ok(count)) => bar.suspend(|| writeln!(io::stdout(), "{count} {}", path.display()))?,
            Ok(Err(failure)) => report.add(path, failure),
            Err(lost) => report.add(path, lost),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(report)
}
