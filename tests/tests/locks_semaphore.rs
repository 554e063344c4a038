//! `Semaphore` and `BoundedSemaphore` between real processes.

use offspring::sync::{BoundedSemaphore, Event, Mutex, Semaphore};
use offspring::{ErrorKind, Failure, Process, task};
use offspring_tests::kill::Random;
use offspring_tests::locks::{FOR_EVER, asleep, checked, die, murder, until};
use std::thread;
use std::time::Duration;

#[task]
fn enter(sem: Semaphore, inside: Mutex<[u32; 2]>, times: u32) -> Result<(), Failure> {
    for _ in 0..times {
        let _permit = sem.acquire()?;
        {
            let mut inside = inside.lock()?;
            inside[0] += 1;
            inside[1] = inside[1].max(inside[0]);
        }
        thread::yield_now();
        inside.lock()?[0] -= 1;
    }
    Ok(())
}

#[test]
fn never_more_than_the_permits_are_inside() {
    checked(|| {
        let (sem, inside) = (Semaphore::new(2).unwrap(), Mutex::new([0u32; 2]).unwrap());
        let children = [(); 5].map(|()| Process::new(enter, (&sem, &inside, 200)).spawn().unwrap());
        children.into_iter().for_each(|child| child.join().unwrap().unwrap());
        assert_eq!((*inside.lock().unwrap(), sem.available_permits()), ([0, 2], 2));
    });
}

#[task]
fn take_and_sleep(sem: Semaphore, permits: usize) -> Result<(), Failure> {
    let _permit = sem.acquire_many(permits)?;
    thread::sleep(FOR_EVER);
    Ok(())
}

#[task]
fn take(sem: Semaphore, permits: usize) -> Result<usize, Failure> {
    Ok(sem.acquire_many(permits)?.count())
}

#[test]
fn permits_of_the_dead_come_back_to_those_who_wait() {
    checked(|| {
        let sem = Semaphore::new(3).unwrap();
        let holder = Process::new(take_and_sleep, (&sem, 3)).spawn().unwrap();
        until(|| sem.available_permits() == 0);
        let waiters = [1, 2].map(|permits| Process::new(take, (&sem, permits)).spawn().unwrap());
        let victim = Process::new(take, (&sem, 1)).spawn().unwrap();
        waiters.iter().chain([&victim]).for_each(asleep);
        murder(victim);
        murder(holder);
        assert_eq!(waiters.map(|waiter| waiter.join().unwrap().unwrap()), [1, 2]);
        assert_eq!(sem.available_permits(), 3);
    });
}

#[test]
fn forms_that_do_not_wait_and_arguments_that_make_no_sense_are_told_apart() {
    checked(|| {
        let sem = Semaphore::new(2).unwrap();
        let permit = sem.acquire().unwrap();
        assert_eq!(sem.try_acquire_many(2).unwrap_err().kind(), ErrorKind::Empty);
        assert_eq!(sem.acquire_many_timeout(2, Duration::from_millis(5)).unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(sem.acquire_many(0).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(Semaphore::new(1 << 40).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(sem.release(1 << 40).unwrap_err().kind(), ErrorKind::InvalidInput);
        permit.forget();
        assert_eq!(sem.available_permits(), 1);
        sem.release(4).unwrap();
        assert_eq!(sem.try_acquire_many(5).unwrap().count(), 5);
        assert_eq!(sem.available_permits(), 5);

        assert_eq!(BoundedSemaphore::new(0).unwrap_err().kind(), ErrorKind::InvalidInput);
        let bounded = BoundedSemaphore::new(2).unwrap();
        assert_eq!(bounded.acquire_many(3).unwrap_err().kind(), ErrorKind::InvalidInput);
        let permit = bounded.acquire().unwrap();
        assert_eq!(bounded.release(1).unwrap_err().kind(), ErrorKind::InvalidInput, "the permit comes back by itself");
        permit.forget();
        bounded.release(1).unwrap();
        assert_eq!(bounded.release(1).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!((bounded.available_permits(), bounded.bound()), (2, 2));
    });
}

#[task]
fn nibble(sem: Semaphore, stop: Event) -> Result<(), Failure> {
    while !stop.is_set() {
        let _permit = sem.acquire()?;
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

#[test]
fn who_wants_many_is_not_kept_out_by_those_who_want_one() {
    checked(|| {
        let (sem, stop) = (Semaphore::new(3).unwrap(), Event::new().unwrap());
        let others = [(); 4].map(|()| Process::new(nibble, (&sem, &stop)).spawn().unwrap());
        until(|| sem.available_permits() == 0);
        for _ in 0..10 {
            drop(sem.acquire_many(3).unwrap());
        }
        stop.set().unwrap();
        others.into_iter().for_each(|child| child.join().unwrap().unwrap());
        assert_eq!(sem.available_permits(), 3);
    });
}

#[task]
fn count_down(items: Semaphore, done: Semaphore, times: usize) -> Result<(), Failure> {
    for _ in 0..times {
        items.acquire()?.forget();
        done.release(1)?;
    }
    Ok(())
}

#[test]
fn one_process_releases_what_another_acquires() {
    checked(|| {
        let (items, done) = (Semaphore::new(0).unwrap(), Semaphore::new(0).unwrap());
        let child = Process::new(count_down, (&items, &done, 300)).spawn().unwrap();
        for _ in 0..300 {
            items.release(1).unwrap();
        }
        done.acquire_many(300).unwrap().forget();
        child.join().unwrap().unwrap();
        assert_eq!((items.available_permits(), done.available_permits()), (0, 0));
    });
}

#[task]
fn work_until_killed(sem: Semaphore, seed: u64) -> Result<(), Failure> {
    let mut random = Random::new(seed);
    loop {
        let _permit = sem.acquire_many(1 + random.below(2) as usize)?;
        if random.below(300) == 0 {
            die();
        }
    }
}

#[test]
fn a_storm_of_kills_loses_no_permit() {
    checked(|| {
        let sem = Semaphore::new(3).unwrap();
        let mut random = Random::from_env();
        let mut spawn = |sem: &Semaphore| Process::new(work_until_killed, (sem, random.number())).spawn().unwrap();
        let mut children = [spawn(&sem), spawn(&sem), spawn(&sem)];
        for round in 0..60 {
            thread::sleep(Duration::from_millis(3));
            murder(std::mem::replace(&mut children[round % 3], spawn(&sem)));
        }
        children.into_iter().for_each(murder);
        assert_eq!(sem.available_permits(), 3);
        assert_eq!(sem.acquire_many(3).unwrap().count(), 3);
    });
}
