//! W2 to W4: the pool's throughput and latency.

use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use offspring::{Pool, task};

use crate::line::{figure, percentile, time_each};

const WORKERS: usize = 2;

#[task]
fn square(x: u64) -> u64 {
    x.wrapping_mul(x)
}

/// Spins until this thread's own CPU clock has advanced by so many nanoseconds.
#[task]
fn burn(nanoseconds: u64) -> u64 {
    let start = thread_cpu_time();
    while thread_cpu_time() - start < Duration::from_nanos(nanoseconds) {}
    nanoseconds
}

#[task]
fn sum(bytes: &[u8]) -> u64 {
    bytes
        .chunks_exact(8)
        .fold(0, |sum, word| sum.wrapping_add(word.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b))))
}

#[task]
fn fill(i: u64) -> Vec<u8> {
    vec![i as u8 + 1; PAYLOAD]
}

fn thread_cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

pub(crate) fn w2() -> Result<(), Box<dyn Error>> {
    const N: u64 = 1_000_000;
    let peer = "offspring Pool::map";
    let pool = Pool::builder().workers(WORKERS).build()?;
    let check = |squares: &[u64]| {
        assert_eq!(squares.len() as u64, N);
        assert!((0..N).zip(squares).all(|(x, &y)| x.wrapping_mul(x) == y));
    };

    check(&pool.map(square, 0..N)?);
    let start = Instant::now();
    let squares = pool.map(square, 0..N)?;
    let time = start.elapsed();
    check(&squares);
    figure("W2", "default chunk", peer, time.as_nanos() as f64 / N as f64, "ns/task", N as usize)?;

    let in_place = "offspring Pool::map_in_place (results read in shared memory)";
    drop(pool.map_in_place(square, 0..N)?);
    let start = Instant::now();
    let squares = pool.map_in_place(square, 0..N)?;
    let time = start.elapsed();
    assert!(squares.len() as u64 == N && (0..N).zip(squares.iter()).all(|(x, y)| x.wrapping_mul(x) == *y));
    drop(squares);
    figure("W2", "default chunk", in_place, time.as_nanos() as f64 / N as f64, "ns/task", N as usize)?;

    check(&pool.batch().chunk_size(1).map(square, 0..N)?);
    let start = Instant::now();
    let squares = pool.batch().chunk_size(1).map(square, 0..N)?;
    let time = start.elapsed();
    check(&squares);
    figure("W2", "chunk 1", peer, time.as_nanos() as f64 / N as f64, "ns/task", N as usize)?;

    let pair = || pool.map(square, 2..4).map(|squares| assert_eq!(squares, [4, 9]));
    let times = time_each(2000, pair)?;
    figure("W2", "map of 2 tasks, whole call", peer, percentile(&times, 0.5), "us", times.len())?;

    let mut times = Vec::new();
    for _ in 0..300 {
        // Long enough for everybody to be asleep.
        thread::sleep(Duration::from_millis(3));
        times.extend(time_each(1, pair)?);
    }
    times.sort_by(f64::total_cmp);
    let peer = "offspring Pool::map, workers asleep before";
    figure("W2", "map of 2 tasks, whole call", peer, percentile(&times, 0.5), "us", times.len())?;
    Ok(())
}

pub(crate) fn w3() -> Result<(), Box<dyn Error>> {
    let peer = "offspring Pool::map";
    let pool = Pool::builder().workers(WORKERS).build()?;
    pool.map(burn, [1000; 100])?;
    for (name, nanoseconds, n) in [("10us", 10_000, 100_000), ("1ms", 1_000_000, 1000)] {
        for chunk in [None, Some(1)] {
            let start = Instant::now();
            let done = match chunk {
                None => pool.map(burn, vec![nanoseconds; n])?,
                Some(size) => pool.batch().chunk_size(size).map(burn, vec![nanoseconds; n])?,
            };
            let time = start.elapsed();
            assert_eq!(done, vec![nanoseconds; n]);
            let efficiency = (n as u64 * nanoseconds) as f64 / WORKERS as f64 / time.as_nanos() as f64;
            let case = format!("{name}, {}", if chunk.is_some() { "chunk 1" } else { "default chunk" });
            figure("W3", &case, peer, efficiency, "eff", n)?;
        }
    }
    Ok(())
}

const PAYLOAD: usize = 16 << 20;

pub(crate) fn w4() -> Result<(), Box<dyn Error>> {
    const N: usize = 64;
    let pool = Pool::builder().workers(WORKERS).build()?;
    let arrays: Vec<Vec<u8>> = (0..N).map(|i| vec![i as u8 + 1; PAYLOAD]).collect();
    let expected = |i: usize| u64::from_le_bytes([i as u8 + 1; 8]).wrapping_mul(PAYLOAD as u64 / 8);
    let rate = |time: Duration| (N * PAYLOAD) as f64 / time.as_nanos() as f64;

    pool.batch().chunk_size(1).map(sum, &arrays[..4])?;
    let start = Instant::now();
    let sums = pool.batch().chunk_size(1).map(sum, &arrays)?;
    let time = start.elapsed();
    assert!(sums.iter().enumerate().all(|(i, &sum)| sum == expected(i)));
    figure("W4", "args 16 MiB", "offspring Pool::map, &[u8] (copied in first)", rate(time), "GB/s", N)?;
    drop(arrays);

    pool.batch().chunk_size(1).map(fill, 0..4)?;
    let start = Instant::now();
    let filled = pool.batch().chunk_size(1).map(fill, 0..N as u64)?;
    let time = start.elapsed();
    assert!(filled.iter().enumerate().all(|(i, array)| array.len() == PAYLOAD && array[PAYLOAD - 1] == i as u8 + 1));
    figure("W4", "results 16 MiB", "offspring Pool::map, Vec<u8>", rate(time), "GB/s", N)?;
    drop(filled);

    drop(pool.batch().chunk_size(1).map_in_place(fill, 0..4)?);
    let start = Instant::now();
    let filled = pool.batch().chunk_size(1).map_in_place(fill, 0..N as u64)?;
    let time = start.elapsed();
    assert!(filled.iter().enumerate().all(|(i, array)| array.len() == PAYLOAD && array[PAYLOAD - 1] == i as u8 + 1));
    let peer = "offspring Pool::map_in_place, Vec<u8> (read in shared memory)";
    figure("W4", "results 16 MiB", peer, rate(time), "GB/s", N)?;
    Ok(())
}
