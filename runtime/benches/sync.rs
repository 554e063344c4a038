//! Locks that nobody else wants, and one that two threads want.
#![allow(missing_docs, reason = "criterion's macros")]

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use offspring::sync::{Barrier, Condvar, Event, Mutex, Once, ReentrantMutex, RwLock, Semaphore};

fn uncontended(c: &mut Criterion) {
    let mut group = c.benchmark_group("uncontended");
    let mutex = Mutex::new(0u64).expect("a mutex");
    group.bench_function("Mutex lock+unlock", |b| b.iter(|| drop(black_box(mutex.lock()))));
    let std = std::sync::Mutex::new(0u64);
    group.bench_function("std::sync::Mutex lock+unlock", |b| b.iter(|| drop(black_box(std.lock()))));
    let reentrant = ReentrantMutex::new().expect("a reentrant mutex");
    group.bench_function("ReentrantMutex lock+unlock", |b| b.iter(|| drop(black_box(reentrant.lock()))));
    let rwlock = RwLock::new(0u64).expect("a rwlock");
    group.bench_function("RwLock read+unlock", |b| b.iter(|| drop(black_box(rwlock.read()))));
    group.bench_function("RwLock write+unlock", |b| b.iter(|| drop(black_box(rwlock.write()))));
    let semaphore = Semaphore::new(2).expect("a semaphore");
    group.bench_function("Semaphore acquire+release", |b| b.iter(|| drop(black_box(semaphore.acquire()))));
    let event = Event::new().expect("an event");
    group.bench_function("Event set+clear", |b| b.iter(|| (event.set(), event.clear())));
    let condvar = Condvar::new().expect("a condition");
    group.bench_function("Condvar notify_one, nobody waits", |b| b.iter(|| condvar.notify_one()));
    let barrier = Barrier::new(1).expect("a barrier");
    group.bench_function("Barrier of one", |b| b.iter(|| barrier.wait()));
    let once = Once::new().expect("a once");
    group.bench_function("Once, done", |b| b.iter(|| once.call_once(|| ())));
    group.finish();
}

/// Two threads that do nothing but increment a counter under the lock: time per increment.
fn contended(c: &mut Criterion) {
    let mutex = Mutex::new(0u64).expect("a mutex");
    let work = |times: u64| (0..times).for_each(|_| *mutex.lock().expect("the lock") += 1);
    c.bench_function("contended/Mutex increment, 2 threads", |b| {
        b.iter_custom(|times| {
            let start = Instant::now();
            std::thread::scope(|scope| {
                scope.spawn(|| work(times.div_ceil(2)));
                work(times / 2);
            });
            start.elapsed()
        });
    });
}

criterion_group!(benches, uncontended, contended);
criterion_main!(benches);
