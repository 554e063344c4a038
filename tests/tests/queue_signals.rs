//! Waits for queues and pipes that nothing disturbs: signals neither shorten nor end them, and they cost no CPU.
#![allow(unsafe_code)]

use std::thread;
use std::time::{Duration, Instant};

use offspring::pipe::{self, Receiver};
use offspring::{Child, ErrorKind, Failure, JoinableQueue, Process, Queue, Signal, message, task, wait_any};
use offspring_tests::locks::{asleep, checked};
use offspring_tests::proc;

#[message]
#[derive(Clone)]
struct Ends {
    full: Queue<u64>,
    empty: Queue<u64>,
    jobs: JoinableQueue<u64>,
    receiver: Receiver<u64>,
}

/// How many ways to wait there are in [`wait`].
const WAYS: u32 = 6;

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

/// User and system time of this process.
fn cpu_time() -> Duration {
    // SAFETY: all zero is a valid value, and the call fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &mut usage), 0);
        usage
    };
    [usage.ru_utime, usage.ru_stime]
        .into_iter()
        .map(|time| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000))
        .sum()
}

/// Waits; how much CPU time that cost.
#[task]
fn wait(ends: Ends, way: u32) -> Result<Duration, Failure> {
    interrupted_by_signals();
    let before = cpu_time();
    match way {
        0 => ends.full.put(&7)?,
        1 => assert_eq!(ends.empty.get()?, 7),
        2 => assert_eq!(*ends.empty.take()?, 7),
        3 => ends.jobs.join()?,
        4 => assert_eq!(ends.receiver.recv()?, 7),
        _ => assert_eq!(wait_any(&[&ends.empty], None)?, Some(0)),
    }
    Ok(cpu_time() - before)
}

/// Waits in vain; how long it did.
#[task]
fn wait_for(ends: Ends, way: u32, time: Duration) -> Result<Duration, Failure> {
    interrupted_by_signals();
    let start = Instant::now();
    let late = match way {
        0 => ends.full.put_timeout(&7, time).unwrap_err().kind() == ErrorKind::Timeout,
        1 => ends.empty.get_timeout(time).unwrap_err().kind() == ErrorKind::Timeout,
        2 => ends.empty.take_timeout(time).map(|_| ()).unwrap_err().kind() == ErrorKind::Timeout,
        3 => !ends.jobs.join_timeout(time)?,
        4 => ends.receiver.recv_timeout(time).unwrap_err().kind() == ErrorKind::Timeout,
        _ => wait_any(&[&ends.empty], Some(time))?.is_none(),
    };
    assert!(late);
    Ok(start.elapsed())
}

fn ends() -> (Ends, pipe::Sender<u64>) {
    let (sender, receiver) = pipe::channel().unwrap();
    let ends = Ends {
        full: Queue::bounded(1).unwrap(),
        empty: Queue::unbounded().unwrap(),
        jobs: JoinableQueue::unbounded().unwrap(),
        receiver,
    };
    ends.full.put(&0).unwrap();
    ends.jobs.put(&0).unwrap();
    (ends, sender)
}

#[test]
fn blocked_processes_use_no_cpu_and_signals_neither_end_nor_shorten_their_waits() {
    checked(|| {
        let (ends, sender) = ends();
        let children: Vec<Child<_>> = (0..WAYS).map(|way| Process::new(wait, (&ends, way)).spawn().unwrap()).collect();
        children.iter().for_each(asleep);

        let quiet = || -> Vec<String> { children.iter().map(|child| proc::activity(child.pid() as i32)).collect() };
        let before = quiet();
        thread::sleep(Duration::from_millis(300));
        assert_eq!(before, quiet(), "somebody woke for nothing");

        for _ in 0..100 {
            children.iter().for_each(|child| child.signal(Signal::USR1).unwrap());
            thread::sleep(Duration::from_millis(1));
        }
        for (way, child) in children.iter().enumerate() {
            assert!(child.is_alive(), "way {way} was ended by a signal");
            asleep(child);
        }
        assert_eq!(ends.full.get().unwrap(), 0);
        ends.jobs.take().unwrap().done().unwrap();
        sender.send(&7).unwrap();
        // One for `get`, one for `take`, and one that only is looked at.
        ends.empty.put_all([7, 7, 7]).unwrap();
        for (way, child) in children.into_iter().enumerate() {
            // A hundred signals and the wait itself: microseconds each.
            let cost = child.join().unwrap().unwrap();
            assert!(cost < Duration::from_millis(200), "way {way} cost {cost:?} of CPU time");
        }
    });
}

#[test]
fn waits_with_a_time_take_that_time_in_a_storm_of_signals() {
    checked(|| {
        let (ends, _sender) = ends();
        let time = Duration::from_millis(300);
        let children: Vec<Child<_>> =
            (0..WAYS).map(|way| Process::new(wait_for, (&ends, way, time)).spawn().unwrap()).collect();
        children.iter().for_each(asleep);
        while children.iter().any(|child| child.is_alive()) {
            // Those that have ended cannot be told any more.
            children.iter().for_each(|child| drop(child.signal(Signal::USR1)));
            thread::sleep(Duration::from_millis(1));
        }
        for (way, child) in children.into_iter().enumerate() {
            let took = child.join().unwrap().unwrap();
            assert!(took >= time && took < Duration::from_secs(20), "way {way} took {took:?}");
        }
    });
}
