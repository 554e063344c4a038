//! The pool over ranks under `mpirun`, each job under a time limit.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::{self, command, hosts_are_possible, job, mpirun};

/// A program of this package's examples, which are built with its tests.
fn program(name: &str) -> PathBuf {
    let here = std::env::current_exe().expect("a test is a program");
    let target = here.parent().and_then(Path::parent).expect("it lies two folders below the target");
    let program = target.join("examples").join(name);
    assert!(program.exists(), "{} is missing: `cargo build -p offspring-mpi --examples`", program.display());
    program
}

fn check(ranks: usize, arguments: &[&str]) -> Output {
    job(ranks, program("pool_check"), arguments)
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn it_conforms_on_two_and_three_ranks() {
    if !mpirun() {
        return;
    }
    for ranks in [2, 3] {
        let output = check(ranks, &["conforms"]);
        assert!(output.status.success() && text(&output).contains("conforms\n"), "{ranks} ranks: {}", text(&output));
    }
}

#[test]
fn it_conforms_with_local_workers() {
    if !mpirun() {
        return;
    }
    let output = check(2, &["conforms-local"]);
    assert!(output.status.success() && text(&output).contains("conforms\n"), "{}", text(&output));
}

#[test]
fn it_conforms_without_mpirun() {
    if !mpirun() {
        return;
    }
    let output = command("timeout").args(["-k", "5", "120"]).arg(program("pool_check")).arg("conforms").output();
    let output = output.expect("the program starts");
    assert!(output.status.success() && text(&output).contains("conforms\n"), "{}", text(&output));
}

#[test]
fn options_are_kept_over_ranks() {
    if !mpirun() {
        return;
    }
    let output = check(3, &["options"]);
    assert!(output.status.success() && text(&output).contains("kept\n"), "{}", text(&output));
}

#[test]
fn with_local_workers_a_crash_costs_its_item() {
    if !mpirun() {
        return;
    }
    let output = check(3, &["local-crash"]);
    assert!(output.status.success() && text(&output).contains("survived\n"), "{}", text(&output));
}

#[test]
fn a_program_that_exits_without_dropping_the_pool_ends_its_ranks() {
    if !mpirun() {
        return;
    }
    let output = check(3, &["exit"]);
    assert!(output.status.success() && text(&output).contains("left\n"), "{}", text(&output));
}

#[test]
fn a_rank_that_cannot_be_made_to_end_its_task_costs_the_job_but_not_the_answer() {
    if !mpirun() {
        return;
    }
    let output = check(2, &["stuck"]);
    assert!(text(&output).contains("timed out\n"), "{}", text(&output));
    assert!(text(&output).contains("rank 1 is at a task that nobody waits for"), "{}", text(&output));
    assert!(!output.status.success());
}

#[test]
fn a_rank_of_another_build_is_refused_by_number() {
    if !mpirun() {
        return;
    }
    let mut mpirun = common::mpirun_command(2);
    // In place of two ranks of one program: one of each.
    let output = mpirun.arg(program("pool_check")).arg("conforms").args([":", "-n", "1"]).arg(program("pool_other"));
    let output = output.output().expect("mpirun can be run");
    assert!(!output.status.success());
    assert!(text(&output).contains("rank 2 runs another build"), "{}", text(&output));
}

#[test]
fn a_task_that_crashes_its_rank_ends_the_job_and_the_launcher_says_which() {
    if !mpirun() {
        return;
    }
    let begun = Instant::now();
    let output = check(3, &["crash"]);
    assert!(!output.status.success());
    assert!(begun.elapsed() < Duration::from_secs(50), "the time limit ended it, not the launcher");
    let said = text(&output);
    assert!(said.contains("process rank 1") || said.contains("process rank 2"), "{said}");
}

#[test]
fn after_a_rank_was_killed_the_next_run_goes_on_with_the_journal() {
    if !mpirun() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (journal, log) = (path("journal"), path("log"));
    let ran = || std::fs::metadata(&log).map_or(0, |log| log.len());
    let mut first = common::mpirun_command(3);
    first.arg(program("pool_check")).args(["journal", &journal, &log, "100"]);
    let mut first = first.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(first.stdout.take().unwrap()).lines();
    let ranks = lines.next().unwrap().unwrap();
    let victim: i32 = ranks.split_whitespace().next().unwrap().parse().unwrap();
    let begun = Instant::now();
    while ran() < 30 {
        assert!(begun.elapsed() < Duration::from_secs(60), "only {} items after a minute", ran());
        std::thread::sleep(Duration::from_millis(5));
    }
    // So that what is done is on disk.
    std::thread::sleep(Duration::from_millis(250));
    assert!(Command::new("kill").args(["-9", &victim.to_string()]).status().unwrap().success());
    let killed = Instant::now();
    let end = first.wait_with_output().unwrap();
    assert!(!end.status.success());
    assert!(killed.elapsed() < Duration::from_secs(20), "it took {:?}", killed.elapsed());
    assert!(text(&end).contains("rank 1"), "{}", text(&end));
    assert!(lines.map_while(Result::ok).all(|line| line != "done"));
    let before = ran();
    assert!(before < 100);
    // The next run does what is left, and what was not on disk.
    let output = check(3, &["journal", &journal, &log, "100"]);
    assert!(output.status.success() && text(&output).contains("done\n"), "{}", text(&output));
    let again = ran() - before;
    assert!((100 - before..90).contains(&again), "{before} were done before, {again} in the second run");
}

#[test]
fn it_works_over_three_hosts_and_ends_when_one_of_them_dies() {
    if !mpirun() || !hosts_are_possible() {
        return;
    }
    let hosts = common::Hosts::up(3);
    let output = hosts.mpirun(&program("pool_check"), &["hosts"]).output().unwrap();
    assert!(output.status.success() && text(&output).contains("h1 h2\n"), "{}", text(&output));
    let output = hosts.mpirun(&program("pool_check"), &["conforms"]).output().unwrap();
    assert!(output.status.success() && text(&output).contains("conforms\n"), "{}", text(&output));
    // A host dies.
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (journal, log) = (path("journal"), path("log"));
    let mut run = hosts.mpirun(&program("pool_check"), &["journal", &journal, &log, "100"]);
    let run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while std::fs::metadata(&log).map_or(0, |log| log.len()) < 5 {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing has run after a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
    hosts.run(&["kill", "h2"]);
    let killed = Instant::now();
    let end = run.wait_with_output().unwrap();
    assert!(!end.status.success());
    assert!(killed.elapsed() < Duration::from_secs(30), "it took {:?}", killed.elapsed());
    let output = hosts.mpirun(&program("pool_check"), &["journal", &journal, &log, "100"]).output().unwrap();
    assert!(output.status.success() && text(&output).contains("done\n"), "{}", text(&output));
}
