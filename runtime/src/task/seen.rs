//! What a run of a task has left beside its result: notes, output, the place of a crash.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::process::CrashTrace;

/// What is known of a run beside its result. Most runs leave nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) notes: Vec<String>,
    pub(crate) output: Option<Arc<TaskOutput>>,
    pub(crate) crash: Option<CrashTrace>,
}

/// What a task wrote to its standard output and standard error, where that is captured; see
/// [`OutputMode::Capture`](crate::OutputMode::Capture).
///
/// All that was written to descriptors 1 and 2 counts: also by C code, and by commands that the task ran. Of each stream the beginning and
/// the end are kept, up to the [limit](crate::PoolBuilder::output_limit).
///
/// # Examples
///
/// ```
/// use offspring::{OutputMode, Pool, task};
///
/// #[task]
/// fn greet(name: &str) -> usize {
///     println!("hello {name}");
///     name.len()
/// }
///
/// let pool = Pool::builder().workers(1).output(OutputMode::Capture).build()?;
/// let mut handle = pool.submit(greet, "Ada")?;
/// assert_eq!(handle.get_timeout(std::time::Duration::from_secs(60))?, 3);
/// assert_eq!(handle.output().stdout_text(), "hello Ada\n");
/// # Ok::<(), offspring::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskOutput {
    pub(crate) stdout: Kept,
    pub(crate) stderr: Kept,
}

/// What is kept of a stream: its beginning and its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) bytes: Vec<u8>,
    /// Bytes left out, and where.
    pub(crate) cut: u64,
    pub(crate) cut_at: usize,
}

impl Kept {
    fn text(&self) -> Cow<'_, str> {
        let text = |bytes| String::from_utf8_lossy(bytes);
        match self.cut {
            0 => text(&self.bytes),
            cut => {
                let (start, end) = self.bytes.split_at(self.cut_at);
                format!("{}\n[.. {cut} bytes left out ..]\n{}", text(start), text(end)).into()
            }
        }
    }
}

impl TaskOutput {
    /// What was written to standard output, as it was written; if it was more than the limit, without the middle.
    pub fn stdout(&self) -> &[u8] {
        &self.stdout.bytes
    }

    /// The same of standard error.
    pub fn stderr(&self) -> &[u8] {
        &self.stderr.bytes
    }

    /// Standard output as text: where something was left out, a line says how much; what is no UTF-8 is replaced.
    pub fn stdout_text(&self) -> Cow<'_, str> {
        self.stdout.text()
    }

    /// The same of standard error.
    pub fn stderr_text(&self) -> Cow<'_, str> {
        self.stderr.text()
    }

    /// How many bytes of both together were left out.
    pub fn cut(&self) -> u64 {
        self.stdout.cut + self.stderr.cut
    }

    /// Was nothing written?
    pub fn is_empty(&self) -> bool {
        self.stdout.bytes.is_empty() && self.stderr.bytes.is_empty()
    }
}

/// Standard output, then standard error.
impl fmt::Display for TaskOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.stdout_text())?;
        f.write_str(&self.stderr_text())
    }
}

impl Seen {
    /// The end of an error's text.
    pub(crate) fn epilogue(&self) -> String {
        let mut text = String::new();
        if cfg!(feature = "backtrace")
            && let Some(place) = self.crash.as_ref().and_then(CrashTrace::place)
        {
            text += &format!("; it crashed in {place}");
        }
        if !self.notes.is_empty() {
            text += &format!("; its notes: {}", self.notes.join("; "));
        }
        text
    }
}
