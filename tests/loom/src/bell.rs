//! Putters and takers who wait for each other by two bells, as in a bounded queue.
use std::sync::Arc;
use std::time::Instant;

use loom::thread;

use crate::arena::choose_mutant;
use crate::queue::bell::Bell;
use crate::queue::mutants;
use crate::sync::prim::{AtomicU32, Ordering, full_fence};

/// Says that no items come any more.
const CLOSED: u32 = 1 << 16;

/// How many items there are is all that is left of the queue. The real one changes that under a lock, whose last step is a
/// read-modify-write, as here.
struct Queue {
    count: AtomicU32,
    most: u32,
    items: Bell,
    space: Bell,
}

impl Queue {
    fn new(most: u32) -> Arc<Queue> {
        let count = AtomicU32::new(0);
        Arc::new(Queue { count, most, items: Bell::default(), space: Bell::default() })
    }

    fn change(&self, next: impl Fn(u32) -> Option<u32>) -> bool {
        // What the real one sees under the lock is what is there, not what was.
        let mut seen = self.count.fetch_or(0, Ordering::AcqRel);
        while let Some(next) = next(seen) {
            match self.count.compare_exchange(seen, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    fn put(&self) {
        let attempt = || Ok::<_, ()>(self.change(|count| (count < self.most).then_some(count + 1)).then_some(()));
        if attempt() == Ok(None) {
            self.space.wait(None, || false, attempt).unwrap();
        }
        full_fence();
        self.items.ring();
    }

    /// Whether there was an item, or the queue was closed, before the deadline.
    fn take(&self, deadline: Option<Instant>) -> Result<bool, ()> {
        let attempt = || {
            if self.change(|count| (count & !CLOSED > 0).then(|| count - 1)) {
                return Ok(Some(()));
            }
            if self.count.fetch_or(0, Ordering::AcqRel) & CLOSED != 0 { Err(()) } else { Ok(None) }
        };
        let mut taken = attempt()?;
        if taken.is_none() {
            taken = self.items.wait(deadline, || false, attempt)?;
        }
        if taken.is_some() {
            full_fence();
            self.space.ring();
        }
        Ok(taken.is_some())
    }

    fn close(&self) {
        self.count.fetch_or(CLOSED, Ordering::SeqCst);
        self.items.ring_all();
        self.space.ring_all();
    }
}

fn model(preemptions: usize, body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(body);
}

/// Each of `takers` threads takes `each` items, each of `putters` puts as many as it must.
fn exchange(takers: u32, putters: u32, each: u32) {
    let queue = Queue::new(1);
    let mut threads = Vec::new();
    for taker in 0..takers + putters {
        let queue = Arc::clone(&queue);
        threads.push(thread::spawn(move || {
            if taker < takers {
                (0..each).for_each(|_| assert_eq!(queue.take(None), Ok(true)));
            } else {
                (0..takers * each / putters).for_each(|_| queue.put());
            }
        }));
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(queue.count.load(Ordering::Acquire), 0);
}

#[test]
fn a_putter_and_a_taker_wake_each_other() {
    model(3, || exchange(1, 1, 3));
}

#[test]
fn no_wake_is_lost_among_two_takers() {
    model(2, || exchange(2, 1, 1));
}

#[test]
fn no_wake_is_lost_among_two_putters() {
    model(2, || exchange(1, 2, 2));
}

#[test]
fn no_wake_is_lost_among_two_of_each() {
    model(1, || exchange(2, 2, 1));
}

#[test]
fn who_gives_up_takes_no_wake_with_it() {
    model(2, || {
        let queue = Queue::new(2);
        // loom's waits with a deadline may end at any time.
        let threads = [Some(Instant::now()), None].map(|deadline| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || u32::from(queue.take(deadline).unwrap()))
        });
        queue.put();
        queue.put();
        let taken: u32 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(queue.count.load(Ordering::Acquire), 2 - taken);
    });
}

#[test]
fn who_dies_woken_costs_nobody_a_wake_once_it_was_audited() {
    model(2, || {
        let queue = Queue::new(1);
        let (dead, taker) = (Arc::clone(&queue), Arc::clone(&queue));
        let dead = thread::spawn(move || {
            let seen = dead.items.arm();
            if dead.count.fetch_or(0, Ordering::AcqRel) == 0 {
                // It dies asleep, or woken: loom ends the wait at any time.
                dead.items.sleep(seen, Some(Instant::now()));
            }
        });
        let taker = thread::spawn(move || assert_eq!(taker.take(None), Ok(true)));
        queue.put();
        dead.join().unwrap();
        // What the audit does.
        queue.items.ring_all();
        taker.join().unwrap();
    });
}

#[test]
fn closing_ends_all_waits() {
    model(2, || {
        let queue = Queue::new(1);
        let threads = [0, 1].map(|_| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.take(None))
        });
        queue.close();
        assert!(threads.into_iter().all(|thread| thread.join().unwrap() == Err(())));
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_putter_that_does_not_ring_is_found() {
    choose_mutant(mutants::NO_RING);
    model(2, || exchange(1, 1, 1));
}
