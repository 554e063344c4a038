//! Threads, each a process of its own, that meet.
use std::sync::Arc;
use std::time::Instant;

use loom::thread;

use crate::place::Object;
use crate::sync::prim::AtomicU32;
use crate::sync::prim::Ordering;
use crate::sync::raw::{Meeting, Place, RawBarrier};

/// The phase in which each of three processes waited last.
struct Barrier {
    raw: RawBarrier,
    object: Object,
    seen: [AtomicU32; 3],
}

/// Never waited.
const NEVER: u32 = u32::MAX / 2;

impl Barrier {
    fn new(parties: u32) -> Arc<Barrier> {
        let seen = [(); 3].map(|()| AtomicU32::new(NEVER));
        let barrier = Barrier { raw: RawBarrier::default(), object: Object::new(), seen };
        barrier.raw.init(parties);
        Arc::new(barrier)
    }

    fn wait(&self, me: usize, deadline: Option<Instant>) -> Meeting {
        self.raw.wait(&self.object, |phase| Object::set(&self.seen[me], phase), deadline).unwrap()
    }

    /// What the audit does about one that did not end well.
    fn audit(&self, dead: usize) {
        let locked = self.object.lock().unwrap();
        let seen = &self.seen[dead];
        let at = seen.load(Ordering::Relaxed);
        if at != NEVER {
            self.raw.recover::<Object>(&locked, at, || false, Object::set(seen, NEVER));
        }
        drop(locked);
        self.raw.wake_sleepers();
    }
}

fn model(preemptions: usize, body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(body);
}

#[test]
fn two_meet_twice_and_one_of_them_comes_last_each_time() {
    model(3, || {
        let barrier = Barrier::new(2);
        let other = Arc::clone(&barrier);
        let other = thread::spawn(move || [other.wait(0, None), other.wait(0, None)]);
        let mine = [barrier.wait(1, None), barrier.wait(1, None)];
        let theirs = other.join().unwrap();
        for (mine, theirs) in mine.into_iter().zip(theirs) {
            assert!(
                matches!((mine, theirs), (Meeting::Last, Meeting::Met) | (Meeting::Met, Meeting::Last)),
                "{mine:?} {theirs:?}"
            );
        }
    });
}

#[test]
fn three_meet_and_one_of_them_comes_last() {
    model(2, || {
        let barrier = Barrier::new(3);
        let others = [0, 1].map(|me| {
            let barrier = Arc::clone(&barrier);
            thread::spawn(move || barrier.wait(me, None))
        });
        let mut met = vec![barrier.wait(2, None)];
        met.extend(others.into_iter().map(|other| other.join().unwrap()));
        assert_eq!(met.iter().filter(|met| **met == Meeting::Last).count(), 1, "{met:?}");
        assert_eq!(met.iter().filter(|met| **met == Meeting::Met).count(), 2, "{met:?}");
    });
}

#[test]
fn a_wait_whose_time_is_over_breaks_it_for_both_or_for_none() {
    model(2, || {
        let barrier = Barrier::new(2);
        let other = Arc::clone(&barrier);
        // loom's waits with a deadline may end at any time.
        let other = thread::spawn(move || other.wait(0, Some(Instant::now())));
        let mine = barrier.wait(1, None);
        let theirs = other.join().unwrap();
        match (mine, theirs) {
            (Meeting::Last, Meeting::Met) | (Meeting::Met, Meeting::Last) => assert!(!barrier.raw.is_broken()),
            (Meeting::Broken, Meeting::TimedOut) => assert!(barrier.raw.is_broken()),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn an_abort_ends_all_waits() {
    model(2, || {
        let barrier = Barrier::new(3);
        let waiting = [0, 1].map(|me| {
            let barrier = Arc::clone(&barrier);
            thread::spawn(move || barrier.wait(me, None))
        });
        barrier.raw.abort(&barrier.object).unwrap();
        assert!(waiting.into_iter().all(|it| it.join().unwrap() == Meeting::Broken));
    });
}

#[test]
fn a_reset_ends_the_waits_of_those_who_came_before_it() {
    model(2, || {
        let barrier = Barrier::new(2);
        let other = Arc::clone(&barrier);
        let other = thread::spawn(move || {
            let first = other.wait(0, None);
            // Whoever was sent away comes again.
            if first == Meeting::Broken { (1, other.wait(0, None)) } else { (0, first) }
        });
        barrier.raw.reset(&barrier.object).unwrap();
        let mine = barrier.wait(1, None);
        let (_, theirs) = other.join().unwrap();
        assert!(
            matches!((mine, theirs), (Meeting::Last, Meeting::Met) | (Meeting::Met, Meeting::Last)),
            "{mine:?} {theirs:?}"
        );
    });
}

#[test]
fn nobody_waits_for_one_who_died_between_two_rounds() {
    model(2, || {
        let barrier = Barrier::new(2);
        let (dead, other) = (Arc::clone(&barrier), Arc::clone(&barrier));
        let dead = thread::spawn(move || dead.wait(0, None));
        let other = thread::spawn(move || [other.wait(1, None), other.wait(1, None)]);
        assert!(matches!(dead.join().unwrap(), Meeting::Last | Meeting::Met));
        barrier.audit(0);
        let [first, second] = other.join().unwrap();
        assert!(matches!(first, Meeting::Last | Meeting::Met), "{first:?}");
        assert_eq!(second, Meeting::Broken);
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_death_that_nobody_audits_is_found() {
    model(2, || {
        let barrier = Barrier::new(2);
        let other = Arc::clone(&barrier);
        let other = thread::spawn(move || other.wait(1, None));
        other.join().unwrap();
    });
}
