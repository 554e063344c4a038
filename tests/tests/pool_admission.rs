//! Tasks that say what they need, and tasks that come before others.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use offspring::{ErrorKind, Pool, task};
use offspring_tests::{kill, watchdog};

/// A file that tasks write lines to.
struct Log(PathBuf);

impl Log {
    fn new(name: &str) -> Log {
        let path = std::env::temp_dir().join(format!("offspring-admission-{name}-{}", std::process::id()));
        std::fs::write(&path, "").unwrap();
        Log(path)
    }

    fn name(&self) -> String {
        self.0.to_str().unwrap().to_owned()
    }

    fn lines(&self) -> Vec<String> {
        std::fs::read_to_string(&self.0).unwrap().lines().map(str::to_owned).collect()
    }

    /// The most that ran at once of those with this name; lines are `+name` and `-name`.
    fn most(&self, name: &str) -> i32 {
        let (mut now, mut most) = (0, 0);
        for line in self.lines() {
            now += if line == format!("+{name}") { 1 } else { 0 };
            now -= if line == format!("-{name}") { 1 } else { 0 };
            most = most.max(now);
        }
        most
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

fn write(file: &str, line: &str) {
    let mut file = std::fs::File::options().append(true).open(file).unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

#[task]
fn run(file: String, name: String, millis: u64) -> u64 {
    write(&file, &format!("+{name}"));
    std::thread::sleep(Duration::from_millis(millis));
    write(&file, &format!("-{name}"));
    millis
}

#[task]
fn square(x: u64) -> u64 {
    x * x
}

fn items(log: &Log, name: &str, millis: u64, count: usize) -> Vec<(String, String, u64)> {
    (0..count).map(|_| (log.name(), name.to_owned(), millis)).collect()
}

#[test]
fn no_more_tasks_run_than_there_are_tokens_and_others_are_not_held_up() {
    let _watch = watchdog(Duration::from_secs(120));
    let log = Log::new("tokens");
    {
        let pool = Pool::builder().workers(4).resource("gpu", 2).resource("net", 1).build().unwrap();
        let gpu: Vec<_> = items(&log, "gpu", 30, 10)
            .into_iter()
            .map(|item| pool.batch().needs("gpu", 1).submit(run, item).unwrap())
            .collect();
        let begun = Instant::now();
        // Goes through the other two workers.
        assert_eq!(pool.batch().chunk_size(1).map(run, items(&log, "plain", 5, 8)).unwrap().len(), 8);
        assert!(begun.elapsed() < Duration::from_millis(2000), "{:?}", begun.elapsed());
        let both = pool.batch().needs("gpu", 2).needs("net", 1).chunk_size(1).map(run, items(&log, "both", 5, 3));
        assert_eq!(both.unwrap(), [5; 3]);
        gpu.into_iter().for_each(|handle| assert_eq!(handle.get().unwrap(), 30));
    }
    assert_eq!(log.most("gpu"), 2);
    assert_eq!(log.most("both"), 1);
    // Two tokens are all: those that take both run alone among those that take any.
    let mut taken: i32 = 0;
    for line in log.lines() {
        let change = match &line[1..] {
            "gpu" => 1,
            "both" => 2,
            _ => 0,
        };
        taken += if line.starts_with('+') { change } else { -change };
        assert!(taken <= 2, "{:?}", log.lines());
    }
}

#[test]
fn what_a_pool_can_never_meet_is_an_error() {
    let _watch = watchdog(Duration::from_secs(60));
    let pool = Pool::builder().workers(2).resource("gpu", 1).memory_for_tasks(100).build().unwrap();
    let errors = [
        pool.batch().needs("gpu", 2).call(square, 1u64),
        pool.batch().needs("tpu", 1).call(square, 1u64),
        pool.batch().slots(3).call(square, 1u64),
        pool.batch().memory(101).call(square, 1u64),
    ];
    for error in errors {
        assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    assert!(pool.batch().needs("tpu", 1).map(square, 0..3u64).unwrap_err().to_string().contains("tpu"));
    assert_eq!(pool.batch().needs("gpu", 1).slots(2).memory(100).map(square, 0..3u64).unwrap(), [0, 1, 4]);
    assert_eq!(Pool::builder().resource("a", 1).resource("a", 2).build().unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_task_of_many_slots_runs_alone_and_is_not_starved() {
    let _watch = watchdog(Duration::from_secs(120));
    let log = Log::new("slots");
    let pool = Pool::builder().workers(3).build().unwrap();
    std::thread::scope(|scope| {
        let small = scope.spawn(|| pool.batch().chunk_size(1).map(run, items(&log, "small", 4, 150)).unwrap());
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(pool.batch().slots(3).chunk_size(1).map(run, items(&log, "large", 20, 3)).unwrap(), [20; 3]);
        // It did not have to wait for all the small ones.
        assert!(!small.is_finished());
        assert_eq!(small.join().unwrap().len(), 150);
    });
    let (mut small, mut large) = (0, 0);
    for line in log.lines() {
        let change = if line.starts_with('+') { 1 } else { -1 };
        if &line[1..] == "small" {
            small += change
        } else {
            large += change
        }
        assert!(large == 0 || (large == 1 && small == 0), "{large} large, {small} small");
    }
}

#[test]
fn declared_memory_is_kept_within_the_pools() {
    let _watch = watchdog(Duration::from_secs(120));
    let log = Log::new("memory");
    let pool = Pool::builder().workers(4).memory_for_tasks(3000).build().unwrap();
    assert_eq!(pool.batch().memory(1500).chunk_size(1).map(run, items(&log, "half", 10, 12)).unwrap().len(), 12);
    assert_eq!(pool.batch().memory(3000).chunk_size(1).map(run, items(&log, "whole", 5, 4)).unwrap().len(), 4);
    assert_eq!(log.most("half"), 2);
    assert_eq!(log.most("whole"), 1);
}

#[test]
fn below_the_mark_of_free_memory_tasks_run_one_at_a_time() {
    let _watch = watchdog(Duration::from_secs(120));
    let log = Log::new("mark");
    // More than any machine has.
    let pool = Pool::builder().workers(3).min_free_memory(1 << 60).build().unwrap();
    pool.batch().chunk_size(1).map(run, items(&log, "x", 20, 6)).unwrap();
    assert_eq!(log.most("x"), 1);
    let pool = Pool::builder().workers(3).min_free_memory(1).build().unwrap();
    assert_eq!(pool.map(square, 0..100u64).unwrap().len(), 100);
}

#[test]
fn higher_priorities_come_first() {
    let _watch = watchdog(Duration::from_secs(120));
    let log = Log::new("priority");
    let pool = Pool::builder().workers(1).build().unwrap();
    let first = pool.submit(run, (log.name(), "first".to_owned(), 300)).unwrap();
    while log.lines().is_empty() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let submit = |priority: i32| {
        let name = format!("p{priority}");
        pool.batch().priority(priority).submit(run, (log.name(), name, 1)).unwrap()
    };
    let handles = [-5, 0, 3, -1, 7, 3].map(submit);
    handles.into_iter().for_each(|handle| assert_eq!(handle.get().unwrap(), 1));
    first.get().unwrap();
    let order: Vec<String> = log.lines().into_iter().filter(|line| line.starts_with("+p")).collect();
    assert_eq!(order, ["+p7", "+p3", "+p3", "+p0", "+p-1", "+p-5"]);
}

#[test]
fn an_urgent_call_comes_in_the_middle_of_a_long_batch() {
    let _watch = watchdog(Duration::from_secs(120));
    let log = Log::new("urgent");
    let pool = Pool::builder().workers(1).build().unwrap();
    std::thread::scope(|scope| {
        let batch = scope.spawn(|| pool.batch().chunk_size(1).map(run, items(&log, "batch", 5, 200)).unwrap());
        while log.lines().is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(pool.batch().priority(1).call(run, (log.name(), "urgent".to_owned(), 1)).unwrap(), 1);
        assert!(!batch.is_finished());
        assert_eq!(batch.join().unwrap().len(), 200);
    });
}

#[test]
fn more_calls_with_needs_than_there_are_lanes() {
    let _watch = watchdog(Duration::from_secs(120));
    let pool = Pool::builder().workers(3).resource("t", 2).build().unwrap();
    let handles: Vec<_> = (0..500u64)
        .map(|x| match x % 3 {
            0 => pool.batch().needs("t", 1).submit(square, x).unwrap(),
            1 => pool.batch().priority((x % 5) as i32 - 2).submit(square, x).unwrap(),
            _ => pool.submit(square, x).unwrap(),
        })
        .collect();
    for (x, handle) in (0..500u64).zip(handles) {
        assert_eq!(handle.get().unwrap(), x * x);
    }
    pool.close();
    pool.join().unwrap();
}

#[test]
fn a_lazy_batch_and_a_closed_pool_finish_what_waits_for_tokens() {
    let _watch = watchdog(Duration::from_secs(120));
    let log = Log::new("closed");
    let pool = Pool::builder().workers(3).resource("t", 1).build().unwrap();
    let values: Vec<u64> = pool.batch().needs("t", 1).imap(square, 0..50u64).map(Result::unwrap).collect();
    assert_eq!(values, (0..50u64).map(square).collect::<Vec<_>>());
    let handles: Vec<_> =
        items(&log, "t", 10, 8).into_iter().map(|it| pool.batch().needs("t", 1).submit(run, it).unwrap()).collect();
    pool.close();
    pool.join().unwrap();
    assert!(handles.into_iter().all(|handle| handle.get().is_ok()));
    assert_eq!(log.most("t"), 1);
}

#[test]
fn tokens_and_slots_of_the_dead_come_back() {
    let _watch = watchdog(Duration::from_secs(120));
    let log = Log::new("dead");
    let pool = Pool::builder().workers(3).resource("t", 1).retries(1000).build().unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (log, pool, done) = (&log, &pool, &done);
        let killer = scope.spawn(move || {
            let mut kills = 0;
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                for worker in pool.workers() {
                    kills += u32::from(kill::sigkill(worker.pid as i32).is_ok());
                    std::thread::sleep(Duration::from_millis(7));
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            kills
        });
        let tokens = scope.spawn(move || pool.batch().needs("t", 1).chunk_size(1).map(run, items(log, "t", 3, 40)));
        let slots = scope.spawn(move || pool.batch().slots(3).chunk_size(1).map(run, items(log, "s", 3, 20)));
        let first = scope.spawn(move || pool.batch().priority(3).map(square, 0..2000u64));
        assert_eq!(pool.map(square, 0..2000u64).unwrap().len(), 2000);
        assert_eq!(tokens.join().unwrap().unwrap().len(), 40);
        assert_eq!(slots.join().unwrap().unwrap().len(), 20);
        assert_eq!(first.join().unwrap().unwrap().len(), 2000);
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        assert!(killer.join().unwrap() > 5);
    });
    assert_eq!(pool.batch().needs("t", 1).slots(3).map(square, 0..10u64).unwrap().len(), 10);
}
