//! Programs whose circumstances make entering a child hard, or dangerous.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use offspring_tests::{skip, watchdog};

const ROOT: &str = env!("CARGO_BIN_EXE_process_root");
const OTHER: &str = env!("CARGO_BIN_EXE_process_thief");

/// Removed when dropped, with all in it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("offspring-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    fn program(&self) -> PathBuf {
        let path = self.0.join("program");
        copy(ROOT, &path);
        path
    }
}

/// By another process: a descriptor of ours that is open for writing could get into a child that another test forks just then, and
/// nothing may be executed that somebody can write to.
fn copy(from: &str, to: &Path) {
    assert!(Command::new("cp").arg(from).arg(to).status().unwrap().success());
}

impl Drop for Directory {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A command in a namespace without /proc; `None` where this machine does not allow that.
fn without_proc(program: &Path, arguments: &[&str]) -> Option<Output> {
    let run = |script: &str, arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(program).args(arguments);
        command.stdin(Stdio::null()).output().ok()
    };
    let hidden = "mount -t tmpfs none /proc";
    run(hidden, &[]).filter(|output| output.status.success())?;
    run(&format!("{hidden} && exec \"$@\""), arguments)
}

#[test]
fn a_child_that_did_not_notice_is_refused_children() {
    let _watchdog = watchdog(Duration::from_secs(60));
    for (variable, value) in [("OFFSPRING_CHILD", "99.1"), ("OFFSPRING_CHILD", "nonsense"), ("OFFSPRING_DEPTH", "64")] {
        let output = Command::new(ROOT).arg("refused").env(variable, value).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(stdout(&output).starts_with("Spawn: ") && stdout(&output).contains(variable), "{output:?}");
    }
}

#[test]
fn a_command_of_a_task_is_no_child() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let output = Command::new(ROOT).arg("commands").output().unwrap();
    assert!(stdout(&output).contains("works"), "{output:?}");
}

#[test]
fn a_program_whose_file_was_replaced_or_deleted_goes_on() {
    let _watchdog = watchdog(Duration::from_secs(60));
    for arguments in [&["replaced"][..], &["replaced", OTHER]] {
        let directory = Directory::new(&format!("replaced-{}", arguments.len()));
        let output = Command::new(directory.program()).args(arguments).output().unwrap();
        assert_eq!(stdout(&output), "works\nOk(())\n", "{output:?}");
    }
}

#[test]
fn children_are_started_without_proc() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let Some(output) = without_proc(Path::new(ROOT), &["works"]) else {
        skip!("no user and mount namespaces may be made here");
    };
    assert_eq!(stdout(&output), "works\n", "{output:?}");
}

#[test]
fn without_proc_a_replaced_file_is_noticed() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let directory = Directory::new("replaced-without-proc");
    // `current_exe` needs /proc: the shell replaces the file before the first child instead.
    let Some(_) = without_proc(Path::new(ROOT), &["works"]) else {
        skip!("no user and mount namespaces may be made here");
    };
    let program = directory.program();
    let mut child = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", "mount -t tmpfs none /proc && exec \"$@\"", "sh"])
        .arg(&program)
        .args(["when-told"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut output, &mut line).unwrap();
    assert_eq!(line, "ready\n");
    std::fs::remove_file(&program).unwrap();
    copy(OTHER, &program);
    drop(child.stdin.take());
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut output, &mut rest).unwrap();
    child.wait().unwrap();
    let lines: Vec<&str> = rest.lines().collect();
    assert_eq!(lines.len(), 2, "{rest}");
    assert!(lines.iter().all(|line| line.starts_with("Spawn: ") && line.contains("another build")), "{rest}");
}
