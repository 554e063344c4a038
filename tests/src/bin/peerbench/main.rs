//! Measures `offspring` for a comparison with other ways to use processes.
//!
//! `peerbench W2` runs one workload and prints a line of JSON per figure on stdout:
//!
//! ```text
//! {"w":"W2","case":"chunk 1","peer":"offspring Pool::map","value":48.5,"unit":"ns/task","n":1000000}
//! {"w":"W9","case":"worker SIGKILLed in task 10 of 40","peer":"offspring Pool::try_map","text":"what happened"}
//! ```
//!
//! `w` and `case` say what was measured, `peer` by which calls, `n` how many operations stand behind the figure. Units
//! `us`, `ns`, `ns/task` are better when lower; `GB/s` (10^9 bytes) and `eff` (work done / time of two cores) when higher.
//!
//! | workload | what it measures |
//! | --- | --- |
//! | `W1` | starting a process that computes `7 + 1` and joining it: median and 99th percentile; also from a parent of 1 GiB |
//! | `W2` | `map` of `x * x` over 1,000,000 numbers, with chunks as they come and one task a chunk; a `map` of two tasks |
//! | `W3` | tasks of 10 us and 1 ms of CPU time: how much of two cores does the work |
//! | `W4` | 64 arguments, and 64 results, of 16 MiB |
//! | `W5` | messages a second through a queue, of 64 B, 1 KiB and 1 MiB, and of 64 B between two and two processes |
//! | `W6` | a round trip of 64 B to another process |
//! | `W7` | a lock around a counter: of one process, and of two that both want it |
//! | `W8` | a dictionary that two processes set and get 100,000 keys of |
//! | `W9` | task 10 of 40 kills its worker: who notices what, and when |
//! | `W10-hold` | prints `PIDS a b` of two idle workers and waits for stdin to close, for a look at their memory from outside |
//!
//! A workload that is not here prints nothing. Every result is checked; a wrong one ends the program with a panic.

mod crash;
mod dict;
mod footprint;
mod line;
mod lock;
mod pool;
mod queue;
mod spawn;

use std::error::Error;
use std::process::ExitCode;

fn main() -> ExitCode {
    let workload = std::env::args().nth(1).unwrap_or_default();
    match run(&workload) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            line::say(&format!("{workload}: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(workload: &str) -> Result<(), Box<dyn Error>> {
    match workload {
        "W1" => spawn::w1(),
        "W2" => pool::w2(),
        "W3" => pool::w3(),
        "W4" => pool::w4(),
        "W5" => queue::w5(),
        "W6" => queue::w6(),
        "W7" => lock::w7(),
        "W8" => dict::w8(),
        "W9" => crash::w9(),
        "W10-hold" => footprint::hold(),
        _ => Ok(()),
    }
}
