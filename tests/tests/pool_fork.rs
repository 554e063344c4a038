//! A pool in a `fork()` that the program made itself: refused, and harmless.
#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use offspring::{ErrorKind, Pool, task};
use offspring_tests::watchdog;

#[task]
fn square(x: u64) -> u64 {
    x * x
}

/// What the fork sees, as its exit code: 0 if all is as it should be.
fn in_the_fork(pool: Pool, mut handle: offspring::TaskHandle<u64>, views: offspring::Views<u64>) -> i32 {
    let refused = |kind: ErrorKind| kind == ErrorKind::Unsupported;
    let checks = [
        pool.map(square, 0..3u64).is_err_and(|error| refused(error.kind())),
        pool.submit(square, 3u64).is_err_and(|error| refused(error.kind())),
        pool.imap(square, 0..3u64).next().is_some_and(|result| result.is_err()),
        handle.is_ready(),
        handle.get_timeout(Duration::from_secs(5)).is_err_and(|error| refused(error.kind())),
        pool.workers().is_empty(),
        catch_unwind(AssertUnwindSafe(|| views[1] == 1)).is_err(),
    ];
    drop((handle, views));
    pool.close();
    drop(pool);
    checks.iter().position(|ok| !ok).map_or(0, |index| index as i32 + 1)
}

#[test]
fn a_fork_can_drop_a_pool_and_nothing_else() {
    let _watch = watchdog(Duration::from_secs(60));
    let pool = Pool::builder().workers(2).build().unwrap();
    assert_eq!(pool.map(square, 0..3u64).unwrap(), [0, 1, 4]);
    let (handle, views) = (pool.submit(square, 5u64).unwrap(), pool.map_in_place(square, 0..3u64).unwrap());
    // SAFETY: the fork has one thread; what it calls needs no lock that another thread of this process may hold but the allocator's,
    // which glibc makes usable after a fork.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        std::panic::set_hook(Box::new(|_| ()));
        let code = catch_unwind(AssertUnwindSafe(|| in_the_fork(pool, handle, views))).unwrap_or(100);
        // SAFETY: ends the fork without running the test harness's own end.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: `status` is writable; the child is this test's own.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    assert!(libc::WIFEXITED(status), "{status:#x}");
    assert_eq!(libc::WEXITSTATUS(status), 0);
    assert_eq!(handle.get().unwrap(), 25);
    assert_eq!(views[2], 4);
    assert_eq!(pool.map(square, 0..3u64).unwrap(), [0, 1, 4]);
}
