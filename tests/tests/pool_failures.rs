//! What a pool does about failures: tries, delays, limits, early ends, and what errors say.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use offspring::{ErrorKind, Executor, Inline, OnError, Pool, RunOptions, Signal, TaskError, task};
use offspring_tests::cgroup::small_cgroup;
use offspring_tests::{Watchdog, kill, watchdog};

#[task]
fn square(x: u64) -> u64 {
    x.wrapping_mul(x)
}

#[task]
fn nap(millis: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(millis));
    millis
}

/// Notes when it runs, then dies on each of its first tries.
#[task]
fn dies_at_first(folder: PathBuf, deaths: u32) -> u32 {
    let run = task::current().unwrap();
    let item = run.item.map_or("call".to_owned(), |item| item.to_string());
    fs::write(folder.join(format!("{item}.{}", run.tries)), "").unwrap();
    if run.tries <= deaths {
        kill::sigkill(std::process::id() as i32).unwrap();
        std::thread::sleep(Duration::from_secs(600));
    }
    run.tries
}

#[task]
fn dies_if(x: u64, bad: u64) -> u64 {
    if x == bad {
        std::process::abort();
    }
    x
}

#[task]
fn always_dies(_: u64) {
    std::process::abort();
}

#[task]
fn exits(code: i32) -> i32 {
    std::process::exit(code)
}

#[task]
fn picky(x: u64, bad: u64) -> Result<u64, String> {
    std::thread::sleep(Duration::from_micros(200));
    if x == bad { Err(format!("no {x}")) } else { Ok(x) }
}

#[task]
fn panics_if(x: u64, bad: u64) -> u64 {
    std::thread::sleep(Duration::from_micros(200));
    assert!(x != bad, "no {x}");
    x
}

#[task]
fn who(_: u64) -> (String, Option<usize>, u32, u32) {
    let run = task::current().unwrap();
    (run.task.to_owned(), run.item, run.tries, run.worker)
}

fn watch() -> Watchdog {
    watchdog(Duration::from_secs(180))
}

fn pool(workers: usize) -> Pool {
    Pool::builder().workers(workers).build().unwrap()
}

#[test]
fn a_task_knows_its_item_and_its_try() {
    let _watch = watch();
    let (pool, folder) = (pool(2), tempfile::tempdir().unwrap());
    for chunk in [1, 3] {
        let items = (0..8u32).map(|item| (folder.path().to_owned(), if item == 4 { 2 } else { 0 }));
        let tries = pool.batch().retries(2).chunk_size(chunk).map(dies_at_first, items).unwrap();
        assert_eq!(tries, [1, 1, 1, 1, 3, 1, 1, 1]);
        assert!(["4.1", "4.2", "4.3", "5.1"].iter().all(|name| folder.path().join(name).exists()));
        assert!(!folder.path().join("5.2").exists());
    }
    assert_eq!(pool.batch().retries(1).call(dies_at_first, (folder.path().to_owned(), 1)).unwrap(), 2);
    let known = pool.batch().chunk_size(4).map(who, 0..10).unwrap();
    for (item, (name, index, tries, worker)) in known.into_iter().enumerate() {
        assert!(name.ends_with("::who") && index == Some(item) && tries == 1 && worker != std::process::id());
    }
    assert_eq!(task::current(), None);
    let inline = Inline::new().map(who, [7]).unwrap();
    assert_eq!((inline[0].1, inline[0].3), (Some(0), std::process::id()));
}

#[test]
fn tries_are_delayed_twice_as_long_each_time_and_others_are_not() {
    let _watch = watch();
    let (pool, folder) = (pool(2), tempfile::tempdir().unwrap());
    let delay = Duration::from_millis(100);
    let begun = Instant::now();
    let batch = pool.batch().retries(2).retry_delay(delay).chunk_size(1);
    let slow = std::thread::scope(|scope| {
        let slow = scope.spawn(|| batch.call(dies_at_first, (folder.path().to_owned(), 2)));
        // Meanwhile others are served.
        assert_eq!(pool.map(square, 0..1_000).unwrap().len(), 1_000);
        slow.join().unwrap()
    });
    assert_eq!(slow.unwrap(), 3);
    assert!(begun.elapsed() >= 3 * delay, "{:?}", begun.elapsed());
    let written = |name: &str| fs::metadata(folder.path().join(name)).unwrap().modified().unwrap();
    // Times of files are those of the kernel's last tick.
    let tick = Duration::from_millis(20);
    assert!(written("call.2").duration_since(written("call.1")).unwrap() + tick >= delay);
    assert!(written("call.3").duration_since(written("call.2")).unwrap() + tick >= 2 * delay);
}

#[test]
fn a_delayed_try_outlives_the_closing_of_its_pool_and_can_be_cancelled() {
    let _watch = watch();
    let folder = tempfile::tempdir().unwrap();
    let pool = Pool::builder().workers(1).retries(1).retry_delay(Duration::from_millis(300)).build().unwrap();
    let handle = pool.submit(dies_at_first, (folder.path().to_owned(), 1)).unwrap();
    pool.close();
    pool.join().unwrap();
    assert!(handle.is_ready());
    assert_eq!(handle.get().unwrap(), 2);

    let pool = Pool::builder().workers(1).retries(1).retry_delay(Duration::from_secs(600)).build().unwrap();
    let handle = pool.submit(dies_at_first, (folder.path().join(""), 1)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while pool.stats().started == 0 || pool.stats().workers > 0 {
        assert!(Instant::now() < deadline && !handle.is_ready());
        std::thread::sleep(Duration::from_millis(1));
    }
    handle.cancel();
    assert!(handle.get().unwrap_err().is_cancelled());
    // One that nobody waits for does not keep the pool from ending.
    drop(pool.submit(dies_at_first, (folder.path().join(""), 1)).unwrap());
    pool.terminate();
    pool.join().unwrap();
}

#[test]
fn a_batch_that_only_kills_is_given_up_at_its_crash_limit() {
    let _watch = watch();
    let pool = pool(2);
    let batch = pool.batch().chunk_size(1).crash_limit(6).retries(1);
    let results = batch.try_map(always_dies, 0..500).unwrap();
    let (died, given_up): (Vec<&TaskError>, Vec<&TaskError>) =
        results.iter().map(|result| result.as_ref().unwrap_err()).partition(|error| error.is_worker_died());
    assert!(given_up.iter().all(|error| error.is_crash_limit() && error.kind() == ErrorKind::WorkerDied));
    // Two workers may be at it when the limit is reached.
    assert!((1..=8).contains(&died.len()), "{}", died.len());
    assert!(!given_up.is_empty());
    assert!(given_up[0].to_string().contains("SIGABRT"), "{}", given_up[0]);
    assert!(pool.stats().started < 20, "{:?}", pool.stats());
    // The input is not read on, either.
    let error = pool.batch().crash_limit(4).map(always_dies, 0..).unwrap_err();
    assert!(error.is_worker_died() || error.is_crash_limit(), "{error}");
    // A poisonous call with endless tries ends as well.
    let error = pool.batch().retries(u32::MAX).crash_limit(5).call(always_dies, 1).unwrap_err();
    assert!(error.is_crash_limit(), "{error}");
    assert_eq!(pool.call(square, 3).unwrap(), 9);
}

#[test]
fn deaths_between_which_something_is_done_do_not_add_up() {
    let _watch = watch();
    let pool = pool(2);
    // Each second item kills its worker.
    let items = (0..60u64).map(|x| (x, if x % 2 == 1 { x } else { u64::MAX }));
    let results = pool.batch().chunk_size(1).crash_limit(10).try_map(dies_if, items).unwrap();
    let died = results.iter().filter(|result| result.as_ref().is_err_and(TaskError::is_worker_died)).count();
    assert_eq!((died, results.iter().filter(|result| result.is_ok()).count()), (30, 30));
}

#[test]
fn a_batch_stops_after_its_failures() {
    let _watch = watch();
    let pool = pool(2);
    let items = |bad: u64| (0..50_000u64).map(move |x| (x, bad));
    let stopping = pool.batch().chunk_size(4).on_error(OnError::Stop);
    let ends = |results: Vec<Option<bool>>| {
        let begun = results.iter().filter(|it| it.is_some()).count();
        (begun, results.iter().flatten().filter(|ok| !**ok).count(), results.len())
    };
    // A task's own error counts,
    let results = stopping.try_map(picky, items(10)).unwrap();
    let (begun, failed, read) = ends(
        results
            .iter()
            .map(|result| match result {
                Ok(value) => Some(value.is_ok()),
                Err(error) => (!error.is_stopped()).then_some(false),
            })
            .collect(),
    );
    assert!(begun < 5_000 && failed == 1 && read < 50_000, "{begun} {failed} {read}");
    // so does a panic, and a death.
    for (error, is_it) in [
        (stopping.map(panics_if, items(10)).unwrap_err(), TaskError::is_panicked as fn(&TaskError) -> bool),
        (stopping.map(dies_if, items(10)).unwrap_err(), TaskError::is_worker_died),
    ] {
        assert!(is_it(&error) && error.item() == Some(10), "{error}");
    }
    // The failed item is the error, although earlier ones were stopped for it.
    let slow_then_bad = (0..400u64).map(|x| (x, 399));
    let error = pool.batch().chunk_size(1).on_error(OnError::Stop).map(panics_if, slow_then_bad).unwrap_err();
    assert_eq!((error.is_panicked(), error.item()), (true, Some(399)));
    // Without failures nothing is stopped, and without the option everything is run.
    assert_eq!(stopping.map(square, 0..1_000).unwrap().len(), 1_000);
    let all = pool.batch().try_map(panics_if, (0..300u64).map(|x| (x, x - x % 2))).unwrap();
    assert_eq!(all.iter().filter(|result| result.is_err()).count(), 150);
}

#[test]
fn a_batch_stops_after_as_many_failures_as_it_was_told() {
    let _watch = watch();
    let pool = pool(1);
    let batch = pool.batch().chunk_size(1).on_error(OnError::StopAfter(3));
    let results: Vec<_> = batch.imap(panics_if, (0..10_000u64).map(|x| (x, x))).collect();
    let failed = results.iter().filter(|result| result.as_ref().is_err_and(TaskError::is_panicked)).count();
    let stopped = results.iter().filter(|result| result.as_ref().is_err_and(TaskError::is_stopped)).count();
    assert_eq!(failed + stopped, results.len());
    assert!((3..=4).contains(&failed) && results.len() < 10_000, "{failed} {}", results.len());
    let why = results.last().unwrap().as_ref().unwrap_err();
    assert!(why.to_string().contains("was not run"), "{why}");
    assert_eq!(why.kind(), ErrorKind::Cancelled);
}

#[test]
fn inline_keeps_the_same_rules() {
    let _watch = watch();
    let inline = Inline::new();
    let options = RunOptions::new().on_error(OnError::StopAfter(2)).retries(3).crash_limit(4);
    let engine = inline.with_options(&options);
    let results = engine.try_map(panics_if, (0..100u64).map(|x| (x, x))).unwrap();
    let kinds: Vec<bool> = results.iter().map(|result| result.as_ref().unwrap_err().is_stopped()).collect();
    assert_eq!(kinds, [false, false, true]);
    let results = engine.try_map(picky, (0..100u64).map(|x| (x, x - x % 2))).unwrap();
    assert_eq!(results.len(), 4);
    assert_eq!(engine.map(square, 0..3).unwrap(), [0, 1, 4]);
}

#[test]
fn errors_say_how_the_worker_ended() {
    let _watch = watch();
    let pool = Pool::builder().workers(1).retries(1).build().unwrap();
    let error = pool.map(dies_if, [(1, 0), (2, 2)]).unwrap_err();
    let TaskError::WorkerDied { status, worker, tries, oom_killed, usage, .. } = &error else { panic!("{error}") };
    assert_eq!(status.signal(), Some(Signal::ABRT));
    assert_eq!((*tries, error.tries(), error.item(), error.worker()), (2, Some(2), Some(1), Some(*worker)));
    assert_ne!(*oom_killed, Some(true));
    assert!(usage.as_ref().is_some_and(|usage| usage.max_rss > 0), "{usage:?}");
    assert_eq!(error.usage(), usage.as_deref().copied());
    let text = error.to_string();
    assert!(text.contains("dies_if") && text.contains("item 1") && text.contains("SIGABRT"), "{text}");
}

/// Takes memory without end, if it is the bad one.
#[task]
fn swells_if(x: u64, bad: u64) -> u64 {
    if x == bad {
        let mut all = Vec::new();
        loop {
            all.push(vec![1u8; 1 << 20]);
        }
    }
    x
}

/// A pool in a cgroup of so little memory: by item its value, or whether its error says that the kernel killed for memory, with its tries.
#[task]
fn in_little_memory(cgroup: String) -> Vec<Result<u64, (Option<bool>, Option<u32>)>> {
    fs::write(format!("{cgroup}/cgroup.procs"), "0").unwrap();
    let pool = Pool::builder().workers(2).retries(1).build().unwrap();
    let results = pool.batch().chunk_size(1).try_map(swells_if, (0..6u64).map(|x| (x, 3))).unwrap();
    results.into_iter().map(|result| result.map_err(|error| (error.oom_killed(), error.tries()))).collect()
}

#[test]
fn a_task_that_eats_all_memory_costs_itself_and_is_explained() {
    let _watch = watch();
    let Some(cgroup) = small_cgroup(128 << 20) else {
        offspring_tests::skip!("this process may not make memory cgroups");
    };
    let pool = pool(1);
    let results = pool.call(in_little_memory, cgroup.display().to_string());
    pool.terminate();
    pool.join().unwrap();
    fs::remove_dir(&cgroup).ok();
    let results = results.unwrap();
    // The kernel may take a neighbour first, which is tried again.
    let expected: Vec<_> = (0..6).map(|x| if x == 3 { Err((Some(true), Some(2))) } else { Ok(x) }).collect();
    assert_eq!(results, expected);
}

#[test]
fn leaving_by_exit_is_the_tasks_own_failure() {
    let _watch = watch();
    let pool = pool(1);
    // Also with the codes that workers have a use for themselves.
    for code in [0, 1, 3, 101, 120, 121, 122, 123, 124, 255] {
        let error = pool.call(exits, code).unwrap_err();
        assert!(error.is_worker_died(), "{code}: {error}");
        assert_eq!(error.exit_status().unwrap().code(), Some(code));
        assert_eq!(pool.call(square, 3).unwrap(), 9, "after exit({code})");
    }
    let results = pool.batch().chunk_size(5).try_map(exits, 0..5).unwrap();
    assert!(results.iter().all(|result| result.as_ref().is_err_and(TaskError::is_worker_died)));
}

#[test]
fn a_nap_is_not_disturbed_by_what_other_batches_are_told() {
    let _watch = watch();
    let pool = pool(2);
    let long = pool.submit(nap, 300).unwrap();
    assert!(pool.batch().on_error(OnError::Stop).map(panics_if, [(1, 1)]).is_err());
    assert!(pool.batch().crash_limit(1).map(always_dies, [1]).is_err());
    assert_eq!(long.get().unwrap(), 300);
}

/// The signals that this process has blocked.
#[task]
fn blocked(die: bool) -> String {
    if die {
        std::process::abort();
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find(|line| line.starts_with("SigBlk")).unwrap().to_owned()
}

#[test]
fn workers_that_replace_others_have_no_more_signals_blocked() {
    let _watch = watch();
    let pool = pool(1);
    let first = pool.call(blocked, false).unwrap();
    // The second call waits in the queue while its worker dies.
    let handles = [true, false].map(|die| pool.submit(blocked, die).unwrap());
    let [died, second] = handles.map(|handle| handle.get());
    assert!(died.is_err());
    assert_eq!(second.unwrap(), first);
}
