//! The program as its users run it.

use std::process::{Command, Output};

fn batch(arguments: &[&str], directory: &std::path::Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_batch")).args(arguments).current_dir(directory).output().unwrap()
}

#[test]
fn results_come_in_order_and_a_bad_file_costs_itself() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a"), "one two\n").unwrap();
    std::fs::write(directory.path().join("b"), "three\nfour\n").unwrap();
    let output = batch(&["--workers", "2", "b", "missing", "a"], directory.path());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "       2        2 b\n       1        2 a\n");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.starts_with("batch: missing: ") && errors.contains("No such file"), "{errors}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn without_failures_the_exit_code_is_zero() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a"), "").unwrap();
    assert!(batch(&["a"], directory.path()).status.success());
}

#[test]
fn wrong_arguments_are_explained() {
    let directory = tempfile::tempdir().unwrap();
    let output = batch(&["--workers", "many", "a"], directory.path());
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--workers"));
}

#[test]
fn a_second_run_goes_on_from_the_journal() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a");
    std::fs::write(&file, "one two\n").unwrap();
    let arguments = ["--journal", "journal.db", "--timeout", "60", "a"];
    let first = batch(&arguments, directory.path());
    assert!(first.status.success(), "{first:?}");
    // What is in the journal is not done again.
    std::fs::remove_file(&file).unwrap();
    let second = batch(&arguments, directory.path());
    assert!(second.status.success(), "{second:?}");
    assert_eq!(first.stdout, second.stdout);
}
