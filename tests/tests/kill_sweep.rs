//! Runs the single-step killer in a process of its own: it has to fork from a single-threaded state.

use offspring_tests::watchdog;
use std::process::Command;
use std::time::Duration;

/// The controls, and of every row of the table the kills of the one who does the operation, and every seeded mistake.
/// `cargo run --release -p offspring-tests --bin killsweep` does the rest.
#[test]
fn every_operation_survives_a_kill_and_every_seeded_mistake_is_noticed() {
    let _watch = watchdog(Duration::from_secs(1500));
    let output = Command::new(env!("CARGO_BIN_EXE_killsweep")).arg("--sample").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("control: push") && said.contains("0 bad states"), "{said}");
}
