//! Starting jobs.

use std::process::{Command, Output};

/// Is there an `mpirun`? Says so if not; where tests must not skip, that is a failure.
pub fn mpirun() -> bool {
    let there = Command::new("mpirun").arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        assert!(std::env::var_os("OFFSPRING_TESTS_NO_SKIP").is_none(), "mpirun is missing");
        println!("skipped: there is no mpirun");
    }
    there
}

/// Runs a program on this many ranks, for a minute at most.
pub fn job(ranks: usize, program: &str, arguments: &[&str]) -> Output {
    Command::new("timeout")
        .args(["-k", "5", "60", "mpirun", "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1"])
        .args(["-n", &ranks.to_string(), program])
        .args(arguments)
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .output()
        .expect("timeout and mpirun can be run")
}
