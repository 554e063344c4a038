//! What a stage of a flow costs: the same chain as a flow, as a rayon iterator and as a plain loop, with one stage and with four.
//!
//! `cargo bench -p offspring-examples --bench flow`. Times are per run over a million items; the difference between the chains, divided by three
//! million, is what a stage costs.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use offspring::{Pool, task};
use rayon::prelude::*;

const ITEMS: u64 = 1_000_000;

#[task]
fn twist(x: u64) -> u64 {
    x.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17) ^ x
}

#[task]
fn is_wanted(x: &u64) -> bool {
    !x.is_multiple_of(8)
}

#[task]
fn mix(x: u64) -> u64 {
    (x ^ (x >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

#[task]
fn sum(a: u64, b: u64) -> u64 {
    a.wrapping_add(b)
}

fn stages(c: &mut Criterion) {
    let pool = Pool::new().expect("a pool");
    // The engine learns how long an item takes.
    for _ in 0..5 {
        black_box(pool.flow(0..ITEMS).map(twist).reduce(sum)).expect("a sum");
        black_box(pool.flow(0..ITEMS).map(twist).filter(is_wanted).map(mix).map(twist).reduce(sum)).expect("a sum");
    }
    let mut group = c.benchmark_group("stages");
    group.throughput(Throughput::Elements(ITEMS)).sample_size(20);
    group.bench_function("flow/1", |b| b.iter(|| pool.flow(0..ITEMS).map(twist).reduce(sum)));
    group.bench_function("flow/4", |b| {
        b.iter(|| pool.flow(0..ITEMS).map(twist).filter(is_wanted).map(mix).map(twist).reduce(sum))
    });
    group.bench_function("rayon/1", |b| b.iter(|| (0..black_box(ITEMS)).into_par_iter().map(twist).reduce(|| 0, sum)));
    group.bench_function("rayon/4", |b| {
        b.iter(|| {
            (0..black_box(ITEMS)).into_par_iter().map(twist).filter(is_wanted).map(mix).map(twist).reduce(|| 0, sum)
        })
    });
    group.bench_function("loop/1", |b| b.iter(|| (0..black_box(ITEMS)).map(twist).reduce(sum)));
    group.bench_function("loop/4", |b| {
        b.iter(|| (0..black_box(ITEMS)).map(twist).filter(is_wanted).map(mix).map(twist).reduce(sum))
    });
    group.finish();
}

criterion_group!(benches, stages);
criterion_main!(benches);
