//! Runs the single-step killer in a process of its own: it has to fork from a single-threaded state.

use offspring_tests::watchdog;
use std::process::Command;
use std::time::Duration;

#[test]
fn the_killer_finds_the_bad_states_of_a_ring_that_is_not_kill_safe() {
    let _watch = watchdog(Duration::from_secs(60));
    let output = Command::new(env!("CARGO_BIN_EXE_killsweep")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("control: push"), "{said}");
}
