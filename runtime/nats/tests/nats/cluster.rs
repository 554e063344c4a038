//! Three servers that keep each message on all of them.

use std::time::{Duration, Instant};

use offspring::Executor;
use offspring_nats::NatsPool;
use offspring_tests::nats::{Server, free_port, nats_server};
use offspring_tests::watchdog;

use crate::failures::all_come_once;
use crate::workers::{Workers, options};

/// Servers of one cluster. Routes want to be known before the servers are there.
fn cluster() -> Vec<Server> {
    let routes: Vec<String> = (0..3).map(|_| format!("nats://127.0.0.1:{}", free_port())).collect();
    let all = routes.join(",");
    let server = |n: usize| {
        let name = format!("s{n}");
        Server::with(&["--cluster_name", "c", "-n", &name, "--cluster", &routes[n], "--routes", &all], "nats")
    };
    (0..3).map(server).collect()
}

#[test]
fn nothing_is_lost_when_one_of_three_servers_dies_with_what_it_had() {
    if !nats_server() {
        return;
    }
    let _watch = watchdog(Duration::from_secs(240));
    let mut servers = cluster();
    let url = servers.iter().map(Server::url).collect::<Vec<_>>().join(",");
    let replicated = options().replicas(3);
    let connect = || NatsPool::builder(url.clone()).options(replicated.clone()).connect();
    // The servers have to find each other first.
    let begun = Instant::now();
    let pool = loop {
        match connect() {
            Ok(pool) => break pool,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(60), "{error}"),
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    let mut workers = Workers::at(url.clone());
    workers.start();
    workers.start();
    // The pool and its workers have connected to any of them.
    all_come_once(&pool, |count| {
        if count == 2000 {
            let mut dead = servers.remove(1);
            dead.kill();
        }
    });
    assert_eq!(pool.call(crate::tasks::triple, 5), Ok(15));
}
