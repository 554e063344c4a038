//! Servers that want to know who comes, and that encrypt.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use offspring::{ErrorKind, Executor};
use offspring_nats::{NatsOptions, NatsPool};
use offspring_tests::watchdog;

use crate::tasks::triple;
use crate::workers::{Workers, options};
use offspring_tests::nats::{Server, nats_server};

/// A server for which these options are needed: others are refused, and with them pool and worker work.
pub(crate) fn needs(server: &Server, right: NatsOptions, worker_url: String, environment: &[(&str, &str)]) {
    let quick = options().connect_timeout(Duration::from_secs(3));
    let refused = NatsPool::builder(server.url()).options(quick).connect().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Io, "{refused}");
    let mut workers = Workers::at(worker_url);
    for (name, value) in environment {
        workers = workers.env(name, value);
    }
    workers.start();
    let pool = NatsPool::builder(server.url()).options(right).connect().unwrap();
    assert_eq!(pool.map(triple, 0..3).unwrap(), [0, 3, 6]);
}

#[test]
fn a_user_and_a_password_are_shown() {
    if !nats_server() {
        return;
    }
    let _watch = watchdog(Duration::from_secs(120));
    let server = Server::with(&["--user", "ann", "--pass", "s3cret"], "nats");
    let worker_url = server.url().replace("nats://", "nats://ann:s3cret@");
    needs(&server, options().user_and_password("ann", "s3cret"), worker_url, &[]);
}

#[test]
fn a_token_is_shown() {
    if !nats_server() {
        return;
    }
    let _watch = watchdog(Duration::from_secs(120));
    let server = Server::with(&["--auth", "t0ken"], "nats");
    let worker_url = server.url().replace("nats://", "nats://t0ken@");
    needs(&server, options().token("t0ken"), worker_url, &[]);
}

/// A certificate for 127.0.0.1 that is its own authority, in `cert.pem` with its key in `key.pem`.
fn certificate(directory: &Path) -> bool {
    Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=offspring test", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(directory.join("key.pem"))
        .arg("-out")
        .arg(directory.join("cert.pem"))
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[test]
fn an_encrypting_server_is_believed_by_its_certificate() {
    if !nats_server() {
        return;
    }
    let _watch = watchdog(Duration::from_secs(120));
    let keys = tempfile::tempdir().unwrap();
    if !certificate(keys.path()) {
        assert!(std::env::var_os("OFFSPRING_TESTS_NO_SKIP").is_none(), "openssl is missing");
        println!("skipped: there is no openssl to make a certificate");
        return;
    }
    let path = |name: &str| keys.path().join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (path("cert.pem"), path("key.pem"));
    let server = Server::with(&["--tls", "--tlscert", &certificate, "--tlskey", &key], "tls");
    let right = options().root_certificates(&certificate).require_tls();
    needs(&server, right, server.url(), &[("OFFSPRING_NATS_CA", &certificate)]);
}
