//! `Event` between real processes.

use offspring::sync::{Event, Semaphore};
use offspring::{Child, Failure, Process, task};
use offspring_tests::locks::{asleep, checked, murder};
use std::thread;
use std::time::{Duration, Instant};

#[task]
fn wait(event: Event) -> Result<(), Failure> {
    Ok(event.wait()?)
}

#[test]
fn one_set_lets_all_go_also_if_it_is_cleared_at_once() {
    checked(|| {
        let event = Event::new().unwrap();
        let waiters: Vec<Child<_>> = (0..5).map(|_| Process::new(wait, &event).spawn().unwrap()).collect();
        waiters.iter().for_each(asleep);
        event.set().unwrap();
        event.clear().unwrap();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap().unwrap());
        assert!(!event.is_set());
    });
}

#[test]
fn a_wait_with_a_time_says_whether_it_was_set() {
    checked(|| {
        let event = Event::new().unwrap();
        let start = Instant::now();
        assert!(!event.wait_timeout(Duration::from_millis(30)).unwrap());
        assert!(start.elapsed() >= Duration::from_millis(30));
        thread::scope(|scope| {
            let waiter = scope.spawn(|| event.wait_timeout(Duration::from_secs(50)).unwrap());
            thread::sleep(Duration::from_millis(5));
            event.set().unwrap();
            event.set().unwrap();
            assert!(waiter.join().unwrap());
        });
        assert!(event.is_set() && event.wait_timeout(Duration::ZERO).unwrap());
    });
}

#[test]
fn dead_waiters_cost_nobody_anything() {
    checked(|| {
        let event = Event::new().unwrap();
        let waiters: Vec<Child<_>> = (0..4).map(|_| Process::new(wait, &event).spawn().unwrap()).collect();
        waiters.iter().for_each(asleep);
        let mut waiters = waiters.into_iter();
        waiters.by_ref().take(2).for_each(murder);
        event.set().unwrap();
        waiters.for_each(|waiter| waiter.join().unwrap().unwrap());
    });
}

#[task]
fn answer(ping: Event, pong: Semaphore, times: usize) -> Result<(), Failure> {
    for _ in 0..times {
        ping.wait()?;
        ping.clear()?;
        pong.release(1)?;
    }
    Ok(())
}

#[test]
fn no_set_is_missed_in_a_long_exchange() {
    checked(|| {
        let (ping, pong) = (Event::new().unwrap(), Semaphore::new(0).unwrap());
        let child = Process::new(answer, (&ping, &pong, 3000)).spawn().unwrap();
        for _ in 0..3000 {
            ping.set().unwrap();
            pong.acquire().unwrap().forget();
        }
        child.join().unwrap().unwrap();
    });
}
