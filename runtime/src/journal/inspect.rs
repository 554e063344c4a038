//! Looking at a journal from outside.

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::JournalError;
use super::record::{self, Outcome, Record};
use super::store::{Contents, Store};
use crate::ErrorKind;

/// A journal, opened to look at it. The file is not changed.
///
/// ```no_run
/// let journal = offspring::Journal::read("run.db")?;
/// for task in journal.tasks()? {
///     println!("{}: {} done, {} failed, {} lost", task.name, task.done, task.failed, task.lost);
/// }
/// # Ok::<(), offspring::JournalError>(())
/// ```
pub struct JournalReader {
    store: Store,
    contents: Contents,
}

impl fmt::Debug for JournalReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalReader").field("path", &self.store.path()).finish_non_exhaustive()
    }
}

/// A task with records in a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalTask {
    /// Its registered name.
    pub name: String,
    /// Its version, as `#[task(version = ..)]` had it.
    pub version: u32,
    /// Items with a value.
    pub done: usize,
    /// Items whose value is an error of the task's own.
    pub failed: usize,
    /// Items that panicked, took too long, or whose process ended.
    pub lost: usize,
}

/// One item in a journal: its newest record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalItem {
    /// The task's registered name.
    pub task: String,
    /// The task's version.
    pub version: u32,
    /// The item's index in the batch that ran it.
    pub index: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed or was lost.
    pub cause: Option<String>,
    /// How often it was tried.
    pub tries: u32,
    /// The process that ran it, where that is known.
    pub worker: Option<u32>,
    /// How long its last try ran. On an engine over a network: from when it was handed to the engine to when its result was there, with what
    /// waited before it.
    pub took: Duration,
    /// When it was recorded.
    pub at: SystemTime,
    /// Length of what is kept of its value, in bytes.
    pub bytes: usize,
}

/// One run of a batch, as it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalRun {
    /// The task's registered name.
    pub task: String,
    /// The task's version.
    pub version: u32,
    /// When it began.
    pub started: SystemTime,
    /// Items that were recorded already.
    pub reused: u64,
    /// Items that were run.
    pub ran: u64,
    /// Those of them whose place in the batch had another input before.
    pub changed: u64,
    /// Those of them that were recorded for another version of the task.
    pub outdated: u64,
}

impl JournalReader {
    /// Opens a journal to look at it: [`Journal::read`](crate::Journal::read).
    ///
    /// Reads all of it and checks its checksums. Of what a killed program left half-written nothing shows, and nothing of it is touched.
    ///
    /// ```
    /// # use offspring::{JournalReader, Pool, task};
    /// # #[task]
    /// # fn square(x: u64) -> u64 { x * x }
    /// # let directory = tempfile::tempdir()?;
    /// # let file = directory.path().join("run.db");
    /// Pool::new()?.batch().journal(&file).map(square, 0..10)?;
    /// assert_eq!(JournalReader::open(&file)?.len(), 10);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InUse`] while a program has it open, [`ErrorKind::InvalidData`] when it is damaged, of another program or newer,
    /// [`ErrorKind::Io`] when it cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<JournalReader, JournalError> {
        let (store, contents) = Store::inspect(path.as_ref())?;
        Ok(JournalReader { store, contents })
    }

    /// How many items have a record.
    pub fn len(&self) -> usize {
        self.contents.index.len()
    }

    /// How many records were ever written: one an item, and one more each time that [`retry_failed`](crate::Journal::retry_failed) ran it again.
    pub fn records(&self) -> usize {
        self.contents.records
    }

    /// Has no item a record?
    pub fn is_empty(&self) -> bool {
        self.contents.index.is_empty()
    }

    /// The tasks, with how many of their items ended how.
    ///
    /// ```
    /// # use offspring::{Pool, task};
    /// # #[task]
    /// # fn square(x: u64) -> u64 { x * x }
    /// # let directory = tempfile::tempdir()?;
    /// # let file = directory.path().join("run.db");
    /// Pool::new()?.batch().journal(&file).map(square, 0..10)?;
    /// let journal = offspring::Journal::read(&file)?;
    /// assert_eq!((journal.tasks()?[0].done, journal.len()), (10, 10));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn tasks(&self) -> Result<Vec<JournalTask>, JournalError> {
        let mut tasks: Vec<JournalTask> = self
            .contents
            .tasks
            .iter()
            .map(|task| JournalTask { name: task.name.clone(), version: task.version, done: 0, failed: 0, lost: 0 })
            .collect();
        self.visit(|record| {
            if let Some(task) = tasks.get_mut(record.task as usize) {
                match record.outcome {
                    Outcome::Done => task.done += 1,
                    Outcome::Failed => task.failed += 1,
                    Outcome::Lost => task.lost += 1,
                }
            }
        })?;
        Ok(tasks)
    }

    /// The items, in the order in which they were recorded.
    ///
    /// ```
    /// # use offspring::{Pool, task};
    /// # #[task]
    /// # fn square(x: u64) -> u64 { x * x }
    /// # let directory = tempfile::tempdir()?;
    /// # let file = directory.path().join("run.db");
    /// Pool::new()?.batch().journal(&file).map(square, 0..3)?;
    /// let items = offspring::Journal::read(&file)?.items()?;
    /// assert_eq!(items.iter().map(|item| item.index).collect::<Vec<_>>(), [0, 1, 2]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`tasks`](Self::tasks).
    pub fn items(&self) -> Result<Vec<JournalItem>, JournalError> {
        let mut items = Vec::with_capacity(self.len());
        self.visit(|record| {
            let task = self.contents.tasks.get(record.task as usize);
            items.push(JournalItem {
                task: task.map_or_else(String::new, |task| task.name.clone()),
                version: task.map_or(0, |task| task.version),
                index: record.index,
                outcome: record.outcome,
                cause: (record.outcome != Outcome::Done).then(|| record.text.to_owned()),
                tries: record.tries,
                worker: (record.worker > 0).then_some(record.worker),
                took: Duration::from_nanos(record.nanos),
                at: UNIX_EPOCH + Duration::from_millis(record.at),
                bytes: record.value.len(),
            });
        })?;
        Ok(items)
    }

    /// The runs, oldest first. One that was killed has left items but no line here.
    pub fn runs(&self) -> Vec<JournalRun> {
        let run = |row: &super::store::RunRow| {
            let task = self.contents.tasks.get(row.task as usize);
            JournalRun {
                task: task.map_or_else(String::new, |task| task.name.clone()),
                version: task.map_or(0, |task| task.version),
                started: UNIX_EPOCH + Duration::from_millis(row.started),
                reused: row.reused,
                ran: row.ran,
                changed: row.changed,
                outdated: row.outdated,
            }
        };
        self.contents.runs.iter().map(run).collect()
    }

    /// Writes the items as CSV, with a header: task, version, index, outcome, tries, worker, seconds, recorded (seconds since 1970), bytes,
    /// cause.
    ///
    /// ```
    /// # use offspring::{Pool, task};
    /// # #[task]
    /// # fn square(x: u64) -> u64 { x * x }
    /// # let directory = tempfile::tempdir()?;
    /// # let file = directory.path().join("run.db");
    /// Pool::new()?.batch().journal(&file).map(square, 0..3)?;
    /// let mut table = Vec::new();
    /// offspring::Journal::read(&file)?.write_csv(&mut table)?;
    /// assert_eq!(String::from_utf8_lossy(&table).lines().count(), 4); // a heading, and a line for each item
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the journal cannot be read or `out` cannot be written.
    pub fn write_csv(&self, out: impl Write) -> Result<(), JournalError> {
        let refused = |error: csv::Error| {
            JournalError::new(self.store.path(), ErrorKind::Io, format!("its CSV form cannot be written: {error}"))
        };
        let mut csv = csv::Writer::from_writer(out);
        let header =
            ["task", "version", "index", "outcome", "tries", "worker", "seconds", "recorded", "bytes", "cause"];
        csv.write_record(header).map_err(refused)?;
        for item in self.items()? {
            let recorded = item.at.duration_since(UNIX_EPOCH).unwrap_or_default();
            csv.write_record([
                item.task,
                item.version.to_string(),
                item.index.to_string(),
                item.outcome.to_string(),
                item.tries.to_string(),
                item.worker.map_or_else(String::new, |worker| worker.to_string()),
                format!("{:.6}", item.took.as_secs_f64()),
                format!("{:.3}", recorded.as_secs_f64()),
                item.bytes.to_string(),
                item.cause.unwrap_or_default(),
            ])
            .map_err(refused)?;
        }
        csv.flush().map_err(|error| JournalError::io(self.store.path(), "its CSV form cannot be written", &error))
    }

    /// Calls `see` for the newest record of each item, in the order of recording.
    fn visit(&self, mut see: impl FnMut(&Record<'_>)) -> Result<(), JournalError> {
        for number in 0..self.contents.next_segment {
            let segment = self.store.segment(number)?;
            for (offset, record) in record::records(&segment).flatten() {
                let newest = self.contents.index.get(&record.key);
                if newest.is_some_and(|place| (place.segment, place.offset as usize) == (number, offset)) {
                    see(&record);
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Done => "done",
            Outcome::Failed => "failed",
            Outcome::Lost => "lost",
        })
    }
}
