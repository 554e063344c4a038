//! What a pool's clock costs: nothing while nothing is timed. Alone in its binary, as it counts what threads of this process do.

use std::time::Duration;

use offspring::{Pool, task};
use offspring_tests::watchdog;

#[task]
fn nap(millis: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(millis));
    millis
}

const FOREVER: u64 = 600_000;

/// Of all threads of this process, what the kernel has counted of voluntary sleeps.
fn wakes_of(name: &str) -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let of = |path: std::path::PathBuf| {
        let status = std::fs::read_to_string(path.join("status")).unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(|it| it.trim().to_owned());
        (field("Name:")?.as_str() == name).then(|| field("voluntary_ctxt_switches:")?.parse::<u64>().ok())?
    };
    tasks.filter_map(|task| of(task.path())).sum()
}

#[test]
fn the_clock_sleeps_until_a_deadline_and_not_at_all_without_one() {
    let _watch = watchdog(Duration::from_secs(120));
    let pool = Pool::builder().workers(1).build().unwrap();
    assert!(pool.batch().timeout(Duration::from_millis(5)).call(nap, FOREVER).unwrap_err().is_timed_out());
    std::thread::sleep(Duration::from_millis(50));
    let before = wakes_of("offspring-watch");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(wakes_of("offspring-watch"), before, "it wakes although nothing is timed");
    // A long limit is one sleep, however long the task runs.
    assert_eq!(pool.batch().timeout(Duration::from_secs(60)).call(nap, 300).unwrap(), 300);
    assert!(wakes_of("offspring-watch") <= before + 10, "{} {before}", wakes_of("offspring-watch"));
    // A limit of nothing is looked at once a millisecond at most, also while thousands wait for their turn.
    let blocker = pool.submit(nap, 400).unwrap();
    let before = wakes_of("offspring-watch");
    let calls: Vec<_> = (0..2000).map(|_| pool.batch().timeout(Duration::ZERO).submit(nap, 0).unwrap()).collect();
    let begun = std::time::Instant::now();
    std::thread::sleep(Duration::from_millis(200));
    let (wakes, most) = (wakes_of("offspring-watch") - before, 2 * begun.elapsed().as_millis() as u64 + 100);
    assert!(wakes <= most, "{wakes} of {most}");
    assert_eq!(blocker.get().unwrap(), 400);
    drop(calls);
}
