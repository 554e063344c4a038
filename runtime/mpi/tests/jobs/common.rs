//! Starting jobs.

use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Says why a test is skipped; where tests must not be, that is a failure.
fn skip(why: &str) {
    assert!(std::env::var_os("OFFSPRING_TESTS_NO_SKIP").is_none(), "{why}");
    println!("skipped: {why}");
}

/// Is there an `mpirun`? Says so if not.
pub(crate) fn mpirun() -> bool {
    let there = Command::new("mpirun").arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        skip("there is no mpirun");
    }
    there
}

/// A command in the environment of a job.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    // Backtraces of panics that are meant only make the output long.
    command.env("RUST_BACKTRACE", "0");
    command
}

/// `mpirun` with this many ranks, for two minutes at most; the program comes next.
pub(crate) fn mpirun_command(ranks: usize) -> Command {
    let mut command = command("timeout");
    command.args([
        "-k",
        "5",
        "120",
        "mpirun",
        "--oversubscribe",
        "--bind-to",
        "none",
        "--mca",
        "mpi_yield_when_idle",
        "1",
    ]);
    command.args(["-n", &ranks.to_string()]);
    command
}

/// Runs a program on this many ranks.
pub(crate) fn job(ranks: usize, program: impl AsRef<OsStr>, arguments: &[&str]) -> Output {
    mpirun_command(ranks).arg(program).args(arguments).output().expect("timeout and mpirun can be run")
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/hosts.sh")
}

/// Can there be hosts on this machine? Says why not.
pub(crate) fn hosts_are_possible() -> bool {
    let output = Command::new("bash").arg(script()).arg("check").output().expect("bash can be run");
    if !output.status.success() {
        skip(&format!("no hosts on this machine: {}", String::from_utf8_lossy(&output.stdout).trim()));
    }
    output.status.success()
}

/// Hosts on this machine, until this is dropped.
pub(crate) struct Hosts {
    name: String,
    count: usize,
    shell: tempfile::TempDir,
}

impl Hosts {
    /// Makes so many.
    pub(crate) fn up(count: usize) -> Hosts {
        let name = format!("m{}", std::process::id() % 1_000_000);
        let shell = tempfile::tempdir().expect("a folder for the remote shell");
        symlink(script().canonicalize().expect("the script is there"), shell.path().join("nsrsh")).expect("a link");
        let hosts = Hosts { name, count, shell };
        hosts.run(&["up", &count.to_string()]);
        hosts
    }

    fn script(&self) -> Command {
        let mut command = command("bash");
        command.arg(script()).env("NAME", &self.name);
        command
    }

    /// Calls the script.
    pub(crate) fn run(&self, arguments: &[&str]) {
        let status = self.script().args(arguments).status().expect("bash can be run");
        assert!(status.success(), "hosts.sh {arguments:?}: {status}");
    }

    /// `mpirun` on the first of them, a rank on each, for two minutes at most.
    pub(crate) fn mpirun(&self, program: &Path, arguments: &[&str]) -> Command {
        let all: Vec<String> = (0..self.count).map(|host| format!("h{host}:1")).collect();
        let mut command = command("timeout");
        command.env("NAME", &self.name).args(["-k", "5", "120", "bash"]).arg(script()).args(["exec", "h0", "mpirun"]);
        command.args(["--host", &all.join(","), "--mca", "plm_rsh_agent"]).arg(self.shell.path().join("nsrsh"));
        for option in ["btl tcp,self", "btl_tcp_if_include eth0", "oob_tcp_if_include eth0", "mpi_yield_when_idle 1"] {
            command.arg("--mca").args(option.split(' '));
        }
        // Without it each host binds its rank to the first core of the one machine.
        command.args(["--bind-to", "none", "-n", &self.count.to_string()]).arg(program).args(arguments);
        command
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let _ = self.script().arg("down").status();
    }
}
