//! Waits for locks that nothing disturbs: signals neither shorten nor end them, and they cost no CPU.
#![allow(unsafe_code)]

use offspring::sync::{Barrier, Condvar, Event, Mutex, Once, ReentrantMutex, RwLock, Semaphore};
use offspring::{Child, Failure, Pool, Process, Signal, message, task, wait_any};
use offspring_tests::locks::{asleep, checked};
use offspring_tests::proc;
use std::thread;
use std::time::{Duration, Instant};

#[message]
#[derive(Clone)]
struct Locks {
    mutex: Mutex<u64>,
    reentrant: ReentrantMutex,
    rwlock: RwLock<u64>,
    semaphore: Semaphore,
    event: Event,
    condvar: Condvar,
    other: Mutex<u64>,
    barrier: Barrier,
    once: Once,
}

/// How many ways to wait there are in [`wait`].
const WAYS: u32 = 9;

extern "C" fn ignore(_: libc::c_int) {}

/// A handler, without SA_RESTART: system calls end with EINTR.
fn interrupted_by_signals() {
    // SAFETY: all zero is a valid action; the handler does nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = ignore as *const () as usize;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()), 0);
    }
}

#[task]
fn wait(locks: Locks, way: u32) -> Result<(), Failure> {
    interrupted_by_signals();
    match way {
        0 => drop(locks.mutex.lock()?),
        1 => drop(locks.reentrant.lock()?),
        2 => drop(locks.rwlock.read()?),
        3 => drop(locks.rwlock.write()?),
        4 => drop(locks.semaphore.acquire()?),
        5 => locks.event.wait()?,
        6 => drop(locks.condvar.wait_while(locks.other.lock()?, |told| *told == 0)?),
        7 => drop(locks.barrier.wait()?),
        _ => drop(locks.once.call_once(|| ())?),
    }
    Ok(())
}

#[task]
fn once_until(once: Once, begun: Event, stop: Event) -> Result<(), Failure> {
    once.try_call_once(|| {
        begun.set()?;
        stop.wait()
    })??;
    Ok(())
}

#[test]
fn blocked_processes_use_no_cpu_and_signals_neither_end_nor_shorten_their_waits() {
    checked(|| {
        let locks = Locks {
            mutex: Mutex::new(0).unwrap(),
            reentrant: ReentrantMutex::new().unwrap(),
            rwlock: RwLock::new(0).unwrap(),
            semaphore: Semaphore::new(0).unwrap(),
            event: Event::new().unwrap(),
            condvar: Condvar::new().unwrap(),
            other: Mutex::new(0).unwrap(),
            barrier: Barrier::new(2).unwrap(),
            once: Once::new().unwrap(),
        };
        let (begun, stop) = (Event::new().unwrap(), Event::new().unwrap());
        let runner = Process::new(once_until, (&locks.once, &begun, &stop)).spawn().unwrap();
        begun.wait().unwrap();
        let (one, two, three) =
            (locks.mutex.lock().unwrap(), locks.reentrant.lock().unwrap(), locks.rwlock.write().unwrap());
        let mut children: Vec<Child<_>> =
            (0..WAYS).map(|way| Process::new(wait, (&locks, way)).spawn().unwrap()).collect();
        children.iter().for_each(asleep);

        let quiet = |children: &[Child<Result<(), Failure>>]| -> Vec<String> {
            children.iter().map(|child| proc::activity(child.pid() as i32)).collect()
        };
        let before = quiet(&children);
        thread::sleep(Duration::from_millis(300));
        assert_eq!(before, quiet(&children), "somebody woke for nothing");

        for _ in 0..100 {
            children.iter().for_each(|child| child.signal(Signal::USR1).unwrap());
            thread::sleep(Duration::from_millis(1));
        }
        for (way, child) in children.iter().enumerate() {
            assert!(child.is_alive(), "way {way} was ended by a signal");
            asleep(child);
        }
        drop((one, two, three));
        stop.set().unwrap();
        locks.semaphore.release(1).unwrap();
        locks.event.set().unwrap();
        *locks.other.lock().unwrap() = 1;
        locks.condvar.notify_one().unwrap();
        locks.barrier.wait().unwrap();
        for child in children.drain(..).chain([runner]) {
            child.join().unwrap().unwrap();
        }
    });
}

#[task]
fn wait_for(locks: Locks, way: u32, time: Duration) -> Result<Duration, Failure> {
    interrupted_by_signals();
    let start = Instant::now();
    let ended = match way {
        0 => locks.mutex.lock_timeout(time).is_err(),
        1 => locks.reentrant.lock_timeout(time).is_err(),
        2 => locks.rwlock.read_timeout(time).is_err(),
        3 => locks.rwlock.write_timeout(time).is_err(),
        4 => locks.semaphore.acquire_timeout(time).is_err(),
        5 => !locks.event.wait_timeout(time)?,
        6 => locks.condvar.wait_timeout_while(locks.other.lock()?, time, |told| *told == 0)?.1.timed_out(),
        7 => locks.barrier.wait_timeout(time).is_err(),
        _ => !locks.once.wait_timeout(time)?,
    };
    assert!(ended);
    Ok(start.elapsed())
}

#[test]
fn waits_with_a_time_take_that_time_in_a_storm_of_signals() {
    checked(|| {
        let locks = Locks {
            mutex: Mutex::new(0).unwrap(),
            reentrant: ReentrantMutex::new().unwrap(),
            rwlock: RwLock::new(0).unwrap(),
            semaphore: Semaphore::new(0).unwrap(),
            event: Event::new().unwrap(),
            condvar: Condvar::new().unwrap(),
            other: Mutex::new(0).unwrap(),
            barrier: Barrier::new(2).unwrap(),
            once: Once::new().unwrap(),
        };
        let _held = (locks.mutex.lock().unwrap(), locks.reentrant.lock().unwrap(), locks.rwlock.write().unwrap());
        let time = Duration::from_millis(300);
        let mut children: Vec<Child<_>> =
            (0..WAYS).map(|way| Process::new(wait_for, (&locks, way, time)).spawn().unwrap()).collect();
        children.iter().for_each(asleep);
        while children.iter().any(|child| child.is_alive()) {
            // Those that have ended cannot be told any more.
            children.iter().for_each(|child| drop(child.signal(Signal::USR1)));
            thread::sleep(Duration::from_millis(1));
        }
        for (way, child) in children.drain(..).enumerate() {
            let took = child.join().unwrap().unwrap();
            assert!(took >= time && took < Duration::from_secs(20), "way {way} took {took:?}");
        }
    });
}

#[task]
fn set_after(event: Event, time: Duration) -> Result<(), Failure> {
    thread::sleep(time);
    Ok(event.set()?)
}

#[test]
fn events_can_be_waited_for_together_with_other_things() {
    checked(|| {
        let (one, two) = (Event::new().unwrap(), Event::new().unwrap());
        assert_eq!(wait_any(&[&one, &two], Some(Duration::from_millis(10))).unwrap(), None);
        let child = Process::new(set_after, (&two, Duration::from_millis(20))).spawn().unwrap();
        assert_eq!(wait_any(&[&one, &two], None).unwrap(), Some(1));
        child.join().unwrap().unwrap();
        one.set().unwrap();
        assert_eq!(wait_any(&[&one, &two], None).unwrap(), Some(0));
    });
}

#[task]
fn meet(barrier: Barrier) -> Result<bool, Failure> {
    Ok(barrier.wait()?.is_leader())
}

#[task]
fn meet_in_a_pool(barrier: Barrier) -> Result<usize, Failure> {
    let pool = Pool::builder().workers(3).build()?;
    let leaders = pool.map(meet, [&barrier, &barrier, &barrier])?;
    Ok(leaders.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().filter(|leader| *leader).count())
}

#[test]
fn workers_of_nested_pools_that_wait_for_each_other_let_each_other_run() {
    checked(|| {
        let barrier = Barrier::new(3).unwrap();
        let pool = Pool::builder().workers(1).build().unwrap();
        assert_eq!(pool.call(meet_in_a_pool, &barrier).unwrap().unwrap(), 1);
    });
}
