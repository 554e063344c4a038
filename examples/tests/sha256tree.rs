//! `sha256tree` against GNU `find`, `sort` and `sha256sum`.

mod common;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use common::{Tree, run_in_storm, shell, shell_reading, text};
use nix::sys::resource::{UsageWho, getrusage};
use offspring_tests::kill::Random;
use offspring_tests::watchdog;

const EXPECTED: &str = r#"find "$@" -type f -print0 | sort -z | xargs -0 -r sha256sum"#;

fn sha256tree(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sha256tree")).args(arguments).current_dir(dir).output().unwrap()
}

fn expected(dir: &Path, dirs: &[&str]) -> Vec<u8> {
    let dirs: Vec<&OsStr> = dirs.iter().map(|dir| OsStr::new(*dir)).collect();
    shell(dir, EXPECTED, &dirs).stdout
}

#[track_caller]
fn assert_printed(ours: &Output, expected: &[u8]) {
    let told = text(&ours.stderr);
    assert!(ours.stdout == expected, "ours:\n{}\nexpected:\n{}\n{told}", text(&ours.stdout), text(expected));
}

#[test]
fn prints_what_sha256sum_prints_and_accepts() {
    let _watch = watchdog(Duration::from_secs(60));
    let tree = Tree::new();
    tree.add_oddities();
    for dirs in [&["."][..], &["./"], &["nested", ".hidden"]] {
        let ours = sha256tree(tree.path(), &[&["--workers", "3"], dirs].concat());
        assert_printed(&ours, &expected(tree.path(), dirs));
        assert!(ours.status.success() && ours.stderr.is_empty(), "{}", text(&ours.stderr));
        let check = shell_reading(tree.path(), "sha256sum --check --strict --quiet", &ours.stdout);
        assert!(check.status.success(), "{}", text(&check.stderr));
    }
}

#[test]
fn many_files_and_directories_within_each_other_come_sorted() {
    let _watch = watchdog(Duration::from_secs(60));
    let tree = Tree::new();
    for i in 0..3000 {
        tree.add(format!("{}/{}.{i}", i % 7, i % 31), i.to_string().repeat(i % 300));
    }
    let dirs = ["3", "./3", ".", "1/../2"];
    assert_printed(&sha256tree(tree.path(), &dirs), &expected(tree.path(), &dirs));
}

#[test]
fn unreadable_files_are_told_at_the_end_and_all_others_done() {
    let _watch = watchdog(Duration::from_secs(60));
    let tree = Tree::new();
    tree.add_oddities();
    let expected = expected(tree.path(), &["."]);
    tree.add_too_deep();
    // Address 0 of a process cannot be read by root, either.
    let mut told =
        vec!["sha256tree: /proc/self/mem: Input/output error", "sha256tree: missing: No such file", "too long"];
    let secret = tree.add("plain.txt.secret", "x");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    if File::open(&secret).is_err() {
        told.push("sha256tree: ./plain.txt.secret: Permission denied");
    } else {
        fs::remove_file(&secret).unwrap(); // root reads everything
    }
    let ours = sha256tree(tree.path(), &["missing", ".", "/proc/self/mem"]);
    assert_printed(&ours, &expected);
    assert_eq!(ours.status.code(), Some(1));
    for line in told {
        assert!(text(&ours.stderr).contains(line), "`{line}` is not in: {}", text(&ours.stderr));
    }
}

#[test]
fn killed_workers_cost_no_line() {
    let _watch = watchdog(Duration::from_secs(240));
    let tree = Tree::new();
    for i in 0..400 {
        // Sparse: hashing takes time, making them does not.
        let mut file = File::create(tree.path().join(format!("{i}"))).unwrap();
        write!(file, "{i}").unwrap();
        file.set_len(1 << 20).unwrap();
        tree.add(format!("small/{i}"), i.to_string());
    }
    let expected = expected(tree.path(), &["."]);
    let mut random = Random::from_env();
    let mut hits = 0;
    while hits < 50 {
        let (ours, hit) = run_in_storm(env!("CARGO_BIN_EXE_sha256tree"), tree.path(), &mut random);
        hits += hit;
        assert_printed(&ours, &expected);
    }
}

#[test]
fn memory_does_not_grow_with_the_size_of_files() {
    let _watch = watchdog(Duration::from_secs(120));
    let tree = Tree::new();
    File::create(tree.path().join("large")).unwrap().set_len(1 << 30).unwrap();
    assert_printed(&sha256tree(tree.path(), &["."]), &expected(tree.path(), &["."]));
    // The largest of all children and theirs that were awaited up to now, in KiB.
    let most = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
    assert!(most < 200 << 10, "{most} KiB");
}

#[test]
fn help_and_misuse() {
    let _watch = watchdog(Duration::from_secs(20));
    let here = Path::new(".");
    let help = sha256tree(here, &["--help"]);
    assert!(help.status.success() && text(&help.stdout).contains("--workers <N>"), "{}", text(&help.stdout));
    assert_eq!(sha256tree(here, &[]).status.code(), Some(2));
    assert_eq!(sha256tree(here, &["--workers", "0", "."]).status.code(), Some(2));
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let _watch = watchdog(Duration::from_secs(60));
    let tree = Tree::new();
    for i in 0..2000 {
        tree.add(i.to_string(), "");
    }
    // The whole output would fit into the pipe, so its reader has to be gone before.
    let script = r#"{ sleep 0.2; "$@" .; echo "code $?" >&2; } | true"#;
    let output = shell(tree.path(), script, &[OsStr::new(env!("CARGO_BIN_EXE_sha256tree"))]);
    assert_eq!(text(&output.stderr), "code 141\n");
}

#[test]
fn a_journal_keeps_what_is_done_and_changed_files_are_hashed_again() {
    let _watch = watchdog(Duration::from_secs(60));
    let dir = tempfile::tempdir().unwrap();
    for number in 0..200 {
        fs::write(dir.path().join(format!("file{number:03}")), format!("{number}").repeat(number)).unwrap();
    }
    let kept = tempfile::tempdir().unwrap();
    let file = kept.path().join("done.db");
    let with_journal = ["--journal", file.to_str().unwrap(), "."];
    assert_printed(&sha256tree(dir.path(), &with_journal), &expected(dir.path(), &["."]));
    assert_printed(&sha256tree(dir.path(), &with_journal), &expected(dir.path(), &["."]));
    fs::write(dir.path().join("file007"), "something else").unwrap();
    fs::write(dir.path().join("file500"), "new").unwrap();
    assert_printed(&sha256tree(dir.path(), &with_journal), &expected(dir.path(), &["."]));
    let runs = offspring::Journal::read(&file).unwrap().runs();
    let told: Vec<_> = runs.iter().map(|run| (run.reused, run.ran)).collect();
    assert_eq!(told, [(0, 200), (200, 0), (199, 2)]);
}
