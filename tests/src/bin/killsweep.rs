//! Kills processes at every instruction of operations on shared memory, and says what the survivors could not cope with.
//!
//! `killsweep` does everything; `--changes` kills only where survivors can tell a difference; `--sample` is the part of that
//! which `cargo test` has time for; `--row TEXT` does the rows whose names contain the text; `--list` names them.
#![allow(clippy::print_stdout, reason = "it is a program")]

use offspring::testing;
use offspring_tests::killer::accounts::{self, Wrong};
use offspring_tests::killer::{self, Mode, Sweep, vyukov};
use offspring_tests::table::{self, Part, Row};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A row with all its kills may take this long.
const ROW: Duration = Duration::from_secs(600);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let wanted = args.iter().position(|arg| arg == "--row").and_then(|at| args.get(at + 1));
    if args.iter().any(|arg| arg == "--list") {
        for row in table::rows() {
            println!("{}: {}", row.name, row.covers.join(", "));
        }
        return ExitCode::SUCCESS;
    }
    killer::calm();
    let has = |name: &str| args.iter().any(|arg| arg == name);
    let part = if has("--sample") { Part::One } else { Part::All };
    let mode = if has("--sample") || has("--changes") { Mode::Changes } else { Mode::Every };
    let controls = if wanted.is_none() { controls() } else { Ok(()) };
    let walked = controls.and_then(|()| walk(mode, part, wanted.map_or("", String::as_str)));
    match walked {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("FAILED: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Every row, every mutant.
fn walk(mode: Mode, part: Part, wanted: &str) -> Result<(), String> {
    let begun = Instant::now();
    let (mut kills, mut bad, mut caught, mut escaped) = (0, 0, 0, 0);
    for row in table::rows().iter().filter(|row| row.name.contains(wanted)) {
        let took = Instant::now();
        let (killed, found, said) = clean(row, mode, part);
        kills += killed;
        bad += found;
        println!("{}: {said}, {:.2} s", row.name, took.elapsed().as_secs_f64());
        for number in row.mutants {
            let took = Instant::now();
            let name = testing::mutants().into_iter().find(|(it, _)| it == number).map_or("?", |(_, name)| name);
            match mutant(row, *number) {
                Ok(how) => {
                    caught += 1;
                    println!("  caught mutant {number} ({name}): {how}, {:.2} s", took.elapsed().as_secs_f64());
                }
                Err(why) => {
                    escaped += 1;
                    println!("  MISSED mutant {number} ({name}): {why}");
                }
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("{kills} kills, {bad} bad states, {caught} mutants caught, {escaped} missed, {seconds:.1} s");
    if bad + escaped == 0 { Ok(()) } else { Err(format!("{bad} bad states, {escaped} mutants missed")) }
}

/// A row as it is: kills, bad states, and a line about them. In a process of its own, which takes its mappings with it.
fn clean(row: &Row, mode: Mode, part: Part) -> (usize, usize, String) {
    let run = || match table::run(row, mode, part, 0) {
        Err(why) => format!("0 1 could not be swept: {why}"),
        Ok(outcome) => {
            let bad: Vec<String> = outcome.bad().map(|(name, bad)| format!("\n    {name}: {bad}")).collect();
            let [one, auditor, two, sleeping] = outcome.sweeps().map(|sweep| sweep.kills);
            let asleep: usize = outcome.sweeps().iter().map(|sweep| sweep.asleep).sum();
            let shown = bad.iter().take(5).map(String::as_str).collect::<String>();
            format!(
                "{} {} {} instructions, kills {one} + {auditor} auditor + {two} of two + {sleeping} with a sleeper, {asleep} asleep, {} bad{shown}",
                outcome.kills(),
                bad.len(),
                outcome.one.instructions,
                bad.len(),
            )
        }
    };
    let said = killer::in_child(ROW, run).unwrap_or_else(|why| format!("0 1 could not be swept: {why}"));
    let mut parts = said.splitn(3, ' ');
    let mut number = || parts.next().and_then(|text| text.parse().ok()).unwrap_or(0);
    let (kills, bad) = (number(), number());
    (kills, bad, parts.next().unwrap_or_default().to_owned())
}

/// A row with a mistake: how it was noticed.
fn mutant(row: &Row, number: u32) -> Result<String, String> {
    let run = || match table::run(row, Mode::FirstBad, Part::All, number) {
        Err(why) => format!("noticed by itself: {why}"),
        Ok(outcome) => match outcome.bad().next() {
            Some((name, bad)) => format!("{name}: {bad}"),
            None => String::new(),
        },
    };
    match killer::in_child(ROW, run) {
        Ok(how) if how.is_empty() => Err("nothing was noticed".to_owned()),
        Ok(how) => Ok(how.lines().take(2).collect::<Vec<_>>().join(" ").chars().take(200).collect()),
        Err(why) => Ok(format!("noticed by itself: {why}")),
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
