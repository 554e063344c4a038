//! Durable batches: what is finished is kept in a file, and a run that was stopped goes on where it was.
//!
//! From the outside in: [`Journal`] says which file and how; `run.rs` sits between a batch and its items, asks which are recorded already,
//! and records those that are not (for flows with `way.rs`); `writer.rs` commits many items at a time, on a thread; `store.rs` is the file. [`JournalReader`] looks at
//! one from outside.
mod error;
mod inspect;
mod kept;
mod overlay;
mod record;
mod run;
mod store;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod way;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use error::JournalError;
pub use inspect::{JournalItem, JournalReader, JournalRun, JournalTask};
pub use record::Outcome;
pub(crate) use run::{Admitted, Known, Run, Running};
use writer::Open;

/// When what is finished is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// Each item before the caller gets it: one commit an item, which costs what the disk takes to sync.
    EachItem,
    /// At the latest so long after an item was finished, and at the end. What was finished in that time is done again after a loss of power,
    /// or when the program is killed.
    Interval(Duration),
}

/// A file in which a batch records its finished items, so that the next run of the program does not do them again.
///
/// Give it to [`Batch::journal`](crate::Batch::journal) or [`Flow::journal`](crate::Flow::journal); a path will do for the usual settings. An item is known by its task's name and
/// version (`#[task(version = 2)]`), its input, and how many equal ones came before it in its batch; so items may be added, removed and
/// reordered between runs. Change the version when the task computes something else, or when its result's type changes.
///
/// ```no_run
/// use offspring::{Journal, Pool, task};
///
/// #[task]
/// fn measure(path: std::path::PathBuf) -> Result<u64, offspring::Failure> {
///     Ok(std::fs::metadata(path)?.len())
/// }
///
/// # fn main() -> offspring::Result<()> {
/// # let paths: Vec<std::path::PathBuf> = Vec::new();
/// // Stop the program at any time; run again, it goes on.
/// let sizes = Pool::new()?.batch().journal(Journal::at("run.db").retry_failed(true)).map(measure, paths)?;
/// # Ok(())
/// # }
/// ```
///
/// # What is kept
///
/// Values, a task's own errors, panics, deaths of workers and timeouts: each is an outcome that the next run repeats, unless
/// [`retry_failed`](Self::retry_failed) says otherwise. Items that were cancelled or never begun are not recorded. Handles of shared objects
/// cannot be kept: a result that has one is an error.
///
/// An input with a `HashMap` or `HashSet` is written in whatever order that has, so it may be taken for another input in the next run: use
/// `BTreeMap` and `BTreeSet` there.
///
/// # What is promised when
///
/// Killed at any time, or the power lost: what was committed stays, once each; the file is never half-made. Of what the caller was given, at most
/// the last interval's items are done again.
///
/// A journal is opened by the first batch that uses it, and stays open until this value, its clones and the batches are gone: for many
/// batches, keep one `Journal` and pass it by reference.
#[derive(Debug, Clone)]
pub struct Journal {
    path: PathBuf,
    durability: Durability,
    retry_failed: bool,
    open: Arc<Mutex<Option<Arc<Open>>>>,
}

impl Journal {
    /// The journal in this file, which is made when it is first used.
    pub fn at(path: impl AsRef<Path>) -> Journal {
        let durability = Durability::Interval(Duration::from_millis(100));
        Journal { path: path.as_ref().into(), durability, retry_failed: false, open: Arc::default() }
    }

    /// When what is finished is on disk; by default every 100 ms.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Journal {
        self.durability = durability;
        self
    }

    /// Whether items that failed or were lost are run again; by default they are not: the error of then is the result.
    #[must_use]
    pub fn retry_failed(mut self, retry: bool) -> Journal {
        self.retry_failed = retry;
        self
    }

    /// The file, open.
    fn open(&self) -> Result<Arc<Open>, JournalError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match &*open {
            Some(open) => Ok(open.clone()),
            None => Ok(open.insert(Open::at(&self.path)?).clone()),
        }
    }

    /// Looks at a journal from outside, without changing it. As [`JournalReader::open`].
    ///
    /// ```
    /// # use offspring::{Pool, task};
    /// # #[task]
    /// # fn square(x: u64) -> u64 { x * x }
    /// # let directory = tempfile::tempdir()?;
    /// # let file = directory.path().join("run.db");
    /// Pool::new()?.batch().journal(&file).map(square, 0..10)?;
    /// let runs = offspring::Journal::read(&file)?.runs();
    /// assert_eq!((runs.len(), runs[0].ran, runs[0].reused), (1, 10, 0));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As there.
    pub fn read(path: impl AsRef<Path>) -> Result<JournalReader, JournalError> {
        JournalReader::open(path)
    }
}

impl From<&Journal> for Journal {
    fn from(journal: &Journal) -> Journal {
        journal.clone()
    }
}

macro_rules! from_path {
    ($($type:ty),*) => {$(
        impl From<$type> for Journal {
            fn from(path: $type) -> Journal {
                Journal::at(path)
            }
        }
    )*};
}

from_path!(&str, String, &String, &Path, PathBuf, &PathBuf);
