//! Between a batch and its items: what is recorded is not run, what is run is recorded, and the order stays.
//!
//! The engine below is given a [`Sieve`] instead of the caller's items: it lets through only what must be run. What comes back is joined with
//! what was recorded, in the order of a *plan*, which the sieve writes as it pulls items.

use std::collections::{HashMap, VecDeque};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
enum Step {
    /// It is recorded.
    Known { key: Key, index: u64 },
    /// It is the engine's.
    Runs(Running),
    /// Its input cannot be written.
    Failed(TaskError),
}

/// An item that is being run.
#[derive(Debug, Clone, Copy)]
struct Running {
    key: Key,
    index: u64,
    since: Instant,
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
    fn admit<M, A: Accept<M>>(&mut self, item: &A, index: u64) -> Step {
        let bytes = match crate::task::write_item(self.entry, item, &mut self.inputs) {
            Ok(bytes) => bytes,
            Err(error) => {
                let (reason, kind) = (error.to_string(), error.kind());
                return Step::Failed(TaskError::NotSendable { context: self.context(index), reason, kind });
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
                Step::Known { key, index }
            }
            found => {
                self.row.ran += 1;
                if found.is_none() {
                    self.row.changed += u64::from(self.open.had(&[self.task], index));
                    self.row.outdated += u64::from(self.open.had(&self.others, index));
                }
                Step::Runs(Running { key, index, since: Instant::now() })
            }
        }
    }

    /// The recorded result of an item.
    fn recall<R: Message>(&mut self, key: Key, index: u64) -> Result<R, TaskError> {
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
    fn settle<R: Message>(&mut self, item: Running, result: Result<R, TaskError>) -> Result<R, TaskError> {
        // The engine counts only the items that it got.
        let result = result.map_err(|error| error.with_item(item.index as usize));
        self.keep(item, &result)?;
        result
    }

    /// Waits until everything is on disk.
    fn finish(&self) -> Result<(), TaskError> {
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

/// The caller's items, less those that are recorded: what the engine pulls from.
pub(crate) struct Sieve<I: Iterator, M>(Arc<Mutex<Inside<I>>>, PhantomData<fn(M)>);

#[derive(Debug)]
struct Inside<I: Iterator> {
    run: Run,
    items: I,
    ordered: bool,
    /// Items pulled, and those of them that the engine got.
    pulled: u64,
    handed: usize,
    /// What was pulled and has not been given out, in order; in the unordered form, only what the engine has nothing to do with.
    plan: VecDeque<Step>,
    /// What the engine has, by its own numbers, in the unordered form.
    given: HashMap<usize, Running>,
    /// The engine's next item, which was pulled to look at it.
    held: Option<(I::Item, Running)>,
    ended: bool,
}

impl<I: Iterator, M> std::fmt::Debug for Sieve<I, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sieve").finish_non_exhaustive()
    }
}

impl<I: Iterator, M> Sieve<I, M>
where
    I::Item: Accept<M>,
{
    fn new(run: Run, items: I, ordered: bool) -> Self {
        let inside = Inside {
            run,
            items,
            ordered,
            pulled: 0,
            handed: 0,
            plan: VecDeque::new(),
            given: HashMap::new(),
            held: None,
            ended: false,
        };
        Sieve(Arc::new(Mutex::new(inside)), PhantomData)
    }

    /// The engine's end of it.
    fn share(&self) -> Self {
        Sieve(self.0.clone(), PhantomData)
    }

    fn lock(&self) -> MutexGuard<'_, Inside<I>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I: Iterator> Inside<I> {
    /// Pulls one item, and holds it if it must be run. `false`: there is none.
    fn pull<M>(&mut self) -> bool
    where
        I::Item: Accept<M>,
    {
        let Some(item) = (!self.ended).then(|| self.items.next()).flatten() else {
            self.ended = true;
            return false;
        };
        let index = self.pulled;
        self.pulled += 1;
        match self.run.admit(&item, index) {
            Step::Runs(running) => {
                if self.ordered {
                    self.plan.push_back(Step::Runs(running));
                }
                self.held = Some((item, running));
            }
            step => self.plan.push_back(step),
        }
        true
    }
}

impl<I: Iterator, M> Iterator for Sieve<I, M>
where
    I::Item: Accept<M>,
{
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        let mut inside = self.lock();
        loop {
            if let Some((item, running)) = inside.held.take() {
                let number = inside.handed;
                inside.handed += 1;
                if !inside.ordered {
                    inside.given.insert(number, running);
                }
                return Some(item);
            }
            if !inside.pull() {
                return None;
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let inside = self.lock();
        (usize::from(inside.held.is_some()), inside.items.size_hint().1)
    }
}

/// Results in input order, recorded ones among them.
#[derive(Debug)]
pub(crate) struct Journaled<E, I: Iterator, M> {
    engine: E,
    sieve: Sieve<I, M>,
    over: bool,
}

impl<E, I: Iterator, M> Journaled<E, I, M>
where
    I::Item: Accept<M>,
{
    /// Runs a batch: `engine` makes the results of the items that must be run, in order.
    pub(crate) fn new(run: Run, items: I, engine: impl FnOnce(Sieve<I, M>) -> E) -> Self {
        let sieve = Sieve::new(run, items, true);
        Journaled { engine: engine(sieve.share()), sieve, over: false }
    }

    /// Is there an item whose result the engine will not give any more?
    pub(crate) fn is_cut_off(&self) -> bool {
        let inside = self.sieve.lock();
        !inside.ended || !inside.plan.is_empty()
    }
}

impl<E, I, M, R> Iterator for Journaled<E, I, M>
where
    E: Iterator<Item = Result<R, TaskError>>,
    I: Iterator,
    I::Item: Accept<M>,
    R: Message,
{
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.over {
            {
                let mut inside = self.sieve.lock();
                match inside.plan.front() {
                    None => {
                        // The engine has nothing, so the next item is not its business before it was looked at.
                        if !inside.pull() {
                            self.over = true;
                            return inside.run.finish().err().map(Err);
                        }
                        continue;
                    }
                    Some(Step::Runs(_)) => {}
                    Some(_) => match inside.plan.pop_front() {
                        Some(Step::Known { key, index }) => return Some(inside.run.recall(key, index)),
                        Some(Step::Failed(error)) => return Some(Err(error)),
                        _ => continue,
                    },
                }
            }
            let Some(result) = self.engine.next() else {
                self.over = true;
                return None;
            };
            let mut inside = self.sieve.lock();
            let Some(Step::Runs(running)) = inside.plan.pop_front() else { continue };
            return Some(inside.run.settle(running, result));
        }
        None
    }
}

/// Results as they come, with the indices of their items.
#[derive(Debug)]
pub(crate) struct JournaledUnordered<E, I: Iterator, M> {
    engine: E,
    sieve: Sieve<I, M>,
    over: bool,
}

impl<E, I: Iterator, M> JournaledUnordered<E, I, M>
where
    I::Item: Accept<M>,
{
    /// Runs a batch: `engine` makes the results of the items that must be run, with their numbers among those.
    pub(crate) fn new(run: Run, items: I, engine: impl FnOnce(Sieve<I, M>) -> E) -> Self {
        let sieve = Sieve::new(run, items, false);
        JournaledUnordered { engine: engine(sieve.share()), sieve, over: false }
    }
}

impl<E, I, M, R> Iterator for JournaledUnordered<E, I, M>
where
    E: Iterator<Item = (usize, Result<R, TaskError>)>,
    I: Iterator,
    I::Item: Accept<M>,
    R: Message,
{
    type Item = (usize, Result<R, TaskError>);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.over {
            {
                let mut inside = self.sieve.lock();
                match inside.plan.pop_front() {
                    Some(Step::Known { key, index }) => return Some((index as usize, inside.run.recall(key, index))),
                    Some(Step::Failed(error)) => return Some((error.item().unwrap_or_default(), Err(error))),
                    Some(Step::Runs(_)) => continue,
                    None if inside.given.is_empty() && inside.held.is_none() => {
                        if !inside.pull() {
                            self.over = true;
                            let end = inside.pulled as usize;
                            return inside.run.finish().err().map(|error| (end, Err(error)));
                        }
                        continue;
                    }
                    None => {}
                }
            }
            let Some((number, result)) = self.engine.next() else {
                self.over = true;
                return None;
            };
            let mut inside = self.sieve.lock();
            let Some(running) = inside.given.remove(&number) else {
                // The engine's own error, about none of its items.
                return Some((inside.pulled as usize, result));
            };
            return Some((running.index as usize, inside.run.settle(running, result)));
        }
        None
    }
}
