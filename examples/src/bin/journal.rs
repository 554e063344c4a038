//! `journal show FILE`, `journal export FILE`: what a journal of a durable batch holds.

use std::error::Error;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use offspring::{Journal, JournalReader, Outcome};

/// Shows what a durable batch has recorded
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints counts, runs, failures with their causes, and the slowest items
    Show {
        /// The journal
        file: PathBuf,
        /// How many failures and slow items to print
        #[arg(long, default_value_t = 10)]
        most: usize,
    },
    /// Writes all items as CSV to standard output
    Export {
        /// The journal
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    let out = BufWriter::new(io::stdout().lock());
    let done: Result<(), Box<dyn Error>> = match Arguments::parse().command {
        Command::Show { file, most } => Journal::read(file).map_err(Into::into).and_then(|it| show(&it, most, out)),
        Command::Export { file } => Journal::read(file).and_then(|it| it.write_csv(out)).map_err(Into::into),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads it has seen enough: `journal show FILE | head`.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|it| it.kind() == io::ErrorKind::BrokenPipe) => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            // When standard error is gone, there is nobody to tell.
            let _ = writeln!(io::stderr(), "journal: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show(journal: &JournalReader, most: usize, mut out: impl Write) -> Result<(), Box<dyn Error>> {
    for task in journal.tasks()? {
        writeln!(
            out,
            "{} version {}: {} done, {} failed, {} lost",
            task.name, task.version, task.done, task.failed, task.lost
        )?;
    }
    for (number, run) in journal.runs().iter().enumerate() {
        writeln!(out, "run {} of {}: {} reused, {} run", number + 1, run.task, run.reused, run.ran)?;
        if run.changed + run.outdated > 0 {
            writeln!(
                out,
                "  of those run, {} had another input before, {} were of another version",
                run.changed, run.outdated
            )?;
        }
    }
    let mut items = journal.items()?;
    let bad: Vec<_> = items.iter().filter(|item| item.outcome != Outcome::Done).collect();
    for item in bad.iter().take(most) {
        writeln!(out, "item {} {}: {}", item.index, item.outcome, item.cause.as_deref().unwrap_or("unknown"))?;
    }
    if bad.len() > most {
        writeln!(out, "and {} more", bad.len() - most)?;
    }
    items.sort_by_key(|item| std::cmp::Reverse(item.took));
    for item in items.iter().take(most) {
        writeln!(out, "slow: item {} of {} took {:?}", item.index, item.task, item.took)?;
    }
    Ok(out.flush()?)
}
