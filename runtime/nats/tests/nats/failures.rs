//! Nothing is lost, and nothing comes twice, whoever dies: ten thousand tasks each time.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use offspring::{Executor, RunOptions};
use offspring_tests::watchdog;

use crate::tasks::{deadly, marks, triple, triple_marked};
use crate::workers::{Workers, end_with_parent, options, pool, this_program};
use offspring_tests::nats::{Server, nats_server};

pub(crate) const TASKS: u64 = 10_000;

/// Runs all tasks, and has `event` happen when so many results are here. Fails unless each result comes, once, and is right.
pub(crate) fn all_come_once(engine: &impl Executor, mut event: impl FnMut(u64)) {
    let mut came = vec![false; TASKS as usize];
    let mut count = 0;
    let each = RunOptions::new().chunk_size(2);
    for (item, result) in engine.with_options(&each).imap_unordered(triple, 0..TASKS) {
        assert_eq!(result.as_ref(), Ok(&(3 * item as u64)), "item {item}");
        assert!(!std::mem::replace(&mut came[item], true), "item {item} came twice");
        count += 1;
        event(count);
    }
    let lost: Vec<usize> = (0..came.len()).filter(|&item| !came[item]).collect();
    assert!(lost.is_empty(), "{} items are lost: {:?} ..", lost.len(), &lost[..lost.len().min(10)]);
}

#[test]
fn nothing_is_lost_when_workers_are_killed_and_others_join() {
    if !nats_server() {
        return;
    }
    let _watch = watchdog(Duration::from_secs(240));
    let server = Server::start();
    let mut workers = Workers::of(&server);
    workers.start();
    workers.start();
    all_come_once(&pool(&server), |count| match count {
        2000 => workers.kill_one(),
        4000 => workers.start(),
        6000 => workers.kill_one(),
        _ => {}
    });
}

#[test]
fn nothing_is_lost_when_the_server_is_killed_and_started_again() {
    if !nats_server() {
        return;
    }
    let _watch = watchdog(Duration::from_secs(240));
    let mut server = Server::start();
    let mut workers = Workers::of(&server);
    workers.start();
    workers.start();
    all_come_once(&pool(&server), |count| match count {
        2000 => {
            server.kill();
            std::thread::sleep(Duration::from_millis(500));
            server.restart();
        }
        5000 => server.restart(),
        _ => {}
    });
}

#[test]
fn nothing_is_lost_when_the_server_loses_all_that_it_had() {
    if !nats_server() {
        return;
    }
    let _watch = watchdog(Duration::from_secs(240));
    let mut server = Server::start();
    let mut workers = Workers::of(&server);
    workers.start();
    all_come_once(&pool(&server), |count| {
        if count == 3000 {
            server.kill();
            std::fs::remove_dir_all(server.directory().join("jetstream")).expect("the server's files can be removed");
            server.restart();
        }
    });
}

/// In a process that is started for it: a program with a journal.
#[test]
fn a_program_with_a_journal_when_asked() {
    let Some(journal) = std::env::var_os("TEST_JOURNAL") else { return };
    end_with_parent();
    let variable = |name: &str| std::env::var(name).expect("it is set");
    let pool =
        offspring_nats::NatsPool::builder(variable("TEST_URL")).options(options()).connect().expect("it connects");
    let dies_after: usize = variable("TEST_DIES_AFTER").parse().expect("a number");
    let file = std::path::PathBuf::from(variable("TEST_MARKS"));
    let kept = RunOptions::new().journal(Path::new(&journal)).chunk_size(2);
    let mut sum = 0;
    let items = (0..TASKS).map(|n| (n, file.clone()));
    for (count, (_, result)) in pool.with_options(&kept).imap_unordered(triple_marked, items).enumerate() {
        sum += result.expect("each has a value");
        if count + 1 == dies_after {
            // What the journal has taken is in the file by then.
            std::thread::sleep(Duration::from_secs(1));
            let _ = std::process::Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
        }
    }
    // Its standard output is the harness's, too.
    std::fs::write(file.with_extension("sum"), sum.to_string()).expect("the sum can be written");
}

#[test]
fn a_program_that_is_killed_goes_on_from_its_journal_when_it_is_started_again() {
    if !nats_server() {
        return;
    }
    let _watch = watchdog(Duration::from_secs(300));
    let server = Server::start();
    let mut workers = Workers::of(&server);
    workers.start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("marks");
    let run = |dies_after: u64| {
        let mut program = this_program("failures::a_program_with_a_journal_when_asked", &[]);
        program.env("TEST_JOURNAL", directory.path().join("journal")).env("TEST_URL", server.url());
        program.env("TEST_DIES_AFTER", dies_after.to_string()).env("TEST_MARKS", &file).stderr(Stdio::inherit());
        let mut program = program.spawn().expect("the program starts");
        // `wait` would close its standard input.
        loop {
            if let Some(status) = program.try_wait().expect("it can be asked") {
                return status;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let killed = run(6000);
    assert!(!killed.success(), "{killed}");
    assert!(run(u64::MAX).success());
    let sum = std::fs::read_to_string(file.with_extension("sum")).expect("the second run came to its end");
    assert_eq!(sum.parse(), Ok((0..TASKS).map(|n| 3 * n).sum::<u64>()));
    // Beyond ten thousand: what was under way when it was killed.
    let executions = marks(&file);
    assert!((TASKS as usize..14_000).contains(&executions), "{executions} executions");
}

#[test]
fn a_task_that_kills_every_worker_fails_alone() {
    if !nats_server() {
        return;
    }
    let _watch = watchdog(Duration::from_secs(120));
    let server = Server::start();
    let mut workers = Workers::of(&server).env("TEST_LEASE", "0.5");
    workers.start();
    let limited = options().lease(Duration::from_millis(500)).deliveries(2);
    let pool = offspring_nats::NatsPool::builder(server.url()).options(limited).connect().unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    let results = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                workers.replace_the_dead();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let all = RunOptions::new().chunk_size(4);
        let results = pool.with_options(&all).try_map(deadly, [11, 12, 13, 14, 15]);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        results.unwrap()
    });
    let error = results[2].as_ref().unwrap_err();
    assert!(error.is_worker_died(), "{error}");
    assert_eq!(error.item(), Some(2));
    for (item, value) in [(0, 11), (1, 12), (3, 14), (4, 15)] {
        assert_eq!(results[item], Ok(value), "item {item}");
    }
}
