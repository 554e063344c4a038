//! Workers: what they begin and end with, when they are replaced, what they may use, how many there are.
#![allow(clippy::print_stderr, reason = "what workers write is what is tested")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use offspring::{ErrorKind, Failure, Pool, Signal, TaskError, WorkerStatus, process, task};
use offspring_tests::watchdog;

static SET: AtomicU64 = AtomicU64::new(0);

#[task]
fn set(value: u64) {
    SET.store(value, Ordering::SeqCst);
}

#[task]
fn get() -> u64 {
    SET.load(Ordering::SeqCst)
}

#[task]
fn add(x: u64) -> u64 {
    SET.fetch_add(x, Ordering::SeqCst);
    x
}

#[task]
fn total_with_pid() -> (u64, u32) {
    (SET.load(Ordering::SeqCst), std::process::id())
}

#[task]
fn panics(text: String) {
    panic!("no {text}");
}

#[task]
fn fails() -> Result<(), Failure> {
    Err(std::fs::File::open("/no/such/file").map(drop).unwrap_err())?
}

#[task]
fn kills_itself() {
    std::process::abort();
}

#[task]
fn leaves(code: i32) {
    std::process::exit(code);
}

#[task]
fn pid(_: u64) -> u32 {
    std::process::id()
}

#[task]
fn slow_pid(millis: u64) -> u32 {
    std::thread::sleep(Duration::from_millis(millis));
    std::process::id()
}

#[task]
fn slow_id(millis: u64) -> Option<usize> {
    std::thread::sleep(Duration::from_millis(millis));
    process::worker_id()
}

/// Takes memory for good, and says who it is.
#[task]
fn leak(bytes: usize) -> u32 {
    std::mem::forget(std::hint::black_box(vec![1u8; bytes]));
    std::process::id()
}

#[task]
fn reserve(bytes: usize) -> bool {
    Vec::<u8>::new().try_reserve_exact(bytes).is_ok()
}

#[task]
fn allocate(bytes: usize) -> usize {
    vec![1u8; bytes].iter().map(|&byte| byte as usize).sum()
}

#[task]
fn burn(millis: u64) -> u64 {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(millis) {
        std::hint::spin_loop();
    }
    millis
}

/// Niceness, allowed CPUs, directory, and some variables.
#[task]
fn facts(names: Vec<String>) -> (i32, String, std::path::PathBuf, Vec<Option<String>>) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let nice = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let cpus = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim().to_owned();
    (nice, cpus, std::env::current_dir().unwrap(), names.iter().map(|name| std::env::var(name).ok()).collect())
}

#[task]
fn cry(text: String) -> u64 {
    eprintln!("{text}");
    std::process::abort();
}

/// Waits for a condition that is to come soon.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn an_initializer_runs_first_in_each_worker_and_a_finalizer_last() {
    let _watch = watchdog(Duration::from_secs(60));
    {
        let pool = Pool::builder().workers(3).initializer(set, 1000).finalizer(total_with_pid, ()).build().unwrap();
        assert_eq!(pool.call(get, ()).unwrap(), 1000);
        let sum: u64 = pool.map(add, 0..10_000u64).unwrap().into_iter().sum();
        let workers = pool.stats().started;
        pool.close();
        pool.join().unwrap();
        let totals = pool.finalizer_results(total_with_pid).unwrap();
        let totals: Vec<(u64, u32)> = totals.into_iter().collect::<Result<_, _>>().unwrap();
        assert_eq!(totals.len() as u64, workers);
        assert_eq!(totals.iter().map(|(total, _)| total).sum::<u64>(), sum + 1000 * workers);
        assert_eq!(totals.iter().map(|(_, pid)| pid).collect::<BTreeSet<_>>().len(), totals.len());
        assert_eq!(pool.finalizer_results(total_with_pid).unwrap().len(), 0);
        assert_eq!(pool.finalizer_results(get).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn a_failing_initializer_fails_the_pool_with_its_error() {
    let _watch = watchdog(Duration::from_secs(60));
    let pool = Pool::builder().workers(2).initializer(panics, "way".to_string()).build().unwrap();
    let error = pool.map(pid, 0..100u64).unwrap_err();
    assert!(matches!(error, TaskError::NoWorker { .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Panicked, "{error}");
    for part in ["initializer", "panics", "no way", "pool_workers.rs"] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    assert!(pool.stats().started <= 2, "{:?}", pool.stats());
    let pool = Pool::builder().workers(2).initializer(fails, ()).build().unwrap();
    let error = pool.call(pid, 1u64).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed, "{error}");
    assert!(error.to_string().contains("No such file"), "{error}");
}

#[test]
fn an_initializer_that_ends_its_worker_is_not_tried_for_ever() {
    let _watch = watchdog(Duration::from_secs(60));
    let killing = Pool::builder().workers(2).initializer(kills_itself, ()).build().unwrap();
    let leaving = Pool::builder().workers(2).initializer(leaves, 0).build().unwrap();
    for pool in [killing, leaving] {
        let error = pool.call(pid, 1u64).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Spawn, "{error}");
        assert!(pool.stats().started <= 5, "{:?}", pool.stats());
    }
}

#[test]
fn a_finalizer_that_panics_is_one_workers_result() {
    let _watch = watchdog(Duration::from_secs(60));
    let pool = Pool::builder().workers(1).finalizer(panics, "end".to_string()).build().unwrap();
    pool.call(pid, 1u64).unwrap();
    pool.close();
    pool.join().unwrap();
    let results = pool.finalizer_results(panics).unwrap();
    assert_eq!(results.len(), 1);
    let error = results[0].as_ref().unwrap_err();
    assert!(error.is_panicked() && error.to_string().contains("no end"), "{error}");
}

#[test]
fn a_worker_ends_after_its_share_of_items() {
    let _watch = watchdog(Duration::from_secs(120));
    for most in [1u64, 7, 100] {
        let pool = Pool::builder().workers(2).max_tasks_per_worker(most).finalizer(total_with_pid, ()).build().unwrap();
        let items = 8 * most;
        let values = pool.map(add, std::iter::repeat_n(1u64, items as usize)).unwrap();
        assert_eq!(values.len() as u64, items);
        pool.close();
        pool.join().unwrap();
        let totals = pool.finalizer_results(total_with_pid).unwrap();
        let totals: Vec<u64> = totals.into_iter().map(|total| total.unwrap().0).collect();
        assert_eq!(totals.iter().sum::<u64>(), items);
        assert!(totals.iter().all(|&total| total <= most), "{totals:?}");
        assert!(totals.len() >= 8, "{totals:?}");
    }
}

#[test]
fn a_worker_that_has_swollen_is_replaced_and_nothing_is_lost() {
    let _watch = watchdog(Duration::from_secs(120));
    let pool = Pool::builder().workers(1).recycle_above(64 << 20).build().unwrap();
    let mut pids = Vec::new();
    for _ in 0..12 {
        pids.push(pool.call(leak, 24 << 20).unwrap());
        // The memory in use is looked at every 10 ms.
        std::thread::sleep(Duration::from_millis(15));
    }
    let distinct: BTreeSet<u32> = pids.iter().copied().collect();
    assert!((3..=6).contains(&distinct.len()), "{pids:?}");
}

#[test]
fn a_memory_limit_is_an_error_for_those_who_ask_and_the_end_of_others() {
    let _watch = watchdog(Duration::from_secs(60));
    let pool = Pool::builder().workers(1).memory_limit(256 << 20).build().unwrap();
    assert!(pool.call(reserve, 16 << 20).unwrap());
    assert!(!pool.call(reserve, 512 << 20).unwrap());
    let results = pool.batch().chunk_size(1).try_map(allocate, [1 << 20, 512 << 20, 2 << 20]).unwrap();
    assert_eq!((*results[0].as_ref().unwrap(), *results[2].as_ref().unwrap()), (1 << 20, 2 << 20));
    let error = results[1].as_ref().unwrap_err();
    assert!(
        matches!(error, TaskError::WorkerDied { status, .. } if status.signal() == Some(Signal::ABRT)),
        "{error:?}"
    );
}

#[test]
fn the_cpu_time_limit_is_that_of_each_task() {
    let _watch = watchdog(Duration::from_secs(120));
    let pool = Pool::builder().workers(1).cpu_time_limit(Duration::from_millis(400)).build().unwrap();
    // Together they take more than one may.
    let fine = pool.batch().chunk_size(1).map(burn, [100u64; 8]).unwrap();
    assert_eq!(fine, [100; 8]);
    let results = pool.batch().chunk_size(1).try_map(burn, [10u64, 60_000, 20]).unwrap();
    assert_eq!((*results[0].as_ref().unwrap(), *results[2].as_ref().unwrap()), (10, 20));
    let error = results[1].as_ref().unwrap_err();
    assert!(
        matches!(error, TaskError::WorkerDied { status, .. } if status.signal() == Some(Signal::XCPU)),
        "{error:?}"
    );
}

#[test]
fn workers_get_priority_cpus_directory_and_environment() {
    let _watch = watchdog(Duration::from_secs(60));
    let names = ["OFFSPRING_TEST", "HOME", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"];
    let names: Vec<String> = names.map(str::to_owned).into();
    let pool = Pool::builder()
        .workers(1)
        .nice(5)
        .cpus([0])
        .current_dir("/usr")
        .env("OFFSPRING_TEST", "a=b c")
        .env("MKL_NUM_THREADS", "17")
        .env_remove("HOME")
        .library_threads(3)
        .build()
        .unwrap();
    let (nice, cpus, directory, values) = pool.call(facts, names.clone()).unwrap();
    assert_eq!((nice, cpus.as_str(), directory), (5, "0", "/usr".into()));
    let values: Vec<Option<&str>> = values.iter().map(Option::as_deref).collect();
    assert_eq!(values, [Some("a=b c"), None, Some("3"), Some("3"), Some("17")]);
    // Without a word, all workers' libraries together use the CPUs that there are.
    let pool = Pool::builder().workers(process::cpu_count()).build().unwrap();
    let (_, _, _, values) = pool.call(facts, names).unwrap();
    assert_eq!(values[2].as_deref(), Some(std::env::var("OMP_NUM_THREADS").as_deref().unwrap_or("1")));
}

#[test]
fn options_that_make_no_sense_are_refused_when_the_pool_is_built() {
    for builder in [
        Pool::builder().max_tasks_per_worker(0),
        Pool::builder().cpu_time_limit(Duration::ZERO),
        Pool::builder().nice(20),
        Pool::builder().env("a=b", "c"),
        Pool::builder().library_threads(0),
    ] {
        assert_eq!(builder.build().unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn pinned_workers_stay_on_cpus_of_their_own() {
    let _watch = watchdog(Duration::from_secs(60));
    let pool = Pool::builder().workers(2).pin_cpus(true).build().unwrap();
    let handles: Vec<_> = (0..2).map(|_| pool.submit(slow_facts, 200).unwrap()).collect();
    let seen: Vec<(Option<usize>, String)> = handles.into_iter().map(|handle| handle.get().unwrap()).collect();
    assert_ne!(seen[0].0, seen[1].0, "{seen:?}");
    assert!(seen.iter().all(|(_, cpus)| !cpus.contains(['-', ','])), "{seen:?}");
    if process::cpu_count() > 1 {
        assert_ne!(seen[0].1, seen[1].1, "{seen:?}");
    }
}

#[task]
fn slow_facts(millis: u64) -> (Option<usize>, String) {
    std::thread::sleep(Duration::from_millis(millis));
    (process::worker_id(), facts(Vec::new()).1)
}

#[test]
fn idle_workers_end_and_come_back() {
    let _watch = watchdog(Duration::from_secs(60));
    let pool = Pool::builder().workers(2).idle_timeout(Duration::from_millis(50)).finalizer(get, ()).build().unwrap();
    for round in 0..5 {
        assert_eq!(pool.map(add, [1u64; 10]).unwrap(), [1; 10]);
        until("the end of idle workers", || pool.workers().is_empty());
        assert!(pool.stats().started > round);
    }
    assert!(pool.finalizer_results(get).unwrap().len() >= 5);
}

#[test]
fn calls_at_the_moment_a_worker_gives_up_waiting_are_not_lost() {
    let _watch = watchdog(Duration::from_secs(120));
    let pool = Pool::builder().workers(1).idle_timeout(Duration::from_millis(3)).build().unwrap();
    for round in 0..300u64 {
        assert_eq!(pool.call(add, round).unwrap(), round);
        // Around the timeout, so that many fall into the worker's end.
        std::thread::sleep(Duration::from_micros(2000 + round % 20 * 150));
    }
    assert!(pool.stats().started > 5, "{:?}", pool.stats());
}

#[test]
fn a_pool_is_resized_while_it_runs() {
    let _watch = watchdog(Duration::from_secs(120));
    let pool = Pool::builder().workers(1).finalizer(get, ()).build().unwrap();
    assert_eq!(pool.call(slow_id, 1).unwrap(), Some(0));
    pool.resize(6).unwrap();
    let begun = Instant::now();
    let handles: Vec<_> = (0..6).map(|_| pool.submit(slow_id, 300).unwrap()).collect();
    let ids: BTreeSet<_> = handles.into_iter().map(|handle| handle.get().unwrap()).collect();
    assert_eq!(ids.len(), 6, "{ids:?}");
    assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
    // Down while all are busy: nothing is lost, and the surplus ends by way of the finalizer.
    let handles: Vec<_> = (0..12u64).map(|_| pool.submit(slow_id, 50).unwrap()).collect();
    pool.resize(2).unwrap();
    assert!(handles.into_iter().all(|handle| handle.get().is_ok()));
    until("the end of the surplus", || pool.workers().len() <= 2);
    assert!(pool.workers().iter().all(|worker| worker.id < Some(2)), "{:?}", pool.workers());
    assert_eq!(pool.finalizer_results(get).unwrap().len(), 4);
    assert_eq!(pool.map(add, [1u64; 100]).unwrap(), [1; 100]);
    assert!(pool.workers().len() <= 2);
    assert_eq!(pool.resize(0).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(pool.resize(1024).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn resizing_all_the_time_loses_nothing() {
    let _watch = watchdog(Duration::from_secs(120));
    {
        let pool = Pool::builder().workers(2).build().unwrap();
        std::thread::scope(|scope| {
            let resizing = scope.spawn(|| {
                for round in 0..60 {
                    pool.resize([1, 5, 2, 3][round % 4]).unwrap();
                    std::thread::sleep(Duration::from_millis(10));
                }
            });
            while !resizing.is_finished() {
                assert_eq!(pool.batch().chunk_size(3).map(add, 0..200u64).unwrap(), (0..200).collect::<Vec<_>>());
            }
        });
    }
}

#[test]
fn a_pool_tells_what_its_workers_do() {
    let _watch = watchdog(Duration::from_secs(60));
    let pool = Pool::builder().workers(2).name("told").build().unwrap();
    assert!(pool.workers().is_empty());
    let handle = pool.submit(slow_pid, 60_000u64).unwrap();
    until("a busy worker", || pool.workers().iter().any(|worker| worker.status == WorkerStatus::Busy));
    std::thread::sleep(Duration::from_millis(60));
    let workers = pool.workers();
    let busy = workers.iter().find(|worker| worker.busy).unwrap();
    assert!(busy.task.as_deref().unwrap().ends_with("slow_pid"), "{busy:?}");
    assert!(busy.since >= Duration::from_millis(40) && busy.since < Duration::from_secs(50), "{busy:?}");
    assert!(busy.name.starts_with("told-") && busy.id.is_some(), "{busy:?}");
    assert!(busy.rss > 0 && busy.usage.unwrap().max_rss >= busy.rss, "{busy:?}");
    handle.cancel();
    let pid = pool.call(pid, 1u64).unwrap();
    until("an idle worker", || pool.workers().iter().any(|it| it.pid == pid && it.status == WorkerStatus::Idle));
    assert!(pool.workers().iter().all(|worker| worker.busy || worker.task.is_none()));
}

#[test]
fn many_workers_replaced_under_memory_of_their_finalizers_leave_nothing() {
    let _watch = watchdog(Duration::from_secs(120));
    {
        let pool = Pool::builder()
            .workers(2)
            .max_tasks_per_worker(1)
            .stderr_tail(true)
            .initializer(set, 1)
            .finalizer(get, ())
            .build()
            .unwrap();
        assert_eq!(pool.map(add, 0..40u64).unwrap(), (0..40).collect::<Vec<_>>());
    }
}

#[test]
fn a_workers_last_words_are_kept_where_asked_for() {
    let _watch = watchdog(Duration::from_secs(60));
    let pool = Pool::builder().workers(1).stderr_tail(true).build().unwrap();
    let error = pool.call(cry, "my last words".to_string()).unwrap_err();
    assert!(error.is_worker_died(), "{error}");
}
