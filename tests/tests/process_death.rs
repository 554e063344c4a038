//! Nobody outlives the root, nothing stays of the dead, and statuses survive a thief.
#![allow(clippy::print_stdout, reason = "children say so when they run")]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use offspring::{ErrorKind, ExitStatus, Process, Signal, StartMethod, process::Stream, task};
use offspring_tests::{kill, proc, watchdog};

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];

#[task]
fn exit_with(code: i32) {
    std::process::exit(code);
}

#[task]
fn run_and_say_so() {
    println!("running");
    std::thread::sleep(Duration::from_secs(60));
}

/// Writes the pids of its children to a file when they run: one that is still starting ends a moment after its parent.
#[task]
fn middle(pids: std::path::PathBuf) {
    let children = METHODS.map(|method| {
        let process = Process::new(run_and_say_so, ()).start_method(method).stdout(Stream::piped());
        let mut child = process.spawn().unwrap();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        child
    });
    std::fs::write(pids, format!("{} {}", children[0].pid(), children[1].pid())).unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

/// Is the process gone, or only a zombie that its new parent has not fetched yet?
fn is_gone(pid: i32) -> bool {
    proc::process(pid).is_none_or(|process| process.state == 'Z')
}

fn await_gone(pids: &[i32], limit: Duration) {
    let start = Instant::now();
    while !pids.iter().all(|&pid| is_gone(pid)) {
        let left: Vec<String> = pids.iter().filter(|&&pid| !is_gone(pid)).map(|&pid| proc::describe(pid)).collect();
        assert!(start.elapsed() < limit, "left after {:?}: {left:?}", start.elapsed());
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn root(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_process_root"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// One run: a tree grows, its root ends, and all of it must be gone within a second.
fn run_tree(busy: bool, end: &str) {
    let mut child = root(&["tree", "2", "2", if busy { "busy" } else { "idle" }]).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "grown\n");
    let pid = child.id() as i32;
    let pids: Vec<i32> = proc::descendants(pid).into_iter().map(|process| process.pid).collect();
    // Two children and a fork server; how far the grandchildren are is left to chance.
    assert!(pids.len() >= 3, "{pids:?}");
    if end == "kill" {
        kill::sigkill(pid).unwrap();
    } else {
        child.stdin.take().unwrap().write_all(end.as_bytes()).unwrap();
    }
    if end == "exec" {
        // The new program is the same process, and knows nothing of children.
        await_gone(&pids, Duration::from_secs(2));
        kill::sigkill(pid).unwrap();
    }
    child.wait().unwrap();
    await_gone(&pids, Duration::from_secs(1));
    // Those that were about to be made when the root died hang on it too: nobody holds its output any more.
    output.read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn nobody_outlives_a_killed_root() {
    let _watchdog = watchdog(Duration::from_secs(150));
    for run in 0..100 {
        run_tree(run % 2 == 0, "kill");
    }
}

#[test]
fn nobody_outlives_a_root_that_ends_otherwise() {
    let _watchdog = watchdog(Duration::from_secs(60));
    for run in 0..8 {
        for end in ["abort", "trap", "exec"] {
            run_tree(run % 2 == 0, end);
        }
    }
}

#[test]
fn the_end_of_main_waits_for_children_but_not_for_daemons() {
    let _watchdog = watchdog(Duration::from_secs(60));
    for (what, code) in [("main-ends", 0), ("main-panics", 101), ("exit", 7)] {
        let output = root(&[what]).output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).ends_with("late\n"), "{what}: {output:?}");
        assert_eq!(output.status.code(), Some(code), "{what}");
    }
}

#[test]
fn a_program_that_waits_long_for_its_children_says_so() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let output = root(&["waits"]).output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("slowpoke"), "{output:?}");
}

#[test]
fn the_descendants_of_a_dead_middle_process_end_with_it() {
    let _watchdog = watchdog(Duration::from_secs(60));
    for method in METHODS {
        for round in 0..5 {
            let name = format!("offspring-middle-{}-{method:?}-{round}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let mut child = Process::new(middle, &path).start_method(method).spawn().unwrap();
            let pids: Vec<i32> = loop {
                match std::fs::read_to_string(&path) {
                    Ok(text) if text.split(' ').count() == 2 => {
                        break text.split(' ').map(|pid| pid.parse().unwrap()).collect();
                    }
                    _ => std::thread::sleep(Duration::from_millis(5)),
                }
            };
            std::fs::remove_file(&path).unwrap();
            child.kill().unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(Signal::KILL));
            // Its end is told after its descendants' ends.
            await_gone(&pids, Duration::from_millis(1));
        }
    }
}

#[test]
fn a_status_survives_a_thief() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let output = Command::new(env!("CARGO_BIN_EXE_process_thief")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_killed_fork_server_is_replaced() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let output = Command::new(env!("CARGO_BIN_EXE_process_thief")).arg("fork-server").output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_fork_of_the_programs_own_is_told_that_it_has_no_children() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let output = Command::new(env!("CARGO_BIN_EXE_process_thief")).arg("fork").output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn nobody_waits_in_vain_when_the_program_closes_what_the_supervisor_sleeps_on() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let output = Command::new(env!("CARGO_BIN_EXE_process_thief")).arg("close").output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn limits_are_errors_that_say_so() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let output = Command::new(env!("CARGO_BIN_EXE_process_thief")).arg("limits").output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_task_that_exits_has_no_value() {
    let mut child = offspring::spawn(exit_with, 4).unwrap();
    assert_eq!(child.wait().unwrap(), ExitStatus::Exited(4));
    assert_eq!(child.join().unwrap_err().kind(), ErrorKind::WorkerDied);
}
