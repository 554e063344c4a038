//! The small programs about commands, signals and daemons, run as processes.

mod common;

use std::time::Duration;

use common::run::{right_once, run};
use offspring_tests::{proc, watchdog};

/// Is the process gone, or a zombie that its new parent has not fetched yet?
fn await_end(pid: &str) {
    let pid = pid.parse().unwrap();
    while proc::process(pid).is_some_and(|process| process.state != 'Z') {
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn command_run() {
    let _watch = watchdog(Duration::from_secs(60));
    let expected = [
        "a line of the command",
        "exit code 0",
        "exit code 3",
        "error: `ls /no/such/file` failed: exit code 2",
        "error: `no-such-program` could not be started: there is no such program in its PATH",
    ];
    assert_eq!(run!("command_run").lines(), expected);
}

#[test]
fn command_popen() {
    let _watch = watchdog(Duration::from_secs(60));
    let run = run!("command_popen");
    run.took_at_least(300);
    let lines = run.lines();
    assert!(lines[0].strip_prefix("pid ").unwrap().parse::<u32>().unwrap() > 1, "{lines:?}");
    assert_eq!(lines[1..], ["None", "exit code 0", "Some(0)"]);
}

#[test]
fn command_pipe() {
    let _watch = watchdog(Duration::from_secs(60));
    let run = run!("command_pipe");
    run.took_at_least(300);
    let expected = [
        "1288890 bytes in, 1288890 bytes out, exit code 0",
        "first line Some(\"0\")",
        "error: `sh -c 'sleep 600 & echo $! >&2; wait'` was killed after 300ms",
    ];
    assert_eq!(run.lines(), expected);
    await_end(common::text(&run.output.stderr).trim());
}

#[test]
fn command_to_file() {
    let _watch = watchdog(Duration::from_secs(60));
    assert_eq!(run!("command_to_file").lines(), ["the file holds: into the file"]);
}

#[test]
fn command_signalled() {
    let _watch = watchdog(Duration::from_secs(60));
    let expected = ["killed by SIGINT: Some(-2)", "killed by SIGKILL: Some(-9)"];
    assert_eq!(run!("command_signalled").lines(), expected);
}

#[test]
fn exec() {
    let _watch = watchdog(Duration::from_secs(60));
    let lines = run!("exec").lines();
    let pid = lines[0].strip_prefix("pid ").unwrap();
    assert_eq!(lines[1..], [format!("the other program, pid {pid}")]);
}

#[test]
fn exit_kinds() {
    let _watch = watchdog(Duration::from_secs(60));
    let expected = ["returns: Some(0)", "exits: Some(3)", "the handler of SIGABRT", "aborts: Some(-6)"];
    assert_eq!(run!("exit_kinds").lines(), expected);
}

#[test]
fn signals() {
    let _watch = watchdog(Duration::from_secs(60));
    let expected = [
        "SIGINT: Default",
        "SIGINT: Handled",
        "handler: SIGINT",
        "handler: SIGINT",
        "pause ended by SIGINT",
        "handler: SIGALRM",
    ];
    let run = right_once(|| run!("signals"), |run| run.lines().iter().take(6).eq(expected.iter()));
    run.took_at_least(1800);
    let lines = run.lines();
    let slept: f64 = lines[6].strip_prefix("slept for ").unwrap().strip_suffix(" s").unwrap().parse().unwrap();
    assert!(slept >= 1.5, "{lines:?}");
    assert_eq!(lines.len(), 7);
}

#[test]
fn daemonize() {
    let _watch = watchdog(Duration::from_secs(60));
    let lines = run!("daemonize").lines();
    assert_eq!(lines[0], "first start: exit code 0");
    let pid = lines[3].strip_prefix("daemon ").unwrap().strip_suffix(" in /").unwrap();
    assert!(lines[1].ends_with(&format!("/pid says that process {pid} is running already")), "{lines:?}");
    assert_eq!(lines[2], "second start: exit code 1");
    assert_eq!(lines[4..], ["umask 0, a terminal: false", "[0, 1, 4, 9, 16]", "ended by SIGTERM"]);
    await_end(pid);
}
