//! Random operations of several processes on one queue, compared with what a queue is: nothing is lost, nothing comes twice,
//! and each taker sees the items of each putter in order.

#![allow(clippy::print_stdout, reason = "seeds are printed")]

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use offspring::{Child, ErrorKind, Message, Queue, View, spawn, task};
use offspring_tests::locks::checked;

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

/// An item that can be known again.
trait Item: Message {
    /// The item `number` of a putter.
    fn new(putter: u32, number: u32) -> Self;

    /// Which one it is; all of it must be there.
    fn known(&self) -> (u32, u32);

    /// The same, read in place.
    fn seen(view: &View<Self>) -> (u32, u32);
}

/// Which putter, which of its items, and bytes that follow from both: written as a message, in a record or in a block.
type Written = (u32, u32, Vec<u8>);

impl Item for Written {
    fn new(putter: u32, number: u32) -> Self {
        (putter, number, bytes(putter, number))
    }

    fn known(&self) -> (u32, u32) {
        assert_eq!(self.2, bytes(self.0, self.1));
        (self.0, self.1)
    }

    fn seen(view: &View<Self>) -> (u32, u32) {
        (view.0.to_native(), view.1.to_native(), view.2.to_vec()).known()
    }
}

/// An item that is nothing but its bytes, and copied.
type Copied = [u32; 11];

impl Item for Copied {
    fn new(putter: u32, number: u32) -> Self {
        std::array::from_fn(|at| if at == 0 { putter } else { number.wrapping_mul(at as u32) })
    }

    fn known(&self) -> (u32, u32) {
        assert_eq!(*self, Copied::new(self[0], self[1]));
        (self[0], self[1])
    }

    fn seen(view: &View<Self>) -> (u32, u32) {
        view.map(|word| word.to_native()).known()
    }
}

/// Puts for a while, in all ways. How many.
fn put<T: Item>(queue: &Queue<T>, putter: u32, most: u32, seed: u64) -> u32 {
    let mut random = Random(seed);
    let mut next = 0;
    while next < most {
        let item = T::new(putter, next);
        let put = match random.below(4) {
            0 => queue.put(&item),
            1 => queue.try_put(&item),
            2 => queue.put_timeout(&item, Duration::from_micros(random.below(300))),
            _ => {
                let items: Vec<T> =
                    (next..most.min(next + random.below(9) as u32)).map(|it| T::new(putter, it)).collect();
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
fn take<T: Item>(queue: &Queue<T>, seed: u64) -> Log {
    let mut random = Random(seed);
    let mut log = Log::new();
    loop {
        let taken = match random.below(5) {
            0 => queue.get().map(|item| vec![item.known()]),
            1 => queue.try_get().map(|item| vec![item.known()]),
            2 => queue.get_timeout(Duration::from_micros(random.below(300))).map(|item| vec![item.known()]),
            3 => queue.take().map(|view| vec![T::seen(&view)]),
            _ => queue.get_many(1 + random.below(8) as usize).map(|items| items.iter().map(T::known).collect()),
        };
        match taken.map_err(|error| error.kind()) {
            Ok(items) => log.extend(items),
            Err(ErrorKind::Closed) => return log,
            Err(kind) => assert!(matches!(kind, ErrorKind::Empty | ErrorKind::Timeout), "{kind:?}"),
        }
        if random.below(200) == 0 {
            std::thread::sleep(Duration::from_micros(random.below(500)));
        }
    }
}

#[task]
fn put_written(queue: Queue<Written>, putter: u32, most: u32, seed: u64) -> u32 {
    put(&queue, putter, most, seed)
}

#[task]
fn take_written(queue: Queue<Written>, seed: u64) -> Log {
    take(&queue, seed)
}

#[task]
fn put_copied(queue: Queue<Copied>, putter: u32, most: u32, seed: u64) -> u32 {
    put(&queue, putter, most, seed)
}

#[task]
fn take_copied(queue: Queue<Copied>, seed: u64) -> Log {
    take(&queue, seed)
}

/// How many items each putter puts.
const EACH: u32 = 1500;

/// One run with random numbers of putters and takers, which the two functions start.
fn run<T: Item>(
    seed: u64,
    start_taker: impl Fn(&Queue<T>, u64) -> Child<Log>,
    start_putter: impl Fn(&Queue<T>, u32, u64) -> Child<u32>,
) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let (putters, takers) = (1 + random.below(3) as u32, 1 + random.below(3) as u32);
    let capacity = [1, 2, 7, 64, 1000][random.below(5) as usize];
    println!("seed {seed}: {putters} put, {takers} take, room for {capacity}");
    let queue = Queue::bounded(capacity).unwrap();
    let mut seeds = std::iter::repeat_with(|| 1 + random.below(u64::MAX - 1));
    let takers: Vec<_> = seeds.by_ref().take(takers as usize).map(|seed| start_taker(&queue, seed)).collect();
    let putters: Vec<_> = (0..putters).zip(seeds).map(|(putter, seed)| start_putter(&queue, putter, seed)).collect();
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

#[test]
fn nothing_is_lost_doubled_or_overtaken_between_several_processes() {
    checked(|| {
        for seed in 1..=6 {
            run(
                seed,
                |queue, seed| spawn(take_written, (queue, seed)).unwrap(),
                |queue, putter, seed| spawn(put_written, (queue, putter, EACH, seed)).unwrap(),
            );
        }
    });
}

#[test]
fn nothing_is_lost_doubled_or_overtaken_of_items_that_are_copied() {
    checked(|| {
        for seed in 11..=16 {
            run(
                seed,
                |queue, seed| spawn(take_copied, (queue, seed)).unwrap(),
                |queue, putter, seed| spawn(put_copied, (queue, putter, EACH, seed)).unwrap(),
            );
        }
    });
}
