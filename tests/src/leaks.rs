//! What a test leaves behind is a failure.

use crate::proc;
use offspring::testing::Arena;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Leak-checked tests of one binary run one after another: they would see each other's children and descriptors.
static ALONE: Mutex<()> = Mutex::new(());

/// How long children may take to end and descriptors to be closed after the test is done.
const GRACE: Duration = Duration::from_secs(5);

/// What this process has: its children, open descriptors, what its family has in use, and the names in /dev/shm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Holdings {
    children: BTreeSet<String>,
    descriptors: BTreeSet<String>,
    shm: BTreeSet<String>,
    blocks: u64,
    processes: usize,
}

impl Holdings {
    fn now() -> Holdings {
        let children = proc::children(std::process::id() as i32);
        let shm = fs::read_dir("/dev/shm").map(|names| {
            names.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<BTreeSet<_>>()
        });
        let ledger = Arena::existing_family().map(Arena::ledger);
        Holdings {
            blocks: ledger.map_or(0, |ledger| ledger.blocks),
            processes: ledger.map_or(0, |ledger| ledger.processes),
            children: children.iter().map(|it| format!("{} `{}` state {}", it.pid, it.name, it.state)).collect(),
            descriptors: proc::descriptors().into_iter().map(|(number, link)| format!("{number} -> {link}")).collect(),
            shm: shm.unwrap_or_default(),
        }
    }

    /// What `self` has beyond `before`. Children are named by their number, as their state may change.
    fn beyond(&self, before: &Holdings) -> Vec<String> {
        let number = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
        let old: BTreeSet<String> = before.children.iter().map(|line| number(line)).collect();
        let children = self.children.iter().filter(|line| !old.contains(&number(line)));
        let more = |now: usize, before: usize, what: &str| {
            (now > before).then(|| format!("{what} in the arena: {now}, there were {before}"))
        };
        children
            .map(|line| format!("child {line}"))
            .chain(more(self.blocks as usize, before.blocks as usize, "blocks"))
            .chain(more(self.processes, before.processes, "processes"))
            .chain(self.descriptors.difference(&before.descriptors).map(|line| format!("descriptor {line}")))
            .chain(
                self.shm
                    .difference(&before.shm)
                    .filter(|name| !is_foreign(name))
                    .map(|name| format!("/dev/shm/{name}")),
            )
            .collect()
    }
}

/// Has another program this file in /dev/shm, which is everybody's: open or mapped by a process that does not descend from this one?
fn is_foreign(name: &str) -> bool {
    let path = Path::new("/dev/shm").join(name);
    let me = std::process::id() as i32;
    let ours: BTreeSet<i32> = proc::descendants(me).into_iter().map(|it| it.pid).chain([me]).collect();
    let has = |pid: i32| {
        let mut links = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let is_open = links.any(|link| fs::read_link(link.path()).is_ok_and(|to| to == path));
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        is_open || maps.lines().any(|line| line.ends_with(&*path.to_string_lossy()))
    };
    proc::processes().into_iter().any(|it| !ours.contains(&it.pid) && has(it.pid))
}

/// Runs `test` and fails if it leaves a child, a zombie, an open descriptor, a block or a process slot in the family's arena, or
/// a name in /dev/shm behind.
///
/// What a process keeps for good once it has used the runtime (the arena's descriptors, a supervisor's) would look like a
/// leak: `warm_up` runs first and uncounted, and has to use what the test will use. Give `|| {}` where there is nothing.
/// Tests that are checked run one at a time; a test that is not checked but has children must not share their binary, or
/// must be quick: its children would be counted.
///
/// # Panics
///
/// When something is left five seconds after the test, or the test itself panics.
pub fn check<T>(warm_up: impl FnOnce(), test: impl FnOnce() -> T) -> T {
    let _alone: MutexGuard<'_, ()> = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    warm_up();
    let before = Holdings::now();
    let value = test();
    let deadline = Instant::now() + GRACE;
    loop {
        let left = Holdings::now().beyond(&before);
        if left.is_empty() {
            return value;
        }
        assert!(Instant::now() < deadline, "left behind:\n  {}", left.join("\n  "));
        thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_child_and_a_descriptor_left_behind_are_seen() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let before = Holdings::now();
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let file = fs::File::open("/dev/null").unwrap();
        let left = Holdings::now().beyond(&before).join("\n");
        child.kill().unwrap();
        // Killed but not awaited: a zombie is a leak, too.
        thread::sleep(Duration::from_millis(50));
        let zombie = Holdings::now().beyond(&before).join("\n");
        drop(file);
        child.wait().unwrap();
        assert!(left.contains("`sleep`") && left.contains("/dev/null"), "{left}");
        assert!(zombie.contains("state Z"), "{zombie}");
        // Other tests of this binary have children of their own.
        let pid = child.id().to_string();
        assert!(!Holdings::now().beyond(&before).iter().any(|line| line.contains(&pid)));
    }

    #[test]
    fn a_block_left_behind_is_seen() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let arena = Arena::family().unwrap();
        let before = Holdings::now();
        let block = arena.alloc(100).unwrap();
        assert!(Holdings::now().beyond(&before).iter().any(|line| line.starts_with("blocks in the arena: 1")));
        drop(block);
        assert!(!Holdings::now().beyond(&before).iter().any(|line| line.starts_with("blocks")));
    }

    #[test]
    fn a_name_in_shm_is_seen_unless_another_program_has_it() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let before = Holdings::now();
        let name = format!("offspring-leaks-{}", std::process::id());
        let path = Path::new("/dev/shm").join(&name);
        fs::write(&path, "").unwrap();
        let left = Holdings::now().beyond(&before).iter().any(|line| line.ends_with(&name));
        // Its parent ends at once, so the one that has the file open descends from nobody here.
        let script = format!("sleep 1000 < {} > /dev/null 2>&1 & echo $!", path.display());
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        let pid: i32 = String::from_utf8_lossy(&output.stdout).trim().parse().unwrap();
        let foreign = (0..500).any(|_| {
            thread::sleep(Duration::from_millis(10));
            is_foreign(&name)
        });
        crate::kill::sigkill(pid).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(left && foreign, "seen: {left}, left to its owner: {foreign}");
    }

    #[test]
    fn a_clean_test_passes() {
        assert_eq!(check(|| {}, || 5), 5);
    }
}
