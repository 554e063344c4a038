//! Random operations of several processes on one queue, compared with what a queue is: nothing is lost, nothing comes twice,
//! and each taker sees the items of each putter in order.

#![allow(clippy::print_stdout, reason = "seeds are printed")]

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use offspring::{Child, ErrorKind, Queue, spawn, task};
use offspring_tests::locks::checked;

/// Which putter, which of its items, and bytes that follow from both.
type Item = (u32, u32, Vec<u8>);
/// Which putter, and which of its items.
type Log = Vec<(u32, u32)>;

struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

/// Lengths on both sides of what lies in the queue itself.
fn bytes(putter: u32, number: u32) -> Vec<u8> {
    let mut random = Random(u64::from(putter + 1) << 32 | u64::from(number + 1));
    let len = if random.below(10) == 0 { random.below(6000) } else { random.below(100) };
    (0..len).map(|at| at as u8 ^ number as u8 ^ putter as u8).collect()
}

fn item(putter: u32, number: u32) -> Item {
    (putter, number, bytes(putter, number))
}

/// Puts for a while, in all ways. How many.
#[task]
fn put(queue: Queue<Item>, putter: u32, most: u32, seed: u64) -> u32 {
    let mut random = Random(seed);
    let mut next = 0;
    while next < most {
        let put = match random.below(4) {
            0 => queue.put(&item(putter, next)),
            1 => queue.try_put(&item(putter, next)),
            2 => queue.put_timeout(&item(putter, next), Duration::from_micros(random.below(300))),
            _ => {
                let items: Vec<Item> =
                    (next..most.min(next + random.below(9) as u32)).map(|it| item(putter, it)).collect();
                next += queue.put_all(&items).unwrap() as u32;
                continue;
            }
        };
        match put.map_err(|error| error.kind()) {
            Ok(()) => next += 1,
            // Nothing was put.
            Err(kind) => assert!(matches!(kind, ErrorKind::Full | ErrorKind::Timeout), "{kind:?}"),
        }
        if random.below(200) == 0 {
            std::thread::sleep(Duration::from_micros(random.below(500)));
        }
    }
    next
}

/// Takes until the queue is closed and empty, in all ways.
#[task]
fn take(queue: Queue<Item>, seed: u64) -> Log {
    let mut random = Random(seed);
    let mut log = Log::new();
    loop {
        let taken = match random.below(5) {
            0 => queue.get().map(|item| vec![item]),
            1 => queue.try_get().map(|item| vec![item]),
            2 => queue.get_timeout(Duration::from_micros(random.below(300))).map(|item| vec![item]),
            3 => queue.take().map(|view| vec![(view.0.to_native(), view.1.to_native(), view.2.to_vec())]),
            _ => queue.get_many(1 + random.below(8) as usize),
        };
        match taken.map_err(|error| error.kind()) {
            Ok(items) => {
                for (putter, number, text) in items {
                    assert_eq!(text, bytes(putter, number));
                    log.push((putter, number));
                }
            }
            Err(ErrorKind::Closed) => return log,
            Err(kind) => assert!(matches!(kind, ErrorKind::Empty | ErrorKind::Timeout), "{kind:?}"),
        }
        if random.below(200) == 0 {
            std::thread::sleep(Duration::from_micros(random.below(500)));
        }
    }
}

#[test]
fn nothing_is_lost_doubled_or_overtaken_between_several_processes() {
    const EACH: u32 = 1500;
    checked(|| {
        for seed in 1..=6u64 {
            let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let (putters, takers) = (1 + random.below(3) as u32, 1 + random.below(3) as u32);
            let capacity = [1, 2, 7, 64, 1000][random.below(5) as usize];
            println!("seed {seed}: {putters} put, {takers} take, room for {capacity}");
            let queue = Queue::bounded(capacity).unwrap();
            let takers: Vec<Child<Log>> =
                (0..takers).map(|_| spawn(take, (&queue, 1 + random.below(u64::MAX - 1))).unwrap()).collect();
            let putters: Vec<Child<u32>> = (0..putters)
                .map(|putter| spawn(put, (&queue, putter, EACH, 1 + random.below(u64::MAX - 1))).unwrap())
                .collect();
            let put: Vec<u32> = putters.into_iter().map(|putter| putter.join().unwrap()).collect();
            queue.close().unwrap();
            let mut all = HashSet::new();
            for taker in takers {
                let mut last = HashMap::new();
                for (putter, number) in taker.join().unwrap() {
                    assert!(all.insert((putter, number)), "seed {seed}: {number} of {putter} came twice");
                    let before = last.insert(putter, number);
                    assert!(before < Some(number), "seed {seed}: {number} of {putter} came after {before:?}");
                }
            }
            assert_eq!(all.len() as u32, put.iter().sum::<u32>(), "seed {seed}: items were lost");
            assert!(queue.is_empty());
        }
    });
}
