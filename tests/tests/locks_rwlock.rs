//! `RwLock` between real processes.

use offspring::sync::{Event, RwLock, RwLockWriteGuard};
use offspring::{ErrorKind, Failure, Process, task};
use offspring_tests::kill::Random;
use offspring_tests::locks::{FOR_EVER, asleep, checked, die, murder, until};
use std::thread;
use std::time::Duration;

type Pair = [u64; 2];

#[task]
fn read_and_write(lock: RwLock<Pair>, times: u64) -> Result<(), Failure> {
    for at in 0..times {
        if at % 8 == 0 {
            let mut pair = lock.write()?;
            pair[0] += 1;
            std::hint::spin_loop();
            pair[1] += 1;
        } else {
            let pair = lock.read()?;
            assert_eq!(pair[0], pair[1], "read while it was written");
        }
    }
    Ok(())
}

#[test]
fn readers_never_see_a_writer_at_work() {
    checked(|| {
        let lock = RwLock::new([0u64; 2]).unwrap();
        let children = [(); 3].map(|()| Process::new(read_and_write, (&lock, 4000)).spawn().unwrap());
        thread::scope(|scope| {
            let threads = [(); 2].map(|()| scope.spawn(|| read_and_write(lock.clone(), 4000).unwrap()));
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        children.into_iter().for_each(|child| child.join().unwrap().unwrap());
        assert_eq!(*lock.read().unwrap(), [5 * 500; 2]);
    });
}

#[task]
fn read_until(lock: RwLock<Pair>, stop: Event) -> Result<(), Failure> {
    let _guard = lock.read()?;
    stop.wait()?;
    Ok(())
}

#[test]
fn many_read_at_once_and_keep_writers_out() {
    checked(|| {
        let (lock, stop) = (RwLock::new([1u64, 2]).unwrap(), Event::new().unwrap());
        let children = [(); 3].map(|()| Process::new(read_until, (&lock, &stop)).spawn().unwrap());
        until(|| lock.readers() == 3);
        assert_eq!(*lock.read().unwrap(), [1, 2]);
        assert_eq!(lock.try_write().unwrap_err().kind(), ErrorKind::InUse);
        assert_eq!(lock.write_timeout(Duration::from_millis(10)).unwrap_err().kind(), ErrorKind::Timeout);
        assert!(lock.try_read().is_ok(), "a writer that gave up keeps readers out");
        stop.set().unwrap();
        lock.write().unwrap()[0] = 9;
        children.into_iter().for_each(|child| child.join().unwrap().unwrap());
        let writer = lock.write().unwrap();
        assert_eq!(lock.write().unwrap_err().kind(), ErrorKind::Deadlock);
        assert_eq!(lock.read().unwrap_err().kind(), ErrorKind::Deadlock);
        let reader = RwLockWriteGuard::downgrade(writer).unwrap();
        assert_eq!(lock.readers(), 1);
        assert_eq!(*lock.read().unwrap(), *reader);
    });
}

#[task]
fn write_and_sleep(lock: RwLock<Pair>) -> Result<(), Failure> {
    let mut pair = lock.write()?;
    pair[0] = 50;
    thread::sleep(FOR_EVER);
    Ok(())
}

#[test]
fn dead_readers_are_let_out_and_dead_writers_poison() {
    checked(|| {
        let (lock, stop) = (RwLock::new([0u64; 2]).unwrap(), Event::new().unwrap());
        let reader = Process::new(read_until, (&lock, &stop)).spawn().unwrap();
        until(|| lock.readers() == 1);
        let writer = Process::new(write_and_sleep, &lock).spawn().unwrap();
        asleep(&writer);
        // A writer that is killed while it waits has changed nothing.
        murder(writer);
        assert!(lock.read().is_ok());
        murder(reader);
        assert_eq!(lock.readers(), 0);
        lock.write().unwrap()[1] = 1;
        let writer = Process::new(write_and_sleep, &lock).spawn().unwrap();
        until(|| lock.is_write_locked());
        asleep(&writer);
        let waiter = Process::new(read_until, (&lock, &stop)).spawn().unwrap();
        asleep(&waiter);
        murder(writer);
        assert!(waiter.join().unwrap().is_err(), "who waited is told");
        assert_eq!(lock.read().unwrap_err().kind(), ErrorKind::Poisoned);
        assert_eq!(lock.write().unwrap_err().kind(), ErrorKind::Poisoned);
        assert_eq!(*lock.recover().unwrap(), [50, 1]);
        assert!(lock.read().is_ok());
    });
}

#[task]
fn write_for_ever(lock: RwLock<Pair>, stop: Event) -> Result<(), Failure> {
    while !stop.is_set() {
        lock.write()?[0] += 1;
    }
    Ok(())
}

#[task]
fn read_for_ever(lock: RwLock<Pair>, stop: Event) -> Result<(), Failure> {
    while !stop.is_set() {
        let _guard = lock.read()?;
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

#[test]
fn neither_readers_nor_writers_keep_the_others_out() {
    checked(|| {
        let (lock, stop) = (RwLock::new([0u64; 2]).unwrap(), Event::new().unwrap());
        let readers = [(); 2].map(|()| Process::new(read_for_ever, (&lock, &stop)).spawn().unwrap());
        until(|| lock.readers() > 0);
        for _ in 0..20 {
            lock.write().unwrap()[1] += 1;
        }
        let writers = [(); 2].map(|()| Process::new(write_for_ever, (&lock, &stop)).spawn().unwrap());
        until(|| lock.read().unwrap()[0] > 100);
        for _ in 0..20 {
            assert_eq!(lock.read().unwrap()[1], 20);
        }
        stop.set().unwrap();
        readers.into_iter().chain(writers).for_each(|child| child.join().unwrap().unwrap());
    });
}

#[task]
fn work_until_killed(lock: RwLock<Pair>, seed: u64) -> Result<(), Failure> {
    let mut random = Random::new(seed);
    loop {
        if random.below(3) > 0 {
            if let Ok(pair) = lock.read() {
                assert_eq!(pair[0], pair[1], "not poisoned, but half-changed");
                if random.below(500) == 0 {
                    die();
                }
            }
            continue;
        }
        let mut pair = match lock.write() {
            Ok(pair) => pair,
            Err(_) => {
                let mut mended = lock.recover()?;
                mended[1] = mended[0];
                mended
            }
        };
        pair[0] += 1;
        if random.below(500) == 0 {
            die();
        }
        pair[1] += 1;
    }
}

#[test]
fn a_storm_of_kills_leaves_nobody_inside() {
    checked(|| {
        let lock = RwLock::new([0u64; 2]).unwrap();
        let mut random = Random::from_env();
        let mut spawn = |lock: &RwLock<Pair>| Process::new(work_until_killed, (lock, random.number())).spawn().unwrap();
        let mut children = [spawn(&lock), spawn(&lock), spawn(&lock)];
        for round in 0..60 {
            thread::sleep(Duration::from_millis(3));
            murder(std::mem::replace(&mut children[round % 3], spawn(&lock)));
        }
        children.into_iter().for_each(murder);
        assert_eq!((lock.readers(), lock.is_write_locked()), (0, false));
        let pair = lock.write().or_else(|_| lock.recover()).unwrap();
        assert!(pair[0] - pair[1] <= 1 && pair[0] > 0, "{pair:?}");
    });
}
