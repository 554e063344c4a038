//! What a batch asks its journal, item by item: is it recorded ([`Run::admit`]), what was its result ([`Run::recall`]); and what it tells it: here is
//! one ([`Run::settle`]), that was all ([`Run::finish`]).

use std::sync::Arc;
use std::time::Instant;

use super::record::{self, ByKey, Key, Outcome, Record};
use super::store::{Place, RunRow, Segment};
use super::writer::Open;
use super::{Journal, JournalError, kept};
use crate::ErrorKind;
use crate::executor::Ran;
use crate::message::{DecodeError, EncodeError, Flat, Message};
use crate::task::{Accept, TaskContext, TaskEntry, TaskError};

/// One batch with a journal.
#[derive(Debug)]
pub(crate) struct Run {
    pub(super) desk: Desk,
    /// The numbers that the subject's other versions have in the journal.
    others: Vec<u32>,
    inputs: Flat,
    pub(super) outputs: Flat,
    /// How many items with this hash came by.
    equal: ByKey<u32>,
    /// What is hashed of an item.
    hashed: Vec<u8>,
    /// The segment that was last read from.
    last: Option<(u64, Segment)>,
    row: RunRow,
}

/// Where a batch's items are written down.
#[derive(Debug)]
pub(super) struct Desk {
    open: Arc<Open>,
    journal: Journal,
    subject: Subject,
    /// The subject's number in the journal.
    task: u32,
}

/// What a batch does with each item: a task, or the stages of a flow.
#[derive(Debug)]
struct Subject {
    entry: &'static TaskEntry,
    name: Arc<str>,
    version: u32,
    /// A hash of what an item is known by besides its input.
    seed: [u8; 32],
}

impl Subject {
    /// `versions` are those of a flow's tasks, if it is one: their sum is its own.
    fn new(entry: &'static TaskEntry, name: Arc<str>, version: u32, versions: &[u32]) -> Subject {
        let mut seed = blake3::Hasher::new();
        seed.update(&(name.len() as u64).to_le_bytes());
        seed.update(name.as_bytes());
        seed.update(&version.to_le_bytes());
        for version in versions {
            seed.update(&version.to_le_bytes());
        }
        for layout in [entry.input(), entry.output()] {
            seed.update(&(layout.size as u64).to_le_bytes());
        }
        Subject { entry, name, version, seed: *seed.finalize().as_bytes() }
    }
}

/// What is to become of an item.
#[derive(Debug)]
pub(crate) enum Admitted {
    /// It is recorded.
    Known(Known),
    /// It must be run.
    Runs(Running),
    /// Its input cannot be written.
    Failed(TaskError),
}

/// An item that is recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    key: Key,
    index: u64,
}

/// An item that is being run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Running {
    key: Key,
    pub(super) index: u64,
    since: Instant,
}

/// How an item ended, as its record says it.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) text: Option<String>,
    pub(super) tries: u32,
    pub(super) worker: u32,
    /// `None`: nobody measured.
    pub(super) nanos: Option<u64>,
}

impl Known {
    /// The item's index in its batch.
    pub(crate) fn index(self) -> usize {
        self.index as usize
    }
}

impl Run {
    /// Opens the journal for a batch of this task.
    pub(crate) fn begin(journal: &Journal, entry: &'static TaskEntry) -> Result<Run, TaskError> {
        Run::of(journal, Subject::new(entry, entry.name().into(), entry.source().version, &[]))
    }

    /// Opens the journal for a flow whose tasks have these versions, and whose items are those of `entry`.
    pub(crate) fn begin_flow(
        journal: &Journal,
        entry: &'static TaskEntry,
        name: Arc<str>,
        versions: &[u32],
    ) -> Result<Run, TaskError> {
        let version = versions.iter().fold(0u32, |sum, version| sum.saturating_add(*version));
        Run::of(journal, Subject::new(entry, name, version, versions))
    }

    fn of(journal: &Journal, subject: Subject) -> Result<Run, TaskError> {
        let context = TaskContext::new(subject.name.clone(), None);
        let open = journal.open().map_err(|error| lost(context.clone(), &error))?;
        let no_memory = |error: EncodeError| TaskError::NotSendable {
            context: context.clone(),
            reason: error.to_string(),
            kind: error.kind(),
        };
        let (task, others) = open.task(&subject.name, subject.version);
        let row = RunRow { task: task.into(), started: record::now(), ..RunRow::default() };
        Ok(Run {
            desk: Desk { open, journal: journal.clone(), subject, task },
            others,
            inputs: Flat::new().map_err(no_memory)?,
            outputs: Flat::new().map_err(no_memory)?,
            equal: ByKey::default(),
            hashed: Vec::new(),
            last: None,
            row,
        })
    }

    /// Whether an item must be run.
    pub(crate) fn admit<M, A: Accept<M>>(&mut self, item: &A, index: usize) -> Admitted {
        let index = index as u64;
        let bytes = match crate::task::write_item(self.desk.subject.entry, item, &mut self.inputs) {
            Ok(bytes) => bytes,
            Err(error) => {
                let (reason, kind) = (error.to_string(), error.kind());
                return Admitted::Failed(TaskError::NotSendable {
                    context: self.desk.context(Some(index)),
                    reason,
                    kind,
                });
            }
        };
        let input = key_of(&mut self.hashed, &self.desk.subject.seed, bytes);
        let equal = self.equal.entry(input).or_default();
        let key = match *equal {
            0 => input,
            // No other key is a hash of so few bytes.
            before => key_of(&mut self.hashed, &input, &before.to_le_bytes()),
        };
        *equal += 1;
        let found = self.desk.open.look(&key, index, self.desk.task, &self.others);
        match found.place {
            Some(place) if place.outcome == Outcome::Done || !self.desk.journal.retry_failed => {
                self.row.reused += 1;
                Admitted::Known(Known { key, index })
            }
            place => {
                self.row.ran += 1;
                if place.is_none() {
                    self.row.changed += u64::from(found.changed);
                    self.row.outdated += u64::from(found.outdated);
                }
                Admitted::Runs(Running { key, index, since: Instant::now() })
            }
        }
    }

    /// The recorded result of an item.
    pub(crate) fn recall<R: Message>(&mut self, known: Known) -> Result<R, TaskError> {
        self.read(known, |run, record| match record.outcome {
            Outcome::Lost => {
                let found = run.outputs.read(record.value)?;
                Ok(Err(kept::error(found, run.desk.context(Some(known.index)))))
            }
            Outcome::Done | Outcome::Failed => run.outputs.read::<R>(record.value).map(Ok),
        })?
    }

    /// Reads what is recorded of an item.
    pub(super) fn read<T>(
        &mut self,
        Known { key, index }: Known,
        read: impl FnOnce(&mut Run, Record<'_>) -> Result<T, DecodeError>,
    ) -> Result<T, TaskError> {
        let context = self.desk.context(Some(index));
        let Some(Place { segment, offset, .. }) = self.desk.open.find(&key) else {
            return Err(lost(context, &JournalError::damaged(self.desk.open.path(), "a record has vanished")));
        };
        let found = match self.last.take() {
            Some((number, found)) if number == segment => found,
            _ => self.desk.open.segment(segment).map_err(|error| lost(context.clone(), &error))?,
        };
        self.last = Some((segment, found.clone()));
        let path = self.desk.open.path().display().to_string();
        let version = self.desk.subject.version + 1;
        let unreadable = |what: &str| TaskError::NotSendable {
            context: context.clone(),
            reason: format!(
                "journal {path}: the recorded result is no value of the task's result type ({what}): has the type changed? then give the \
                 task another version: #[task(version = {version})]"
            ),
            kind: ErrorKind::InvalidData,
        };
        match Record::read(found.get(offset as usize..).unwrap_or_default()) {
            Some((record, _)) => read(self, record).map_err(|error| unreadable(&error.to_string())),
            None => Err(unreadable("it is cut off")),
        }
    }

    /// Records what the engine made of an item. If that cannot be done, so it is said instead of the result.
    pub(crate) fn settle<R: Message>(
        &mut self,
        item: Running,
        ran: Option<Ran>,
        result: Result<R, TaskError>,
    ) -> Result<R, TaskError> {
        self.keep(item, ran, &result)?;
        result
    }

    /// Waits until everything is on disk.
    pub(crate) fn finish(&self) -> Result<(), TaskError> {
        self.desk.open.flush().map_err(|error| lost(self.desk.context(None), &error))
    }

    /// Records a result, if it is one that stays.
    fn keep<R: Message>(
        &mut self,
        item: Running,
        ran: Option<Ran>,
        result: &Result<R, TaskError>,
    ) -> Result<(), TaskError> {
        let desk = &self.desk;
        match result {
            Ok(found) => {
                let value = self.outputs.of(found).map_err(|error| desk.not_written(item, &error))?;
                // Looked at where it was just written.
                let text = crate::task::failure_at(desk.subject.entry, value);
                let outcome = if text.is_some() { Outcome::Failed } else { Outcome::Done };
                desk.write(item, &Ended { outcome, text, ..Ended::done(ran) }, value)
            }
            Err(error) => {
                let Some(known) = kept::of(error) else { return Ok(()) };
                let value = self.outputs.of(&known).map_err(|error| desk.not_written(item, &error))?;
                desk.write(item, &Ended::lost(ran, error, error.to_string()), value)
            }
        }
    }
}

impl Ended {
    pub(super) fn done(ran: Option<Ran>) -> Ended {
        let (tries, worker) = ran.map_or((1, 0), |ran| (ran.tries, ran.worker));
        Ended { outcome: Outcome::Done, text: None, tries, worker, nanos: ran.map(|ran| ran.nanos) }
    }

    pub(super) fn lost(ran: Option<Ran>, error: &TaskError, text: String) -> Ended {
        let done = Ended::done(ran);
        let (tries, worker) = (error.tries().unwrap_or(done.tries), error.worker().unwrap_or(done.worker));
        Ended { outcome: Outcome::Lost, text: Some(text), tries, worker, nanos: done.nanos }
    }
}

impl Desk {
    pub(super) fn context(&self, index: Option<u64>) -> TaskContext {
        TaskContext::new(self.subject.name.clone(), index.map(|index| index as usize))
    }

    /// Why a result cannot be recorded.
    pub(super) fn not_written(&self, item: Running, error: &EncodeError) -> TaskError {
        TaskError::NotSendable {
            context: self.context(Some(item.index)),
            reason: format!("the result cannot be kept in a journal: {error}"),
            kind: error.kind(),
        }
    }

    /// Records an item.
    pub(super) fn write(&self, item: Running, ended: &Ended, value: &[u8]) -> Result<(), TaskError> {
        let Running { key, index, since } = item;
        let now = Instant::now();
        let record = Record {
            key,
            task: self.task,
            index,
            outcome: ended.outcome,
            tries: ended.tries,
            worker: ended.worker,
            nanos: ended.nanos.unwrap_or_else(|| now.saturating_duration_since(since).as_nanos() as u64),
            at: record::now(),
            text: ended.text.as_deref().unwrap_or_default(),
            value,
        };
        self.open.record(&record, now, self.journal.durability).map_err(|error| lost(self.context(Some(index)), &error))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.desk.open.add_run(self.row);
        // At the end of a batch that succeeded this was done, and its error told: see `finish`.
        let _ = self.desk.open.flush();
    }
}

/// More than this is not copied to be hashed.
const MOST_COPIED: usize = 1024;

/// The key of these bytes after those: the first half of the BLAKE3 hash of both, with the length of the second between them.
fn key_of(hashed: &mut Vec<u8>, before: &[u8], bytes: &[u8]) -> Key {
    let len = (bytes.len() as u64).to_le_bytes();
    let hash = if bytes.len() <= MOST_COPIED {
        hashed.clear();
        [before, &len, bytes].iter().for_each(|part| hashed.extend_from_slice(part));
        // Of few bytes at once: a hasher is 2 KB to be set up.
        blake3::hash(hashed)
    } else {
        let mut hasher = blake3::Hasher::new();
        [before, &len, bytes].iter().for_each(|part| {
            hasher.update(part);
        });
        hasher.finalize()
    };
    let mut first = Key::default();
    first.copy_from_slice(&hash.as_bytes()[..size_of::<Key>()]);
    first
}

fn lost(context: TaskContext, error: &JournalError) -> TaskError {
    TaskError::Journal { context, reason: error.to_string(), kind: error.kind() }
}
