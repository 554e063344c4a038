//! Workers on hosts of their own: network namespaces, whose links can be cut.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use offspring_nats::NatsPool;
use offspring_tests::watchdog;

use crate::failures::{TASKS, all_come_once};
use crate::workers::{Workers, end_with_parent, options, this_program};
use offspring_tests::nats::nats_server;

/// Where the server is: on h0.
const URL: &str = "nats://10.77.0.1:4222";

/// Hosts that are removed with this.
struct Hosts {
    script: PathBuf,
}

impl Hosts {
    /// `None`: they cannot be made here, which is said.
    fn up(count: usize) -> Option<Hosts> {
        let script = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/hosts.sh"));
        let hosts = Hosts { script };
        let check = hosts.command("check").output().expect("the script runs");
        if !check.status.success() {
            let why = String::from_utf8_lossy(&check.stdout).trim().to_owned();
            assert!(std::env::var_os("OFFSPRING_TESTS_NO_SKIP").is_none(), "no hosts: {why}");
            println!("skipped: no hosts can be made here: {why}");
            // Nothing to be removed.
            std::mem::forget(hosts);
            return None;
        }
        hosts.run(&["up", &count.to_string()]);
        Some(hosts)
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.script);
        command.arg(verb).env("NAME", name());
        command
    }

    fn run(&self, arguments: &[&str]) {
        let status = self.command(arguments[0]).args(&arguments[1..]).status().expect("the script runs");
        assert!(status.success(), "{arguments:?}: {status}");
    }

    /// What a program is started by on a host.
    fn launcher<'a>(&'a self, host: &'a str) -> [&'a str; 3] {
        [self.script.to_str().expect("a path in UTF-8"), "exec", host]
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let _ = self.command("down").status();
    }
}

/// Apart from hosts of other tests.
fn name() -> String {
    format!("n{}", std::process::id() % 1_000_000)
}

/// Ended with this.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// In a process that is started for it: a program that tells how far it is.
#[test]
fn a_program_on_a_host_when_asked() {
    if std::env::var_os("TEST_ON_HOST").is_none() {
        return;
    }
    end_with_parent();
    let pool = NatsPool::builder(URL).options(options()).connect().expect("it connects");
    assert!(pool.wait_for_workers(2, Duration::from_secs(60)), "the workers join");
    all_come_once(&pool, |count| {
        if count % 1000 == 0 {
            println!("\ncame {count}");
        }
    });
    println!("\nall came");
}

#[test]
fn nothing_is_lost_when_a_host_is_cut_off_and_joined_again_and_another_dies() {
    if !nats_server() {
        return;
    }
    let _watch = watchdog(Duration::from_secs(280));
    let Some(hosts) = Hosts::up(3) else { return };
    let directory = tempfile::tempdir().unwrap();
    let server = hosts
        .command("exec")
        .args([
            "h0",
            "env",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            "nats-server",
            "-a",
            "10.77.0.1",
            "-p",
            "4222",
            "-js",
            "-sd",
        ])
        .arg(directory.path())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the server starts");
    let _server = Process(server);
    let answers = || {
        let probe = ["h0", "bash", "-c", "exec 3<>/dev/tcp/10.77.0.1/4222"];
        hosts.command("exec").args(probe).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    while !answers() {
        std::thread::sleep(Duration::from_millis(50));
    }
    let name = name();
    let mut workers = Workers::at(URL.to_owned()).env("NAME", &name);
    workers.start_by(&hosts.launcher("h1"));
    workers.start_by(&hosts.launcher("h2"));
    let mut program = this_program("hosts::a_program_on_a_host_when_asked", &hosts.launcher("h0"));
    program.env("NAME", &name).env("TEST_ON_HOST", "1").stdout(Stdio::piped());
    let mut program = Process(program.spawn().expect("the program starts"));
    let output = BufReader::new(program.0.stdout.take().expect("it has an output"));
    let mut all_came = false;
    for line in output.lines() {
        match line.expect("lines in UTF-8").as_str() {
            "came 2000" => hosts.run(&["cut", "h2"]),
            "came 5000" => hosts.run(&["heal", "h2"]),
            "came 7000" => hosts.run(&["kill", "h1"]),
            "all came" => all_came = true,
            _ => {}
        }
    }
    assert!(all_came, "of {TASKS} tasks some are missing");
}
