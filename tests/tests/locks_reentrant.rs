//! `ReentrantMutex` between real processes.

use offspring::sync::{Mutex, ReentrantMutex};
use offspring::{ErrorKind, Failure, Process, task};
use offspring_tests::locks::{FOR_EVER, asleep, checked, murder, until};
use std::thread;
use std::time::Duration;

fn go_down(lock: &ReentrantMutex, log: &Mutex<[u32; 2]>, left: u32) -> Result<(), Failure> {
    let guard = lock.lock()?;
    let mut seen = log.lock()?;
    assert_eq!(seen[0], guard.depth() - 1, "somebody else is inside");
    seen[0] = guard.depth();
    seen[1] += 1;
    drop(seen);
    if left > 0 {
        go_down(lock, log, left - 1)?;
    }
    log.lock()?[0] -= 1;
    Ok(())
}

#[task]
fn dive(lock: ReentrantMutex, log: Mutex<[u32; 2]>, times: u32) -> Result<(), Failure> {
    (0..times).try_for_each(|_| go_down(&lock, &log, 5))
}

#[test]
fn a_thread_locks_again_and_others_come_in_after_its_last_guard() {
    checked(|| {
        let (lock, log) = (ReentrantMutex::new().unwrap(), Mutex::new([0, 0]).unwrap());
        let children = [(); 3].map(|()| Process::new(dive, (&lock, &log, 50)).spawn().unwrap());
        dive(lock.clone(), log.clone(), 50).unwrap();
        children.into_iter().for_each(|child| child.join().unwrap().unwrap());
        assert_eq!(*log.lock().unwrap(), [0, 4 * 50 * 6]);
    });
}

#[test]
fn it_belongs_to_a_thread_and_not_to_a_process() {
    checked(|| {
        let lock = ReentrantMutex::new().unwrap();
        let outer = lock.lock().unwrap();
        let inner = lock.try_lock().unwrap();
        assert!(lock.is_owned() && lock.is_locked());
        thread::scope(|scope| {
            scope.spawn(|| {
                assert!(!lock.is_owned());
                assert_eq!(lock.try_lock().unwrap_err().kind(), ErrorKind::InUse);
                assert_eq!(lock.lock_timeout(Duration::from_millis(5)).unwrap_err().kind(), ErrorKind::Timeout);
            });
        });
        // In any order.
        drop(outer);
        assert!(lock.is_owned());
        assert_eq!(inner.depth(), 1);
        drop(inner);
        assert!(!lock.is_locked());
    });
}

#[task]
fn lock_deep_and_sleep(lock: ReentrantMutex) -> Result<(), Failure> {
    let _guards = [lock.lock()?, lock.lock()?, lock.lock()?];
    thread::sleep(FOR_EVER);
    Ok(())
}

#[test]
fn the_lock_of_a_killed_holder_is_poisoned_and_shallow() {
    checked(|| {
        let lock = ReentrantMutex::new().unwrap();
        let holder = Process::new(lock_deep_and_sleep, &lock).spawn().unwrap();
        until(|| lock.is_locked());
        asleep(&holder);
        murder(holder);
        assert_eq!(lock.lock().unwrap_err().kind(), ErrorKind::Poisoned);
        let guard = lock.recover().unwrap();
        assert_eq!(guard.depth(), 1);
        assert!(lock.lock().is_ok());
        drop(guard);
        assert!(!lock.is_locked() && !lock.is_poisoned());
    });
}
