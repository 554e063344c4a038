use std::sync::Arc;
use std::time::Instant;

use loom::cell::UnsafeCell;
use loom::thread;

use crate::sync::prim::set_impatient;
use crate::sync::raw::{NotGot, RawMutex};

struct Counter {
    lock: RawMutex,
    count: UnsafeCell<u32>,
}

// SAFETY: the count is touched under the lock only; loom sees it if not.
unsafe impl Sync for Counter {}
unsafe impl Send for Counter {}

impl Counter {
    fn new() -> Arc<Counter> {
        Arc::new(Counter { lock: RawMutex::default(), count: UnsafeCell::new(0) })
    }

    fn add(&self, me: u32) {
        self.lock.lock(me, None).unwrap();
        self.raise();
        self.lock.unlock(me);
    }

    fn raise(&self) {
        // SAFETY: the caller has the lock.
        self.count.with_mut(|count| unsafe { *count += 1 });
    }

    fn count(&self) -> u32 {
        // SAFETY: all threads are joined, or the caller has the lock.
        self.count.with(|count| unsafe { *count })
    }

    /// What the audit of a process does, all of whose threads are `dead`.
    fn audit(&self, dead: u32) {
        self.lock.recover(|id| id == dead, || ());
        self.lock.wake_sleepers();
    }
}

/// Runs a model with waiters who queue, and with waiters who soon want to be the heir.
fn model(preemptions: usize, body: impl Fn() + Sync + Send + Copy + 'static) {
    for impatient in [false, true] {
        set_impatient(impatient);
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.check(body);
    }
}

#[test]
fn two_exclude_each_other_and_nobody_sleeps_for_ever() {
    model(4, || {
        let counter = Counter::new();
        let other = Arc::clone(&counter);
        let thread = thread::spawn(move || {
            other.add(1);
            other.add(1);
        });
        counter.add(2);
        counter.add(2);
        thread.join().unwrap();
        assert_eq!(counter.count(), 4);
    });
}

#[test]
fn three_exclude_each_other_and_nobody_sleeps_for_ever() {
    model(2, || {
        let counter = Counter::new();
        let threads: Vec<_> = (1..3)
            .map(|me| {
                let counter = Arc::clone(&counter);
                thread::spawn(move || counter.add(me))
            })
            .collect();
        counter.add(3);
        counter.add(3);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(counter.count(), 4);
    });
}

#[test]
fn who_gives_up_takes_no_wake_with_it() {
    model(2, || {
        let counter = Counter::new();
        let threads = [1, 2].map(|me| {
            let counter = Arc::clone(&counter);
            thread::spawn(move || {
                // loom's waits with a deadline may end at any time.
                let deadline = (me == 1).then(Instant::now);
                match counter.lock.lock(me, deadline) {
                    Ok(()) => {
                        counter.raise();
                        counter.lock.unlock(me);
                        1
                    }
                    Err(why) => {
                        assert_eq!(why, NotGot::Timeout);
                        0
                    }
                }
            })
        });
        counter.add(3);
        let added: u32 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(counter.count(), 1 + added);
    });
}

#[test]
fn the_lock_of_a_dead_holder_is_had_by_those_who_wait() {
    model(2, || {
        let counter = Counter::new();
        let threads = [1, 2].map(|me| {
            let counter = Arc::clone(&counter);
            thread::spawn(move || {
                if me == 1 {
                    counter.lock.lock(1, None).unwrap();
                    // Dies here.
                } else {
                    counter.add(2);
                }
            })
        });
        let [dead, other] = threads;
        dead.join().unwrap();
        counter.audit(1);
        counter.add(3);
        other.join().unwrap();
        assert_eq!(counter.count(), 2);
    });
}

#[test]
fn a_dead_waiter_takes_no_wake_with_it() {
    model(2, || {
        let counter = Counter::new();
        counter.lock.lock(3, None).unwrap();
        let threads = [1, 2].map(|me| {
            let counter = Arc::clone(&counter);
            thread::spawn(move || {
                if me == 1 {
                    // Waits, perhaps as the heir, and dies once it was let in or gave up.
                    let _ = counter.lock.lock(1, Some(Instant::now()));
                } else {
                    counter.add(2);
                }
            })
        });
        counter.lock.unlock(3);
        let [dead, other] = threads;
        dead.join().unwrap();
        counter.audit(1);
        other.join().unwrap();
        assert_eq!(counter.count(), 1);
    });
}
