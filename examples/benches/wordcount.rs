//! Counting words: the flow of the example `wordcount` against one thread with the same tokenizer and the same map, over files in the page cache.
//!
//! `cargo bench -p offspring-examples --bench wordcount`. The corpus is made up: 3,000 files of 4 to 60 KB with words as frequent as words
//! are, some 50,000 different ones. The throughput is that of the files' bytes. First it prints what CPU time both take, all processes together: that
//! holds on a busy machine too.
#![allow(clippy::print_stdout, reason = "a program")]

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use offspring::Pool;
use offspring_examples::wordcount::{Piece, count_alone, read_text, sum, words_of};
use offspring_tests::kill::Random;

const FILES: u64 = 3_000;
const WORDS: u64 = 50_000;

/// Word number `rank` of a made-up language: the frequent ones are short.
fn word(rank: u64, text: &mut String) {
    let mut left = rank + 3;
    while left > 0 {
        text.push(char::from(b'a' + (left % 26) as u8));
        left /= 13;
    }
}

fn corpus(dir: &Path) -> (Vec<PathBuf>, u64) {
    let mut random = Random::new(7);
    let mut bytes = 0;
    let mut file = |number: u64| {
        let path = dir.join(number.to_string());
        let len = 4_000 + random.below(56_000) as usize;
        let mut text = String::with_capacity(len + 20);
        while text.len() < len {
            // Zipf's law, roughly: a word's frequency is in proportion to 1 / rank.
            let exponent = random.below(1 << 20) as f64 / f64::from(1 << 20);
            let rank = (WORDS as f64).powf(exponent) as u64;
            word(rank, &mut text);
            text.push(if random.below(9) == 0 { '\n' } else { ' ' });
        }
        fs::write(&path, &text).expect("room for the corpus");
        bytes += text.len() as u64;
        path
    };
    let paths = (0..FILES).map(&mut file).collect();
    (paths, bytes)
}

fn count_by_flow(pool: &Pool, paths: &[PathBuf]) -> usize {
    let pieces = paths.iter().map(|path| Piece { path: path.clone(), range: None });
    pool.flow(pieces).try_map(read_text).flat_map(words_of).reduce_by_key(sum).expect("readable files").len()
}

/// Seconds of CPU that the threads of this process and of the pool's workers have had.
fn cpu_of(pool: &Pool) -> f64 {
    let workers = pool.workers().into_iter().map(|worker| worker.pid);
    let nanos = workers.chain([std::process::id()]).map(|pid| {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("a running process");
        let had = |thread: &Path| -> Option<u64> {
            fs::read_to_string(thread.join("schedstat")).ok()?.split(' ').next()?.parse().ok()
        };
        threads.flatten().filter_map(|thread| had(&thread.path())).sum::<u64>()
    });
    nanos.sum::<u64>() as f64 * 1e-9
}

/// Prints what CPU time the loop and the flow take.
fn print_cpu(pool: &Pool, paths: &[PathBuf], bytes: u64) {
    const RUNS: u32 = 5;
    let per_run = |run: &dyn Fn() -> usize| {
        // The first runs teach the pool how long an item takes.
        (0..2).for_each(|_| {
            black_box(run());
        });
        let before = cpu_of(pool);
        (0..RUNS).for_each(|_| {
            black_box(run());
        });
        (cpu_of(pool) - before) / f64::from(RUNS)
    };
    let alone = per_run(&|| count_alone(paths).expect("readable files").len());
    let flow = per_run(&|| count_by_flow(pool, paths));
    println!(
        "CPU time for {bytes} bytes: one thread {alone:.3} s, flow {flow:.3} s in all its processes, {:.2} times as much",
        flow / alone
    );
}

fn wordcount(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let (paths, bytes) = corpus(dir.path());
    let pool = Pool::new().expect("a pool");
    let alone = count_alone(&paths).expect("readable files");
    assert_eq!(count_by_flow(&pool, &paths), alone.len());
    print_cpu(&pool, &paths, bytes);
    let mut group = c.benchmark_group("wordcount");
    group.throughput(Throughput::Bytes(bytes)).sample_size(10);
    group.bench_function("one thread", |b| b.iter(|| black_box(count_alone(&paths)).expect("readable files").len()));
    group.bench_function("flow", |b| b.iter(|| count_by_flow(&pool, &paths)));
    group.finish();
}

criterion_group!(benches, wordcount);
criterion_main!(benches);
