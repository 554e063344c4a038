//! The small programs, run as processes: what they print and how long they take.

mod common;

use std::process::Stdio;
use std::time::Duration;

use common::run::{Run, faster_than, right_once, run};
use offspring_tests::watchdog;

#[test]
fn process_basic() {
    let _watch = watchdog(Duration::from_secs(60));
    let expected: Vec<String> = (0..5).map(|i| format!("called function in process: {i}")).collect();
    assert_eq!(run!("process_basic").lines(), expected);
}

#[test]
fn process_parallel() {
    let _watch = watchdog(Duration::from_secs(60));
    let done = |i| format!("process {i}: done");
    let (first, last) = ("main: all are started".to_owned(), "main: all are joined".to_owned());
    let expected = [first, done(1), done(2), done(3), last];
    let side_by_side = |run: &Run| run.took < Duration::from_millis(600) && run.lines() == expected;
    right_once(|| run!("process_parallel"), side_by_side).took_at_least(300);
}

#[test]
fn process_name() {
    let _watch = watchdog(Duration::from_secs(60));
    let lines = run!("process_name").sorted();
    let expected = [
        "Exiting Process-1",
        "Exiting foo_process",
        "Starting Process-1",
        "Starting foo_process",
        "main: foo_process and Process-1",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn process_kill() {
    let _watch = watchdog(Duration::from_secs(60));
    let expected = [
        "running: alive true, exit code None",
        "terminated",
        "joined: alive false, exit code Some(-15)",
        "normal: alive false, exit code Some(0)",
        "panicked: alive false, exit code Some(101)",
    ];
    assert_eq!(run!("process_kill").lines(), expected);
}

#[test]
fn process_struct() {
    let _watch = watchdog(Duration::from_secs(60));
    assert_eq!(run!("process_struct").lines(), ["Hello, this is greeter"]);
}

#[test]
fn process_pids() {
    let _watch = watchdog(Duration::from_secs(60));
    let text = run!("process_pids").lines().join("\n");
    let number = |before: &str| -> u32 {
        let after = text.split(before).nth(1).unwrap();
        after.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    };
    assert_eq!(number("main: pid "), number(", parent "));
    assert_eq!(number("main: child "), number("child: pid "));
}

#[test]
fn process_isolation() {
    let _watch = watchdog(Duration::from_secs(60));
    assert_eq!(run!("process_isolation").lines(), ["child: 0", "main: 100"]);
}

#[test]
fn process_no_reimport() {
    let _watch = watchdog(Duration::from_secs(60));
    assert_eq!(run!("process_no_reimport").lines(), ["66666"]);
}

#[test]
fn process_daemon_child() {
    let _watch = watchdog(Duration::from_secs(60));
    // Its output is complete only when nobody holds the pipe any more, the daemon included.
    let run = run!("process_daemon_child");
    run.took_at_least(200);
    let lines = run.lines();
    assert!(lines.contains(&"main: ends".to_owned()) && lines.contains(&"child: done".to_owned()), "{lines:?}");
    assert!(!lines.contains(&"daemon: done".to_owned()), "{lines:?}");
}

#[test]
fn process_return() {
    let _watch = watchdog(Duration::from_secs(60));
    let run = faster_than(1200, || run!("process_return"));
    run.took_at_least(600);
    assert_eq!(run.lines(), ["from the queue: 25", "from join: 9", "from join: 16"]);
}

#[test]
fn pool_map() {
    let _watch = watchdog(Duration::from_secs(60));
    assert_eq!(run!("pool_map").lines(), ["[0, 1, 4, 9, 16, 25, 36, 49, 64, 81]"]);
}

#[test]
fn pool_starmap() {
    let _watch = watchdog(Duration::from_secs(60));
    assert_eq!(run!("pool_starmap").lines(), ["[3, 7, 11]"]);
}

#[test]
fn pool_apply() {
    let _watch = watchdog(Duration::from_secs(60));
    let run = run!("pool_apply");
    run.took_at_least(500);
    assert_eq!(run.lines(), (0..10).map(|i| format!("result {i}")).collect::<Vec<_>>());
}

#[test]
fn pool_apply_async() {
    let _watch = watchdog(Duration::from_secs(60));
    let run = faster_than(3000, || run!("pool_apply_async"));
    run.took_at_least(1200);
    assert_eq!(run.lines(), (0..10).map(|i| format!("result {}", i * 10)).collect::<Vec<_>>());
}

#[test]
fn pool_two_tasks() {
    let _watch = watchdog(Duration::from_secs(60));
    let run = faster_than(1000, || run!("pool_two_tasks"));
    run.took_at_least(400);
    let expected: Vec<_> = (0..5).flat_map(|i| [format!("sing {i}"), format!("dance {i}")]).collect();
    assert_eq!(run.lines(), expected);
}

#[test]
fn pool_lazy() {
    let _watch = watchdog(Duration::from_secs(60));
    let lines = run!("pool_lazy").lines();
    assert_eq!(lines[1], "workers started: 1", "{lines:?}");
}

#[test]
fn pool_callback() {
    let _watch = watchdog(Duration::from_secs(60));
    let run = run!("pool_callback");
    let mut lines = run.lines();
    let pid = lines.remove(0).strip_prefix("main: pid ").unwrap().to_owned();
    assert_eq!(lines.pop().unwrap(), "called 5 times");
    lines.sort();
    let mut expected = vec![format!("error callback in {pid}: three is not allowed")];
    expected.extend([0, 1, 2, 4].map(|x| format!("callback in {pid}: {x} gave {}", x * x)));
    expected.sort();
    assert_eq!(lines, expected);
}

#[test]
fn isolate() {
    let _watch = watchdog(Duration::from_secs(60));
    let mut expected = vec![
        "crashes: worker killed by SIGSEGV".to_owned(),
        "eats-memory: worker killed by SIGABRT: memory allocation of 10000000000 bytes failed".to_owned(),
    ];
    expected.extend((1..=20).map(|i| format!("good-{i:02}: `good-{i:02}!!`")));
    let last = [
        "hangs: took too long and was ended",
        "is-refused: refused: invalid digit found in string",
        "panics: panicked: capacity overflow",
    ];
    expected.extend(last.map(str::to_owned));
    let run = run!("isolate");
    run.took_at_least(500);
    assert_eq!(run.lines(), expected);
}

#[test]
fn resume_and_journal() {
    let _watch = watchdog(Duration::from_secs(60));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("resume.db");
    let resume =
        || std::process::Command::new(env!("CARGO_BIN_EXE_resume")).arg(&file).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = resume();
    std::thread::sleep(Duration::from_millis(650));
    first.kill().unwrap();
    first.wait().unwrap();
    let again = resume().wait_with_output().unwrap();
    let text = String::from_utf8(again.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[39]), (41, "0 squared is 0", "39 squared is 1521"));
    let shown = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_journal"));
        let output = command.args(arguments).arg(&file).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let shown_text = shown(&["show"]);
    assert!(shown_text.contains("slow_square version 0: 40 done, 0 failed, 0 lost"), "{shown_text}");
    assert!(shown_text.contains(" reused, "), "{shown_text}");
    assert_eq!(shown(&["export"]).lines().count(), 41);
    let refused = std::process::Command::new(env!("CARGO_BIN_EXE_journal")).args(["show", "/none"]).output().unwrap();
    assert!(!refused.status.success());
}

#[test]
fn pool_shared_counter() {
    let _watch = watchdog(Duration::from_secs(60));
    let lines = run!("pool_shared_counter").lines();
    for task in 0..4 {
        let value =
            lines.iter().find_map(|line| line.strip_prefix(&format!("task {task}: Ok(Ok("))?.strip_suffix("))"));
        assert!((-30..=0).contains(&value.unwrap().parse::<i64>().unwrap()), "{lines:?}");
    }
    assert_eq!(lines[4..], ["4 tasks are done", "-30"]);
}
