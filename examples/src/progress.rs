//! A progress bar on stderr, and results on stdout beside it.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Results leave for stdout in pieces of this size.
const FLUSH_AT: usize = 64 << 10;

/// And, where stdout is a terminal, so often.
const FLUSH_EVERY: Duration = Duration::from_millis(50);

/// A bar on stderr where that is a terminal, and the program's output on stdout.
///
/// Both may be the same terminal, so lines go through here: the bar steps aside for them.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    pending: Vec<u8>,
    stdout_is_terminal: bool,
    flushed: Instant,
}

impl Progress {
    /// A bar that counts files.
    pub fn new() -> Progress {
        // indicatif draws nothing where stderr is no terminal.
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {pos}/{len} files {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Progress { bar, pending: Vec::new(), stdout_is_terminal: io::stdout().is_terminal(), flushed: Instant::now() }
    }

    /// So many files more are done, of so many found up to now.
    pub fn advance(&self, files: u64, found: u64) {
        self.bar.set_length(found);
        self.bar.inc(files);
    }

    /// A word beside the bar.
    pub fn message(&self, text: impl Into<Cow<'static, str>>) {
        self.bar.set_message(text);
    }

    /// Where to append output; call [`Progress::flush_if_due`] after whole lines.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.pending
    }

    /// Writes what was appended, if there is enough of it or somebody is looking on.
    pub fn flush_if_due(&mut self) -> io::Result<()> {
        let awaited = self.stdout_is_terminal && self.flushed.elapsed() >= FLUSH_EVERY;
        if awaited || self.pending.len() >= FLUSH_AT { self.flush() } else { Ok(()) }
    }

    /// Writes all that was appended.
    pub fn flush(&mut self) -> io::Result<()> {
        let pending = &self.pending;
        let write = || {
            let mut out = io::stdout().lock();
            out.write_all(pending)?;
            out.flush()
        };
        if self.stdout_is_terminal { self.bar.suspend(write) } else { write() }?;
        self.pending.clear();
        self.flushed = Instant::now();
        Ok(())
    }

    /// Takes the bar away and writes the rest.
    pub fn finish(mut self) -> io::Result<()> {
        self.bar.finish_and_clear();
        self.flush()
    }
}

impl Default for Progress {
    fn default() -> Progress {
        Progress::new()
    }
}
