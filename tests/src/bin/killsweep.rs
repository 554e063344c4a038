//! Kills processes at every instruction of operations on shared memory, and says what the survivors could not cope with.
#![allow(clippy::print_stdout, reason = "it is a program")]

use offspring_tests::killer::accounts::{self, Wrong};
use offspring_tests::killer::{self, Mode, Sweep, vyukov};
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    killer::calm();
    match controls() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("FAILED: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The killer is tried on what is known to be wrong, and on what is known to be right.
fn controls() -> Result<(), String> {
    let begun = Instant::now();
    let (push, pop) = vyukov::control(Mode::Every)?;
    for (name, it) in [("push", push), ("pop", pop)] {
        println!("control: {name} of a Vyukov ring: {} kills, {} bad states", it.kills, it.bad.len());
        if it.bad.is_empty() {
            return Err("the ring is not kill-safe, but nothing was found: the killer is blind".to_owned());
        }
    }
    let right = accounts::control(Wrong::Nothing, Mode::Every)?;
    for (name, it) in ["one victim", "two victims", "auditor"].iter().zip(&right) {
        println!("control: accounts, {name}: {} kills, {} asleep, {} bad states", it.kills, it.asleep, it.bad.len());
        if let Some(bad) = it.bad.first() {
            return Err(format!("accounts are kill-safe, but {name}: {bad}"));
        }
    }
    for wrong in Wrong::ALL {
        let found = accounts::control(wrong, Mode::FirstBad)?;
        let by = |it: &Sweep| if it.bad.is_empty() { "-" } else { "found" };
        println!("control: accounts, {wrong:?}: {} / {} / {}", by(&found[0]), by(&found[1]), by(&found[2]));
        if found.iter().all(|it| it.bad.is_empty()) {
            return Err(format!("accounts with {wrong:?} are wrong, but nothing was found"));
        }
    }
    println!("controls: {:.2} s", begun.elapsed().as_secs_f64());
    Ok(())
}
