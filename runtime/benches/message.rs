//! What messages and the task loop cost, without processes.
//!
//! `cargo bench -p offspring --bench message --features testing`
#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use offspring::testing::task::Bench;
use offspring::{Archived, message, task};

const ITEMS: usize = 1_000_000;

#[task]
fn square(x: u64) -> u64 {
    x.wrapping_mul(x)
}

#[message]
#[derive(Clone, Copy)]
struct Wide {
    values: [u64; 8],
}

#[task]
fn wide(wide: Wide) -> Wide {
    wide
}

#[task]
fn first(wide: &Archived<Wide>) -> u64 {
    wide.values[0].to_native()
}

#[task]
fn bytes(data: &[u8]) -> u64 {
    data.len() as u64
}

#[task]
fn owned(data: Vec<u8>) -> u64 {
    data.len() as u64
}

#[task]
fn text(text: &str) -> u64 {
    text.len() as u64
}

#[task]
fn upper(text: &str) -> String {
    text.to_ascii_uppercase()
}

fn squares(c: &mut Criterion) {
    let mut group = c.benchmark_group("u64");
    group.throughput(Throughput::Elements(ITEMS as u64));
    let input: Vec<u64> = (0..ITEMS as u64).collect();
    let mut output = vec![0u64; ITEMS];
    group.bench_function("plain loop", |b| {
        b.iter(|| {
            for (output, input) in output.iter_mut().zip(black_box(&input)) {
                *output = square(*input);
            }
            black_box(&mut output);
        });
    });
    let mut bench = Bench::new(square, ITEMS).expect("is a task");
    group.bench_function("encode a range", |b| b.iter(|| black_box(bench.encode(square, 0..ITEMS as u64))));
    group.bench_function("encode a vector", |b| b.iter(|| black_box(bench.encode(square, &input))));
    group.bench_function("run", |b| b.iter(|| black_box(bench.run())));
    group.bench_function("decode into a vector", |b| b.iter(|| black_box(bench.decode(square))));
    group.finish();
}

fn structs(c: &mut Criterion) {
    let mut group = c.benchmark_group("64 byte struct");
    group.throughput(Throughput::Elements(ITEMS as u64));
    let items = vec![Wide { values: [7; 8] }; ITEMS];
    let mut bench = Bench::new(wide, ITEMS).expect("is a task");
    group.bench_function("encode", |b| b.iter(|| black_box(bench.encode(wide, &items))));
    group.bench_function("run", |b| b.iter(|| black_box(bench.run())));
    group.bench_function("decode", |b| b.iter(|| black_box(bench.decode(wide))));
    let mut bench = Bench::new(first, ITEMS).expect("is a task");
    bench.encode(first, &items);
    group.bench_function("run in place", |b| b.iter(|| black_box(bench.run())));
    group.finish();
}

fn strings(c: &mut Criterion) {
    const ITEMS: usize = 100_000;
    let mut group = c.benchmark_group("string of 24 bytes");
    group.throughput(Throughput::Elements(ITEMS as u64));
    let items = vec!["a string of 24 bytes ....".to_string(); ITEMS];
    group.bench_function("encode", |b| {
        b.iter_batched_ref(
            || Bench::new(text, ITEMS).expect("is a task"),
            |bench| bench.encode(text, &items),
            BatchSize::LargeInput,
        );
    });
    let mut bench = Bench::new(text, ITEMS).expect("is a task");
    bench.encode(text, &items);
    group.bench_function("run in place", |b| b.iter(|| black_box(bench.run())));
    let mut bench = Bench::new(upper, ITEMS).expect("is a task");
    bench.encode(upper, &items);
    bench.run();
    group.bench_function("decode", |b| b.iter(|| black_box(bench.decode(upper))));
    group.finish();
}

fn large(c: &mut Criterion) {
    const LEN: usize = 16 << 20;
    let mut group = c.benchmark_group("16 MiB");
    group.throughput(Throughput::Bytes(LEN as u64));
    group.sample_size(20);
    let data = vec![7u8; LEN];
    group.bench_function("memcpy", |b| b.iter(|| black_box(data.clone())));
    group.bench_function("encode into fresh pages", |b| {
        b.iter_batched_ref(
            || Bench::new(bytes, 1).expect("is a task"),
            |bench| bench.encode(bytes, [&data]),
            BatchSize::PerIteration,
        );
    });
    let mut bench = Bench::new(bytes, 1).expect("is a task");
    bench.encode(bytes, [&data]);
    group.bench_function("run borrowed", |b| b.iter(|| black_box(bench.run())));
    let mut bench = Bench::new(owned, 1).expect("is a task");
    bench.encode(owned, [&data]);
    group.bench_function("run by value", |b| b.iter(|| black_box(bench.run())));
    group.finish();
}

criterion_group!(benches, squares, structs, strings, large);
criterion_main!(benches);
