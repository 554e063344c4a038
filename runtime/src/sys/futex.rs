//! `futex`: sleeping on a 32-bit word that other processes change. Never the private form.
#![allow(unsafe_code)]

use std::ptr;
use std::sync::atomic::AtomicU32;
use std::time::Instant;

/// Why [`wait`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Somebody woke this word (or the kernel did without a reason: look at the word).
    Woken,
    /// The deadline passed.
    TimedOut,
    /// The word did not hold the expected value.
    Changed,
}

/// Sleeps while `*word == expected`, until woken or until `deadline`.
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Option<Instant>) -> Wait {
    loop {
        let timeout = match deadline {
            None => None,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Wait::TimedOut;
                }
                Some(libc::timespec {
                    tv_sec: libc::time_t::try_from(left.as_secs()).unwrap_or(libc::time_t::MAX),
                    // Below 10^9, so it fits every width of this field.
                    tv_nsec: left.subsec_nanos() as _,
                })
            }
        };
        let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: the word lives as long as the borrow; `timeout` is null or points to a local.
        let result = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, timeout) };
        if result == 0 {
            return Wait::Woken;
        }
        match std::io::Error::last_os_error().raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::ETIMEDOUT) => return Wait::TimedOut,
            _ => return Wait::Changed,
        }
    }
}

/// Wakes up to `count` sleepers of `word`; says how many there were.
pub(crate) fn wake(word: &AtomicU32, count: u32) -> usize {
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    // SAFETY: the word lives as long as the borrow.
    let woken = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count) };
    usize::try_from(woken).unwrap_or(0)
}

/// Wakes all sleepers of `word`.
pub(crate) fn wake_all(word: &AtomicU32) -> usize {
    wake(word, u32::MAX)
}
