//! Kills processes at every instruction of operations on shared memory, and says what the survivors could not cope with.
#![allow(clippy::print_stdout, reason = "it is a program")]

use offspring_tests::killer::{self, Mode, vyukov};
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    killer::calm();
    let begun = Instant::now();
    let found = match vyukov::control(Mode::Every) {
        Ok((push, pop)) => [push, pop],
        Err(why) => {
            println!("the control could not be run: {why}");
            return ExitCode::FAILURE;
        }
    };
    for (name, it) in ["push", "pop"].iter().zip(&found) {
        println!("control: {name} of a Vyukov ring: {} kills, {} bad states", it.kills, it.bad.len());
    }
    println!("{:.2} s", begun.elapsed().as_secs_f64());
    if found.iter().any(|it| it.bad.is_empty()) {
        println!("the control must fail, but nothing was found: the killer is blind");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
