//! The programs over MPI, under `mpirun`, each under a time limit.
#![cfg(feature = "mpi")]

use std::process::Command;

fn run(ranks: usize, program: &str, arguments: &[&str]) -> Option<Vec<String>> {
    if !Command::new("mpirun").arg("--version").output().is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("OFFSPRING_TESTS_NO_SKIP").is_none(), "mpirun is missing");
        println!("skipped: there is no mpirun");
        return None;
    }
    let output = Command::new("timeout")
        .args(["-k", "5", "60", "mpirun", "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1"])
        .args(["-n", &ranks.to_string(), program])
        .args(arguments)
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
    let mut lines: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    lines.sort();
    Some(lines)
}

#[test]
fn every_rank_says_hello() {
    let Some(lines) = run(3, env!("CARGO_BIN_EXE_mpi_hello"), &[]) else { return };
    for (rank, line) in lines.iter().enumerate() {
        assert!(line.starts_with(&format!("hello from rank {rank} of 3 on ")), "{line}");
    }
    assert_eq!(lines.len(), 3);
}

#[test]
fn what_is_sent_is_received_equal() {
    let Some(lines) = run(2, env!("CARGO_BIN_EXE_mpi_send_recv"), &[]) else { return };
    let values = r#"{"a": 7.0, "b": 2.5}"#;
    assert_eq!(lines, [11, 12].map(|tag| format!("rank 1 received {values} with tag {tag}: equal true")));
}

#[test]
fn collective_calls_give_what_is_computed_by_hand() {
    let Some(lines) = run(4, env!("CARGO_BIN_EXE_mpi_collectives"), &[]) else { return };
    let mut expected: Vec<String> = (0..4).map(|rank| format!("rank {rank} passed the barrier")).collect();
    expected.extend(["gathered: [1, 2, 5, 10]".to_owned(), "sum of 1 to 4: 10".to_owned()]);
    expected.sort();
    assert_eq!(lines, expected);
}

#[test]
fn a_pool_over_ranks_gives_what_a_local_one_does() {
    for ranks in [1, 3] {
        let Some(lines) = run(ranks, env!("CARGO_BIN_EXE_mpi_pool"), &[]) else { return };
        assert_eq!(lines, ["longest below 100000: 77031 with 350 steps; the same here: true"]);
    }
}

#[test]
fn a_tree_is_hashed_over_ranks_as_sha256sum_does() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..40 {
        std::fs::write(dir.path().join(format!("file {n}")), "x".repeat(n * 1_000)).unwrap();
    }
    let root = dir.path().display().to_string();
    for workers in [&[][..], &["--workers", "2"]] {
        let arguments = [&["--engine", "mpi", &root], workers].concat();
        let Some(lines) = run(3, env!("CARGO_BIN_EXE_sha256tree"), &arguments) else { return };
        let sums = Command::new("sh").arg("-c").arg("sha256sum \"$0\"/*").arg(&root).output().unwrap();
        let mut expected: Vec<String> = String::from_utf8_lossy(&sums.stdout).lines().map(str::to_owned).collect();
        expected.sort();
        assert_eq!(lines, expected);
    }
}
