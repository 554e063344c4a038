//! The executors of the library do what every one must: the local pool, tasks in the calling process, and pools whose chunks cross as bytes.

use std::time::Duration;

use offspring::engine::{Loopback, RemotePool, Runner};
use offspring::{Inline, Pool, RunOptions};
use offspring_tests::conformance::conforms;
use offspring_tests::watchdog;

#[test]
fn inline_conforms() {
    let _watch = watchdog(Duration::from_secs(60));
    conforms(&Inline::new());
}

#[test]
fn a_pool_conforms() {
    let _watch = watchdog(Duration::from_secs(120));
    let pool = Pool::builder().workers(2).build().unwrap();
    conforms(&pool);
    pool.close();
    pool.join().unwrap();
}

#[test]
fn a_pool_of_one_conforms() {
    let _watch = watchdog(Duration::from_secs(120));
    conforms(&Pool::builder().workers(1).build().unwrap());
}

#[test]
fn a_pool_of_64_on_few_cores_conforms() {
    let _watch = watchdog(Duration::from_secs(240));
    conforms(&Pool::builder().workers(64).build().unwrap());
}

fn over_bytes(runner: impl FnOnce() -> offspring::Result<Runner> + Send + 'static) -> RemotePool {
    let make = move || Loopback::new(runner().map_err(std::io::Error::other)?);
    RemotePool::start("test-engine", &RunOptions::new(), make).unwrap()
}

#[test]
fn a_pool_that_is_reached_by_bytes_conforms() {
    let _watch = watchdog(Duration::from_secs(240));
    conforms(&over_bytes(|| Ok(Runner::pooled(Pool::builder().workers(2).build()?))));
}

#[test]
fn threads_that_are_reached_by_bytes_conform() {
    let _watch = watchdog(Duration::from_secs(240));
    conforms(&over_bytes(|| Ok(Runner::inline(Inline::new()))));
}
