//! Several pools at one server, and what they leave there.

use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use offspring::Executor;
use offspring_nats::NatsPool;
use offspring_tests::watchdog;

use crate::tasks::{doubled, triple};
use crate::workers::{Workers, end_with_parent, example, options, pool, this_program};
use offspring_tests::nats::{Server, nats_server};

/// The streams at a server.
fn streams(server: &Server) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = async_nats::connect(server.url()).await.unwrap();
        async_nats::jetstream::new(client).stream_names().try_collect().await.unwrap()
    })
}

#[test]
fn pools_share_workers_and_leave_nothing_at_the_server() {
    if !nats_server() {
        return;
    }
    let _watch = watchdog(Duration::from_secs(120));
    let server = Server::start();
    let mut workers = Workers::of(&server);
    workers.start();
    workers.start();
    std::thread::scope(|scope| {
        for start in [0, 10_000] {
            let server = &server;
            scope.spawn(move || {
                let pool = pool(server);
                let values = pool.map(triple, start..start + 500).unwrap();
                assert_eq!(values, (start..start + 500).map(|n| 3 * n).collect::<Vec<_>>());
                // By the object store.
                assert_eq!(pool.call(doubled, vec![7; 2 << 20]).unwrap().len(), 4 << 20);
            });
        }
    });
    assert_eq!(streams(&server), [""; 0]);
}

/// What another file of a program would be: the worker of a build that was not brought up to date.
#[test]
fn workers_of_another_build_get_nothing_and_the_program_is_told() {
    if !nats_server() {
        return;
    }
    let _watch = watchdog(Duration::from_secs(120));
    let server = Server::start();
    let mut stranger = std::process::Command::new(example("primes"))
        .env("OFFSPRING_NATS_SERVE", server.url())
        .spawn()
        .expect("the example starts");
    let (pool, begun) = (pool(&server), Instant::now());
    let handle = pool.submit(triple, 5).unwrap();
    while pool.strangers() == 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody has heard of the other build's worker");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(pool.workers(), 0);
    assert!(!handle.wait(Duration::from_millis(500)).unwrap());
    let mut workers = Workers::of(&server);
    workers.start();
    assert_eq!(handle.get(), Ok(15));
    stranger.kill().and_then(|()| stranger.wait()).expect("it can be ended");
}

/// In a process that is started for it: a program that dies with a pool.
#[test]
fn a_program_that_dies_when_asked() {
    let Ok(url) = std::env::var("TEST_DIES") else { return };
    end_with_parent();
    let brief = options().abandoned_after(Duration::from_secs(2));
    let pool = NatsPool::builder(url).options(brief).connect().expect("it connects");
    assert_eq!(pool.call(doubled, vec![1; 2 << 20]).expect("a value").len(), 4 << 20);
    std::process::abort();
}

#[test]
fn what_a_program_leaves_that_dies_is_removed_by_who_comes_by() {
    if !nats_server() {
        return;
    }
    let _watch = watchdog(Duration::from_secs(120));
    let server = Server::start();
    let mut workers = Workers::of(&server);
    workers.start();
    let mut program = this_program("sharing::a_program_that_dies_when_asked", &[]);
    let mut program = program.env("TEST_DIES", server.url()).stderr(std::process::Stdio::null()).spawn().unwrap();
    while program.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(streams(&server).len(), 3, "tasks, results and large bodies");
    let deadline = Instant::now() + Duration::from_secs(90);
    while !streams(&server).is_empty() {
        assert!(Instant::now() < deadline, "still there: {:?}", streams(&server));
        std::thread::sleep(Duration::from_millis(500));
        drop(pool(&server));
    }
}
