//! A queue in a `fork()` that the program made itself: refused, and harmless.
#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use offspring::{ErrorKind, Queue, View, pipe};
use offspring_tests::watchdog;

/// What the fork sees, as its exit code: 0 if all is as it should be.
fn in_the_fork(queue: Queue<u64>, sender: pipe::Sender<u64>, view: View<Vec<u8>>) -> i32 {
    let refused = |kind: ErrorKind| kind == ErrorKind::Unsupported;
    let checks = [
        queue.put(&2).is_err_and(|error| refused(error.kind())),
        queue.try_get().is_err_and(|error| refused(error.kind())),
        queue.close().is_err_and(|error| refused(error.kind())),
        queue.is_empty() && !queue.is_full() && queue.capacity().is_none(),
        sender.send(&1).is_err_and(|error| refused(error.kind())),
        catch_unwind(AssertUnwindSafe(|| view.len() == 5000)).is_err(),
    ];
    drop((queue, sender, view));
    checks.iter().position(|ok| !ok).map_or(0, |index| index as i32 + 1)
}

#[test]
fn a_fork_can_drop_a_queue_and_nothing_else() {
    let _watch = watchdog(Duration::from_secs(60));
    let queue: Queue<u64> = Queue::bounded(5).unwrap();
    queue.put(&1).unwrap();
    let long: Queue<Vec<u8>> = Queue::unbounded().unwrap();
    long.put(&vec![1; 5000]).unwrap();
    let (tx, rx) = pipe::channel::<u64>().unwrap();
    let (theirs, sender, view) = (queue.clone(), tx.clone(), long.take().unwrap());
    // SAFETY: the fork has one thread; what it calls needs no lock that another thread of this process may hold but the allocator's,
    // which glibc makes usable after a fork.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let code = in_the_fork(theirs, sender, view);
        // SAFETY: ends the fork without what the test harness does at an exit.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: a child of this process, and a place for its status.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    assert!(libc::WIFEXITED(status), "{status:#x}");
    assert_eq!(libc::WEXITSTATUS(status), 0);
    assert_eq!(queue.get().unwrap(), 1);
    drop(tx);
    assert_eq!((view.len(), view[4999]), (5000, 1));
    drop(sender);
    assert_eq!(rx.recv().unwrap_err().kind(), ErrorKind::Closed);
}
