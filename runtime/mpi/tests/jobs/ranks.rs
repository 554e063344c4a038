//! Ranks on one machine, under `mpirun`, each job under a time limit.

use crate::common::{job, mpirun};

#[test]
fn every_call_gives_what_it_should_on_one_to_four_ranks() {
    if !mpirun() {
        return;
    }
    for ranks in 1..=4 {
        let output = job(ranks, env!("CARGO_BIN_EXE_mpi-check"), &[]);
        assert!(output.status.success(), "{ranks} ranks: {output:?}");
        let mut lines: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
        lines.sort();
        assert_eq!(lines, (0..ranks).map(|rank| format!("ok {rank}")).collect::<Vec<_>>());
    }
}

#[test]
fn a_program_that_is_started_by_itself_is_one_rank() {
    if !mpirun() {
        return;
    }
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_mpi-check")).output().expect("the program starts");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ok 0\n", "{output:?}");
}
