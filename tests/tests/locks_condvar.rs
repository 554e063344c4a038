//! `Condvar` between real processes.

use offspring::sync::{Condvar, Mutex};
use offspring::{Child, ErrorKind, Failure, Process, task};
use offspring_tests::locks::{FOR_EVER, asleep, checked, die, murder, until};
use std::thread;
use std::time::{Duration, Instant};

/// How many are wanted, how many were taken.
type Stock = [u32; 2];

#[task]
fn take(ready: Condvar, stock: Mutex<Stock>, times: u32) -> Result<(), Failure> {
    for _ in 0..times {
        let mut stock = ready.wait_while(stock.lock()?, |stock| stock[0] == 0)?;
        stock[0] -= 1;
        stock[1] += 1;
    }
    Ok(())
}

#[task]
fn give(ready: Condvar, stock: Mutex<Stock>, times: u32, all: bool) -> Result<(), Failure> {
    for _ in 0..times {
        stock.lock()?[0] += 1;
        if all { ready.notify_all()? } else { ready.notify_one()? }
    }
    Ok(())
}

#[test]
fn no_notification_is_lost_between_producers_and_consumers() {
    checked(|| {
        for all in [false, true] {
            let (ready, stock) = (Condvar::new().unwrap(), Mutex::new([0u32; 2]).unwrap());
            let takers = [(); 3].map(|()| Process::new(take, (&ready, &stock, 400)).spawn().unwrap());
            let givers = [(); 2].map(|()| Process::new(give, (&ready, &stock, 600, all)).spawn().unwrap());
            takers.into_iter().chain(givers).for_each(|child| child.join().unwrap().unwrap());
            assert_eq!(*stock.lock().unwrap(), [0, 1200]);
        }
    });
}

#[test]
fn a_wait_with_a_time_ends_with_the_lock_in_hand() {
    checked(|| {
        let (ready, stock) = (Condvar::new().unwrap(), Mutex::new([0u32; 2]).unwrap());
        let start = Instant::now();
        let wait = |time| ready.wait_timeout_while(stock.lock().unwrap(), time, |stock| stock[0] == 0).unwrap();
        let (guard, result) = wait(Duration::from_millis(30));
        assert!(result.timed_out() && start.elapsed() >= Duration::from_millis(30) && stock.is_locked());
        drop(guard);
        let (guard, result) = ready.wait_timeout(stock.lock().unwrap(), Duration::ZERO).unwrap();
        assert!(result.timed_out());
        drop(guard);
        thread::scope(|scope| {
            scope.spawn(|| give(ready.clone(), stock.clone(), 1, false).unwrap());
            let (guard, result) = wait(FOR_EVER);
            assert!(!result.timed_out() && guard[0] == 1);
        });
    });
}

#[test]
fn a_killed_waiter_holds_up_neither_notifiers_nor_waiters() {
    checked(|| {
        let (ready, stock) = (Condvar::new().unwrap(), Mutex::new([0u32; 2]).unwrap());
        let takers: Vec<Child<_>> = (0..3).map(|_| Process::new(take, (&ready, &stock, 1)).spawn().unwrap()).collect();
        takers.iter().for_each(asleep);
        let mut takers = takers.into_iter();
        murder(takers.next().unwrap());
        for _ in 0..2 {
            give(ready.clone(), stock.clone(), 1, false).unwrap();
        }
        takers.for_each(|taker| taker.join().unwrap().unwrap());
        assert_eq!(*stock.lock().unwrap(), [0, 2]);
    });
}

#[task]
fn die_when_told(ready: Condvar, stock: Mutex<Stock>) -> Result<(), Failure> {
    let stock = ready.wait_while(stock.lock()?, |stock| stock[0] == 0)?;
    // Without the lock: it is the notification that goes with it.
    drop(stock);
    die()
}

#[test]
fn a_notification_that_dies_with_its_waiter_is_made_up_for() {
    checked(|| {
        for _ in 0..10 {
            let (ready, stock) = (Condvar::new().unwrap(), Mutex::new([0u32; 2]).unwrap());
            // First in line, so that the one notification is its own.
            let mut doomed = Process::new(die_when_told, (&ready, &stock)).spawn().unwrap();
            asleep(&doomed);
            let taker = Process::new(take, (&ready, &stock, 1)).spawn().unwrap();
            asleep(&taker);
            give(ready.clone(), stock.clone(), 1, false).unwrap();
            doomed.wait().unwrap();
            taker.join().unwrap().unwrap();
        }
    });
}

#[task]
fn lock_and_sleep(stock: Mutex<Stock>) -> Result<(), Failure> {
    let _guard = stock.lock()?;
    thread::sleep(FOR_EVER);
    Ok(())
}

#[test]
fn a_waiter_hears_that_the_lock_was_poisoned_meanwhile() {
    checked(|| {
        let (ready, stock) = (Condvar::new().unwrap(), Mutex::new([0u32; 2]).unwrap());
        thread::scope(|scope| {
            let waiter = scope.spawn(|| ready.wait(stock.lock().unwrap()).map(drop).unwrap_err().kind());
            thread::sleep(Duration::from_millis(20));
            let holder = Process::new(lock_and_sleep, &stock).spawn().unwrap();
            until(|| stock.is_locked());
            asleep(&holder);
            murder(holder);
            ready.notify_all().unwrap();
            assert_eq!(waiter.join().unwrap(), ErrorKind::Poisoned);
        });
    });
}
