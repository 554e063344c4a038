//! Queues: one thread that puts and takes, and two threads.
#![allow(missing_docs, reason = "criterion's macros")]

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use offspring::{JoinableQueue, Queue};

fn alone(c: &mut Criterion) {
    let mut group = c.benchmark_group("put and get, one thread");
    let words: Queue<[u64; 8]> = Queue::bounded(1024).expect("a queue");
    group.bench_function("64 B", |b| {
        b.iter(|| words.put(black_box(&[7; 8])).and_then(|()| words.get()).expect("an item"))
    });
    for len in [1 << 10, 1 << 14, 1 << 20] {
        let queue: Queue<Vec<u8>> = Queue::bounded(1024).expect("a queue");
        let item = vec![7; len];
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(format!("Vec<u8> of {len} B, read in place"), |b| {
            b.iter(|| queue.put(black_box(&item)).and_then(|()| queue.take()).expect("an item"))
        });
    }
    group.throughput(Throughput::Elements(1));
    let jobs: JoinableQueue<[u64; 8]> = JoinableQueue::bounded(1024).expect("a queue");
    group.bench_function("JoinableQueue, 64 B, done", |b| {
        b.iter(|| {
            let job = jobs.put(black_box(&[7; 8])).and_then(|()| jobs.take()).expect("a job");
            job.done().expect("it is done");
        })
    });
    group.finish();
}

fn two_threads(c: &mut Criterion) {
    let mut group = c.benchmark_group("from one thread to another");
    let queue: Queue<[u64; 8]> = Queue::bounded(1024).expect("a queue");
    group.bench_function("64 B", |b| {
        b.iter_custom(|times| {
            let start = Instant::now();
            std::thread::scope(|scope| {
                scope.spawn(|| (0..times).for_each(|number| queue.put(&[number; 8]).expect("room")));
                (0..times).for_each(|number| assert_eq!(queue.get().expect("an item")[0], number));
            });
            start.elapsed()
        });
    });
    group.finish();
}

criterion_group!(benches, alone, two_threads);
criterion_main!(benches);
