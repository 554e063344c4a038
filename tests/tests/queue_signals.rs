//! Waits for queues and pipes that nothing disturbs: signals neither shorten nor end them, and they cost no CPU.
#![allow(unsafe_code)]

use std::thread;
use std::time::{Duration, Instant};

use offspring::pipe::{self, End, Receiver, Sender};
use offspring::{Child, ErrorKind, Failure, JoinableQueue, Process, Queue, Signal, message, task, wait_any};
use offspring_tests::locks::{FOR_EVER, asleep, checked};
use offspring_tests::proc;

#[message]
#[derive(Clone)]
struct Ends {
    full: Queue<u64>,
    empty: Queue<u64>,
    jobs: JoinableQueue<u64>,
    no_jobs: JoinableQueue<u64>,
    receiver: Receiver<u64>,
    full_pipe: Sender<u64>,
    end: End<u64, u64>,
    silent: Queue<u64>,
    last: End<u64, u64>,
}

/// The other ends, in the test's own hands.
struct Mine {
    sender: Sender<u64>,
    full_pipe: Receiver<u64>,
    end: End<u64, u64>,
    last: End<u64, u64>,
}

/// How many ways to wait there are in [`wait`].
const WAYS: u32 = 13;

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
        5 => assert_eq!(wait_any(&[&ends.empty], None)?, Some(0)),
        6 => ends.full_pipe.send(&7)?,
        7 => assert_eq!(ends.end.recv()?, 7),
        8 => assert_eq!(*ends.end.recv_view()?, 7),
        9 => assert!(ends.receiver.poll(FOR_EVER)?),
        10 => assert_eq!(wait_any(&[&ends.silent, &ends.last, &ends.silent], None)?, Some(1)),
        11 => ends.no_jobs.take()?.done()?,
        _ => assert_eq!(ends.no_jobs.get()?, 7),
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
        5 => ends.full_pipe.send_timeout(&7, time).unwrap_err().kind() == ErrorKind::Timeout,
        6 => ends.end.recv_timeout(time).unwrap_err().kind() == ErrorKind::Timeout,
        7 => !ends.receiver.poll(time)?,
        8 => !ends.end.poll(time)?,
        9 => ends.no_jobs.take_timeout(time).unwrap_err().kind() == ErrorKind::Timeout,
        10 => ends.no_jobs.next_job_timeout(time).unwrap_err().kind() == ErrorKind::Timeout,
        11 => wait_any(&[&ends.empty, &ends.end, &ends.receiver, &ends.no_jobs], Some(time))?.is_none(),
        _ => wait_any(&[&ends.empty], Some(time))?.is_none(),
    };
    assert!(late);
    Ok(start.elapsed())
}

fn ends() -> (Ends, Mine) {
    let (sender, receiver) = pipe::channel().unwrap();
    let (full_pipe, other_end) = pipe::bounded(1).unwrap();
    let [(mine, end), (my_last, last)] = [pipe::duplex().unwrap(), pipe::duplex().unwrap()];
    let ends = Ends {
        full: Queue::bounded(1).unwrap(),
        empty: Queue::unbounded().unwrap(),
        jobs: JoinableQueue::unbounded().unwrap(),
        no_jobs: JoinableQueue::unbounded().unwrap(),
        receiver,
        full_pipe,
        end,
        silent: Queue::unbounded().unwrap(),
        last,
    };
    ends.full.put(&0).unwrap();
    ends.jobs.put(&0).unwrap();
    ends.full_pipe.send(&0).unwrap();
    (ends, Mine { sender, full_pipe: other_end, end: mine, last: my_last })
}

#[test]
fn blocked_processes_use_no_cpu_and_signals_neither_end_nor_shorten_their_waits() {
    checked(|| {
        let (ends, mine) = ends();
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
        assert_eq!(mine.full_pipe.recv().unwrap(), 0);
        // One for each who takes, and one that only is looked at.
        (0..2).for_each(|_| mine.sender.send(&7).unwrap());
        (0..2).for_each(|_| mine.end.send(&7).unwrap());
        mine.last.send(&7).unwrap();
        ends.empty.put_all([7, 7, 7]).unwrap();
        ends.no_jobs.put_all([7, 7]).unwrap();
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
        let (ends, _mine) = ends();
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
