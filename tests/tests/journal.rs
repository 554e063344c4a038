//! Batches with a journal: what is recorded is not done again, whatever ended the run before.

#![allow(clippy::print_stdout, reason = "seeds are printed")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use offspring::{
    Durability, ErrorKind, Executor, Failure, Inline, Journal, Outcome, Pool, RunOptions, TaskError, message, task,
};
use offspring_tests::{Watchdog, skip, watchdog};

/// Notes in a file that it ran.
#[task]
fn noted_square(x: u64, log: PathBuf) -> u64 {
    let mut log = fs::File::options().append(true).create(true).open(log).expect("the log can be opened");
    // In one piece: others append to it too.
    log.write_all(format!("{x}\n").as_bytes()).expect("the log can be written");
    x * x
}

#[message(derive(Debug))]
#[derive(Debug, Clone, PartialEq)]
struct Page {
    url: String,
    links: Vec<String>,
}

#[task]
fn page_of(number: u64, log: PathBuf) -> Result<Page, Failure> {
    noted_square(number, log);
    match number % 4 {
        3 => Err(Failure::msg(format!("number {number} is bad"))),
        2 if number == 6 => panic!("number {number} is unlucky"),
        _ => Ok(Page { url: format!("/{number}"), links: vec!["link".repeat(number as usize); 3] }),
    }
}

#[task]
fn killed_by(x: u64) -> u64 {
    if x == 2 {
        offspring::Signal::KILL.raise();
    }
    x
}

mod one {
    #[offspring::task(name = "versioned", version = 1)]
    pub(crate) fn versioned(x: u64) -> u64 {
        x + 1
    }
}

mod two {
    #[offspring::task(name = "versioned", version = 2)]
    pub(crate) fn versioned(x: u64) -> u64 {
        x + 2
    }
}

const NONE: [u64; 0] = [];

struct Room {
    directory: tempfile::TempDir,
    _watchdog: Watchdog,
}

impl Room {
    fn new() -> Room {
        Room { directory: tempfile::tempdir().expect("a directory"), _watchdog: watchdog(Duration::from_secs(120)) }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("run.db")
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// What ran since this was last asked, in order of numbers.
    fn ran(&self) -> Vec<u64> {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let _ = fs::remove_file(self.log());
        let mut numbers: Vec<u64> = text.lines().map(|line| line.parse().expect("a number")).collect();
        numbers.sort();
        numbers
    }

    fn items(&self, numbers: impl IntoIterator<Item = u64>) -> Vec<(u64, PathBuf)> {
        numbers.into_iter().map(|number| (number, self.log())).collect()
    }
}

fn pool() -> Pool {
    Pool::builder().workers(2).build().expect("a pool")
}

#[test]
fn what_is_recorded_is_not_run_again_and_results_are_the_same_in_the_same_order() {
    let (room, pool) = (Room::new(), pool());
    let expected: Vec<u64> = (0..200).map(|x| x * x).collect();
    // A run that was given up half-way.
    let batch = pool.batch().journal(room.file());
    let first: Vec<u64> = batch.imap(noted_square, room.items(0..200)).take(80).map(|square| square.unwrap()).collect();
    assert_eq!(first, expected[..80]);
    let begun = room.ran();
    let rest = batch.map(noted_square, room.items(0..200)).unwrap();
    assert_eq!(rest, expected);
    let again = room.ran();
    assert!(again.iter().all(|number| *number >= 80), "of the first run 80 results were given: {again:?}");
    assert!(begun.len() + again.len() >= 200);
    // All forms, and another order, with some more.
    assert_eq!(batch.map(noted_square, room.items(0..200)).unwrap(), expected);
    let tried = batch.try_map(noted_square, room.items(0..200)).unwrap();
    assert_eq!(tried.into_iter().map(Result::unwrap).collect::<Vec<_>>(), expected);
    let mut unordered: Vec<(usize, u64)> =
        batch.imap_unordered(noted_square, room.items(0..200)).map(|(index, value)| (index, value.unwrap())).collect();
    unordered.sort();
    assert_eq!(unordered, expected.iter().copied().enumerate().collect::<Vec<_>>());
    assert_eq!(room.ran(), NONE);
    let turned = batch.map(noted_square, room.items((0..210).rev())).unwrap();
    assert_eq!(turned, (0..210).rev().map(|x| x * x).collect::<Vec<_>>());
    assert_eq!(room.ran(), (200..210).collect::<Vec<_>>());
    let ahead = batch.imap_ahead(noted_square, room.items(0..205));
    assert_eq!(ahead.map(Result::unwrap).collect::<Vec<_>>(), (0..205).map(|x| x * x).collect::<Vec<_>>());
    assert_eq!(room.ran(), NONE);
}

#[test]
fn equal_inputs_of_a_batch_are_items_of_their_own() {
    let (room, pool) = (Room::new(), pool());
    let batch = pool.batch().journal(room.file());
    assert_eq!(batch.map(noted_square, room.items([3, 3, 3])).unwrap(), [9, 9, 9]);
    assert_eq!(room.ran(), [3, 3, 3]);
    assert_eq!(batch.map(noted_square, room.items([3, 3, 3, 3])).unwrap(), [9, 9, 9, 9]);
    assert_eq!(room.ran(), [3]);
}

#[test]
fn failures_are_outcomes_until_they_are_to_be_tried_again() {
    let (room, pool) = (Room::new(), pool());
    let journal = Journal::at(room.file());
    let first = pool.batch().journal(&journal).try_map(page_of, room.items(0..12)).unwrap();
    assert_eq!(room.ran(), (0..12).collect::<Vec<_>>());
    let second = pool.batch().journal(&journal).try_map(page_of, room.items(0..12)).unwrap();
    assert_eq!(room.ran(), NONE);
    assert_eq!(first.len(), second.len());
    for (index, (first, second)) in first.iter().zip(&second).enumerate() {
        match (first, second) {
            (Ok(Ok(first)), Ok(Ok(second))) => assert_eq!(first, second),
            (Ok(Err(first)), Ok(Err(second))) => assert_eq!(first.to_string(), second.to_string()),
            (Err(first), Err(second)) => assert_eq!((first, index), (second, 6)),
            _ => panic!("item {index}: {first:?} and {second:?}"),
        }
    }
    let retrying = journal.clone().retry_failed(true);
    pool.batch().journal(&retrying).try_map(page_of, room.items(0..12)).unwrap();
    assert_eq!(room.ran(), [3, 6, 7, 11]);
    drop((journal, retrying));

    let reader = Journal::read(room.file()).unwrap();
    assert_eq!((reader.len(), reader.records()), (12, 16));
    let tasks = reader.tasks().unwrap();
    assert_eq!((tasks[0].done, tasks[0].failed, tasks[0].lost), (8, 3, 1));
    let items = reader.items().unwrap();
    let cause = |index: u64| items.iter().find(|item| item.index == index).and_then(|item| item.cause.clone());
    assert_eq!(cause(0), None);
    assert_eq!(cause(7).as_deref(), Some("number 7 is bad"));
    assert!(cause(6).is_some_and(|cause| cause.contains("number 6 is unlucky")));
    assert_eq!(items.iter().filter(|item| item.outcome == Outcome::Failed).count(), 3);
    let mut csv = Vec::new();
    reader.write_csv(&mut csv).unwrap();
    let csv = String::from_utf8(csv).unwrap();
    assert_eq!(csv.lines().count(), 13);
    assert!(csv.contains(",7,failed,"), "{csv}");
}

#[test]
fn the_death_of_a_worker_is_recorded_with_its_status() {
    let (room, pool) = (Room::new(), pool());
    let batch = pool.batch().chunk_size(1).journal(room.file());
    let first = batch.try_map(killed_by, 0..4).unwrap();
    let second = batch.try_map(killed_by, 0..4).unwrap();
    assert!(second[2].as_ref().is_err_and(TaskError::is_worker_died));
    assert_eq!(first, second);
}

#[test]
fn another_version_of_a_task_is_done_again_and_said_so() {
    let (room, pool) = (Room::new(), pool());
    assert_eq!(pool.batch().journal(room.file()).map(one::versioned, 0..5).unwrap(), [1, 2, 3, 4, 5]);
    assert_eq!(pool.batch().journal(room.file()).map(two::versioned, 0..5).unwrap(), [2, 3, 4, 5, 6]);
    // Items 3 and 4 have other inputs than before.
    assert_eq!(pool.batch().journal(room.file()).map(two::versioned, [0, 1, 2, 30, 40]).unwrap(), [2, 3, 4, 32, 42]);
    let runs = Journal::read(room.file()).unwrap().runs();
    let told: Vec<_> = runs.iter().map(|run| (run.version, run.reused, run.ran, run.changed, run.outdated)).collect();
    assert_eq!(told, [(1, 0, 5, 0, 0), (2, 0, 5, 0, 5), (2, 3, 2, 2, 2)]);
}

#[test]
fn results_that_stay_in_shared_memory_and_single_calls_know_no_journal() {
    let (room, pool) = (Room::new(), pool());
    let batch = pool.batch().journal(room.file());
    let refused = batch.map_in_place(one::versioned, 0..5).unwrap_err();
    assert!(refused.to_string().contains("use `map`"), "{refused}");
    assert_eq!(batch.call(one::versioned, 1).unwrap(), 2);
}

#[test]
fn the_inline_executor_keeps_a_journal_too() {
    let room = Room::new();
    let options = RunOptions::new().journal(room.file());
    let inline = Inline::new();
    assert_eq!(inline.with_options(&options).map(noted_square, room.items(0..9)).unwrap()[8], 64);
    assert_eq!(room.ran().len(), 9);
    let again: Vec<u64> =
        inline.with_options(&options).imap(noted_square, room.items(0..10)).map(Result::unwrap).collect();
    assert_eq!((again.len(), room.ran()), (10, vec![9]));
    // What one engine recorded, another knows.
    assert_eq!(pool().with_options(&options).map(noted_square, room.items(0..10)).unwrap().len(), 10);
    assert_eq!(room.ran(), NONE);
}

#[test]
fn a_journal_that_cannot_be_had_is_the_batch_s_error() {
    let (room, pool) = (Room::new(), pool());
    let refused = |path: &Path| pool.batch().journal(path).map(one::versioned, 0..3).unwrap_err();
    let missing = refused(&room.directory.path().join("none/run.db"));
    assert!(missing.is_journal() && missing.kind() == ErrorKind::Io, "{missing}");
    assert!(missing.to_string().contains("the directory must exist"), "{missing}");
    assert_eq!(refused(Path::new("/proc/self/run.db")).kind(), ErrorKind::Io);
    fs::write(room.file(), "no journal").unwrap();
    assert_eq!(refused(&room.file()).kind(), ErrorKind::InvalidData);
    assert_eq!(fs::read(room.file()).unwrap(), b"no journal");
    let lazily: Vec<_> = pool.batch().journal(room.file()).imap(one::versioned, 0..3).collect();
    assert!(lazily.len() == 1 && lazily[0].as_ref().is_err_and(TaskError::is_journal));
    // The pool is none the worse for it.
    assert_eq!(pool.map(one::versioned, 0..3).unwrap(), [1, 2, 3]);
}

/// The helper program over a journal.
fn journaled(file: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_journaled"));
    command.arg(file).args(arguments).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command
}

fn sum_of(items: u64) -> String {
    (0..items).fold(0u64, |sum, x| sum.wrapping_mul(31).wrapping_add(x * x)).to_string()
}

fn last_line(command: &mut Command) -> String {
    let output = command.output().expect("the program runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().to_owned()
}

#[test]
fn another_program_cannot_open_a_journal_that_is_in_use() {
    let room = Room::new();
    let mut other = journaled(&room.file(), &["1000000", "1000"]).spawn().expect("the program starts");
    let mut line = String::new();
    BufReader::new(other.stdout.take().expect("it is piped")).read_line(&mut line).expect("it says that it has begun");
    let refused = pool().batch().journal(room.file()).map(one::versioned, 0..3).unwrap_err();
    assert!(refused.kind() == ErrorKind::InUse && refused.to_string().contains("another program"), "{refused}");
    assert_eq!(Journal::read(room.file()).map(|_| ()).unwrap_err().kind(), ErrorKind::InUse);
    other.kill().expect("it can be killed");
    other.wait().expect("it can be awaited");
    assert!(Journal::read(room.file()).is_ok());
}

/// When the file was last written to, if it is there.
fn written(file: &Path) -> Option<std::time::SystemTime> {
    fs::metadata(file).and_then(|file| file.modified()).ok()
}

/// Kills the helper program ten times at random times, then lets it end.
fn killed_ten_times(items: u64, how: &str) {
    let room = Room::new();
    let mut random = 0x2545_f491_4f6c_dd1d_u64 ^ u64::from(std::process::id());
    println!("seed {random}");
    let all = items.to_string();
    let run = || journaled(&room.file(), &[&all, "20", "interval", how]);
    let mut most = 0;
    for kill in 0..10 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let before = written(&room.file());
        let mut run = run().spawn().expect("the program starts");
        // Some are killed before they have recorded anything.
        while kill % 3 > 0 && written(&room.file()) == before && run.try_wait().expect("it can be asked").is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(random % 250));
        run.kill().expect("it can be killed");
        run.wait().expect("it can be awaited");
        let recorded = match Journal::read(room.file()) {
            Ok(journal) => {
                assert_eq!(journal.records(), journal.len(), "kill {kill}");
                journal.len()
            }
            Err(error) => {
                assert!(!room.file().exists(), "kill {kill}: {error}");
                0
            }
        };
        assert!(recorded >= most, "kill {kill}: {recorded} records, and there were {most}");
        most = recorded;
    }
    assert!(most > 100, "{most} were recorded by runs that were killed");
    assert_eq!(last_line(&mut run()), sum_of(items));
    let journal = Journal::read(room.file()).unwrap();
    assert_eq!((journal.len() as u64, journal.records() as u64), (items, items));
    assert_eq!(fs::read_dir(room.directory.path()).unwrap().count(), 1);
}

#[test]
fn a_batch_killed_ten_times_at_random_ends_with_every_result_right_and_no_item_recorded_twice() {
    killed_ten_times(100_000, "map");
}

#[test]
fn a_lazy_batch_killed_ten_times_at_random_ends_with_every_result_right_and_no_item_recorded_twice() {
    killed_ten_times(50_000, "imap");
}

/// The first item hangs, and the program is killed when all others are recorded.
fn recorded_beside_a_stuck_item(how: &str) {
    let room = Room::new();
    let mut run =
        journaled(&room.file(), &["60", "100", "interval", how, "stuck"]).spawn().expect("the program starts");
    // The file is in use: a copy of it is looked at, as often as one was made in the middle of a change.
    let copy = room.directory.path().join("copy.db");
    let recorded = || {
        fs::copy(room.file(), &copy).ok()?;
        Some(Journal::read(&copy).ok()?.len())
    };
    while recorded() != Some(59) {
        assert!(run.try_wait().expect("it can be asked").is_none());
        std::thread::sleep(Duration::from_millis(5));
    }
    run.kill().expect("it can be killed");
    run.wait().expect("it can be awaited");
    assert_eq!(Journal::read(room.file()).unwrap().len(), 59);
}

#[test]
fn what_is_done_is_recorded_though_an_item_before_it_is_not() {
    recorded_beside_a_stuck_item("map");
    recorded_beside_a_stuck_item("reduce");
}

#[task]
fn nap(_: u64) {
    std::thread::sleep(Duration::from_millis(20));
}

/// Neither the time that an item waits for its turn nor that of the caller counts.
#[test]
fn an_item_took_what_it_ran_and_its_worker_is_known() {
    let room = Room::new();
    let pool = Pool::builder().workers(1).build().unwrap();
    let took = |file: &Path| -> (Duration, Vec<Option<u32>>) {
        let items = Journal::read(file).unwrap().items().unwrap();
        assert!(items.len() == 12 && items.iter().all(|item| item.took >= Duration::from_millis(20)), "{items:?}");
        (items.iter().map(|item| item.took).sum(), items.iter().map(|item| item.worker).collect())
    };
    let begun = std::time::Instant::now();
    pool.batch().journal(room.file()).map(nap, 0..12).unwrap();
    let (all, workers) = took(&room.file());
    assert!(all <= begun.elapsed(), "{all:?}");
    assert_eq!(workers, vec![Some(pool.workers()[0].pid); 12]);
    let flow = room.directory.path().join("flow.db");
    let begun = std::time::Instant::now();
    pool.flow(0..12u64).journal(&flow).map(nap).count().unwrap();
    let (all, workers) = took(&flow);
    assert!(all <= begun.elapsed(), "{all:?}");
    assert_eq!(workers, vec![Some(pool.workers()[0].pid); 12]);
}

#[task]
fn odd_ones_out(x: u64, log: PathBuf) -> u64 {
    noted_square(x, log);
    assert!(x % 100 != 40, "no {x}");
    x
}

/// A `map` ends with the first failure, and keeps what was done by then.
#[test]
fn a_map_that_fails_tells_the_first_failure_and_keeps_what_ran() {
    let (room, pool) = (Room::new(), pool());
    let items = || (0..400u64).map(|x| (x, room.log()));
    let error = pool.batch().journal(room.file()).chunk_size(3).map(odd_ones_out, items()).unwrap_err();
    assert!(error.is_panicked() && error.item() == Some(40), "{error}");
    let recorded = Journal::read(room.file()).unwrap().items().unwrap();
    let ran = room.ran();
    assert!(recorded.len() == ran.len() && (41..=400).contains(&ran.len()), "{} of {}", recorded.len(), ran.len());
    let results = pool.batch().journal(room.file()).try_map(odd_ones_out, items()).unwrap();
    let failed: Vec<usize> = (0..400).filter(|x| results[*x].is_err()).collect();
    assert_eq!(failed, [40, 140, 240, 340]);
    assert_eq!(room.ran().len() + ran.len(), 400);
}

#[test]
fn a_flow_killed_ten_times_at_random_ends_with_every_result_right_and_no_item_recorded_twice() {
    killed_ten_times(100_000, "reduce");
}

#[test]
fn a_streaming_flow_killed_ten_times_at_random_ends_with_every_result_right_and_no_item_recorded_twice() {
    killed_ten_times(50_000, "stream");
}

/// Kills the helper program at each named point, then lets it end.
fn killed_at_each_point(how: &str) {
    for point in [
        "journal-made",
        "journal-named",
        "journal-recorded:7",
        "journal-before-commit",
        "journal-before-commit:3",
        "journal-after-commit",
        "journal-after-commit:3",
    ] {
        let room = Room::new();
        let mut killed = journaled(&room.file(), &["200", "1", "each", how]);
        let killed = killed.env("OFFSPRING_CRASH_AT", point).output().unwrap();
        assert!(!killed.status.success(), "{point}: {killed:?}");
        let recorded = if room.file().exists() { Journal::read(room.file()).expect(point).len() } else { 0 };
        let expected = match point {
            "journal-after-commit" => 1,
            "journal-before-commit:3" => 2,
            "journal-after-commit:3" => 3,
            "journal-recorded:7" => 6,
            _ => 0,
        };
        assert_eq!(recorded, expected, "{point}");
        assert_eq!(last_line(&mut journaled(&room.file(), &["200", "1", "interval", how])), sum_of(200), "{point}");
        let journal = Journal::read(room.file()).unwrap();
        assert_eq!((journal.len(), journal.records()), (200, 200), "{point}");
        assert_eq!(fs::read_dir(room.directory.path()).unwrap().count(), 1, "{point}: nothing is left beside the file");
    }
}

#[test]
fn a_kill_at_each_named_point_loses_nothing_that_was_committed() {
    killed_at_each_point("map");
}

#[test]
fn a_kill_at_each_named_point_of_a_flow_loses_nothing_that_was_committed() {
    killed_at_each_point("stream");
    killed_at_each_point("reduce");
}

#[test]
fn with_a_commit_for_each_item_nothing_that_was_given_out_is_done_again() {
    let (room, pool) = (Room::new(), pool());
    let batch = pool.batch().journal(Journal::at(room.file()).durability(Durability::EachItem));
    let mut results = batch.imap(noted_square, room.items(0..50));
    assert!(results.by_ref().take(20).all(|result| result.is_ok()));
    std::mem::forget(results);
    room.ran();
    let copy = room.directory.path().join("copy.db");
    fs::copy(room.file(), &copy).unwrap();
    pool.batch().journal(&copy).map(noted_square, room.items(0..50)).unwrap();
    assert!(room.ran().iter().all(|number| *number >= 20));
}

#[test]
fn a_full_disk_ends_the_batch_with_a_clear_error_and_what_was_recorded_stays() {
    let room = Room::new();
    let disk = room.directory.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=400k none {0} && {1} {0}/run.db 200000 0; cp {0}/run.db {0}/../copy.db",
        disk.display(),
        env!("CARGO_BIN_EXE_journaled")
    );
    let output = Command::new("unshare").args(["-rm", "sh", "-c", &script]).output().expect("unshare runs");
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("mount:") || said.contains("unshare failed") || said.contains("Operation not permitted") {
        skip!("no mount namespace is to be had here");
    }
    assert!(said.contains("No space left on device") && said.contains("make room"), "{said}");
    let journal = Journal::read(room.directory.path().join("copy.db")).unwrap();
    assert_eq!(journal.len(), journal.records());
}

/// What the helper program says of a journal in a directory where nothing can be made.
fn refused_in(said: &str, reason: &str, directory: &Path) {
    assert!(said.contains(reason) && said.contains("run.db"), "{said}");
    assert_eq!(fs::read_dir(directory).unwrap().count(), 0);
}

#[test]
fn a_directory_of_somebody_else_ends_the_batch_with_a_clear_error() {
    let room = Room::new();
    let outside = room.directory.path();
    let directory = outside.join("closed");
    fs::create_dir(&directory).unwrap();
    // Where nobody in particular can run it, too.
    let program = outside.join("journaled");
    fs::copy(env!("CARGO_BIN_EXE_journaled"), &program).unwrap();
    for (path, mode) in [(outside, 0o755), (&*program, 0o755), (&*directory, 0o555)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut command = Command::new(&program);
    command.arg(directory.join("run.db")).args(["10", "1"]);
    // Permissions do not hold for root.
    if nix::unistd::geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    let output = match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => skip!("no other user can be had here"),
        output => output.expect("the program runs"),
    };
    assert!(!output.status.success());
    refused_in(&String::from_utf8_lossy(&output.stderr), "Permission denied", &directory);
}

#[test]
fn a_file_system_that_is_read_only_ends_the_batch_with_a_clear_error() {
    let room = Room::new();
    let disk = room.directory.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let script = format!(
        "mount -t tmpfs none {0} && mount -o remount,ro {0} && {1} {0}/run.db 10 1",
        disk.display(),
        env!("CARGO_BIN_EXE_journaled")
    );
    let output = Command::new("unshare").args(["-rm", "sh", "-c", &script]).output().expect("unshare runs");
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("mount:") || said.contains("unshare failed") || said.contains("Operation not permitted") {
        skip!("no mount namespace is to be had here");
    }
    assert!(!output.status.success());
    refused_in(&said, "Read-only file system", &disk);
}
