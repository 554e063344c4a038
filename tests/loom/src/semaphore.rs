//! Threads, each a process of its own, that share permits.
use std::sync::Arc;
use std::time::Instant;

use loom::thread;

use crate::arena::choose_mutant;
use crate::place::Object;
use crate::sync::mutants;
use crate::sync::prim::{AtomicU32, Ordering, set_impatient};
use crate::sync::raw::{Place, RawSemaphore};

/// How many permits each of three processes has.
struct Semaphore {
    raw: RawSemaphore,
    object: Object,
    held: [AtomicU32; 3],
}

impl Semaphore {
    fn new(permits: u32) -> Arc<Semaphore> {
        let held = [(); 3].map(|()| AtomicU32::new(0));
        let semaphore = Semaphore { raw: RawSemaphore::default(), object: Object::new(), held };
        semaphore.raw.init(permits);
        Arc::new(semaphore)
    }

    fn acquire(&self, me: usize, want: u32, deadline: Option<Instant>) -> bool {
        self.raw.acquire(&self.object, &self.held[me], want, me as u32 + 1, deadline).unwrap()
    }

    fn give_back(&self, me: usize, permits: u32) {
        self.add(me, permits);
        self.raw.wake(&self.object, permits);
    }

    /// Without telling anybody.
    fn add(&self, me: usize, permits: u32) {
        let locked = self.object.lock().unwrap();
        assert!(self.raw.add::<Object>(&locked, permits, Some(&self.held[me])));
    }

    /// Adds one that nobody had.
    fn release(&self) {
        let locked = self.object.lock().unwrap();
        assert!(self.raw.add::<Object>(&locked, 1, None));
        drop(locked);
        self.raw.wake(&self.object, 1);
    }

    /// What the audit does.
    fn audit(&self, dead: usize) {
        let locked = self.object.lock().unwrap();
        self.raw.recover::<Object>(&locked, &self.held[dead], |thread| thread == dead as u32 + 1);
        drop(locked);
        self.raw.wake_sleepers();
    }
}

fn model(preemptions: usize, body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(body);
}

/// Two threads take `want` permits each, and give them back.
fn share(permits: u32, want: [u32; 2]) {
    let semaphore = Semaphore::new(permits);
    let threads = [0, 1].map(|me| {
        let semaphore = Arc::clone(&semaphore);
        thread::spawn(move || {
            assert!(semaphore.acquire(me, want[me], None));
            semaphore.give_back(me, want[me]);
        })
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(semaphore.raw.available(), permits);
}

#[test]
fn one_permit_is_in_one_hand() {
    model(2, || {
        let semaphore = Semaphore::new(1);
        let inside = Arc::new(AtomicU32::new(0));
        let threads = [0, 1].map(|me| {
            let (semaphore, inside) = (Arc::clone(&semaphore), Arc::clone(&inside));
            thread::spawn(move || {
                assert!(semaphore.acquire(me, 1, None));
                assert_eq!(inside.fetch_add(1, Ordering::AcqRel), 0);
                inside.fetch_sub(1, Ordering::AcqRel);
                semaphore.give_back(me, 1);
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn who_wants_one_and_who_wants_several_both_get_theirs() {
    model(2, || share(2, [2, 1]));
}

#[test]
fn an_heir_gets_its_permits_and_lets_others_go_on() {
    set_impatient(true);
    model(2, || share(2, [2, 1]));
    model(2, || share(1, [1, 1]));
}

#[test]
fn each_release_lets_one_waiter_go_on() {
    model(2, || {
        let semaphore = Semaphore::new(0);
        let threads = [0, 1].map(|me| {
            let semaphore = Arc::clone(&semaphore);
            thread::spawn(move || assert!(semaphore.acquire(me, 1, None)))
        });
        semaphore.release();
        semaphore.release();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(semaphore.raw.available(), 0);
    });
}

#[test]
fn who_gives_up_takes_no_wake_with_it() {
    for impatient in [false, true] {
        set_impatient(impatient);
        model(2, || {
            let semaphore = Semaphore::new(0);
            // loom's waits with a deadline may end at any time.
            let threads = [(0, Some(Instant::now())), (1, None)].map(|(me, deadline)| {
                let semaphore = Arc::clone(&semaphore);
                thread::spawn(move || {
                    let got = semaphore.acquire(me, 1, deadline);
                    if got {
                        semaphore.give_back(me, 1);
                    }
                })
            });
            semaphore.release();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(semaphore.raw.available(), 1);
        });
    }
}

#[test]
fn permits_of_the_dead_come_back_and_wake_who_waits() {
    model(2, || {
        let semaphore = Semaphore::new(1);
        let (dead, waiter) = (Arc::clone(&semaphore), Arc::clone(&semaphore));
        // It dies with the permit, or without one, woken or not.
        let dead = thread::spawn(move || dead.acquire(0, 1, Some(Instant::now())));
        let waiter = thread::spawn(move || assert!(waiter.acquire(1, 1, None)));
        dead.join().unwrap();
        semaphore.audit(0);
        waiter.join().unwrap();
        semaphore.give_back(1, 1);
        assert_eq!(semaphore.raw.available(), 1);
    });
}

#[test]
fn a_dead_heir_keeps_nobody_out() {
    set_impatient(true);
    model(2, || {
        let semaphore = Semaphore::new(1);
        let (heir, waiter) = (Arc::clone(&semaphore), Arc::clone(&semaphore));
        // It wants more than there are, becomes the heir at its second try, and dies there: the audit finds it.
        let heir = thread::spawn(move || heir.raw.inherit(1));
        let waiter = thread::spawn(move || {
            assert!(waiter.acquire(1, 1, None));
            waiter.give_back(1, 1);
        });
        heir.join().unwrap();
        semaphore.audit(0);
        waiter.join().unwrap();
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_release_that_wakes_nobody_is_found() {
    model(2, || {
        let semaphore = Semaphore::new(0);
        let waiter = Arc::clone(&semaphore);
        let waiter = thread::spawn(move || assert!(waiter.acquire(1, 1, None)));
        semaphore.add(0, 1);
        waiter.join().unwrap();
    });
}

#[test]
#[should_panic]
fn an_audit_that_keeps_permits_is_found() {
    choose_mutant(mutants::SEMAPHORE_PERMITS_KEPT);
    model(2, || {
        let semaphore = Semaphore::new(1);
        assert!(semaphore.acquire(0, 1, None));
        semaphore.audit(0);
        assert_eq!(semaphore.raw.available(), 1);
    });
}
