//! Pools inside of tasks share one budget of running workers.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use offspring::{Pool, task};
use offspring_tests::{kill, proc, watchdog};

/// The file whose lines say how many run: one begin and one end of each leaf, by the monotonic clock.
fn note(file: &str, what: &str) {
    let mut now = uptime();
    now.push_str(what);
    let mut file = std::fs::File::options().append(true).open(file).unwrap();
    file.write_all(format!("{now}\n").as_bytes()).unwrap();
}

fn uptime() -> String {
    let up = std::fs::read_to_string("/proc/uptime").unwrap();
    up.split_whitespace().next().unwrap().to_owned() + " "
}

/// Uses CPU, and says when.
#[task]
fn leaf(file: String, millis: u64) -> u64 {
    note(&file, "begin");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(millis) {
        std::hint::spin_loop();
    }
    note(&file, "end");
    1
}

/// A pool of its own on each level; the number of leaves below.
#[task]
fn branch(file: String, depth: u64, width: u64) -> u64 {
    let pool = Pool::builder().workers(3).build().unwrap();
    if depth == 0 {
        return pool.map(leaf, (0..width).map(|_| (file.clone(), 20))).unwrap().into_iter().sum();
    }
    pool.map(branch, (0..width).map(|_| (file.clone(), depth - 1, width))).unwrap().into_iter().sum()
}

/// The most that ran at once, and how many there were.
fn most_at_once(file: &str) -> (i32, usize) {
    let (mut running, mut most, mut leaves) = (0, 0, 0);
    // Appended lines are in the order in which they were written.
    for line in std::fs::read_to_string(file).unwrap().lines() {
        running += if line.ends_with("begin") { 1 } else { -1 };
        leaves += usize::from(line.ends_with("end"));
        most = most.max(running);
    }
    (most, leaves)
}

fn new_file(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("offspring-tree-{name}-{}", std::process::id()));
    std::fs::write(&path, "").unwrap();
    path
}

#[test]
fn four_levels_of_pools_with_a_budget_of_two_end_and_keep_to_it() {
    let _watch = watchdog(Duration::from_secs(120));
    let path = new_file("depth");
    let file = path.to_str().unwrap().to_owned();
    {
        let pool = Pool::builder().workers(2).build().unwrap();
        // Root, and three levels of pools below it, then leaves.
        let leaves: u64 = pool.map(branch, (0..2).map(|_| (file.clone(), 2, 2))).unwrap().into_iter().sum();
        assert_eq!(leaves, 16);
    }
    let (most, leaves) = most_at_once(&file);
    std::fs::remove_file(path).unwrap();
    assert_eq!(leaves, 16);
    assert!(most <= 2, "{most} at once");
}

#[test]
fn a_budget_of_one_is_enough_for_any_depth() {
    let _watch = watchdog(Duration::from_secs(120));
    let path = new_file("one");
    let file = path.to_str().unwrap().to_owned();
    let pool = Pool::builder().workers(1).build().unwrap();
    assert_eq!(pool.call(branch, (file.clone(), 3, 1)).unwrap(), 1);
    assert_eq!(most_at_once(&file), (1, 1));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_budget_can_be_larger_or_smaller_than_the_pool() {
    let _watch = watchdog(Duration::from_secs(120));
    for (workers, budget, expected) in [(4, 1, 1), (1, 3, 3)] {
        let path = new_file(&format!("budget{budget}"));
        let file = path.to_str().unwrap().to_owned();
        let pool = Pool::builder().workers(workers).budget(budget).build().unwrap();
        if workers > 1 {
            pool.batch().chunk_size(1).map(leaf, (0..6).map(|_| (file.clone(), 30))).unwrap();
        } else {
            pool.call(branch, (file.clone(), 0, 6)).unwrap();
        }
        let (most, leaves) = most_at_once(&file);
        std::fs::remove_file(path).unwrap();
        assert_eq!(leaves, 6);
        assert!(most <= expected, "{most} at once");
    }
}

#[task]
fn idle() {}

/// Waits for its own worker in a way that the library does not see.
#[task]
fn waits_by_a_socket(_: ()) -> String {
    let path = std::env::temp_dir().join(format!("offspring-tree-socket-{}", std::process::id()));
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let pool = Pool::builder().workers(1).build().unwrap();
    let handle = pool.submit(says_hello, path.to_str().unwrap().to_owned()).unwrap();
    let mut text = String::new();
    listener.accept().unwrap().0.read_to_string(&mut text).unwrap();
    std::fs::remove_file(path).unwrap();
    handle.get().unwrap();
    text
}

#[task]
fn says_hello(path: String) {
    UnixStream::connect(path).unwrap().write_all(b"hello").unwrap();
}

/// Asks again and again instead of waiting.
#[task]
fn polls(_: ()) -> u64 {
    let pool = Pool::builder().workers(1).build().unwrap();
    let handle = pool.submit(square, 7).unwrap();
    while !handle.is_ready() {
        std::thread::sleep(Duration::from_millis(300));
    }
    handle.get().unwrap()
}

/// Waits in another thread than the one that runs the task.
#[task]
fn waits_in_a_thread(_: ()) -> u64 {
    std::thread::spawn(|| Pool::builder().workers(1).build().unwrap().call(square, 9).unwrap()).join().unwrap()
}

#[task]
fn square(x: u64) -> u64 {
    x * x
}

#[test]
fn a_task_that_waits_in_its_own_way_does_not_block_its_workers() {
    let _watch = watchdog(Duration::from_secs(120));
    let pool = Pool::builder().workers(1).build().unwrap();
    assert_eq!(pool.call(waits_by_a_socket, ()).unwrap(), "hello");
    assert_eq!(pool.call(waits_in_a_thread, ()).unwrap(), 81);
    assert_eq!(pool.call(polls, ()).unwrap(), 49);
    // And it works as before afterwards.
    assert_eq!(pool.map(square, 0..100u64).unwrap(), (0..100u64).map(square).collect::<Vec<_>>());
}

/// Processes and handles instead of `map`.
#[task]
fn waits_for_others(_: ()) -> u64 {
    let pool = Pool::builder().workers(2).build().unwrap();
    let child = offspring::spawn(uses_a_pool, 5).unwrap();
    let handles = [1u64, 2].map(|x| pool.submit(square, x).unwrap());
    let first = offspring::wait_any(&[&handles[0], &handles[1]], None).unwrap();
    assert!(first.is_some());
    let sum: u64 = handles.into_iter().map(|handle| handle.get().unwrap()).sum();
    pool.close();
    pool.join().unwrap();
    sum + child.join().unwrap()
}

#[task]
fn uses_a_pool(x: u64) -> u64 {
    Pool::builder().workers(1).build().unwrap().call(square, x).unwrap()
}

#[test]
fn each_way_to_wait_lends_the_place() {
    let _watch = watchdog(Duration::from_secs(120));
    let pool = Pool::builder().workers(1).build().unwrap();
    assert_eq!(pool.call(waits_for_others, ()).unwrap(), 30);
}

/// Starts a nested pool whose worker runs for a minute, and waits for it.
#[task]
fn holds_by_a_grandchild(_: ()) {
    let pool = Pool::builder().workers(2).build().unwrap();
    pool.map(nap, [60_000u64, 60_000]).unwrap();
}

#[task]
fn nap(millis: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(millis));
    millis
}

#[test]
fn the_places_of_the_dead_are_free() {
    let _watch = watchdog(Duration::from_secs(120));
    let pool = Pool::builder().workers(2).build().unwrap();
    for round in 0..6 {
        let handles = [(), ()].map(|()| pool.submit(holds_by_a_grandchild, ()).unwrap());
        // Killed at any time: while they start, while grandchildren run in their places.
        std::thread::sleep(Duration::from_millis(40 * round));
        for worker in pool.workers() {
            if round % 2 == 0 {
                _ = kill::sigkill(worker.pid as i32);
            } else {
                // The grandchildren die as well, and their places come back to a worker that lives on.
                proc::descendants(worker.pid as i32).iter().for_each(|process| _ = kill::sigkill(process.pid));
                _ = kill::sigkill(worker.pid as i32);
            }
        }
        handles.into_iter().for_each(|handle| handle.cancel());
        // Both places are there: two tasks of which each waits for the other's begin.
        let path = new_file(&format!("both{round}"));
        let file = path.to_str().unwrap().to_owned();
        let handles = [0, 1].map(|me| pool.submit(meets, (file.clone(), me)).unwrap());
        handles.into_iter().for_each(|handle| handle.get().unwrap());
        std::fs::remove_file(path).unwrap();
    }
}

/// Says that it is here and waits for the other one.
#[task]
fn meets(file: String, me: u64) {
    note(&file, &format!("here {me}"));
    let other = format!("here {}", 1 - me);
    while !std::fs::read_to_string(&file).unwrap().contains(&other) {
        std::thread::sleep(Duration::from_millis(1));
    }
}
