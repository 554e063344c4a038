//! Shared data between processes: operations a second by how many entries, how long values and how many processes, and how
//! long others wait at most while a dictionary grows.
//!
//! `cargo bench -p offspring --bench shared` does all; `-- --brief` takes a short look; `-- dict`, `-- list`, `-- value`,
//! `-- growth` do one part. Each figure is of all processes together.
#![allow(missing_docs, clippy::print_stdout, reason = "it is a program that prints figures")]

use std::cell::Cell;
use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

use offspring::shared::{Dict, List, Value};
use offspring::sync::Barrier;
use offspring::{Child, Failure, message, spawn, task};

/// How much memory the entries of one figure may take.
const MOST: usize = 2 << 30;
/// Operations between two looks at the clock.
const BETWEEN: u64 = 16;

/// What a process does, again and again.
#[message]
#[derive(Debug, Clone, Copy, PartialEq)]
enum Work {
    Get,
    Set,
}

/// Does the work until the time is over; how many operations, and how long that took.
fn until_over(
    together: &Barrier,
    millis: u64,
    mut work: impl FnMut(u64) -> Result<(), Failure>,
) -> Result<(u64, Duration), Failure> {
    together.wait()?;
    let begun = Instant::now();
    let over = Duration::from_millis(millis);
    let mut done = 0;
    loop {
        for _ in 0..BETWEEN {
            work(done)?;
            done += 1;
        }
        let took = begun.elapsed();
        if took >= over {
            return Ok((done, took));
        }
    }
}

/// One of `entries`, in an order that looks random.
fn pick(number: u64, seed: u64, entries: u64) -> u64 {
    (number + seed * 7919).wrapping_mul(0x9e37_79b9_7f4a_7c15) % entries
}

type Counted = Result<(u64, Duration), Failure>;

#[task]
fn use_numbers(dict: Dict<u64, u64>, together: Barrier, work: Work, entries: u64, seed: u64, millis: u64) -> Counted {
    until_over(&together, millis, |number| {
        let key = pick(number, seed, entries);
        match work {
            Work::Get => drop(black_box(dict.get(&key)?)),
            Work::Set => dict.set(&key, &number)?,
        }
        Ok(())
    })
}

#[task]
fn use_bytes(dict: Dict<u64, Vec<u8>>, together: Barrier, work: Work, entries: u64, seed: u64, millis: u64) -> Counted {
    let new = dict.get(&0)?.unwrap_or_default();
    until_over(&together, millis, |number| {
        let key = pick(number, seed, entries);
        match work {
            Work::Get => drop(black_box(dict.get(&key)?)),
            Work::Set => dict.set(&key, &new)?,
        }
        Ok(())
    })
}

#[task]
fn use_list(list: List<u64>, together: Barrier, work: Work, entries: u64, seed: u64, millis: u64) -> Counted {
    until_over(&together, millis, |number| {
        let at = pick(number, seed, entries) as usize;
        match work {
            Work::Get => drop(black_box(list.get(at)?)),
            Work::Set => list.set(at, &number)?,
        }
        Ok(())
    })
}

#[task]
fn use_value(value: Value<u64>, together: Barrier, work: Work, millis: u64) -> Counted {
    until_over(&together, millis, |_| {
        match work {
            Work::Get => drop(black_box(value.get()?)),
            Work::Set => drop(value.fetch_add(1)?),
        }
        Ok(())
    })
}

/// Operations a second of `processes` children.
fn rate(processes: u64, start: impl Fn(&Barrier, u64) -> offspring::Result<Child<Counted>>) -> offspring::Result<f64> {
    let together = Barrier::new(processes as usize)?;
    let children = (0..processes).map(|seed| start(&together, seed)).collect::<offspring::Result<Vec<_>>>()?;
    let mut rate = 0.0;
    for child in children {
        let (done, took) = child.join()??;
        rate += done as f64 / took.as_secs_f64();
    }
    Ok(rate)
}

fn line(what: &str, processes: u64, get: f64, set: f64) {
    println!("{what:<44} {processes} processes  get {:>12.0} /s  set {:>12.0} /s", get, set);
}

fn dicts(millis: u64, processes: &[u64]) -> offspring::Result<()> {
    for entries in [10, 1000, 100_000u64] {
        let numbers: Dict<u64, u64> = Dict::new()?;
        (0..entries).try_for_each(|key| numbers.set(&key, &key))?;
        for &count in processes {
            let of = |work| {
                rate(count, |together, seed| Ok(spawn(use_numbers, (&numbers, together, work, entries, seed, millis))?))
            };
            line(&format!("Dict, {entries} entries of 8 B"), count, of(Work::Get)?, of(Work::Set)?);
        }
        for len in [1 << 10, 1 << 20] {
            if entries as usize * len > MOST {
                println!("Dict, {entries} entries of {len} B: skipped, that is more than {} MiB", MOST >> 20);
                continue;
            }
            let bytes: Dict<u64, Vec<u8>> = Dict::new()?;
            let value = vec![1; len];
            if let Err(error) = (0..entries).try_for_each(|key| bytes.set(&key, &value)) {
                println!("Dict, {entries} entries of {len} B: skipped, {error}");
                continue;
            }
            for &count in processes {
                let of = |work| {
                    rate(count, |together, seed| Ok(spawn(use_bytes, (&bytes, together, work, entries, seed, millis))?))
                };
                line(&format!("Dict, {entries} entries of {len} B"), count, of(Work::Get)?, of(Work::Set)?);
            }
        }
    }
    Ok(())
}

fn lists(millis: u64, processes: &[u64]) -> offspring::Result<()> {
    for entries in [10, 1000, 100_000u64] {
        let list = List::from_items(0..entries)?;
        for &count in processes {
            let of = |work| {
                rate(count, |together, seed| Ok(spawn(use_list, (&list, together, work, entries, seed, millis))?))
            };
            line(&format!("List, {entries} entries of 8 B"), count, of(Work::Get)?, of(Work::Set)?);
        }
    }
    Ok(())
}

fn values(millis: u64, processes: &[u64]) -> offspring::Result<()> {
    let value = Value::new(0u64)?;
    for &count in processes {
        let of = |work| rate(count, |together, _| Ok(spawn(use_value, (&value, together, work, millis))?));
        line("Value<u64>, get and fetch_add", count, of(Work::Get)?, of(Work::Set)?);
    }
    Ok(())
}

/// The longest times that an operation took.
#[message]
#[derive(Debug, Clone, Copy, Default)]
struct Longest {
    operations: u64,
    /// Of all in which the thread was not taken off its processor.
    undisturbed_ns: u64,
    /// How many of those took more than ten microseconds.
    above_ten_us: u64,
    /// Of all.
    any_ns: u64,
}

impl fmt::Display for Longest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = |ns: u64| ns as f64 / 1000.0;
        write!(
            f,
            "{} operations, the longest {:.1} us ({} above 10 us) while on its processor, {:.1} us with interruptions",
            self.operations,
            us(self.undisturbed_ns),
            self.above_ten_us,
            us(self.any_ns)
        )
    }
}

/// How often this thread was taken off its processor, or went.
fn switches() -> i64 {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_THREAD);
    usage.map_or(0, |usage| usage.voluntary_context_switches() + usage.involuntary_context_switches())
}

impl Longest {
    /// Measures operations until `over` says so.
    fn measure(
        mut operation: impl FnMut(u64) -> Result<(), Failure>,
        over: impl Fn() -> bool,
    ) -> Result<Longest, Failure> {
        let mut longest = Longest::default();
        let mut before = switches();
        while !over() {
            for _ in 0..BETWEEN {
                let begun = Instant::now();
                operation(longest.operations)?;
                let took = begun.elapsed().as_nanos() as u64;
                longest.operations += 1;
                longest.any_ns = longest.any_ns.max(took);
                if took > longest.undisturbed_ns || took > 10_000 {
                    let now = switches();
                    if now == before {
                        longest.undisturbed_ns = longest.undisturbed_ns.max(took);
                        longest.above_ten_us += u64::from(took > 10_000);
                    }
                    before = now;
                }
            }
            before = switches();
        }
        Ok(longest)
    }
}

/// Reads, or replaces, one of the first keys while others grow the dictionary, or do not.
#[task]
fn beside_growth(dict: Dict<u64, u64>, together: Barrier, stop: Value<bool>, work: Work) -> Result<Longest, Failure> {
    together.wait()?;
    Longest::measure(
        |number| {
            let key = pick(number, 1, 100);
            match work {
                Work::Get => drop(black_box(dict.get(&key)?)),
                Work::Set => dict.set(&key, &number)?,
            }
            Ok(())
        },
        || stop.get().unwrap_or(true),
    )
}

fn growth(to: u64) -> offspring::Result<()> {
    println!("growth of a Dict<u64, u64> to {to} entries, and one process that works on 100 of them meanwhile:");
    for work in [Work::Get, Work::Set] {
        for grows in [false, true] {
            let dict: Dict<u64, u64> = Dict::new()?;
            (0..100).try_for_each(|key| dict.set(&key, &key))?;
            let (together, stop) = (Barrier::new(2)?, Value::new(false)?);
            let other = spawn(beside_growth, (&dict, &together, &stop, work))?;
            together.wait()?;
            // If it does not grow, values are only replaced: what the other meets then is the machine's doing.
            let next = Cell::new(0);
            let grown = Longest::measure(
                |_| {
                    next.set(next.get() + 1);
                    dict.set(&(if grows { 100 + next.get() } else { 100 + next.get() % 2 }), &1)?;
                    Ok(())
                },
                || next.get() >= to,
            )?;
            stop.set(&true)?;
            let beside = other.join()??;
            let how = if grows { "while it grows" } else { "while values are replaced" };
            println!("  {work:?} {how}: {beside}");
            println!("    the one who {}: {grown}", if grows { "makes it grow" } else { "replaces them" });
        }
    }
    Ok(())
}

fn main() -> offspring::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let brief = args.iter().any(|arg| arg == "--brief");
    let named: Vec<&String> = args.iter().filter(|arg| !arg.starts_with("--")).collect();
    let wanted = |part: &str| named.is_empty() || named.iter().any(|name| *name == part);
    let (millis, processes): (u64, &[u64]) = if brief { (20, &[1, 2]) } else { (300, &[1, 2, 4, 8]) };
    if wanted("value") {
        values(millis, processes)?;
    }
    if wanted("list") {
        lists(millis, processes)?;
    }
    if wanted("dict") {
        dicts(millis, processes)?;
    }
    if wanted("growth") {
        growth(if brief { 50_000 } else { 1_000_000 })?;
    }
    Ok(())
}
