//! Bodies larger than a message may be.

use std::time::Duration;

use offspring::Executor;
use offspring_tests::watchdog;

use crate::tasks::{doubled, length};
use crate::workers::{Workers, pool};
use offspring_tests::nats::{Server, nats_server};

#[test]
fn large_arguments_and_results_come_whole() {
    if !nats_server() {
        return;
    }
    let _watch = watchdog(Duration::from_secs(120));
    let server = Server::start();
    let mut workers = Workers::of(&server);
    workers.start();
    let pool = pool(&server);
    // Around the limit of a message, which is 1 MiB, and far above.
    for size in [1, (1 << 19) - 600, (1 << 19) + 1, (1 << 20) - 1000, 1 << 20, 5 << 20] {
        let bytes: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        let twice = pool.call(doubled, bytes.clone()).unwrap();
        assert_eq!(twice.len(), 2 * size, "{size}");
        assert!(twice[..size] == bytes && twice[size..].iter().eq(bytes.iter().rev()), "{size}");
    }
    let lengths = pool.map(length, (0..8).map(|n| vec![0; n * 700_000])).unwrap();
    assert_eq!(lengths, (0..8).map(|n| n * 700_000).collect::<Vec<_>>());
}
