//! A hang is a failure.

use crate::{kill, proc};
use std::io::Write;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// Held by a test while it may block; see [`watchdog`].
#[derive(Debug)]
#[must_use = "the watchdog ends when this is dropped"]
pub struct Watchdog {
    // Never sent on: dropping it wakes and ends the watching thread.
    _alive: Sender<()>,
}

/// Watches the rest of the scope: if it takes longer than `limit`, prints the state of this process and of all its
/// descendants, kills the descendants and aborts.
///
/// It aborts instead of panicking because the thread that hangs cannot be made to.
///
/// ```
/// # use std::time::Duration;
/// let _watch = offspring_tests::watchdog(Duration::from_secs(20));
/// ```
///
/// # Panics
///
/// When no thread can be started.
#[track_caller]
pub fn watchdog(limit: Duration) -> Watchdog {
    let (alive, ended) = channel();
    let place = std::panic::Location::caller();
    let test = thread::current().name().unwrap_or("?").to_owned();
    thread::Builder::new()
        .name("watchdog".to_owned())
        .spawn(move || {
            if ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                say(&format!("watchdog: `{test}` ({place}) still runs after {limit:?}\n"));
                bark();
            }
        })
        .expect("a thread for the watchdog");
    Watchdog { _alive: alive }
}

/// Past the test harness, which would keep what is printed until a test has ended.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn bark() -> ! {
    let me = std::process::id() as i32;
    say(&proc::describe(me));
    let descendants = proc::descendants(me);
    for process in &descendants {
        say(&proc::describe(process.pid));
    }
    // Children first, so that no parent starts another one in place of a dead grandchild.
    for process in &descendants {
        let _ = kill::sigkill(process.pid);
    }
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Runs in a process of its own: the watchdog aborts it.
    #[test]
    fn a_hang_is_reported_with_its_children_and_ends() {
        const INNER: &str = "OFFSPRING_TESTS_HANG";
        if std::env::var_os(INNER).is_some() {
            let _watch = watchdog(Duration::from_millis(100));
            let _ = Command::new("sleep").arg("1000").status();
            return;
        }
        let _watch = watchdog(Duration::from_secs(30));
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "watchdog::tests::a_hang_is_reported_with_its_children_and_ends", "--nocapture"])
            .env(INNER, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(said.contains("still runs after 100ms"), "{said}");
        assert!(said.contains("`sleep`"), "{said}");
    }

    #[test]
    fn a_test_that_ends_in_time_is_left_alone() {
        drop(watchdog(Duration::from_millis(20)));
        thread::sleep(Duration::from_millis(60));
    }
}
