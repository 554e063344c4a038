//! Pools over a real nats-server, with workers that are processes of this test program: it starts itself with the environment variable that makes
//! a worker, or a program with a pool, of it.

#![allow(clippy::print_stdout, reason = "tests say why they skip, and programs in them how far they are")]

mod cluster;
mod ends;
mod failures;
mod hosts;
mod keys;
mod payloads;
mod secrets;
mod sharing;
mod tasks;
mod workers;

use std::time::Duration;

use offspring_nats::NatsPool;
use offspring_tests::conformance::conforms;
use offspring_tests::watchdog;

use crate::workers::{Workers, options, pool};
use offspring_tests::nats::{Server, nats_server};

/// In a process that was started as a worker, this serves, and does not return. In a run of all tests it does nothing.
#[test]
fn serves_when_asked() {
    if std::env::var_os("OFFSPRING_NATS_SERVE").is_none() {
        return;
    }
    workers::end_with_parent();
    let pool = NatsPool::builder("nats://nowhere").options(options()).local(workers::local).connect();
    panic!("a worker returned from `connect`: {pool:?}");
}

#[test]
fn it_conforms() {
    if !nats_server() {
        return;
    }
    let _watch = watchdog(Duration::from_secs(240));
    let server = Server::start();
    let mut workers = Workers::of(&server);
    workers.start();
    conforms(&pool(&server));
}

/// What the guide shows: one program in two terminals.
#[test]
fn the_program_of_the_guide_counts_with_a_worker_that_the_environment_makes() {
    if !nats_server() {
        return;
    }
    let _watch = watchdog(Duration::from_secs(120));
    let server = Server::start();
    let program = workers::example("primes");
    let mut worker = std::process::Command::new(&program).env("OFFSPRING_NATS_SERVE", server.url()).spawn().unwrap();
    let counted = std::process::Command::new(&program).arg(server.url()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&counted.stdout), "78498 primes below 1 million\n", "{counted:?}");
    // As Ctrl-C and Kubernetes would.
    let asked = std::process::Command::new("kill").arg(worker.id().to_string()).status().unwrap();
    assert!(asked.success() && worker.wait().unwrap().success());
}
