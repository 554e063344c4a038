//! What a large shared value costs those who read it: no copy, and no memory of their own. Alone in its binary, as it takes a
//! gigabyte.

#![allow(clippy::print_stdout, reason = "figures are printed")]

use std::fs;
use std::time::Duration;

use offspring::shared::Shared;
use offspring::sync::Barrier;
use offspring::{Child, spawn, task};
use offspring_tests::{skip, watchdog};

const LEN: usize = 1 << 30;
const READERS: usize = 3;
/// Far less than a copy, and far more than a process needs to run.
const LITTLE: usize = 64 << 20;

/// The sum of one byte of each page, and what this process has to itself while it reads.
#[task]
fn read_all(model: Shared<Vec<u8>>, all_have_read: Barrier) -> (u64, usize) {
    let sum = model.iter().step_by(4096).map(|byte| u64::from(*byte)).sum();
    let mine = private_bytes();
    // Nobody gives its pages back before all have looked.
    all_have_read.wait().unwrap();
    (sum, mine)
}

/// The memory of this process that is in no other.
fn private_bytes() -> usize {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let kib = |field: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap()
    };
    (kib("Private_Clean:") + kib("Private_Dirty:")) << 10
}

fn available() -> Option<usize> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<usize>().ok()? << 10)
}

#[test]
fn a_shared_gigabyte_costs_each_reader_no_memory_of_its_own() {
    let _watch = watchdog(Duration::from_secs(240));
    let needed = 4 << 30;
    match available() {
        Some(bytes) if bytes >= needed => {}
        bytes => skip!("{bytes:?} bytes of memory are available, {needed} are needed"),
    }
    let family = offspring::testing::Arena::family().unwrap();
    let budget = family.ledger().budget;
    if budget < LEN as u64 * 3 / 2 {
        skip!("the family may have {budget} bytes of shared memory only, by a limit of this machine");
    }
    let mut value = vec![0u8; LEN];
    value.iter_mut().step_by(LEN / 8).for_each(|byte| *byte = 1);
    let model = Shared::new(&value).unwrap();
    drop(value);
    assert_eq!(model.len(), LEN);
    let had = private_bytes();
    let together = Barrier::new(READERS).unwrap();
    let children: Vec<Child<(u64, usize)>> =
        (0..READERS).map(|_| spawn(read_all, (&model, &together)).unwrap()).collect();
    for child in children {
        let (sum, mine) = child.join().unwrap();
        println!("private memory of a reader: {} KiB", mine >> 10);
        assert_eq!(sum, 8);
        assert!(mine < LITTLE, "a reader of 1 GiB has {} MiB to itself", mine >> 20);
    }
    println!("private memory of its maker before: {} KiB", had >> 10);
    // The memory goes with the last handle, though the child's may take a moment to be given up.
    drop(model);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while family.ledger().granule_bytes >= LEN as u64 {
        assert!(std::time::Instant::now() < deadline, "a gigabyte was left behind");
        std::thread::sleep(Duration::from_millis(5));
    }
}
