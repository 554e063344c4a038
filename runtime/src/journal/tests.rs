//! Journals that lose power, are cut off, damaged or not journals at all.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use redb::StorageBackend;

use super::testing::Bare;
use super::{Journal, JournalReader};
use crate::ErrorKind;

/// Random numbers: xorshift, seeded.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// A disk with a cache that loses what was not synced, or some of it, in any order.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<Platters>>);

#[derive(Debug, Default)]
struct Platters {
    /// What a reader sees.
    seen: Vec<u8>,
    /// What is safe.
    safe: Vec<u8>,
    /// Changes since the last sync.
    loose: Vec<Change>,
    syncs: usize,
    /// The power fails in the middle of this sync.
    fails_at: usize,
    dead: bool,
}

#[derive(Debug)]
enum Change {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

fn apply(to: &mut Vec<u8>, change: &Change, upto: usize) {
    match change {
        Change::Write(offset, bytes) => {
            let (start, bytes) = (*offset as usize, &bytes[..upto.min(bytes.len())]);
            if to.len() < start + bytes.len() {
                to.resize(start + bytes.len(), 0);
            }
            to[start..start + bytes.len()].copy_from_slice(bytes);
        }
        Change::SetLen(len) => to.resize(*len as usize, 0),
    }
}

impl Disk {
    /// A disk whose power fails in the middle of sync number `at`.
    fn failing_at(at: usize) -> Disk {
        Disk(Arc::new(Mutex::new(Platters { fails_at: at, ..Platters::default() })))
    }

    fn change(&self, change: Change) -> io::Result<()> {
        let mut platters = self.0.lock().unwrap();
        if platters.dead {
            return Err(io::Error::other("no power"));
        }
        apply(&mut platters.seen, &change, usize::MAX);
        platters.loose.push(change);
        Ok(())
    }

    /// What is on the disk when the power is back: of what was not synced any part, in any order, sectors torn.
    fn after_power_loss(&self, random: &mut Random) -> Disk {
        let platters = self.0.lock().unwrap();
        let mut safe = platters.safe.clone();
        let mut loose: Vec<&Change> = platters.loose.iter().filter(|_| !random.next().is_multiple_of(3)).collect();
        for at in (1..loose.len()).rev() {
            loose.swap(at, random.next() as usize % (at + 1));
        }
        for change in loose {
            let upto = if random.next().is_multiple_of(4) { (random.next() % 8 * 512) as usize } else { usize::MAX };
            apply(&mut safe, change, upto);
        }
        let platters = Platters { seen: safe.clone(), safe, fails_at: usize::MAX, ..Platters::default() };
        Disk(Arc::new(Mutex::new(platters)))
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platters = self.0.lock().unwrap();
        let from = platters.seen.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::SetLen(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platters = self.0.lock().unwrap();
        platters.syncs += 1;
        if platters.dead || platters.syncs == platters.fails_at {
            platters.dead = true;
            return Err(io::Error::other("no power"));
        }
        platters.safe = platters.seen.clone();
        platters.loose.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Write(offset, data.to_vec()))
    }
}

const BATCH: u64 = 50;

/// Commits until the power fails; how many commits were confirmed, and the syncs that took. `None`: it failed while the file was made.
fn work(disk: &Disk) -> (Option<u64>, usize) {
    let mut done = None;
    if let Ok(mut journal) = Bare::over(disk.clone()) {
        done = Some(0);
        for batch in 0..6 {
            if journal.commit(batch * BATCH..(batch + 1) * BATCH).is_err() {
                break;
            }
            done = Some(batch + 1);
        }
    }
    let syncs = disk.0.lock().unwrap().syncs;
    (done, syncs)
}

#[test]
fn a_loss_of_power_at_any_sync_loses_nothing_that_was_confirmed_and_doubles_nothing() {
    let (all, syncs) = work(&Disk::failing_at(usize::MAX));
    assert_eq!(all, Some(6));
    let mut cut = 0;
    for fails_at in 1..=syncs {
        for seed in 1..=12 {
            let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (seed << 32 | fails_at as u64));
            let disk = Disk::failing_at(fails_at);
            let (confirmed, _) = work(&disk);
            let back = disk.after_power_loss(&mut random);
            // A file that was never complete has no name yet, so nobody opens it.
            let Some(confirmed) = confirmed else { continue };
            let journal = Bare::over(back).unwrap_or_else(|error| panic!("sync {fails_at}, seed {seed}: {error}"));
            let items = journal.items().unwrap();
            let whole = items.len() as u64 / BATCH;
            assert_eq!(items, (0..whole * BATCH).collect::<Vec<_>>(), "sync {fails_at}, seed {seed}");
            assert!(
                whole == confirmed || whole == confirmed + 1,
                "sync {fails_at}, seed {seed}: {whole} of {confirmed}"
            );
            cut += u64::from(confirmed < 6);
        }
    }
    assert!(cut > 50, "{cut} of the runs were cut off");
}

/// A small journal on disk, and its bytes.
fn small(directory: &std::path::Path) -> (std::path::PathBuf, Vec<u8>) {
    let path = directory.join("small.db");
    let open = super::writer::Open::at(&path).unwrap();
    let (task, _) = open.task("task", 1);
    for index in 0..3u64 {
        let value = index.to_le_bytes();
        let record = super::record::Record {
            key: [index as u8; 16],
            task,
            index,
            outcome: super::Outcome::Done,
            tries: 1,
            worker: 0,
            nanos: 1,
            at: 1,
            text: "",
            value: &value,
        };
        open.record(&record, Instant::now(), super::Durability::EachItem).unwrap();
    }
    drop(open);
    let bytes = fs::read(&path).unwrap();
    (path, bytes)
}

/// Asks again while the file is locked: other tests of this program fork, and such a copy holds locks until it ends.
fn unlocked<T>(mut ask: impl FnMut() -> Result<T, ErrorKind>) -> Result<T, ErrorKind> {
    for _ in 0..1000 {
        match ask() {
            Err(ErrorKind::InUse) => std::thread::sleep(std::time::Duration::from_millis(10)),
            told => return told,
        }
    }
    Err(ErrorKind::InUse)
}

/// The places of all bytes that are looked at when the file is opened and read.
fn bytes_read(path: &std::path::Path) -> Vec<usize> {
    super::overlay::noted::begin();
    unlocked(|| items_of(path)).unwrap();
    super::overlay::noted::take().into_iter().map(|at| at as usize).collect()
}

/// What a reader says of these bytes as a journal: its items, or that they are none.
fn items_of(path: &std::path::Path) -> Result<HashSet<u64>, ErrorKind> {
    let journal = JournalReader::open(path).map_err(|error| error.kind())?;
    journal.items().map(|items| items.iter().map(|item| item.index).collect()).map_err(|error| error.kind())
}

/// Calls `check` with each number and a copy of the file, by two threads.
fn for_each_byte(numbers: Vec<usize>, bytes: &[u8], check: impl Fn(usize, &File, &std::path::Path) + Sync) {
    let directory = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for half in 0..2 {
            let (numbers, check, path) = (&numbers, &check, directory.path().join(format!("copy-{half}.db")));
            scope.spawn(move || {
                fs::write(&path, bytes).unwrap();
                let file = File::options().read(true).write(true).open(&path).unwrap();
                numbers.iter().skip(half).step_by(2).for_each(|number| check(*number, &file, &path));
            });
        }
    });
}

fn is_unchanged(path: &std::path::Path, bytes: &[u8]) -> bool {
    fs::read(path).unwrap() == bytes
}

/// Every length up to the end of what is read of the whole file; behind that, where there are only pages that nothing is in, those next to the
/// ends of pages.
#[test]
fn a_file_cut_off_anywhere_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let (path, bytes) = small(directory.path());
    let used = bytes_read(&path).last().unwrap() + 1;
    let is_of_interest = |len: &usize| *len < used || (len + 1) % 4096 < 3 || bytes.len() - len < 64;
    // From the end, so that a cut is but one more.
    let cuts: Vec<usize> = (0..bytes.len()).filter(is_of_interest).rev().collect();
    for_each_byte(cuts, &bytes, |len, file, path| {
        file.set_len(len as u64).unwrap();
        assert_eq!(unlocked(|| items_of(path).map(drop)), Err(ErrorKind::InvalidData), "cut at {len}");
        if len % 64 == 0 {
            let opened = || super::writer::Open::at(path).map(drop).map_err(|error| error.kind());
            assert_eq!(unlocked(opened), Err(ErrorKind::InvalidData), "cut at {len}");
            assert!(is_unchanged(path, &bytes[..len]), "cut at {len}");
        }
        assert_eq!(file.metadata().unwrap().len(), len as u64);
    });
}

/// Every byte that is read at all; of the others nobody can tell. Of those that are zero, most of which fill pages up, each run takes a fourth.
#[test]
fn a_file_damaged_anywhere_is_refused_or_still_right_and_is_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let (path, bytes) = small(directory.path());
    let phase = std::process::id() as usize;
    let mut used = bytes_read(&path);
    used.retain(|at| bytes[*at] != 0 || (at + phase).is_multiple_of(4));
    let (refused, right) = (AtomicUsize::new(0), AtomicUsize::new(0));
    assert_eq!(unlocked(|| items_of(&path)), Ok(HashSet::from([0, 1, 2])));
    for_each_byte(used, &bytes, |at, file, path| {
        let damaged = [bytes[at] ^ 1 << (at % 8)];
        file.write_all_at(&damaged, at as u64).unwrap();
        match unlocked(|| items_of(path)) {
            Err(kind) => {
                let why = || JournalReader::open(path).map(drop).map_err(|error| error.to_string());
                assert_eq!(kind, ErrorKind::InvalidData, "byte {at}: {:?}", why());
                refused.fetch_add(1, Relaxed);
            }
            // A byte that means nothing, or the mark of the newest commit: then the one before it counts.
            Ok(items) => {
                assert!(items == HashSet::from([0, 1, 2]) || items == HashSet::from([0, 1]), "byte {at}: {items:?}");
                right.fetch_add(1, Relaxed);
            }
        }
        let mut now = [0];
        file.read_exact_at(&mut now, at as u64).unwrap();
        assert_eq!(now, damaged);
        file.write_all_at(&bytes[at..=at], at as u64).unwrap();
        if at % 256 == 0 {
            assert!(is_unchanged(path, &bytes), "byte {at}");
        }
    });
    let (refused, right) = (refused.into_inner(), right.into_inner());
    assert!(refused > 1000, "{refused} refused, {right} still right");
}

#[test]
fn what_is_no_journal_is_refused_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let refusal = || {
        let _ = unlocked(|| super::writer::Open::at(&path).map(|_| ()).map_err(|error| error.kind()));
        super::writer::Open::at(&path).map(|_| ()).unwrap_err()
    };
    fs::write(&path, "").unwrap();
    assert!(refusal().to_string().contains("it is empty"), "{}", refusal());
    fs::write(&path, "name,size\n".repeat(1000)).unwrap();
    assert_eq!(refusal().kind(), ErrorKind::InvalidData);
    assert_eq!(fs::read(&path).unwrap(), "name,size\n".repeat(1000).as_bytes());
    fs::remove_file(&path).unwrap();
    let foreign = redb::Database::create(&path).unwrap();
    let writing = foreign.begin_write().unwrap();
    writing.open_table(redb::TableDefinition::<u64, u64>::new("mine")).unwrap().insert(1, 2).unwrap();
    writing.commit().unwrap();
    // While another program has it open, nothing is known of it but that.
    assert_eq!(super::writer::Open::at(&path).map(|_| ()).unwrap_err().kind(), ErrorKind::InUse);
    drop(foreign);
    let before = fs::read(&path).unwrap();
    assert!(refusal().to_string().contains("another program"), "{}", refusal());
    assert_eq!(fs::read(&path).unwrap(), before);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(refusal().kind(), ErrorKind::Io);
}

#[test]
fn a_newer_journal_is_refused_by_its_number() {
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = small(directory.path());
    let db = redb::Database::create(&path).unwrap();
    let writing = db.begin_write().unwrap();
    let about = redb::TableDefinition::<&str, u64>::new("about");
    writing.open_table(about).unwrap().insert("offspring journal", 7).unwrap();
    writing.commit().unwrap();
    drop(db);
    let error = super::writer::Open::at(&path).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("format 7"), "{error}");
}

#[test]
fn a_directory_that_is_missing_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("none").join("run.db");
    let error = Journal::read(&path).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    let error = super::writer::Open::at(&path).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("the directory must exist"), "{error}");
}

#[test]
fn batches_of_one_process_share_an_open_journal_and_others_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.db");
    let first = super::writer::Open::at(&path).unwrap();
    let second = super::writer::Open::at(&path).unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(JournalReader::open(&path).map(|_| ()).unwrap_err().kind(), ErrorKind::InUse);
    drop((first, second));
    assert_eq!(unlocked(|| items_of(&path)), Ok(HashSet::new()));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside the file");
}
