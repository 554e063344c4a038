//! What references to objects cost: to clone a handle, to take and drop a reference, to send a handle in a message and read it.
//!
//! `cargo bench -p offspring --bench object --features testing`
#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use offspring::testing::object::TestBox;

fn references(c: &mut Criterion) {
    let it = TestBox::new().expect("a box");
    let outer = TestBox::new().expect("a box");
    c.bench_function("clone and drop a handle", |b| b.iter(|| black_box(it.clone())));
    c.bench_function("take and drop a reference", |b| b.iter(|| it.with_role(1).expect("a reference")));
    c.bench_function("create and destroy an object", |b| b.iter(|| TestBox::new().expect("a box")));
    c.bench_function("lock, store two words, unlock", |b| b.iter(|| it.touch().expect("a lock")));
    c.bench_function("put an empty block in the place of another", |b| b.iter(|| it.put_block(64).expect("a block")));
    c.bench_function("write a message with a handle, in the place of another", |b| {
        b.iter(|| outer.put(&it).expect("a message"));
    });
    c.bench_function("read a handle from a message and drop it", |b| {
        b.iter(|| outer.get::<TestBox>().expect("a handle"))
    });
}

criterion_group!(benches, references);
criterion_main!(benches);
