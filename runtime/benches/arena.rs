//! What an allocation in the arena costs: small blocks, large warm blocks, one process and two.
#![allow(unsafe_code, missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use offspring::testing::{Arena, Block};

const LEN: usize = 4 << 30;

fn arena() -> Arena {
    Arena::create(LEN, 1 << 30).expect("an arena")
}

fn timed(body: impl FnOnce()) -> Duration {
    let start = Instant::now();
    body();
    start.elapsed()
}

fn alone(c: &mut Criterion) {
    let arena = arena();
    for (name, len) in [("64 B", 64), ("1 KiB", 1024), ("32 KiB", 32 << 10), ("1 MiB", 1 << 20), ("16 MiB", 16 << 20)] {
        c.bench_function(&format!("alloc + free {name}"), |b| b.iter_custom(|times| timed(|| arena.churn(len, times))));
    }
    let touch = |block: &Block| {
        // SAFETY: the block is ours.
        unsafe { block.as_ptr().write_bytes(1, block.capacity()) };
    };
    for (name, len) in [("1 MiB", 1 << 20), ("16 MiB", 16 << 20)] {
        c.bench_function(&format!("alloc + write + free {name}, warm"), |b| {
            b.iter(|| touch(&arena.alloc(len).expect("a block")));
        });
    }
    c.bench_function("alloc 1000 x 64 B, then free", |b| {
        let mut blocks = Vec::with_capacity(1000);
        b.iter(|| {
            blocks.extend((0..1000).map(|_| arena.alloc(64).expect("a block")));
            blocks.clear();
        });
    });
    c.bench_function("alloc + adopt, 64 B x 100, freed with the parent", |b| {
        b.iter(|| {
            let parent = arena.alloc(64).expect("a block");
            for _ in 0..100 {
                arena.alloc(64).and_then(|block| block.adopt_into(parent.id())).expect("a child");
            }
        });
    });
    c.bench_function("malloc + free 64 B, to compare", |b| {
        b.iter(|| _ = black_box(Vec::<u8>::with_capacity(black_box(64)).as_ptr()))
    });
}

/// The same from two processes at once: what the other one costs.
fn contended(c: &mut Criterion) {
    let arena = arena();
    for (name, len) in [("64 B", 64), ("1 MiB", 1 << 20)] {
        c.bench_function(&format!("alloc + free {name}, two processes"), |b| {
            b.iter_custom(|count| {
                let other = arena.reserve().expect("a slot");
                // SAFETY: this process has one thread here; the child uses its own part of the arena until it is killed.
                let pid = unsafe { libc::fork() };
                if pid == 0 {
                    let mine = arena.attach(other).expect("a second member");
                    loop {
                        mine.churn(len, 1000);
                    }
                }
                std::thread::sleep(Duration::from_millis(20));
                let elapsed = timed(|| arena.churn(len, count));
                // SAFETY: our child, not reaped yet.
                unsafe {
                    libc::kill(pid, libc::SIGKILL);
                    libc::waitpid(pid, std::ptr::null_mut(), 0);
                }
                arena.audit(other, false).expect("an audit");
                arena.release(other);
                elapsed
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(300));
    targets = alone, contended
}
criterion_main!(benches);
