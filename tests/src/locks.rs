//! What the tests of locks have in common.

use crate::{leaks, proc, watchdog};
use offspring::{Child, Message, Pool, Process, process, task};
use std::thread;
use std::time::Duration;

/// A test that takes longer hangs.
const LONG: Duration = Duration::from_secs(60);

/// As long as a child that is going to be killed needs.
pub const FOR_EVER: Duration = Duration::from_secs(1000);

#[task]
fn nothing() {}

/// Runs `test` with a watchdog and a leak check.
///
/// # Panics
///
/// When the test does, or leaves anything behind.
#[track_caller]
pub fn checked<T>(test: impl FnOnce() -> T) -> T {
    let _watch = watchdog(LONG);
    let warm_up = || {
        Pool::builder().workers(1).build().expect("a pool").call(nothing, ()).expect("a worker");
        Process::new(nothing, ()).spawn().expect("a child").join().expect("its end");
    };
    leaks::check(warm_up, test)
}

/// Waits until `ready`; the watchdog looks after the rest.
pub fn until(ready: impl Fn() -> bool) {
    while !ready() {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until a child sleeps, and goes on sleeping.
pub fn asleep<T: Message>(child: &Child<T>) {
    let pid = child.pid() as i32;
    let mut calm = 0;
    let mut last = String::new();
    while calm < 4 {
        thread::sleep(Duration::from_millis(2));
        let now = proc::activity(pid);
        calm = if !now.is_empty() && now == last { calm + 1 } else { 0 };
        last = now;
    }
}

/// SIGKILLs a child and waits until that is known and what it held is recovered.
///
/// # Panics
///
/// When it cannot be killed.
pub fn murder<T: Message>(mut child: Child<T>) {
    child.kill().expect("a child to kill");
    child.wait().expect("its end");
}

/// Ends this process as a kill does.
pub fn die() -> ! {
    let _ = crate::kill::sigkill(process::current().pid() as i32);
    loop {
        thread::sleep(FOR_EVER);
    }
}
