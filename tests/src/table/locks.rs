//! Locks and their friends: taken, waited for, let go, and what they guard.

use super::stage::{Counts, once};
use super::{Row, Scene, Stage};
use offspring::ErrorKind;
use offspring::sync::{
    Barrier, Condvar, Event, Mutex, Once, ReentrantMutex, RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore,
    SyncError,
};
use offspring::testing::sync::{self, OnStage};
use std::time::Duration;

/// A pair of numbers that are the same whenever nobody is in between.
type Pair = [u32; 2];

/// The lock as the victim, the other and the last survivor have it. They live as long as the stage.
fn all<L: OnStage + 'static>(stage: &Stage, it: L) -> [&'static L; 3] {
    let [victim, other] = [stage.victim, stage.other].map(|member| it.open(member));
    [leak(victim), leak(other), leak(it)]
}

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn scene<T: 'static>(operation: impl Fn() -> T + 'static) -> Scene {
    Scene::of(operation).payloads().counts(Counts::Blocks)
}

/// Does something when it is dropped: what a holder does to let the victim go on.
struct Later<F: Fn()>(F);

impl<F: Fn()> Drop for Later<F> {
    fn drop(&mut self) {
        self.0();
    }
}

fn bump(pair: &mut Pair) {
    pair[0] += 1;
    // Otherwise both are one store.
    std::hint::black_box(&mut *pair);
    pair[1] += 1;
}

fn mutex(stage: &Stage) -> [&'static Mutex<Pair>; 3] {
    all(stage, sync::mutex(stage.last, [0, 0]).unwrap())
}

fn change(mutex: &Mutex<Pair>) {
    match mutex.lock() {
        Ok(mut pair) => bump(&mut pair),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Poisoned),
    }
}

/// Heals the lock, makes right what it guards, and changes it.
fn mend(mutex: &Mutex<Pair>) {
    let mut pair = mutex.recover().unwrap();
    pair[1] = pair[0];
    bump(&mut pair);
}

/// Free, and whole or poisoned.
fn is_sound(mutex: &Mutex<Pair>) -> String {
    let poisoned = match mutex.try_lock() {
        Ok(pair) => {
            assert_eq!(pair[0], pair[1], "half-changed, and not poisoned");
            return "sound".to_owned();
        }
        Err(error) => error.kind() == ErrorKind::Poisoned,
    };
    assert!(poisoned, "still locked");
    let mut pair = mutex.try_recover().unwrap();
    assert!(pair[0] - pair[1] <= 1);
    pair[1] = pair[0];
    drop(pair);
    is_sound(mutex)
}

fn rwlock(stage: &Stage) -> [&'static RwLock<Pair>; 3] {
    all(stage, sync::rwlock(stage.last, [0, 0]).unwrap())
}

fn write(lock: &RwLock<Pair>) {
    match lock.write() {
        Ok(mut pair) => bump(&mut pair),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Poisoned),
    }
}

fn read(lock: &RwLock<Pair>) {
    look(lock.read());
}

/// Does not wait, so a writer who waits for this reader need not run meanwhile.
fn glance(lock: &RwLock<Pair>) {
    look(lock.try_read());
}

fn look(guard: Result<RwLockReadGuard<'_, Pair>, SyncError>) {
    match guard {
        Ok(pair) => assert_eq!(pair[0], pair[1], "read while it was written"),
        Err(error) => assert!(matches!(error.kind(), ErrorKind::Poisoned | ErrorKind::InUse)),
    }
}

/// Nobody is inside, and it is whole or poisoned.
fn is_open(lock: &RwLock<Pair>) -> String {
    assert_eq!((lock.readers(), lock.is_write_locked()), (0, false));
    match lock.try_read() {
        Ok(pair) => assert_eq!(pair[0], pair[1], "half-changed, and not poisoned"),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Poisoned, "still written");
            let mut pair = lock.recover_timeout(Duration::from_millis(500)).unwrap();
            assert!(pair[0] - pair[1] <= 1);
            pair[1] = pair[0];
        }
    }
    drop(lock.try_write().unwrap());
    "open".to_owned()
}

fn nested(lock: &ReentrantMutex) {
    let outer = lock.lock();
    let inner = lock.lock();
    if let (Ok(outer), Ok(inner)) = (&outer, &inner) {
        assert_eq!((outer.depth(), inner.depth()), (2, 2));
    }
}

fn reentrant(stage: &Stage) -> [&'static ReentrantMutex; 3] {
    all(stage, sync::reentrant(stage.last).unwrap())
}

fn is_shallow(lock: &ReentrantMutex) -> String {
    let guard = lock.try_lock().or_else(|_| lock.try_recover()).expect("free, or poisoned");
    assert_eq!(guard.depth(), 1);
    drop(guard);
    assert!(!lock.is_locked());
    "free".to_owned()
}

fn semaphore(stage: &Stage, permits: usize) -> [&'static Semaphore; 3] {
    all(stage, sync::semaphore(stage.last, permits).unwrap())
}

fn permits(semaphore: &Semaphore) -> String {
    let there = semaphore.available_permits();
    let all: Vec<_> = std::iter::from_fn(|| semaphore.try_acquire().ok()).collect();
    assert_eq!(all.len(), there, "permits that nobody can have");
    drop(all);
    assert_eq!(semaphore.available_permits(), there);
    format!("{there} permits")
}

/// All that hold any are dead.
fn all_permits(semaphore: &Semaphore, total: usize) -> String {
    assert_eq!(semaphore.available_permits(), total, "permits of the dead are missing");
    permits(semaphore)
}

fn event(stage: &Stage) -> [&'static Event; 3] {
    all(stage, sync::event(stage.last).unwrap())
}

fn barrier(stage: &Stage) -> [&'static Barrier; 3] {
    all(stage, sync::barrier(stage.last, 2).unwrap())
}

/// Comes to the barrier, but does not wait for ever for one who died before it came.
fn meet(barrier: &Barrier) {
    if let Err(error) = barrier.wait_timeout(Duration::from_millis(100)) {
        assert!(matches!(error.kind(), ErrorKind::Broken | ErrorKind::Timeout));
    }
}

fn is_empty(barrier: &Barrier) -> String {
    assert_eq!(barrier.waiting(), 0, "somebody dead waits in a barrier that is whole");
    barrier.reset().unwrap();
    assert_eq!((barrier.is_broken(), barrier.waiting()), (false, 0));
    "empty".to_owned()
}

/// A once, and the event that is set in it.
fn once_and_event(stage: &Stage) -> [(&'static Once, &'static Event); 3] {
    let [a, b, c] = all(stage, sync::once(stage.last).unwrap());
    let [x, y, z] = event(stage);
    [(a, x), (b, y), (c, z)]
}

fn call((once, event): (&Once, &Event)) {
    once.call_once(|| event.set().unwrap()).unwrap();
}

fn is_done_or_not((once, event): (&Once, &Event)) -> String {
    assert!(!once.is_completed() || event.is_set(), "completed, but not done");
    let was = once.is_completed();
    assert_eq!(once.call_once_timeout(Duration::from_millis(500), || event.set().unwrap()).unwrap(), !was);
    assert!(once.is_completed() && event.is_set());
    "once".to_owned()
}

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "mutex: make",
        covers: &["mutex::in_arena"],
        mutants: &[],
        scene: |stage| {
            let victim = stage.victim;
            scene(move || sync::mutex(victim, [7, 7]).unwrap())
        },
    },
    Row {
        name: "mutex: make, with a large value",
        covers: &["mutex::in_arena"],
        mutants: &[],
        scene: |stage| {
            let victim = stage.victim;
            scene(move || sync::mutex(victim, [7u64; 20]).unwrap())
        },
    },
    Row {
        name: "semaphore: make",
        covers: &["semaphore::in_arena"],
        mutants: &[],
        scene: |stage| {
            let victim = stage.victim;
            scene(move || sync::bounded_semaphore(victim, 3).unwrap())
        },
    },
    Row {
        name: "mutex: lock, change, unlock",
        covers: &["mutex::lock", "mutex::try_lock", "mutex::unlock", "mutex::try_recover"],
        mutants: &[301],
        scene: |stage| {
            let [mine, theirs, it] = mutex(stage);
            scene(move || change(mine)).rival(move || change(theirs)).view(move || is_sound(it))
        },
    },
    Row {
        name: "mutex: lock, held by another",
        covers: &["mutex::lock", "mutex::lock_timeout"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = mutex(stage);
            scene(move || change(mine)).holder(move || theirs.lock().unwrap()).view(move || is_sound(it))
        },
    },
    Row {
        name: "mutex: unlock, another sleeps",
        covers: &["mutex::unlock", "mutex::recover"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = mutex(stage);
            let guard = once(mine.lock().unwrap());
            // Whether it was unlocked or poisoned by the death of its holder, it can be had.
            scene(move || drop(guard())).sleeper(move || change(theirs), || true).view(move || is_sound(it))
        },
    },
    Row {
        name: "mutex: hold, large value",
        covers: &["mutex::lock"],
        mutants: &[],
        scene: |stage| {
            let it = sync::mutex(stage.last, [0u64; 100]).unwrap();
            let [mine, theirs, it] = all(stage, it);
            scene(move || mine.lock().map(|mut values| values.fill(7)).ok())
                .rival(move || theirs.lock().map(|values| assert!(values.iter().all(|it| *it == values[0]))).ok())
                .view(move || {
                    let values = it.try_lock().or_else(|_| it.try_recover()).expect("free, or poisoned");
                    assert!(values.iter().all(|it| *it == 0 || *it == 7));
                    "free".to_owned()
                })
        },
    },
    Row {
        name: "mutex: heal a poisoned one",
        covers: &["mutex::recover", "mutex::recover_timeout"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = mutex(stage);
            let dead = stage.bystander();
            std::mem::forget(leak(it.open(dead)).lock().unwrap());
            stage.root.set_dead(dead.me());
            stage.root.audit(dead.me(), false).unwrap();
            assert!(it.is_poisoned());
            scene(move || mend(mine)).rival(move || mend(theirs)).view(move || is_sound(it))
        },
    },
    Row {
        name: "reentrant mutex: lock twice, unlock twice",
        covers: &["reentrant::lock", "reentrant::try_lock", "reentrant::recover", "reentrant::try_recover"],
        mutants: &[302],
        scene: |stage| {
            let [mine, theirs, it] = reentrant(stage);
            scene(move || nested(mine)).rival(move || nested(theirs)).view(move || is_shallow(it))
        },
    },
    Row {
        name: "reentrant mutex: lock twice, held by another",
        covers: &["reentrant::lock_timeout", "reentrant::recover_timeout"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = reentrant(stage);
            scene(move || nested(mine)).holder(move || theirs.lock().unwrap()).view(move || is_shallow(it))
        },
    },
    Row {
        name: "rwlock: write, while another writes",
        covers: &["rwlock::write", "rwlock::try_write", "rwlock::write_unlock", "rwlock::recover_writer"],
        mutants: &[303],
        scene: |stage| {
            let [mine, theirs, it] = rwlock(stage);
            scene(move || write(mine)).rival(move || write(theirs)).view(move || is_open(it))
        },
    },
    Row {
        name: "rwlock: try to read, while another writes",
        covers: &["rwlock::try_read", "rwlock::read_unlock", "rwlock::recover_readers"],
        mutants: &[304],
        scene: |stage| {
            let [mine, theirs, it] = rwlock(stage);
            scene(move || glance(mine)).rival(move || write(theirs)).view(move || is_open(it))
        },
    },
    Row {
        name: "rwlock: read, held by a writer",
        covers: &["rwlock::read", "rwlock::read_timeout"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = rwlock(stage);
            scene(move || read(mine)).holder(move || theirs.write().unwrap()).view(move || is_open(it))
        },
    },
    Row {
        name: "rwlock: write, held by a reader",
        covers: &["rwlock::write", "rwlock::write_timeout", "rwlock::recover", "rwlock::recover_timeout"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = rwlock(stage);
            scene(move || write(mine)).holder(move || theirs.read().unwrap()).view(move || is_open(it))
        },
    },
    Row {
        name: "rwlock: leave as a reader, a writer sleeps",
        covers: &["rwlock::read_unlock"],
        mutants: &[304],
        scene: |stage| {
            let [mine, theirs, it] = rwlock(stage);
            let guard = once(mine.read().unwrap());
            scene(move || drop(guard())).sleeper(move || write(theirs), || true).view(move || is_open(it))
        },
    },
    Row {
        name: "rwlock: leave as a writer, a reader sleeps",
        covers: &["rwlock::write_unlock"],
        mutants: &[303],
        scene: |stage| {
            let [mine, theirs, it] = rwlock(stage);
            let guard = once(mine.write().unwrap());
            scene(move || drop(guard())).sleeper(move || read(theirs), || true).view(move || is_open(it))
        },
    },
    Row {
        name: "rwlock: downgrade, a reader sleeps",
        covers: &["rwlock::downgrade"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = rwlock(stage);
            let guard = once(mine.write().unwrap());
            scene(move || RwLockWriteGuard::downgrade(guard()).unwrap())
                .sleeper(move || read(theirs), || true)
                .view(move || is_open(it))
        },
    },
    Row {
        name: "semaphore: acquire",
        covers: &["semaphore::acquire", "semaphore::try_acquire", "semaphore::try_acquire_many"],
        mutants: &[305, 306],
        scene: |stage| {
            let [mine, theirs, it] = semaphore(stage, 2);
            scene(move || mine.acquire().unwrap())
                .rival(move || theirs.acquire().unwrap())
                .view(move || all_permits(it, 2))
        },
    },
    Row {
        name: "semaphore: acquire several, another has one",
        covers: &["semaphore::acquire_many", "semaphore::acquire_timeout", "semaphore::acquire_many_timeout"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = semaphore(stage, 2);
            scene(move || mine.acquire_many(2).unwrap())
                .holder(move || theirs.acquire().unwrap())
                .view(move || all_permits(it, 2))
        },
    },
    Row {
        name: "semaphore: give a permit back",
        covers: &["semaphore::drop"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = semaphore(stage, 2);
            let [permit, other] = [once(mine.acquire().unwrap()), once(theirs.acquire().unwrap())];
            scene(move || drop(permit())).rival(move || drop(other())).view(move || permits(it))
        },
    },
    Row {
        name: "semaphore: give the only permit back, another sleeps",
        covers: &["semaphore::drop"],
        mutants: &[306],
        scene: |stage| {
            let [mine, theirs, it] = semaphore(stage, 1);
            let permit = once(mine.acquire().unwrap());
            scene(move || drop(permit()))
                .sleeper(move || theirs.acquire().unwrap(), || true)
                .view(move || all_permits(it, 1))
        },
    },
    Row {
        name: "semaphore: release, another sleeps",
        covers: &["semaphore::release"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = semaphore(stage, 0);
            scene(move || mine.release(1).unwrap())
                .sleeper(move || theirs.acquire().unwrap(), move || it.available_permits() > 0)
                .view(move || permits(it))
        },
    },
    Row {
        name: "semaphore: forget a permit",
        covers: &["semaphore::forget"],
        mutants: &[],
        scene: |stage| {
            let [mine, _, it] = semaphore(stage, 2);
            let permit = once(mine.acquire().unwrap());
            scene(move || permit().forget()).view(move || permits(it))
        },
    },
    Row {
        name: "event: set, another sleeps",
        covers: &["event::set", "event::wait"],
        mutants: &[308],
        scene: |stage| {
            let [mine, theirs, it] = event(stage);
            scene(move || mine.set().unwrap())
                .sleeper(move || theirs.wait().unwrap(), move || it.is_set())
                .view(move || format!("set: {}", it.is_set()))
        },
    },
    Row {
        name: "event: wait, another sets it",
        covers: &["event::wait", "event::wait_timeout"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = event(stage);
            scene(move || mine.wait().unwrap())
                .holder(move || Later(move || theirs.set().unwrap()))
                .view(move || it.set().map(|()| "an event".to_owned()).unwrap())
        },
    },
    Row {
        name: "event: clear, while another sets it",
        covers: &["event::clear", "event::set"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = event(stage);
            it.set().unwrap();
            scene(move || mine.clear().unwrap())
                .rival(move || theirs.set().unwrap())
                .view(move || format!("set: {}", it.is_set()))
        },
    },
    Row {
        name: "condition: change and notify, another sleeps",
        covers: &[
            "condvar::notify_one",
            "condition::notify_one",
            "condvar::wait",
            "condvar::wait_while",
            "condition::wait",
        ],
        mutants: &[307],
        scene: |stage| notifying(stage, |condition| condition.notify_one().unwrap()),
    },
    Row {
        name: "condition: change and notify all, another sleeps",
        covers: &["condvar::notify_all", "condition::notify_all"],
        mutants: &[307],
        scene: |stage| notifying(stage, |condition| condition.notify_all().unwrap()),
    },
    Row {
        name: "condition: wait, another notifies",
        covers: &["condvar::wait", "condvar::wait_timeout", "condvar::wait_timeout_while", "condition::ticket"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = mutex(stage);
            let [here, there, _] = all(stage, sync::condvar(stage.last).unwrap());
            let wait = move || {
                let guard = mine.lock().unwrap();
                drop(here.wait_while(guard, |pair| pair[0] == 0).unwrap());
            };
            let notify = move || {
                change(theirs);
                there.notify_one().unwrap();
            };
            scene(wait).holder(move || Later(notify)).view(move || is_sound(it))
        },
    },
    Row {
        name: "barrier: come second, or alone",
        covers: &["barrier::wait", "barrier::wait_timeout"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = barrier(stage);
            scene(move || meet(mine)).holder(move || Later(move || meet(theirs))).view(move || is_empty(it))
        },
    },
    Row {
        name: "barrier: come first, and go before anybody comes",
        covers: &["barrier::wait_timeout"],
        mutants: &[309],
        scene: |stage| {
            let [mine, _, it] = barrier(stage);
            scene(move || assert!(mine.wait_timeout(Duration::ZERO).is_err())).view(move || is_empty(it))
        },
    },
    Row {
        name: "barrier: abort, another sleeps",
        covers: &["barrier::abort"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = barrier(stage);
            scene(move || mine.abort().unwrap())
                .sleeper(move || assert!(theirs.wait().is_err()), move || it.is_broken())
                .view(move || is_empty(it))
        },
    },
    Row {
        name: "barrier: reset, another sleeps",
        covers: &["barrier::reset"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = barrier(stage);
            scene(move || mine.reset().unwrap())
                .sleeper(move || assert!(theirs.wait().is_err()), move || it.waiting() == 0)
                .view(move || is_empty(it))
        },
    },
    Row {
        name: "barrier: come last, another sleeps",
        covers: &["barrier::wait"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = barrier(stage);
            scene(move || mine.wait().unwrap())
                .sleeper(move || theirs.wait().is_ok(), move || it.waiting() == 0)
                .together()
                .view(move || is_empty(it))
        },
    },
    Row {
        name: "once: do it, while another wants to",
        covers: &["once::call_once", "once::call_once_timeout", "once::try_call_once"],
        mutants: &[310],
        scene: |stage| {
            let [mine, theirs, it] = once_and_event(stage);
            scene(move || call(mine)).rival(move || call(theirs)).view(move || is_done_or_not(it))
        },
    },
    Row {
        name: "once: do it, another sleeps until it is done",
        covers: &["once::call_once", "once::wait", "once::wait_timeout"],
        mutants: &[],
        scene: |stage| {
            let [mine, (theirs, _), it] = once_and_event(stage);
            scene(move || call(mine))
                .sleeper(move || theirs.wait().unwrap(), move || it.0.is_completed())
                .view(move || is_done_or_not(it))
        },
    },
];

fn notifying(stage: &Stage, notify: fn(&Condvar)) -> Scene {
    let [mine, theirs, it] = mutex(stage);
    let [here, there, _] = all(stage, sync::condvar(stage.last).unwrap());
    let operation = move || {
        change(mine);
        notify(here);
    };
    let wait = move || {
        // What matters is that it comes back: healed, if the one who was to notify died inside.
        while let Ok(guard) = theirs.lock() {
            if guard[0] != 0 || there.wait(guard).is_err() {
                break;
            }
        }
    };
    scene(operation)
        .sleeper(wait, move || it.is_poisoned() || it.try_lock().is_ok_and(|pair| pair[0] != 0))
        .view(move || is_sound(it))
}
