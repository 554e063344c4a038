//! The file: opening it without harm, its tables, and committing.
//!
//! Tables of the store (redb, an embedded B-tree with atomic commits): `about` (what this file is), `tasks` (number to name and version),
//! `segments` (number to records, see `record.rs`), `runs` (number to what a run found and did).
//!
//! What is already in a file is looked at before the file is opened for writing, through an [`Overlay`]: so a damaged or foreign one is
//! refused as it is. A new file gets its name only when it is complete, so there are no half-made ones.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageBackend, TableDefinition};

use super::JournalError;
use super::overlay::Overlay;
use super::record::{self, ByKey, Outcome, Record};
use crate::{ErrorKind, crash};

const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");
const TASKS: TableDefinition<'_, u32, (&str, u32)> = TableDefinition::new("tasks");
const SEGMENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("segments");
const RUNS: TableDefinition<'_, u64, [u64; 6]> = TableDefinition::new("runs");

/// The name under which `about` says that the file is ours, and in which format.
const FORMAT_NAME: &str = "offspring journal";
const FORMAT: u64 = 1;
/// Records are small; what was read stays in memory up to this many bytes.
const CACHE: usize = 32 << 20;

/// Where a record lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) offset: u32,
    pub(super) outcome: Outcome,
}

/// A task in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownTask {
    pub(super) number: u32,
    pub(super) name: String,
    pub(super) version: u32,
}

/// What one run of a batch found and did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RunRow {
    pub(super) task: u64,
    pub(super) started: u64,
    pub(super) reused: u64,
    pub(super) ran: u64,
    pub(super) changed: u64,
    pub(super) outdated: u64,
}

impl RunRow {
    fn raw(self) -> [u64; 6] {
        [self.task, self.started, self.reused, self.ran, self.changed, self.outdated]
    }

    fn from_raw([task, started, reused, ran, changed, outdated]: [u64; 6]) -> RunRow {
        RunRow { task, started, reused, ran, changed, outdated }
    }
}

/// All that a file holds but the values.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// The newest record of each item.
    pub(super) index: ByKey<Place>,
    pub(super) tasks: Vec<KnownTask>,
    pub(super) runs: Vec<RunRow>,
    /// How many records there are, those that were superseded included.
    pub(super) records: usize,
    /// Which indices of items the file had records for when it was opened, by task.
    pub(super) seen: HashMap<u32, Bits>,
    pub(super) next_segment: u64,
    pub(super) next_run: u64,
}

/// A set of small numbers.
#[derive(Debug, Default)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    fn insert(&mut self, number: u64) {
        let word = (number / 64) as usize;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (number % 64);
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        self.0.get((number / 64) as usize).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }
}

/// An open file.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    db: Database,
}

/// A segment's records.
pub(super) type Segment = Arc<Vec<u8>>;

impl Store {
    /// Opens the journal at `path`; makes it if there is none.
    pub(super) fn open(path: &Path) -> Result<(Store, Contents), JournalError> {
        loop {
            match OpenOptions::new().read(true).write(true).open(path) {
                Ok(file) => return Store::open_file(path, file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => match Store::create(path) {
                    Ok(made) => return Ok(made),
                    // Somebody else made it meanwhile.
                    Err(error) if error.kind() == ErrorKind::InUse => continue,
                    Err(error) => return Err(error),
                },
                Err(error) => return Err(JournalError::io(path, "cannot be opened", &error)),
            }
        }
    }

    fn open_file(path: &Path, file: File) -> Result<(Store, Contents), JournalError> {
        let io = |doing: &'static str| move |error: io::Error| JournalError::io(path, doing, &error);
        if !file.metadata().map_err(io("cannot be looked at"))?.is_file() {
            return Err(JournalError::new(path, ErrorKind::InvalidInput, "this is no file"));
        }
        lock(path, &file, File::try_lock)?;
        let contents =
            look(path, Overlay::new(file.try_clone().map_err(io("cannot be read"))?).map_err(io("cannot be read"))?)?;
        let db = guarded(path, || {
            let builder = builder();
            builder.create_file(file).map_err(|error| JournalError::store(path, "cannot be opened", error))
        })?;
        Ok((Store { path: path.into(), db }, contents))
    }

    /// Makes a new journal. [`ErrorKind::InUse`] when the name was taken meanwhile.
    fn create(path: &Path) -> Result<(Store, Contents), JournalError> {
        let io = |doing: &'static str| move |error: io::Error| JournalError::io(path, doing, &error);
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let (file, temporary) = unnamed(directory, path).map_err(io("cannot be made"))?;
        lock(path, &file, File::try_lock)?;
        let made = Store::fill(path, file.try_clone().map_err(io("cannot be made"))?);
        let named = made.and_then(|db| {
            crash::point("journal-made");
            name(&file, temporary.as_deref(), path).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => JournalError::locked(path),
                _ => JournalError::io(path, "cannot be made", &error),
            })?;
            crash::point("journal-named");
            // The name is to outlive a loss of power too.
            File::open(directory)
                .and_then(|directory| directory.sync_all())
                .map_err(io("its directory cannot be synced"))?;
            Ok(db)
        });
        if named.is_err()
            && let Some(temporary) = temporary
        {
            // What is left is an unnamed journal in the user's way.
            let _ = fs::remove_file(temporary);
        }
        Ok((Store { path: path.into(), db: named? }, Contents::default()))
    }

    fn fill(path: &Path, file: File) -> Result<Database, JournalError> {
        let db = builder().create_file(file).map_err(|error| JournalError::store(path, "cannot be made", error))?;
        describe(path, &db)?;
        Ok(db)
    }

    /// A journal over any storage, for tests of power loss.
    #[cfg(test)]
    pub(super) fn over(storage: impl StorageBackend) -> Result<(Store, Contents), JournalError> {
        let path = Path::new("(storage)");
        let db = guarded(path, || {
            builder().create_with_backend(storage).map_err(|error| JournalError::store(path, "cannot be opened", error))
        })?;
        let fresh = guarded(path, || is_fresh(path, &db))?;
        if fresh {
            describe(path, &db)?;
        }
        let contents = guarded(path, || read(path, &db))?;
        Ok((Store { path: path.into(), db }, contents))
    }

    /// What is in the file, without keeping it open, locking it or changing it.
    pub(super) fn inspect(path: &Path) -> Result<(Store, Contents), JournalError> {
        let io = |error: io::Error| JournalError::io(path, "cannot be read", &error);
        let file = File::open(path).map_err(io)?;
        lock(path, &file, File::try_lock_shared)?;
        let overlay = Overlay::new(file).map_err(io)?;
        let db = open_overlay(path, overlay)?;
        let contents = guarded(path, || read(path, &db))?;
        Ok((Store { path: path.into(), db }, contents))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The records of a segment.
    pub(super) fn segment(&self, number: u64) -> Result<Segment, JournalError> {
        guarded(&self.path, || {
            let refused = |error: redb::Error| JournalError::store(&self.path, "cannot be read", error);
            let reading = self.db.begin_read().map_err(|error| refused(error.into()))?;
            let table = reading.open_table(SEGMENTS).map_err(|error| refused(error.into()))?;
            let found = table.get(number).map_err(|error| refused(error.into()))?;
            let damaged = || JournalError::damaged(&self.path, "a segment has changed since it was written");
            let bytes = found.ok_or_else(damaged)?;
            Ok(Arc::new(record::unseal(bytes.value()).ok_or_else(damaged)?.to_vec()))
        })
    }

    /// Commits, so that a loss of power does not undo it: tasks, a sealed segment if there is one, rows of runs.
    pub(super) fn commit(&self, changes: &Changes) -> Result<(), JournalError> {
        let refused = |error: redb::Error| JournalError::store(&self.path, "cannot be written", error);
        let writing = self.db.begin_write().map_err(|error| refused(error.into()))?;
        {
            let mut tasks = writing.open_table(TASKS).map_err(|error| refused(error.into()))?;
            for task in &changes.tasks {
                tasks.insert(task.number, (&*task.name, task.version)).map_err(|error| refused(error.into()))?;
            }
            let mut segments = writing.open_table(SEGMENTS).map_err(|error| refused(error.into()))?;
            if let Some((number, segment)) = &changes.segment {
                segments.insert(*number, segment.as_slice()).map_err(|error| refused(error.into()))?;
            }
            let mut runs = writing.open_table(RUNS).map_err(|error| refused(error.into()))?;
            for (number, row) in &changes.runs {
                runs.insert(*number, row.raw()).map_err(|error| refused(error.into()))?;
            }
        }
        crash::point("journal-before-commit");
        writing.commit().map_err(|error| refused(error.into()))?;
        crash::point("journal-after-commit");
        Ok(())
    }
}

/// What one commit adds.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) tasks: Vec<KnownTask>,
    pub(super) segment: Option<(u64, Vec<u8>)>,
    pub(super) runs: Vec<(u64, RunRow)>,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.segment.is_none() && self.runs.is_empty()
    }
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE);
    builder
}

/// How long a lock is asked for again: the process that has it may be about to end, or have just been killed, as by somebody who starts the
/// program again; and a child that it was making has its descriptors until it runs a program of its own.
const PATIENCE: Duration = Duration::from_millis(500);

/// Takes a lock, exclusive or shared.
fn lock(path: &Path, file: &File, ask: fn(&File) -> Result<(), TryLockError>) -> Result<(), JournalError> {
    let begun = Instant::now();
    loop {
        match ask(file) {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => std::thread::sleep(PATIENCE / 100),
            Err(TryLockError::WouldBlock) => return Err(JournalError::locked(path)),
            Err(TryLockError::Error(error)) => return Err(JournalError::io(path, "cannot be locked", &error)),
        }
    }
}

/// The store below checks less than damaged files need: what it asserts of them ends in a panic, which is one more way to say damaged.
fn guarded<T>(path: &Path, action: impl FnOnce() -> Result<T, JournalError>) -> Result<T, JournalError> {
    quiet::hush(|| catch_unwind(AssertUnwindSafe(action)))
        .unwrap_or_else(|_| Err(JournalError::damaged(path, "the store cannot make sense of it")))
}

mod quiet {
    //! Keeps the panics that [`guarded`](super::guarded) expects off standard error.

    use std::cell::Cell;
    use std::panic;
    use std::sync::Once;

    thread_local! {
        static HUSHED: Cell<bool> = const { Cell::new(false) };
    }

    pub(super) fn hush<T>(action: impl FnOnce() -> T) -> T {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                if !HUSHED.get() {
                    before(info);
                }
            }));
        });
        let was = HUSHED.replace(true);
        let done = action();
        HUSHED.set(was);
        done
    }
}

fn open_overlay(path: &Path, overlay: Overlay) -> Result<Database, JournalError> {
    let len = overlay.len().map_err(|error| JournalError::io(path, "cannot be read", &error))?;
    if len == 0 {
        return Err(JournalError::damaged(path, "it is empty"));
    }
    guarded(path, || {
        let mut db = builder()
            .create_with_backend(overlay)
            .map_err(|error| JournalError::store(path, "cannot be read", error))?;
        match db.check_integrity() {
            Ok(true) => Ok(db),
            Ok(false) => Err(JournalError::damaged(path, "its checksums are wrong")),
            Err(error) => Err(JournalError::store(path, "cannot be read", error)),
        }
    })
}

/// Reads everything, through a layer that keeps the file as it is.
fn look(path: &Path, overlay: Overlay) -> Result<Contents, JournalError> {
    let db = open_overlay(path, overlay)?;
    guarded(path, || read(path, &db))
}

#[cfg(test)]
fn is_fresh(path: &Path, db: &Database) -> Result<bool, JournalError> {
    let refused = |error: redb::Error| JournalError::store(path, "cannot be read", error);
    let reading = db.begin_read().map_err(|error| refused(error.into()))?;
    let tables = reading.list_tables().map_err(|error| refused(error.into()))?;
    Ok(tables.count() == 0)
}

/// Says what a new file is, and makes its tables.
fn describe(path: &Path, db: &Database) -> Result<(), JournalError> {
    let refused = |error: redb::Error| JournalError::store(path, "cannot be written", error);
    let writing = db.begin_write().map_err(|error| refused(error.into()))?;
    writing
        .open_table(ABOUT)
        .map_err(|error| refused(error.into()))?
        .insert(FORMAT_NAME, FORMAT)
        .map_err(|error| refused(error.into()))?;
    writing.open_table(TASKS).map_err(|error| refused(error.into()))?;
    writing.open_table(SEGMENTS).map_err(|error| refused(error.into()))?;
    writing.open_table(RUNS).map_err(|error| refused(error.into()))?;
    writing.commit().map_err(|error| refused(error.into()))
}

fn read(path: &Path, db: &Database) -> Result<Contents, JournalError> {
    let refused = |error: redb::Error| match error {
        redb::Error::TableDoesNotExist(_) | redb::Error::TableTypeMismatch { .. } => {
            JournalError::damaged(path, "a database of another program")
        }
        error => JournalError::store(path, "cannot be read", error),
    };
    let reading = db.begin_read().map_err(|error| refused(error.into()))?;
    let about = reading.open_table(ABOUT).map_err(|error| refused(error.into()))?;
    match about.get(FORMAT_NAME).map_err(|error| refused(error.into()))?.map(|format| format.value()) {
        Some(FORMAT) => {}
        Some(newer) => {
            let reason = format!(
                "written in format {newer}, this build knows format {FORMAT}: use the newer build of the program"
            );
            return Err(JournalError::new(path, ErrorKind::InvalidData, reason));
        }
        None => return Err(JournalError::damaged(path, "a database of another program")),
    }
    let mut contents = Contents::default();
    let tasks = reading.open_table(TASKS).map_err(|error| refused(error.into()))?;
    for task in tasks.iter().map_err(|error| refused(error.into()))? {
        let (number, task) = task.map_err(|error| refused(error.into()))?;
        let (name, version) = task.value();
        contents.tasks.push(KnownTask { number: number.value(), name: name.into(), version });
    }
    let segments = reading.open_table(SEGMENTS).map_err(|error| refused(error.into()))?;
    let known = contents.tasks.len() as u32;
    for segment in segments.iter().map_err(|error| refused(error.into()))? {
        let (number, bytes) = segment.map_err(|error| refused(error.into()))?;
        let records = record::unseal(bytes.value())
            .ok_or_else(|| JournalError::damaged(path, "a segment's checksum is wrong"))?;
        for found in record::records(records) {
            let (offset, Record { key, outcome, task, index, .. }) =
                found.ok_or_else(|| JournalError::damaged(path, "a segment has something else between its records"))?;
            if task >= known {
                return Err(JournalError::damaged(path, "a record of a task that is not in its table"));
            }
            contents.records += 1;
            contents.seen.entry(task).or_default().insert(index);
            contents.index.insert(key, Place { segment: number.value(), offset: offset as u32, outcome });
        }
        contents.next_segment = number.value() + 1;
    }
    let runs = reading.open_table(RUNS).map_err(|error| refused(error.into()))?;
    contents.next_run = runs.len().map_err(|error| refused(error.into()))?;
    for run in runs.iter().map_err(|error| refused(error.into()))? {
        contents.runs.push(RunRow::from_raw(run.map_err(|error| refused(error.into()))?.1.value()));
    }
    Ok(contents)
}

/// A file without a name in this directory; where that is not to be had, one with a name that is nobody's, and that name.
fn unnamed(directory: &Path, path: &Path) -> io::Result<(File, Option<PathBuf>)> {
    match OpenOptions::new().read(true).write(true).custom_flags(libc::O_TMPFILE).open(directory) {
        Ok(file) => return Ok((file, None)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)) => {}
        Err(error) => return Err(error),
    }
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".new-{}", std::process::id()));
    let temporary = directory.join(name);
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&temporary)?;
    Ok((file, Some(temporary)))
}

/// Gives a complete file its name, unless that is taken.
fn name(file: &File, temporary: Option<&Path>, path: &Path) -> io::Result<()> {
    use nix::fcntl::{AT_FDCWD, AtFlags};
    use nix::unistd::linkat;
    use std::os::fd::AsRawFd;

    match temporary {
        Some(temporary) => {
            fs::hard_link(temporary, path)?;
            fs::remove_file(temporary)
        }
        None => {
            let own = format!("/proc/self/fd/{}", file.as_raw_fd());
            Ok(linkat(AT_FDCWD, own.as_str(), AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW)?)
        }
    }
}
