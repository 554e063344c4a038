//! Recording: what is finished is gathered, and a thread commits it, many items at a time.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::record::{self, Key, Record};
use super::store::{Changes, Contents, KnownTask, Place, RunRow, Segment, Store};
use super::{Durability, JournalError};
use crate::{ErrorKind, crash};

/// What is gathered is committed early when it is as long as this.
const FULL: usize = 16 << 20;

/// A journal that is open in this process. Dropped, it commits what is left and closes the file.
#[derive(Debug)]
pub(super) struct Open {
    /// Taken when it is dropped.
    parts: Option<(Arc<Shared>, JoinHandle<()>)>,
    file: (u64, u64),
}

#[derive(Debug)]
struct Shared {
    store: Store,
    queue: Mutex<Queue>,
    /// There is something for the writer to do.
    work: Condvar,
    /// Something was committed, or will never be.
    committed: Condvar,
}

#[derive(Debug)]
struct Queue {
    contents: Contents,
    gathered: Vec<u8>,
    changes: Changes,
    /// When what is gathered must be committed.
    due: Option<Instant>,
    /// Commits asked for and done, counted.
    asked: u64,
    done: u64,
    failed: Option<JournalError>,
    closing: bool,
}

/// What a journal says of an item before it is run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) place: Option<Place>,
    /// An item of this index had another input.
    pub(super) changed: bool,
    /// One was of another version.
    pub(super) outdated: bool,
}

/// Open journals by device and inode.
type OpenOnes = HashMap<(u64, u64), Weak<Open>>;

/// The journals that this process has open: batches that run at the same time share one.
static OPEN: LazyLock<Mutex<OpenOnes>> = LazyLock::new(Mutex::default);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

impl Open {
    /// The journal at `path`, open: the one that this process has open already, or from the file.
    pub(super) fn at(path: &Path) -> Result<Arc<Open>, JournalError> {
        let mut open = lock(&OPEN);
        if let Some(known) = identity(path).and_then(|file| open.get(&file)?.upgrade()) {
            return Ok(known);
        }
        let (store, contents) = Store::open(path)?;
        let file =
            identity(path).ok_or_else(|| JournalError::new(path, ErrorKind::Io, "it vanished while it was opened"))?;
        let made = Arc::new(Open::over(store, contents, file)?);
        open.insert(file, Arc::downgrade(&made));
        Ok(made)
    }

    pub(super) fn over(store: Store, contents: Contents, file: (u64, u64)) -> Result<Open, JournalError> {
        let queue = Queue {
            contents,
            gathered: Vec::new(),
            changes: Changes::default(),
            due: None,
            asked: 0,
            done: 0,
            failed: None,
            closing: false,
        };
        let shared =
            Arc::new(Shared { store, queue: Mutex::new(queue), work: Condvar::new(), committed: Condvar::new() });
        let writer = {
            let shared = shared.clone();
            std::thread::Builder::new().name("offspring-journal".into()).spawn(move || shared.write())
        };
        match writer {
            Ok(writer) => Ok(Open { parts: Some((shared, writer)), file }),
            Err(error) => Err(JournalError::io(shared.store.path(), "its thread cannot be started", &error)),
        }
    }

    fn shared(&self) -> &Shared {
        match &self.parts {
            Some((shared, _)) => shared,
            None => unreachable!("taken only by drop"),
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.shared().store.path()
    }

    /// The number of a task, and those of its other versions.
    pub(super) fn task(&self, name: &str, version: u32) -> (u32, Vec<u32>) {
        let mut queue = lock(&self.shared().queue);
        let queue = &mut *queue;
        let tasks = &mut queue.contents.tasks;
        let others = tasks.iter().filter(|task| task.name == name && task.version != version);
        let others = others.map(|task| task.number).collect();
        if let Some(known) = tasks.iter().find(|task| task.name == name && task.version == version) {
            return (known.number, others);
        }
        let task = KnownTask { number: tasks.len() as u32, name: name.into(), version };
        tasks.push(task.clone());
        queue.changes.tasks.push(task.clone());
        (task.number, others)
    }

    /// Where the item's newest record is, if it has one.
    pub(super) fn find(&self, key: &Key) -> Option<Place> {
        lock(&self.shared().queue).contents.index.get(key).copied()
    }

    /// What there is of an item; and where nothing is, of others that had its index when the file was opened.
    pub(super) fn look(&self, key: &Key, index: u64, task: u32, others: &[u32]) -> Found {
        let queue = lock(&self.shared().queue);
        let contents = &queue.contents;
        let place = contents.index.get(key).copied();
        let had = |task: &u32| contents.seen.get(task).is_some_and(|seen| seen.contains(index));
        let is_new = place.is_none();
        Found { place, changed: is_new && had(&task), outdated: is_new && others.iter().any(had) }
    }

    /// The records of a segment, which may not be committed yet.
    pub(super) fn segment(&self, number: u64) -> Result<Segment, JournalError> {
        if number >= lock(&self.shared().queue).contents.next_segment {
            self.flush()?;
        }
        self.shared().store.segment(number)
    }

    /// Records an item that is finished `now`. It is on disk when the next commit is done: see [`flush`](Self::flush).
    pub(super) fn record(&self, record: &Record<'_>, now: Instant, durability: Durability) -> Result<(), JournalError> {
        let shared = self.shared();
        let mut queue = lock(&shared.queue);
        if let Some(error) = &queue.failed {
            return Err(error.clone());
        }
        while queue.gathered.len() >= FULL && queue.failed.is_none() {
            queue = shared.committed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let place = Place {
            segment: queue.contents.next_segment,
            offset: queue.gathered.len() as u32,
            outcome: record.outcome,
        };
        let state = &mut *queue;
        record.write(&mut state.gathered).ok_or_else(|| {
            let reason = format!("the result of item {} is longer than the 4 GiB that a record can have", record.index);
            JournalError::new(shared.store.path(), ErrorKind::Limit, reason)
        })?;
        queue.contents.index.insert(record.key, place);
        crash::point("journal-recorded");
        let wait = match durability {
            Durability::EachItem => Duration::ZERO,
            Durability::Interval(interval) => interval,
        };
        // `None`: not in this life, unless it is full or somebody asks.
        let due = if queue.gathered.len() >= FULL { Some(now) } else { now.checked_add(wait) };
        if due.is_some_and(|due| queue.due.is_none_or(|earlier| due < earlier)) {
            queue.due = due;
            shared.work.notify_one();
        }
        drop(queue);
        if durability == Durability::EachItem { self.flush() } else { Ok(()) }
    }

    /// Adds the row of a run, with the next commit.
    pub(super) fn add_run(&self, row: RunRow) {
        let mut queue = lock(&self.shared().queue);
        let number = queue.contents.next_run;
        queue.contents.next_run += 1;
        queue.changes.runs.push((number, row));
    }

    /// Waits until all that was recorded before is on disk.
    pub(super) fn flush(&self) -> Result<(), JournalError> {
        let shared = self.shared();
        let mut queue = lock(&shared.queue);
        queue.asked += 1;
        let ticket = queue.asked;
        shared.work.notify_one();
        while queue.done < ticket && queue.failed.is_none() {
            queue = shared.committed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.failed.clone().map_or(Ok(()), Err)
    }
}

impl Shared {
    /// The writer's thread.
    fn write(&self) {
        let mut queue = lock(&self.queue);
        loop {
            let now = Instant::now();
            let asked = queue.asked;
            let is_due = asked > queue.done || queue.closing || queue.due.is_some_and(|due| due <= now);
            if !is_due {
                queue = match queue.due {
                    Some(due) => self.work.wait_timeout(queue, due - now).unwrap_or_else(PoisonError::into_inner).0,
                    None => self.work.wait(queue).unwrap_or_else(PoisonError::into_inner),
                };
                continue;
            }
            let mut changes = std::mem::take(&mut queue.changes);
            let mut gathered = std::mem::take(&mut queue.gathered);
            queue.due = None;
            let closing = queue.closing;
            let failed = queue.failed.is_some();
            if !gathered.is_empty() {
                let number = queue.contents.next_segment;
                queue.contents.next_segment += 1;
                drop(queue);
                record::seal(&mut gathered);
                changes.segment = Some((number, gathered));
            } else {
                drop(queue);
            }
            let committed = if changes.is_empty() || failed { Ok(()) } else { self.store.commit(&changes) };
            queue = lock(&self.queue);
            queue.done = queue.done.max(asked);
            if let Err(error) = committed {
                queue.failed = Some(error);
            }
            self.committed.notify_all();
            // What came while this was committed is for the next round.
            if closing && queue.gathered.is_empty() {
                return;
            }
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // Under this lock, so that whoever opens the file next finds it closed.
        let mut open = lock(&OPEN);
        if open.get(&self.file).is_some_and(|known| known.strong_count() == 0) {
            open.remove(&self.file);
        }
        if let Some((shared, writer)) = self.parts.take() {
            lock(&shared.queue).closing = true;
            shared.work.notify_one();
            // A panic of the writer has been told where it happened.
            let _ = writer.join();
        }
    }
}
