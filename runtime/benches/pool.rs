//! What a pool adds to the work itself.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use offspring::{Pool, task};

const WORKERS: usize = 2;

#[task]
fn square(x: u64) -> u64 {
    x.wrapping_mul(x)
}

/// Spins for so many nanoseconds.
#[task]
fn spin(nanoseconds: u64) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_nanos(nanoseconds) {}
}

#[task]
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, &byte| sum.wrapping_add(u64::from(byte)))
}

#[task]
fn fill(len: usize) -> Vec<u8> {
    vec![7; len]
}

/// Computes for so many rounds: the same work however many share a CPU.
#[task]
fn compute(rounds: u64) -> u64 {
    (0..rounds).fold(7, |x, round| black_box(x.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ round))
}

fn pool() -> Pool {
    Pool::builder().workers(WORKERS).build().expect("a pool of two")
}

/// How many rounds of `compute` take so long.
fn rounds_of(time: Duration) -> u64 {
    const ROUNDS: u64 = 2_000_000;
    let took = (0..5).map(|_| {
        let start = Instant::now();
        black_box(compute(black_box(ROUNDS)));
        start.elapsed()
    });
    let took = took.min().unwrap_or(time);
    (ROUNDS as f64 * time.as_secs_f64() / took.as_secs_f64()) as u64
}

fn tiny_tasks(criterion: &mut Criterion) {
    const N: u64 = 1_000_000;
    let pool = pool();
    let mut group = criterion.benchmark_group("tiny");
    group.throughput(Throughput::Elements(N)).sample_size(10);
    group.bench_function("map", |bencher| bencher.iter(|| pool.map(square, 0..N).expect("squares")));
    group.bench_function("map, chunk 1", |bencher| {
        bencher.iter(|| pool.batch().chunk_size(1).map(square, 0..N).expect("squares"));
    });
    group.bench_function("imap", |bencher| bencher.iter(|| pool.imap(square, 0..N).filter(Result::is_ok).count()));
    group.finish();
}

fn latency(criterion: &mut Criterion) {
    let pool = pool();
    let mut group = criterion.benchmark_group("latency");
    group.bench_function("map of 2", |bencher| bencher.iter(|| pool.map(square, [2, 3]).expect("squares")));
    group.bench_function("call", |bencher| bencher.iter(|| pool.call(square, black_box(7)).expect("a square")));
    group.finish();
}

fn short_tasks(criterion: &mut Criterion) {
    const N: usize = 10_000;
    let pool = pool();
    let mut group = criterion.benchmark_group("10 us tasks");
    group.throughput(Throughput::Elements(N as u64)).sample_size(10);
    group.bench_function("map", |bencher| bencher.iter(|| pool.map(spin, [10_000; N]).expect("spun")));
    group.bench_function("map, chunk 1", |bencher| {
        bencher.iter(|| pool.batch().chunk_size(1).map(spin, [10_000; N]).expect("spun"));
    });
    group.finish();
}

/// Many more workers than CPUs: the second is to be within a tenth of the first.
fn many_workers(criterion: &mut Criterion) {
    const N: usize = 1000;
    let rounds = rounds_of(Duration::from_millis(1));
    let mut group = criterion.benchmark_group("1 ms tasks");
    group.throughput(Throughput::Elements(N as u64)).sample_size(10);
    for workers in [2, 64] {
        let pool = Pool::builder().workers(workers).build().expect("a pool");
        pool.map(compute, vec![1; N]).expect("all workers have started");
        group.bench_function(format!("{workers} workers"), |bencher| {
            bencher.iter(|| pool.batch().chunk_size(1).map(compute, vec![rounds; N]).expect("computed"));
        });
    }
    group.finish();
}

fn large_payloads(criterion: &mut Criterion) {
    const LEN: usize = 16 << 20;
    const N: usize = 8;
    let pool = pool();
    let arrays = vec![vec![1; LEN]; N];
    let mut group = criterion.benchmark_group("16 MiB");
    group.throughput(Throughput::Bytes((LEN * N) as u64)).sample_size(10);
    group.bench_function("arguments", |bencher| bencher.iter(|| pool.map(sum, &arrays).expect("sums")));
    group.bench_function("results", |bencher| bencher.iter(|| pool.map(fill, [LEN; N]).expect("arrays")));
    group.finish();
}

criterion_group!(benches, tiny_tasks, latency, short_tasks, many_workers, large_payloads);
criterion_main!(benches);
