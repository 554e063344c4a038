//! What it costs to hear tasks: their output, notes, emitted values, log records. Rounds are interleaved; the medians count.
//!
//! `cargo bench -p offspring --bench seeing_output --features log,tracing`
#![allow(clippy::print_stdout, reason = "a program, and what is measured")]

use std::time::Instant;

use offspring::{OutputMode, Pool, task};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber, dispatcher};

#[task]
fn square(x: u64) -> u64 {
    x.wrapping_mul(x)
}

#[task]
fn prints(x: u64) -> u64 {
    println!("looking at item {x}");
    x
}

#[task]
fn notes(x: u64) -> u64 {
    task::note(format_args!("looking at item {x}"));
    x
}

#[task]
fn tells_progress(x: u64) -> u64 {
    task::progress(x, 100);
    x
}

#[task]
fn emits(values: u64) -> u64 {
    (0..values).for_each(|value| _ = task::emit(value));
    values
}

#[task]
fn logs(x: u64) -> u64 {
    log::info!("looking at item {x}");
    x
}

#[task]
fn traces(x: u64) -> u64 {
    tracing::info!(item = x, "looking");
    x
}

/// Takes everything and does nothing with it.
struct Sink;

impl Subscriber for Sink {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl log::Log for Sink {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, _: &log::Record<'_>) {}
    fn flush(&self) {}
}

const ROUNDS: usize = 7;
const ITEMS: u64 = 20_000;

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let silent = Pool::builder().workers(2).forward_records(false).build()?;
    let heard = Pool::builder().workers(2).forward_records(false).output(OutputMode::Capture).build()?;
    log::set_logger(&Sink).map_err(|error| error.to_string())?;
    log::set_max_level(log::LevelFilter::Info);
    let traced = dispatcher::with_default(&dispatcher::Dispatch::new(Sink), || Pool::builder().workers(2).build())?;
    let ways: [(&str, &dyn Fn() -> offspring::Result<usize>); 9] = [
        ("nothing is asked for", &|| Ok(silent.map(square, 0..ITEMS)?.len())),
        ("Capture, a silent task", &|| Ok(heard.map(square, 0..ITEMS)?.len())),
        ("Capture, a line by the item", &|| Ok(heard.batch().on_output(|_, _| ()).map(prints, 0..ITEMS)?.len())),
        ("task::note", &|| Ok(silent.map(notes, 0..ITEMS)?.len())),
        ("task::progress", &|| Ok(silent.map(tells_progress, 0..ITEMS)?.len())),
        ("task::emit, read by the handle", &|| {
            // A value by the item, by both workers.
            let handles = [silent.submit(emits, ITEMS / 2)?, silent.submit(emits, ITEMS / 2)?];
            Ok(handles.iter().map(|handle| handle.emitted::<u64>().count()).sum())
        }),
        ("log and tracing heard, a silent task", &|| Ok(traced.map(square, 0..ITEMS)?.len())),
        ("log, a record by the item", &|| Ok(traced.map(logs, 0..ITEMS)?.len())),
        ("tracing, an event by the item", &|| Ok(traced.map(traces, 0..ITEMS)?.len())),
    ];
    println!("two workers, {ITEMS} items, {ROUNDS} rounds, medians; ns by the item, on two workers together");
    let mut times: [Vec<f64>; 9] = Default::default();
    for _ in 0..ROUNDS {
        for ((name, run), times) in ways.iter().zip(&mut times) {
            let start = Instant::now();
            assert_eq!(run()?, ITEMS as usize, "{name}");
            times.push(start.elapsed().as_nanos() as f64 / ITEMS as f64);
        }
    }
    for ((name, _), times) in ways.iter().zip(&mut times) {
        println!("{name:<40} {:>8.1}", median(times));
    }
    Ok(())
}
