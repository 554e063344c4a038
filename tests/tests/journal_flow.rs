//! Flows with a journal: what is recorded is not done again, and each end gives what it gives without one.
#![allow(clippy::print_stderr, reason = "seeds are printed")]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use offspring::{
    CancelToken, ErrorKind, Executor, FlowError, Inline, Journal, OnError, Outcome, Pool, Queue, RunOptions, task,
};
use offspring_tests::kill::Random;
use offspring_tests::{Watchdog, watchdog};

/// Notes in a file that it ran.
#[task]
fn noted(x: u64, log: PathBuf) -> u64 {
    let mut log = fs::File::options().append(true).create(true).open(log).expect("the log can be opened");
    // In one piece: others append to it too.
    log.write_all(format!("{x}\n").as_bytes()).expect("the log can be written");
    x
}

#[task]
fn twist(x: u64) -> u64 {
    x.wrapping_mul(0x9e37_79b9).rotate_left(7) ^ x
}

#[task]
fn is_odd(x: &u64) -> bool {
    x % 2 == 1
}

/// 0 to 4 values.
#[task]
fn spread(x: u64) -> Vec<u64> {
    (0..x % 5).map(|n| x + n).collect()
}

#[task]
fn text(x: u64) -> String {
    format!("<{x}>")
}

/// Associative, not commutative.
#[task]
fn join(a: String, b: String) -> String {
    a + &b
}

#[task]
fn sum(a: u64, b: u64) -> u64 {
    a.wrapping_add(b)
}

#[task]
fn keyed(x: u64) -> (u64, u64) {
    (x % 7, x)
}

#[task]
fn key(x: &u64) -> u64 {
    x % 11
}

#[task]
fn nothing() -> Vec<u64> {
    Vec::new()
}

#[task]
fn add(mut values: Vec<u64>, x: u64) -> Vec<u64> {
    values.push(x);
    values
}

#[task]
fn both(mut a: Vec<u64>, b: Vec<u64>) -> Vec<u64> {
    a.extend(b);
    a
}

#[task]
fn total(values: &[u64]) -> u64 {
    values.iter().sum()
}

#[task]
fn visit(x: u64) {
    assert!(x < 1 << 40, "never in these tests");
}

const NONE: [u64; 0] = [];

struct Room {
    directory: tempfile::TempDir,
    _watchdog: Watchdog,
}

impl Room {
    fn new() -> Room {
        Room { directory: tempfile::tempdir().expect("a directory"), _watchdog: watchdog(Duration::from_secs(240)) }
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

/// Each end, over some of the items first and over all of them then, against the same chain on an iterator.
fn each_end_goes_on(engine: &impl Executor, seed: u64) {
    let room = Room::new();
    let mut random = Random::new(seed);
    let len = [0, 1, 5, 60, 400][random.below(5) as usize];
    let numbers: Vec<u64> = (0..len).map(|n| n * 3 + random.below(3)).collect();
    let some: Vec<u64> = numbers.iter().copied().filter(|_| random.below(3) > 0).collect();
    let all = || numbers.iter().copied();
    let others = {
        let mut others = numbers.clone();
        others.retain(|number| !some.contains(number));
        others
    };
    macro_rules! goes_on {
        ($flow:ident => $run:expr, $expected:expr) => {{
            let _ = fs::remove_file(room.file());
            let begin =
                |numbers: &[u64]| engine.flow(room.items(numbers.iter().copied())).journal(room.file()).map(noted);
            let $flow = begin(&some);
            $run.unwrap();
            room.ran();
            for again in [false, true] {
                let $flow = begin(&numbers);
                assert_eq!($run.unwrap(), $expected, "{len} items, again: {again}");
                assert_eq!(room.ran(), if again { Vec::new() } else { others.clone() }, "{}", stringify!($run));
            }
            let journal = Journal::read(room.file()).unwrap();
            assert_eq!((journal.len(), journal.records()), (numbers.len(), numbers.len()));
        }};
    }
    goes_on!(flow => flow.map(twist).collect(), all().map(twist).collect::<Vec<_>>());
    goes_on!(flow => flow.filter(is_odd).flat_map(spread).collect(), all().filter(is_odd).flat_map(spread).collect::<Vec<_>>());
    goes_on!(flow => flow.flat_map(spread).count(), all().flat_map(spread).count() as u64);
    goes_on!(flow => flow.for_each(visit), ());
    goes_on!(flow => flow.filter(is_odd).map(text).reduce(join), all().filter(is_odd).map(text).reduce(join));
    goes_on!(flow => flow.flat_map(spread).fold(nothing, add, both), all().flat_map(spread).collect::<Vec<_>>());
    goes_on!(flow => flow.min_by_key(key), all().min_by_key(key));
    goes_on!(flow => flow.max_by_key(key), all().max_by_key(key));
    let mut groups: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    all().flat_map(spread).map(keyed).for_each(|(key, x)| groups.entry(key).or_default().push(x));
    let sums: HashMap<u64, u64> = groups.iter().map(|(key, values)| (*key, values.iter().sum())).collect();
    goes_on!(flow => flow.flat_map(spread).map(keyed).reduce_by_key(sum).map(|table| table.into_map()), sums);
    goes_on!(flow => flow.flat_map(spread).map(keyed).group_by_key().map(|table| table.sorted_by_key()),
        groups.clone().into_iter().collect::<Vec<_>>());
    goes_on!(flow => flow.map(twist).stream().collect::<Result<Vec<_>, _>>(), all().map(twist).collect::<Vec<_>>());
    let sorted = |mut values: Vec<u64>| {
        values.sort_unstable();
        values
    };
    goes_on!(flow => flow.map(twist).stream().unordered().collect::<Result<Vec<_>, _>>().map(sorted),
        sorted(all().map(twist).collect()));
}

#[test]
fn each_end_goes_on_where_it_was_inline() {
    let seed = Random::from_env().number();
    (0..4).for_each(|n| each_end_goes_on(&Inline::new(), seed + n));
}

#[test]
fn each_end_goes_on_where_it_was_in_a_pool() {
    let seed = Random::from_env().number();
    let pool = pool();
    (0..4).for_each(|n| each_end_goes_on(&pool, seed + n));
}

#[test]
fn a_stream_that_was_given_up_goes_on_and_parts_behind_a_cut_are_recorded_too() {
    let (room, pool) = (Room::new(), pool());
    let flow = || pool.flow(room.items(0..300)).journal(room.file()).map(noted);
    let first: Vec<u64> = flow().stream().take(70).map(Result::unwrap).collect();
    assert_eq!(first, (0..70).collect::<Vec<_>>());
    room.ran();
    assert_eq!(flow().collect().unwrap(), (0..300).collect::<Vec<_>>());
    assert!(room.ran().iter().all(|number| *number >= 70));
    // The same stages with an end that wants all values, too: nothing is run again.
    let sums = || flow().take(45).chunks(10).map(total).collect().unwrap();
    let expected: Vec<u64> = (0..45).collect::<Vec<_>>().chunks(10).map(total).collect();
    assert_eq!(sums(), expected);
    assert_eq!(sums(), expected);
    assert_eq!(room.ran(), NONE);
    let runs = Journal::read(room.file()).unwrap().runs();
    let last = runs.iter().rfind(|run| run.task.ends_with(".map(journal_flow::total).collect()")).unwrap();
    assert_eq!((last.reused, last.ran), (5, 0));
}

/// Recorded items are handed on as they are asked for, before the input is read to its end.
#[test]
fn recorded_items_are_handed_on_lazily() {
    let (room, pool) = (Room::new(), pool());
    let pulled = Cell::new(0u64);
    let endless = || (0..).inspect(|_| pulled.set(pulled.get() + 1));
    let flow = || pool.flow(endless()).journal(room.file()).map(twist);
    assert_eq!(flow().take(5_000).count().unwrap(), 5_000);
    pulled.set(0);
    let first: Vec<u64> = flow().stream().take(100).map(Result::unwrap).collect();
    assert_eq!(first, (0..100).map(twist).collect::<Vec<_>>());
    assert_eq!(pulled.get(), 100);
    let all: Vec<u64> = flow().stream().take(8_000).map(Result::unwrap).collect();
    assert_eq!(all, (0..8_000).map(twist).collect::<Vec<_>>());
    assert!(pulled.get() < 100_000, "{} items for 8,000", pulled.get());
}

#[test]
fn equal_items_are_items_of_their_own() {
    let (room, pool) = (Room::new(), pool());
    let total = |n: usize| pool.flow(room.items(vec![3; n])).journal(room.file()).map(noted).reduce(sum).unwrap();
    assert_eq!((total(3), room.ran()), (Some(9), vec![3, 3, 3]));
    assert_eq!((total(4), room.ran()), (Some(12), vec![3]));
}

/// 0 is fine, 1 is refused, 2 panics, 3 is fine and 4 kills its worker, over and over.
#[task]
fn moody((x, log): (u64, PathBuf)) -> Result<u64, String> {
    noted(x, log);
    match x % 5 {
        1 => Err(format!("{x} is out")),
        2 => panic!("{x} is unlucky"),
        4 => {
            offspring::Signal::KILL.raise();
            Err("it died".into())
        }
        _ => Ok(x),
    }
}

/// As [`moody`], where no worker can die.
#[task]
fn grumpy((x, log): (u64, PathBuf)) -> Result<u64, String> {
    moody((if x % 5 == 4 { x - 1 } else { x }, log))
}

#[task]
fn twice(x: u64) -> Vec<u64> {
    vec![x, x + 5]
}

#[task]
fn not_eight(x: u64) -> Result<u64, String> {
    if x == 8 { Err("eight".into()) } else { Ok(x) }
}

#[test]
fn failures_are_recorded_with_their_stage_until_they_are_to_be_tried_again() {
    let (room, pool) = (Room::new(), pool());
    let run = |retry: bool| -> (Vec<u64>, Vec<FlowError>) {
        let told: RefCell<Vec<FlowError>> = RefCell::default();
        let flow = pool.flow(room.items(0..20)).journal(Journal::at(room.file()).retry_failed(retry));
        let flow = flow.try_map(moody).flat_map(twice).try_map(not_eight);
        let values = flow.on_failure(|error| told.borrow_mut().push(error)).collect().unwrap();
        (values, told.into_inner())
    };
    let (values, told) = run(false);
    let fine = |x: &u64| x.is_multiple_of(5) || x % 5 == 3;
    assert_eq!(values, (0..20).filter(fine).flat_map(twice).flat_map(not_eight).collect::<Vec<_>>());
    let facts = |error: &FlowError| (error.item().unwrap(), error.stage(), error.kind());
    let mut expected: Vec<(usize, usize, ErrorKind)> = Vec::new();
    for x in 0..20usize {
        match x % 5 {
            1 => expected.push((x, 1, ErrorKind::Failed)),
            2 => expected.push((x, 1, ErrorKind::Panicked)),
            4 => expected.push((x, 1, ErrorKind::WorkerDied)),
            // 3 + 5 and 8 + 0.
            _ if x == 3 || x == 8 => expected.push((x, 3, ErrorKind::Failed)),
            _ => {}
        }
    }
    assert_eq!(told.iter().map(facts).collect::<Vec<_>>(), expected);
    assert_eq!(room.ran(), (0..20).collect::<Vec<_>>());
    // The same again, word for word, from the file.
    assert_eq!(run(false), (values.clone(), told));
    assert_eq!(room.ran(), NONE);
    let journal = Journal::read(room.file()).unwrap();
    let causes: HashMap<u64, (Outcome, String)> = journal
        .items()
        .unwrap()
        .into_iter()
        .filter_map(|item| Some((item.index, (item.outcome, item.cause?))))
        .collect();
    assert_eq!(causes.len(), expected.len());
    assert_eq!(causes[&1].0, Outcome::Failed);
    assert!(causes[&1].1.starts_with("stage 1 ") && causes[&1].1.ends_with("1 is out"), "{:?}", causes[&1]);
    assert!(causes[&3].1.starts_with("stage 3 ") && causes[&3].1.contains("not_eight"), "{:?}", causes[&3]);
    assert!(causes[&7].0 == Outcome::Lost && causes[&7].1.contains("7 is unlucky"), "{:?}", causes[&7]);
    assert!(causes[&9].0 == Outcome::Lost && causes[&9].1.contains("moody"), "{:?}", causes[&9]);
    drop(journal);
    let (again, _) = run(true);
    assert_eq!(again, values);
    let bad: Vec<u64> = expected.iter().map(|(item, ..)| *item as u64).collect();
    assert_eq!(room.ran(), bad);
    let journal = Journal::read(room.file()).unwrap();
    assert_eq!((journal.len(), journal.records()), (20, 20 + bad.len()));
}

#[test]
fn recorded_failures_are_the_ends_and_the_streams_errors_too() {
    let room = Room::new();
    fn check(engine: &impl Executor, room: &Room) {
        let _ = fs::remove_file(room.file());
        let flow = || engine.flow(room.items(0..12)).journal(room.file()).try_map(grumpy);
        let first = flow().collect().unwrap_err();
        assert_eq!((first.item(), first.stage(), first.kind()), (Some(2), 1, ErrorKind::Panicked));
        assert_eq!(room.ran().len(), 12);
        assert_eq!(flow().collect().unwrap_err(), first);
        assert_eq!(flow().count().unwrap_err().kind(), ErrorKind::Panicked);
        room.ran();
        let bad: Vec<usize> = flow().stream().filter_map(|value| value.bad_item()).collect();
        assert_eq!(bad, [1, 2, 6, 7, 11]);
        let stopped = flow().on_error(OnError::Stop).collect().unwrap_err();
        assert_eq!((stopped.item(), stopped.kind()), (Some(1), ErrorKind::Failed));
        assert_eq!(room.ran(), NONE);
    }
    check(&Inline::new(), &room);
    check(&pool(), &room);
}

trait BadItem {
    fn bad_item(self) -> Option<usize>;
}

impl BadItem for Result<u64, FlowError> {
    fn bad_item(self) -> Option<usize> {
        self.err().and_then(|error| error.item())
    }
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

#[test]
fn a_flow_with_another_version_of_a_stage_is_done_again_and_said_so() {
    let (room, pool) = (Room::new(), pool());
    let flow = || pool.flow(0..5u64).journal(room.file()).map(twist);
    assert_eq!(flow().map(one::versioned).reduce(sum).unwrap(), (0..5).map(twist).map(|x| x + 1).reduce(sum));
    assert_eq!(flow().map(two::versioned).reduce(sum).unwrap(), (0..5).map(twist).map(|x| x + 2).reduce(sum));
    assert_eq!(flow().map(two::versioned).reduce(sum).unwrap(), (0..5).map(twist).map(|x| x + 2).reduce(sum));
    let journal = Journal::read(room.file()).unwrap();
    let told: Vec<_> = journal.runs().iter().map(|run| (run.version, run.reused, run.ran, run.outdated)).collect();
    assert_eq!(told, [(1, 0, 5, 0), (2, 0, 5, 5), (2, 5, 0, 0)]);
    let name = "flow.map(journal_flow::twist).map(versioned).reduce(journal_flow::sum)";
    assert_eq!(journal.tasks().unwrap()[1].name, name);
}

#[test]
fn an_engine_with_a_journal_keeps_flows_in_it() {
    let (room, pool) = (Room::new(), pool());
    let options = RunOptions::new().journal(room.file());
    let items = || room.items(0..9);
    assert_eq!(pool.batch().journal(room.file()).flow(items()).map(noted).reduce(sum).unwrap(), Some(36));
    assert_eq!(room.ran().len(), 9);
    assert_eq!(pool.with_options(&options).flow(items()).map(noted).reduce(sum).unwrap(), Some(36));
    assert_eq!(Inline::new().with_options(&options).flow(items()).map(noted).reduce(sum).unwrap(), Some(36));
    assert_eq!(room.ran(), NONE);
}

#[test]
fn a_journal_that_cannot_be_had_is_the_flow_s_error_even_where_there_is_a_handler() {
    let (room, pool) = (Room::new(), pool());
    fs::write(room.file(), "no journal").unwrap();
    let flow = || pool.flow(0..9u64).journal(room.file()).on_failure(|error| panic!("{error}")).map(twist);
    let refused = flow().collect().unwrap_err();
    assert_eq!((refused.kind(), refused.item()), (ErrorKind::InvalidData, None));
    assert!(refused.as_task_error().unwrap().is_journal() && refused.to_string().contains("run.db"), "{refused}");
    assert_eq!(flow().reduce(sum).unwrap_err().kind(), ErrorKind::InvalidData);
    let streamed: Vec<_> = flow().stream().collect();
    assert!(streamed.len() == 1 && streamed[0].as_ref().is_err_and(|error| error.kind() == ErrorKind::InvalidData));
    assert_eq!(fs::read(room.file()).unwrap(), b"no journal");
    let missing = pool.flow(0..9u64).journal(room.directory.path().join("none/run.db")).map(twist).count().unwrap_err();
    assert!(missing.kind() == ErrorKind::Io && missing.to_string().contains("the directory must exist"), "{missing}");
    assert_eq!(pool.flow(0..9u64).map(twist).count().unwrap(), 9);
}

#[test]
fn a_flow_that_was_cancelled_goes_on_and_what_cannot_be_kept_is_an_error() {
    let room = Room::new();
    fn check(engine: &impl Executor, room: &Room) {
        let _ = fs::remove_file(room.file());
        let token = CancelToken::new().unwrap();
        token.cancel();
        let flow = |items: u64| engine.flow(room.items(0..items)).journal(room.file()).map(noted);
        assert_eq!(flow(9).cancel(&token).reduce(sum).unwrap_err().kind(), ErrorKind::Cancelled);
        assert_eq!(room.ran(), NONE);
        assert_eq!(flow(5).reduce(sum).unwrap(), Some(10));
        assert_eq!(flow(9).cancel(&token).reduce(sum).unwrap_err().kind(), ErrorKind::Cancelled);
        assert_eq!(flow(9).reduce(sum).unwrap(), Some(36));
        assert_eq!(room.ran(), (0..9).collect::<Vec<_>>());
        let queues = engine.flow(0..5u64).journal(room.file()).map(queue_of).collect().map(|queues| queues.len());
        let refused = queues.unwrap_err();
        assert!(refused.kind() == ErrorKind::NotSendable && refused.to_string().contains("journal"), "{refused}");
    }
    check(&Inline::new(), &room);
    check(&pool(), &room);
}

#[task]
fn queue_of(x: u64) -> Queue<u64> {
    let queue = Queue::unbounded().expect("a queue");
    queue.put(&x).expect("room");
    queue
}
