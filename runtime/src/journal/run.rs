//! What a batch asks its journal, item by item: is it recorded ([`Run::admit`]), what was its result ([`Run::recall`]); and what it tells it: here is
//! one ([`Run::settle`]), that was all ([`Run::finish`]).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::record::{self, Key, Outcome, Record};
use super::store::{Place, RunRow, Segment};
use super::writer::Open;
use super::{Journal, JournalError, kept};
use crate::ErrorKind;
use crate::message::{Flat, Message};
use crate::task::{Accept, TaskContext, TaskEntry, TaskError};

/// One batch with a journal.
#[derive(Debug)]
pub(crate) struct Run {
    open: Arc<Open>,
    journal: Journal,
    entry: &'static TaskEntry,
    /// The task's number in the journal, and those of its other versions.
    task: u32,
    others: Vec<u32>,
    inputs: Flat,
    outputs: Flat,
    /// How many items with this hash came by.
    equal: HashMap<[u8; 16], u32>,
    /// The segment that was last read from.
    last: Option<(u64, Segment)>,
    row: RunRow,
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
    index: u64,
    since: Instant,
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
        let context = || TaskContext::of(entry.name(), None);
        let refused = |error: JournalError| lost(context(), &error);
        let open = journal.open().map_err(refused)?;
        Run::over(open, journal, entry).map_err(|error| TaskError::NotSendable {
            context: context(),
            reason: error.to_string(),
            kind: error.kind(),
        })
    }

    pub(super) fn over(
        open: Arc<Open>,
        journal: &Journal,
        entry: &'static TaskEntry,
    ) -> Result<Run, crate::message::EncodeError> {
        let (task, others) = open.task(entry.name(), entry.source().version);
        Ok(Run {
            open,
            journal: journal.clone(),
            entry,
            task,
            others,
            inputs: Flat::new()?,
            outputs: Flat::new()?,
            equal: HashMap::new(),
            last: None,
            row: RunRow { task: task.into(), started: record::now(), ..RunRow::default() },
        })
    }

    fn context(&self, index: u64) -> TaskContext {
        TaskContext::of(self.entry.name(), Some(index as usize))
    }

    /// Whether an item must be run.
    pub(crate) fn admit<M, A: Accept<M>>(&mut self, item: &A, index: usize) -> Admitted {
        let index = index as u64;
        let bytes = match crate::task::write_item(self.entry, item, &mut self.inputs) {
            Ok(bytes) => bytes,
            Err(error) => {
                let (reason, kind) = (error.to_string(), error.kind());
                return Admitted::Failed(TaskError::NotSendable { context: self.context(index), reason, kind });
            }
        };
        let source = self.entry.source();
        let mut hash = blake3::Hasher::new();
        hash.update(&(source.name.len() as u64).to_le_bytes());
        hash.update(source.name.as_bytes());
        hash.update(&source.version.to_le_bytes());
        for layout in [self.entry.input(), self.entry.output()] {
            hash.update(&(layout.size as u64).to_le_bytes());
        }
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
        let input = half(&hash);
        let equal = self.equal.entry(input).or_default();
        hash.update(&equal.to_le_bytes());
        *equal += 1;
        let key = half(&hash);
        match self.open.find(&key) {
            Some(place) if place.outcome == Outcome::Done || !self.journal.retry_failed => {
                self.row.reused += 1;
                Admitted::Known(Known { key, index })
            }
            found => {
                self.row.ran += 1;
                if found.is_none() {
                    self.row.changed += u64::from(self.open.had(&[self.task], index));
                    self.row.outdated += u64::from(self.open.had(&self.others, index));
                }
                Admitted::Runs(Running { key, index, since: Instant::now() })
            }
        }
    }

    /// The recorded result of an item.
    pub(crate) fn recall<R: Message>(&mut self, Known { key, index }: Known) -> Result<R, TaskError> {
        let context = self.context(index);
        let Some(Place { segment, offset, .. }) = self.open.find(&key) else {
            return Err(lost(context, &JournalError::damaged(self.open.path(), "a record has vanished")));
        };
        if self.last.as_ref().is_none_or(|(number, _)| *number != segment) {
            let read = self.open.segment(segment).map_err(|error| lost(context.clone(), &error))?;
            self.last = Some((segment, read));
        }
        let bytes = self.last.as_ref().and_then(|(_, bytes)| bytes.get(offset as usize..)).unwrap_or_default();
        let unreadable = |what: &str| {
            let reason = format!(
                "journal {}: the recorded result is no value of the task's result type ({what}): has the type changed? then give the \
                 task another version: #[task(version = {})]",
                self.open.path().display(),
                self.entry.source().version + 1
            );
            TaskError::NotSendable { context: context.clone(), reason, kind: ErrorKind::InvalidData }
        };
        let Some((record, _)) = Record::read(bytes) else { return Err(unreadable("it is cut off")) };
        if record.outcome == Outcome::Lost {
            let found = self.outputs.read(record.value).map_err(|error| unreadable(&error.to_string()))?;
            return Err(kept::error(found, context));
        }
        self.outputs.read::<R>(record.value).map_err(|error| unreadable(&error.to_string()))
    }

    /// Records what the engine made of an item. If that cannot be done, so it is said instead of the result.
    pub(crate) fn settle<R: Message>(&mut self, item: Running, result: Result<R, TaskError>) -> Result<R, TaskError> {
        self.keep(item, &result)?;
        result
    }

    /// Waits until everything is on disk.
    pub(crate) fn finish(&self) -> Result<(), TaskError> {
        self.open.flush().map_err(|error| lost(TaskContext::of(self.entry.name(), None), &error))
    }

    /// Records a result, if it is one that stays.
    fn keep<R: Message>(
        &mut self,
        Running { key, index, since }: Running,
        result: &Result<R, TaskError>,
    ) -> Result<(), TaskError> {
        let context = self.context(index);
        let not_written = |error: crate::message::EncodeError| TaskError::NotSendable {
            context: context.clone(),
            reason: format!("the result cannot be kept in a journal: {error}"),
            kind: error.kind(),
        };
        let (outcome, text, tries, worker, value);
        match result {
            Ok(found) => {
                value = self.outputs.of(found).map_err(not_written)?;
                // Looked at where it was just written.
                text = crate::task::failure_at(self.entry, value);
                outcome = if text.is_some() { Outcome::Failed } else { Outcome::Done };
                (tries, worker) = (1, 0);
            }
            Err(error) => {
                let Some(known) = kept::of(error) else { return Ok(()) };
                value = self.outputs.of(&known).map_err(not_written)?;
                text = Some(error.to_string());
                outcome = Outcome::Lost;
                (tries, worker) = (error.tries().unwrap_or(1), error.worker().unwrap_or(0));
            }
        }
        let record = Record {
            key,
            task: self.task,
            index,
            outcome,
            tries,
            worker,
            nanos: since.elapsed().as_nanos() as u64,
            at: record::now(),
            text: text.as_deref().unwrap_or_default(),
            value,
        };
        self.open.record(&record, self.journal.durability).map_err(|error| lost(context.clone(), &error))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.open.add_run(self.row);
        // At the end of a batch that succeeded this was done, and its error told: see `finish`.
        let _ = self.open.flush();
    }
}

fn half(hash: &blake3::Hasher) -> [u8; 16] {
    let hash = hash.finalize();
    let mut first = [0; 16];
    first.copy_from_slice(&hash.as_bytes()[..16]);
    first
}

fn lost(context: TaskContext, error: &JournalError) -> TaskError {
    TaskError::Journal { context, reason: error.to_string(), kind: error.kind() }
}
