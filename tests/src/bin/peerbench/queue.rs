//! W5 and W6: queues and pipes between processes.

use std::error::Error;
use std::time::{Duration, Instant};

use offspring::{Queue, pipe, spawn, task};

use crate::line::{figure, percentile, time_each};

type Words = [u64; 8];

/// Takes `n` items, each with the next number, then says so.
#[task]
fn take_words(queue: Queue<Words>, done: Queue<u64>, n: u64) {
    ready(&done);
    for number in 0..n {
        assert_eq!(get(&queue)[0], number);
    }
    say(&done, n);
}

#[task]
fn take_bytes(queue: Queue<Vec<u8>>, done: Queue<u64>, n: u64) {
    ready(&done);
    for number in 0..n {
        let bytes = match queue.get() {
            Ok(bytes) => bytes,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(bytes[..8], number.to_le_bytes());
    }
    say(&done, n);
}

#[task]
fn view_bytes(queue: Queue<Vec<u8>>, done: Queue<u64>, n: u64) {
    ready(&done);
    for number in 0..n {
        let bytes = match queue.take() {
            Ok(bytes) => bytes,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(bytes[..8], number.to_le_bytes());
        if bytes.len() >= 1 << 20 {
            std::hint::black_box(sum(&bytes));
        }
    }
    say(&done, n);
}

fn sum(bytes: &[u8]) -> u64 {
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().fold(0, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)))
}

#[task]
fn take_until_end(queue: Queue<Words>) -> u64 {
    let mut taken = 0;
    while get(&queue)[0] != u64::MAX {
        taken += 1;
    }
    taken
}

#[task]
fn put_words(queue: Queue<Words>, n: u64) {
    for number in 0..n {
        put(&queue, &[number; 8]);
    }
}

#[task]
fn echo(end: pipe::End<Words, Words>) {
    while let Ok(words) = end.recv() {
        if end.send(&words).is_err() {
            break;
        }
    }
}

#[task]
fn echo_spinning(end: pipe::End<Words, Words>) {
    while let Some(words) = recv_spinning(&end) {
        if end.send(&words).is_err() {
            break;
        }
    }
}

fn recv_spinning(end: &pipe::End<Words, Words>) -> Option<Words> {
    loop {
        match end.try_recv() {
            Ok(words) => return Some(words),
            Err(offspring::QueueError::Empty) => std::hint::spin_loop(),
            Err(_) => return None,
        }
    }
}

fn put(queue: &Queue<Words>, words: &Words) {
    if let Err(error) = queue.put(words) {
        panic!("{error}");
    }
}

fn get(queue: &Queue<Words>) -> Words {
    match queue.get() {
        Ok(words) => words,
        Err(error) => panic!("{error}"),
    }
}

fn ready(done: &Queue<u64>) {
    say(done, 0);
}

fn say(done: &Queue<u64>, n: u64) {
    if let Err(error) = done.put(&n) {
        panic!("{error}");
    }
}

pub(crate) fn w5() -> Result<(), Box<dyn Error>> {
    let peer = "offspring Queue";
    let rate = |n: u64, time: Duration| n as f64 / time.as_secs_f64();

    let n = 4_000_000;
    let (queue, done) = (Queue::bounded(1024)?, Queue::unbounded()?);
    let child = spawn(take_words, (&queue, &done, n))?;
    done.get()?;
    let (start, mut source) = (Instant::now(), [7; 8]);
    for number in 0..n {
        source[0] = number;
        queue.put(std::hint::black_box(&source))?;
    }
    assert_eq!(done.get()?, n);
    let time = start.elapsed();
    child.join()?;
    figure("W5", "1P1C 64 B", peer, rate(n, time), "msg/s", n as usize)?;

    for (name, len, n, view) in
        [("1 KiB", 1 << 10, 1_000_000, false), ("1 KiB", 1 << 10, 1_000_000, true), ("1 MiB", 1 << 20, 3000, true)]
    {
        let (queue, done) = (Queue::bounded(if len == 1 << 20 { 8 } else { 1024 })?, Queue::unbounded()?);
        let child = if view { spawn(view_bytes, (&queue, &done, n))? } else { spawn(take_bytes, (&queue, &done, n))? };
        done.get()?;
        let mut source = vec![7; len];
        let start = Instant::now();
        for number in 0..n {
            source[..8].copy_from_slice(&number.to_le_bytes());
            queue.put(&source)?;
        }
        assert_eq!(done.get()?, n);
        let time = start.elapsed();
        child.join()?;
        let peer = if view { "offspring Queue, read in place" } else { peer };
        figure("W5", &format!("1P1C {name}"), peer, rate(n, time), "msg/s", n as usize)?;
        if len == 1 << 20 {
            let bytes = rate(n * len as u64, time) / 1e9;
            figure("W5", "1P1C 1 MiB bytes", peer, bytes, "GB/s", n as usize)?;
        }
    }

    let n = 2_000_000;
    let queue = Queue::bounded(1024)?;
    let start = Instant::now();
    let takers = [spawn(take_until_end, &queue)?, spawn(take_until_end, &queue)?];
    let putters = [spawn(put_words, (&queue, n / 2))?, spawn(put_words, (&queue, n / 2))?];
    for putter in putters {
        putter.join()?;
    }
    queue.put_all([[u64::MAX; 8]; 2])?;
    let mut taken = 0;
    for taker in takers {
        taken += taker.join()?;
    }
    let time = start.elapsed();
    assert_eq!(taken, n);
    figure("W5", "2P2C 64 B", peer, rate(n, time), "msg/s", n as usize)?;
    Ok(())
}

pub(crate) fn w6() -> Result<(), Box<dyn Error>> {
    const N: usize = 50_000;
    let (mine, theirs) = pipe::duplex::<Words, Words>()?;
    let child = spawn(echo, &theirs)?;
    let mut number = 0;
    let mut trip = || -> Result<(), Box<dyn Error>> {
        number += 1;
        mine.send(&[number; 8])?;
        assert_eq!(mine.recv()?[0], number);
        Ok(())
    };
    time_each(1000, &mut trip)?;
    let times = time_each(N, &mut trip)?;
    let peer = "offspring pipe::duplex, bounded spin before sleeping";
    figure("W6", "blocking", peer, percentile(&times, 0.5), "us", N)?;
    figure("W6", "blocking-p99", peer, percentile(&times, 0.99), "us", N)?;
    child.kill()?;

    let (mine, theirs) = pipe::duplex::<Words, Words>()?;
    let child = spawn(echo_spinning, &theirs)?;
    let mut trip = || -> Result<(), Box<dyn Error>> {
        number += 1;
        mine.send(&[number; 8])?;
        assert_eq!(recv_spinning(&mine).map(|words| words[0]), Some(number));
        Ok(())
    };
    time_each(1000, &mut trip)?;
    let times = time_each(N, &mut trip)?;
    let peer = "offspring pipe::duplex, try_recv";
    figure("W6", "spinning", peer, percentile(&times, 0.5), "us", N)?;
    figure("W6", "spinning-p99", peer, percentile(&times, 0.99), "us", N)?;
    child.kill()?;
    Ok(())
}
