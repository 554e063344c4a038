//! Queues whose users are killed: nothing that was put is lost or doubled, nobody hangs, nothing is left.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use offspring::{Child, ErrorKind, JoinableQueue, Queue, message, pipe, spawn, task};
use offspring_tests::watchdog;

/// Who put it, which of its items it is, and bytes that make it short, or long enough for a block of its own.
#[message]
#[derive(Debug, Clone, PartialEq)]
struct Item {
    putter: u64,
    number: u64,
    bytes: Vec<u8>,
}

impl Item {
    fn new(putter: u64, number: u64) -> Item {
        let len = if number.is_multiple_of(7) { 5000 } else { number as usize % 100 };
        Item { putter, number, bytes: vec![number as u8; len] }
    }

    fn check(&self) {
        assert_eq!(*self, Item::new(self.putter, self.number));
    }
}

/// Puts items 0, 1, .. until it is killed, and says on the side how many it has put for sure.
#[task]
fn put_for_ever(queue: Queue<Item>, sure: pipe::Sender<(u64, u64)>, putter: u64) {
    for number in 0.. {
        queue.put(&Item::new(putter, number)).unwrap();
        sure.send(&(putter, number)).unwrap();
    }
}

/// Takes items for ever, and hands each on.
#[task]
fn pass_on(from: Queue<Item>, to: Queue<(u64, u64)>) {
    loop {
        let item = from.get().unwrap();
        item.check();
        to.put(&(item.putter, item.number)).unwrap();
    }
}

#[task]
fn work_until_closed(jobs: JoinableQueue<u64>, done: Queue<u64>) {
    while let Ok(job) = jobs.take() {
        done.put(&job.value().unwrap()).unwrap();
        job.done().unwrap();
    }
}

/// Gets an item, then is killed by itself.
#[task]
fn get_and_die(jobs: JoinableQueue<u64>) {
    jobs.get().unwrap();
    offspring::Signal::KILL.raise();
}

fn kill(child: &Child<()>) {
    child.kill().unwrap();
}

#[test]
fn items_of_killed_producers_are_there_up_to_the_last_that_was_put() {
    let _watch = watchdog(Duration::from_secs(120));
    let queue: Queue<Item> = Queue::bounded(50).unwrap();
    let (tx, sure) = pipe::channel::<(u64, u64)>().unwrap();
    let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
    let mut take = |queue: &Queue<Item>| {
        for item in queue.drain() {
            let item = item.unwrap();
            item.check();
            // In order, none twice, none left out.
            let next = seen.entry(item.putter).or_default();
            assert_eq!(item.number, *next, "of putter {}", item.putter);
            *next += 1;
        }
    };
    for putter in 0..30 {
        let mut child = spawn(put_for_ever, (&queue, &tx, putter)).unwrap();
        let begun = Instant::now();
        let mut went_through = 0;
        while begun.elapsed() < Duration::from_millis(5 + putter % 5) || went_through == 0 {
            take(&queue);
            went_through += 1;
        }
        kill(&child);
        child.wait().unwrap();
        take(&queue);
    }
    take(&queue);
    assert!(queue.is_empty());
    // What a producer knew to be put has come.
    for message in sure.try_iter() {
        let (putter, number) = message.unwrap();
        assert!(seen.get(&putter).is_some_and(|next| *next > number), "item {number} of putter {putter} is lost");
    }
    queue.put(&Item::new(99, 7)).unwrap();
    queue.get().unwrap().check();
}

#[test]
fn killed_consumers_lose_at_most_what_each_had_in_hand() {
    let _watch = watchdog(Duration::from_secs(120));
    let (from, to): (Queue<Item>, Queue<(u64, u64)>) = (Queue::unbounded().unwrap(), Queue::unbounded().unwrap());
    let (mut put, mut deaths) = (0, 0);
    let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
    for round in 0..25u64 {
        let children: Vec<Child<()>> = (0..2).map(|_| spawn(pass_on, (&from, &to)).unwrap()).collect();
        for _ in 0..300 {
            from.put(&Item::new(0, put)).unwrap();
            put += 1;
        }
        std::thread::sleep(Duration::from_micros(100 * (round % 7)));
        for mut child in children {
            kill(&child);
            child.wait().unwrap();
            deaths += 1;
        }
    }
    let rest: Vec<Item> = from.drain().map(Result::unwrap).collect();
    for item in rest {
        item.check();
        *seen.entry(item.number).or_default() += 1;
    }
    for passed in to.drain() {
        *seen.entry(passed.unwrap().1).or_default() += 1;
    }
    assert!(seen.values().all(|times| *times == 1), "an item came twice");
    let lost = put - seen.len() as u64;
    assert!(lost <= deaths, "{lost} items are lost in {deaths} deaths");
}

#[test]
fn jobs_of_the_dead_are_handed_out_again_until_all_are_done() {
    let _watch = watchdog(Duration::from_secs(120));
    let (jobs, done): (JoinableQueue<u64>, Queue<u64>) =
        (JoinableQueue::unbounded().unwrap(), Queue::unbounded().unwrap());
    jobs.put_all(0..2000).unwrap();
    while jobs.unfinished() > 500 {
        let children: Vec<Child<()>> = (0..2).map(|_| spawn(work_until_closed, (&jobs, &done)).unwrap()).collect();
        std::thread::sleep(Duration::from_millis(1));
        for mut child in children {
            kill(&child);
            child.wait().unwrap();
        }
    }
    let last = spawn(work_until_closed, (&jobs, &done)).unwrap();
    jobs.join().unwrap();
    jobs.close().unwrap();
    last.join().unwrap();
    let mut times = vec![0; 2000];
    for number in done.drain() {
        times[number.unwrap() as usize] += 1;
    }
    assert!(times.iter().all(|times| *times >= 1), "a job was never done");
}

#[test]
fn an_item_that_kills_everybody_is_given_up() {
    let _watch = watchdog(Duration::from_secs(60));
    let jobs: JoinableQueue<u64> = JoinableQueue::with_tries(None, 3).unwrap();
    jobs.put(&7).unwrap();
    for _ in 0..3 {
        let mut child = spawn(get_and_die, &jobs).unwrap();
        child.wait().unwrap();
    }
    let error = jobs.try_take().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WorkerDied);
    assert!(error.to_string().contains("3 processes died"), "{error}");
    jobs.join().unwrap();
}

#[test]
fn a_job_is_handed_out_again_with_its_tries() {
    let _watch = watchdog(Duration::from_secs(60));
    let jobs: JoinableQueue<u64> = JoinableQueue::bounded(3).unwrap();
    jobs.put_all([1, 2]).unwrap();
    let mut child = spawn(get_and_die, &jobs).unwrap();
    child.wait().unwrap();
    let job = jobs.take().unwrap();
    assert_eq!((job.value().unwrap(), job.tries()), (1, 1));
    drop(job);
    assert_eq!(jobs.take().unwrap().tries(), 1);
    assert_eq!(jobs.unfinished(), 2);
}
