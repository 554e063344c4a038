//! What workers run in these tests.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use offspring::task;

/// A short task; its value tells whose it is.
#[task]
pub(crate) fn triple(n: u64) -> u64 {
    std::thread::sleep(Duration::from_micros(300));
    3 * n
}

/// The same, leaving a mark for each time that it runs.
#[task]
pub(crate) fn triple_marked(n: u64, file: &Path) -> u64 {
    mark(file);
    triple(n)
}

/// Leaves a mark, and takes that long.
#[task]
pub(crate) fn nap(millis: u64, file: &Path) -> u64 {
    mark(file);
    std::thread::sleep(Duration::from_millis(millis));
    millis
}

/// Takes its worker along, the process that serves, if the number is 13.
#[task]
pub(crate) fn deadly(n: u64) -> u64 {
    if n == 13 {
        let worker = offspring::process::parent().expect("a task of a pool has a parent").pid();
        let killed = std::process::Command::new("kill").args(["-9", &worker.to_string()]).status();
        assert!(killed.expect("kill can be run").success());
        std::thread::sleep(Duration::from_secs(60));
    }
    n
}

/// Ends its own process the first time.
#[task]
pub(crate) fn fragile(n: u64, file: &Path) -> u64 {
    if n == 3 && marks(file) == 0 {
        mark(file);
        std::process::abort();
    }
    n
}

#[task]
pub(crate) fn panics(n: u64) -> u64 {
    assert!(n != 2, "two is out");
    n
}

/// Its length, doubled.
#[task]
pub(crate) fn doubled(bytes: Vec<u8>) -> Vec<u8> {
    let mut twice = bytes.clone();
    twice.extend(bytes.iter().rev());
    twice
}

#[task]
pub(crate) fn length(bytes: &[u8]) -> u64 {
    bytes.len() as u64
}

pub(crate) fn mark(file: &Path) {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).expect("the file opens");
    file.write_all(b".").expect("a mark can be written");
}

pub(crate) fn marks(file: &Path) -> usize {
    std::fs::read(file).map_or(0, |marks| marks.len())
}
