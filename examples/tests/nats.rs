//! `sha256tree` over a NATS server.
#![cfg(feature = "nats")]

use std::process::{Command, Stdio};
use std::time::Duration;

use offspring_tests::nats::{Server, nats_server};
use offspring_tests::watchdog;

#[test]
fn a_tree_is_hashed_by_workers_at_a_server_as_sha256sum_does() {
    if !nats_server() {
        return;
    }
    let _watch = watchdog(Duration::from_secs(120));
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    for n in 0..40 {
        std::fs::write(dir.path().join(format!("file {n:02}")), "x".repeat(n * 1_000)).unwrap();
    }
    let sha256tree = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sha256tree"));
        command.args(["--engine", "nats", "--nats", &server.url(), "--workers", "2"]).arg(dir.path());
        command
    };
    let mut worker = sha256tree().env("OFFSPRING_NATS_SERVE", server.url()).stdin(Stdio::null()).spawn().unwrap();
    let hashed = sha256tree().output().unwrap();
    let sums = Command::new("sh").arg("-c").arg("sha256sum \"$0\"/*").arg(dir.path()).output().unwrap();
    assert!(hashed.status.success(), "{hashed:?}");
    assert_eq!(String::from_utf8_lossy(&hashed.stdout), String::from_utf8_lossy(&sums.stdout));
    // As Ctrl-C would.
    let asked = Command::new("kill").arg(worker.id().to_string()).status().unwrap();
    assert!(asked.success() && worker.wait().unwrap().success());
}
