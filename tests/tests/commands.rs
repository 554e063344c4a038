//! Commands: what goes in and out, how they end, and that nothing of them outlives the process that started them.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use offspring::process::{Command, CommandError, Redirect};
use offspring::{ErrorKind, Pool, Signal, task, wait_any};
use offspring_tests::{kill, leaks, proc, watchdog};

/// A shell and two of its own, that say their numbers and sleep.
fn family(file: &std::path::Path) -> Command {
    let line = "sleep 1000 & a=$!; (sleep 1000) & echo $$ $a $! > \"$0\".new; mv \"$0\".new \"$0\"; wait";
    Command::shell(line).arg(file)
}

#[task]
fn run_family(file: PathBuf) -> String {
    format!("{:?}", family(&file).status())
}

#[task]
fn run_limited(file: PathBuf, millis: u64) -> String {
    format!("{:?}", family(&file).timeout(Duration::from_millis(millis)).status())
}

/// What stands in a file, once there is one.
fn numbers(file: &std::path::Path) -> Vec<i32> {
    loop {
        if let Ok(text) = std::fs::read_to_string(file) {
            return text.split_whitespace().map(|word| word.parse().unwrap()).collect();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until they are gone, or zombies that their new parent has not fetched yet.
fn await_end(pids: &[i32]) {
    let runs = |&&pid: &&i32| proc::process(pid).is_some_and(|process| process.state != 'Z');
    while pids.iter().any(|pid| runs(&pid)) {
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_command_and_all_that_it_started_end_with_a_killed_worker() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let directory = tempfile::tempdir().unwrap();
    let pool = Pool::builder().workers(1).build().unwrap();
    for round in 0..5 {
        let file = directory.path().join(round.to_string());
        let handle = pool.submit(run_family, file.clone()).unwrap();
        let pids = numbers(&file);
        assert_eq!(pids.len(), 3);
        kill::sigkill(pool.workers()[0].pid as i32).unwrap();
        assert_eq!(handle.get().unwrap_err().kind(), ErrorKind::WorkerDied);
        await_end(&pids);
    }
}

#[test]
fn a_cancelled_task_takes_its_command_along() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pids");
    let pool = Pool::builder().workers(1).build().unwrap();
    let handle = pool.submit(run_family, file.clone()).unwrap();
    let pids = numbers(&file);
    handle.cancel();
    await_end(&pids);
}

#[test]
fn a_timeout_ends_the_whole_group() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pids");
    let pool = Pool::builder().workers(1).build().unwrap();
    // Long enough for the shell to say its numbers, also on a busy machine.
    let said = pool.call(run_limited, (file.clone(), 2000)).unwrap();
    assert!(said.contains("TimedOut"), "{said}");
    await_end(&numbers(&file));
}

#[test]
fn a_commands_leftovers_end_with_its_handle() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let mut command = Command::shell("sleep 1000 & echo $!").stdout(Redirect::Piped).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(command.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(command.wait().unwrap().success());
    let pid: i32 = line.trim().parse().unwrap();
    assert!(proc::process(pid).is_some_and(|process| process.state != 'Z'));
    drop(command);
    await_end(&[pid]);
}

#[test]
fn more_than_a_pipe_holds_goes_both_ways() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let input: Vec<u8> = (0..10_000_000u32).map(|n| (n * 7) as u8).collect();
    let output = Command::new("cat").input(input.clone()).output().unwrap();
    assert!(output.status.success() && output.stdout == input && output.stderr.is_empty());
    // Read by nobody: no error, and no death of ours by SIGPIPE.
    assert!(Command::new("true").input(input).output().unwrap().status.success());
}

#[test]
fn a_timeout_keeps_what_was_written() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let error = Command::shell("echo begun; echo problem >&2; sleep 1000")
        .timeout(Duration::from_millis(1500))
        .output()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let CommandError::TimedOut { stdout, stderr, .. } = error else { panic!("{error}") };
    assert_eq!((stdout.as_slice(), stderr.as_slice()), (&b"begun\n"[..], &b"problem\n"[..]));
}

#[test]
fn a_command_begins_as_a_shell_would_start_it() {
    let _watchdog = watchdog(Duration::from_secs(60));
    // Its standard input is empty, it dies of SIGPIPE, and no signal is blocked, nor ignored because we do.
    assert_eq!(Command::new("cat").read().unwrap(), "");
    assert_eq!(Command::shell("kill -PIPE $$").status().unwrap().signal(), Some(Signal::PIPE));
    let status = Command::new("cat").arg("/proc/self/status").read().unwrap();
    let bits = |status: &str, field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    assert_eq!(bits(&status, "SigBlk:"), 0);
    let ours = bits(&std::fs::read_to_string("/proc/self/status").unwrap(), "SigIgn:");
    let rust = 1 << (Signal::PIPE.as_raw() - 1) | 1 << (Signal::XFSZ.as_raw() - 1);
    // What whoever started us had it ignore, it ignores, too.
    assert_eq!(bits(&status, "SigIgn:"), ours & !rust);
    // Of our descriptors it has its standard streams and the pipe that it dies with.
    let open = Command::shell("ls /proc/self/fd | wc -l").read().unwrap();
    // One more for `ls` itself, which has the directory open.
    assert_eq!(open.trim(), "5");
}

#[test]
fn options_reach_the_command() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().canonicalize().unwrap();
    let shell = || Command::shell("pwd; echo \"$A-$B\"").current_dir(&path).env("A", "1").env("B", "2");
    assert_eq!(shell().read().unwrap(), format!("{}\n1-2\n", path.display()));
    assert_eq!(shell().env_remove("A").read().unwrap(), format!("{}\n-2\n", path.display()));
    let bare = Command::new("/usr/bin/env").env("X", "y").env_clear().read().unwrap();
    assert_eq!(bare, "X=y\n");
    let log = path.join("log");
    let line = Command::shell("echo out; echo err >&2");
    line.clone().stdout(Redirect::File(log.clone())).stderr(Redirect::Stdout).check().unwrap();
    line.stdout(Redirect::Append(log.clone())).stderr(Redirect::Null).check().unwrap();
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "out\nerr\nout\n");
    let read = Command::new("cat").stdin(Redirect::File(log)).read().unwrap();
    assert_eq!(read, "out\nerr\nout\n");
}

#[test]
fn what_cannot_be_started_says_why() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let missing = Command::new("no-such-program").arg("a b").status().unwrap_err();
    assert!(missing.is_not_found() && missing.to_string().contains("`no-such-program 'a b'`"), "{missing}");
    assert!(Command::new("/no/such/program").status().unwrap_err().is_not_found());
    assert!(Command::new("true").current_dir("/no/such/directory").status().unwrap_err().is_not_found());
    let directory = Command::new("/").status().unwrap_err();
    assert_eq!(directory.kind(), ErrorKind::Spawn);
    assert!(directory.to_string().contains("denied"), "{directory}");
    for command in
        [Command::new("a\0b"), Command::new("true").env("a=b", ""), Command::new("true").stdin(Redirect::Stdout)]
    {
        assert_eq!(command.status().unwrap_err().kind(), ErrorKind::Spawn);
    }
    let failed = Command::shell("echo reason >&2; exit 9").stderr(Redirect::Piped).check().unwrap_err();
    assert_eq!(failed.exit_status().and_then(|status| status.code()), Some(9));
    assert!(failed.to_string().ends_with("exit code 9: reason"), "{failed}");
}

#[test]
fn a_running_command_is_talked_to_and_waited_for() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let mut cat = Command::new("cat").stdin(Redirect::Piped).stdout(Redirect::Piped).spawn().unwrap();
    let sleeper = Command::new("sleep").arg("1000").spawn().unwrap();
    assert!(!cat.wait_timeout(Duration::from_millis(1)).unwrap());
    cat.stdin.take().unwrap().write_all(b"hello").unwrap();
    let mut text = String::new();
    cat.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
    assert_eq!(wait_any(&[&sleeper, &cat], None).unwrap(), Some(1));
    assert_eq!(cat.exit_status().unwrap().exitcode(), Some(0));
    sleeper.signal(Signal::USR1).unwrap();
    assert_eq!(wait_any(&[&sleeper], None).unwrap(), Some(0));
    assert_eq!(sleeper.exit_status().unwrap().signal(), Some(Signal::USR1));
    sleeper.kill().unwrap();
}

#[test]
fn many_commands_leave_nothing() {
    let _watchdog = watchdog(Duration::from_secs(120));
    let run = |count: usize| {
        for number in 0..count {
            match number % 4 {
                0 => _ = Command::new("true").status().unwrap(),
                1 => _ = Command::new("echo").output().unwrap(),
                2 => drop(Command::shell("sleep 0.01; exit 1").spawn().unwrap()),
                _ => Command::new("sleep").arg("1000").spawn().unwrap().kill().unwrap(),
            }
            Command::new("no-such-program").spawn().unwrap_err();
        }
    };
    leaks::check(|| run(4), || run(100));
}

#[test]
fn commands_are_messages_and_run_in_workers() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let pool = Pool::builder().workers(2).build().unwrap();
    let commands = (0..20).map(|n| Command::new("sh").args(["-c", "echo $0 $PPID; exit $0"]).arg(n.to_string()));
    let outputs = pool.map(Command::output, commands).unwrap();
    let workers: BTreeSet<i32> = pool.workers().iter().map(|worker| worker.pid as i32).collect();
    for (n, output) in outputs.into_iter().enumerate() {
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(n as i32));
        let text = output.text();
        let (number, parent) = text.trim().split_once(' ').unwrap();
        assert_eq!(number, n.to_string());
        assert!(workers.contains(&parent.parse().unwrap()));
    }
    let errors = pool.map(Command::check, [Command::new("false"), Command::new("no-such-program")]).unwrap();
    assert_eq!(errors[0].as_ref().unwrap_err().to_string(), "`false` failed: exit code 1");
    assert!(errors[1].as_ref().unwrap_err().is_not_found());
}
