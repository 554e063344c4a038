//! Pipes: one thread that sends and receives, a stream from one thread to another, and questions with answers.
#![allow(missing_docs, reason = "criterion's macros")]

use std::hint::{black_box, spin_loop};
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use offspring::{QueueError, pipe};

type Words = [u64; 8];

fn alone(c: &mut Criterion) {
    let mut group = c.benchmark_group("send and receive, one thread");
    let (tx, rx) = pipe::channel::<Words>().expect("a pipe");
    group.bench_function("64 B", |b| {
        b.iter(|| tx.send(black_box(&[7; 8])).and_then(|()| rx.recv()).expect("a message"))
    });
    for len in [1 << 10, 1 << 20] {
        let (tx, rx) = pipe::channel::<Vec<u8>>().expect("a pipe");
        let message = vec![7; len];
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(format!("Vec<u8> of {len} B, read in place"), |b| {
            b.iter(|| tx.send(black_box(&message)).and_then(|()| rx.recv_view()).expect("a message"))
        });
    }
    group.finish();
}

fn stream(c: &mut Criterion) {
    let mut group = c.benchmark_group("from one thread to another");
    let (tx, rx) = pipe::bounded::<Words>(1024).expect("a pipe");
    group.bench_function("64 B", |b| {
        b.iter_custom(|times| {
            let start = Instant::now();
            std::thread::scope(|scope| {
                scope.spawn(|| (0..times).for_each(|number| tx.send(&[number; 8]).expect("room")));
                (0..times).for_each(|number| assert_eq!(rx.recv().expect("a message")[0], number));
            });
            start.elapsed()
        });
    });
    group.finish();
}

/// Asks until there is something.
fn insist(end: &pipe::End<Words, Words>) -> Option<Words> {
    loop {
        match end.try_recv() {
            Ok(words) => return Some(words),
            Err(QueueError::Empty) => spin_loop(),
            Err(_) => return None,
        }
    }
}

fn questions(c: &mut Criterion) {
    let mut group = c.benchmark_group("duplex, there and back between two threads");
    let ways: [(&str, fn(&pipe::End<Words, Words>) -> Option<Words>); 2] =
        [("recv", |end| end.recv().ok()), ("try_recv, again and again", insist)];
    for (name, receive) in ways {
        group.bench_function(name, |b| {
            b.iter_custom(|times| {
                let (mine, theirs) = pipe::duplex::<Words, Words>().expect("a pipe");
                std::thread::scope(|scope| {
                    scope.spawn(move || while receive(&theirs).is_some_and(|words| theirs.send(&words).is_ok()) {});
                    let start = Instant::now();
                    for number in 0..times {
                        mine.send(&[number; 8]).expect("somebody there");
                        assert_eq!(receive(&mine).expect("an answer")[0], number);
                    }
                    let time = start.elapsed();
                    drop(mine);
                    time
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, alone, stream, questions);
criterion_main!(benches);
