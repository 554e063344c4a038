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
        let timeout = match deadline.map(left) {
            Some(None) => return Wait::TimedOut,
            left => left.flatten(),
        };
        let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: the word lives as long as the borrow; `timeout` is null or points to a local.
        let result = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, timeout) };
        if let Some(done) = outcome(result) {
            return done;
        }
    }
}

/// As [`wait`], as one of the sleepers of `kinds` (a set of bits, not empty): [`wake_among`] wakes those of some kinds only.
pub(crate) fn wait_among(kinds: u32, word: &AtomicU32, expected: u32, deadline: Option<Instant>) -> Wait {
    let op = libc::FUTEX_WAIT_BITSET;
    loop {
        let timeout = match deadline.map(left) {
            Some(None) => return Wait::TimedOut,
            // This form takes a point in time.
            left => left.flatten().map(from_now),
        };
        let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
        let none = ptr::null::<u32>();
        // SAFETY: the word lives as long as the borrow; `timeout` is null or points to a local.
        let result = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), op, expected, timeout, none, kinds) };
        if let Some(done) = outcome(result) {
            return done;
        }
    }
}

/// The time until `deadline`; `None` if there is none.
fn left(deadline: Instant) -> Option<libc::timespec> {
    let left = deadline.saturating_duration_since(Instant::now());
    (!left.is_zero()).then(|| libc::timespec {
        tv_sec: libc::time_t::try_from(left.as_secs()).unwrap_or(libc::time_t::MAX),
        // Below 10^9, so it fits every width of this field.
        tv_nsec: left.subsec_nanos() as _,
    })
}

/// The point in time, of the clock that futexes and `Instant` use, that is so far away.
fn from_now(left: libc::timespec) -> libc::timespec {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one local.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    let nanos = time.tv_nsec + left.tv_nsec;
    libc::timespec {
        tv_sec: time.tv_sec.saturating_add(left.tv_sec).saturating_add(nanos / 1_000_000_000),
        tv_nsec: nanos % 1_000_000_000,
    }
}

/// What a wait's result means; `None`: a signal came, wait on.
fn outcome(result: libc::c_long) -> Option<Wait> {
    if result == 0 {
        return Some(Wait::Woken);
    }
    match std::io::Error::last_os_error().raw_os_error() {
        Some(libc::EINTR) => None,
        Some(libc::ETIMEDOUT) => Some(Wait::TimedOut),
        _ => Some(Wait::Changed),
    }
}

/// Wakes up to `count` sleepers of `word`; says how many there were.
pub(crate) fn wake(word: &AtomicU32, count: u32) -> usize {
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    // SAFETY: the word lives as long as the borrow.
    let woken = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count) };
    usize::try_from(woken).unwrap_or(0)
}

/// Wakes up to `count` sleepers of `word` that are of one of these kinds; says how many there were.
pub(crate) fn wake_among(kinds: u32, word: &AtomicU32, count: u32) -> usize {
    let (op, count) = (libc::FUTEX_WAKE_BITSET, i32::try_from(count).unwrap_or(i32::MAX));
    let none = ptr::null::<u32>();
    // SAFETY: the word lives as long as the borrow.
    let woken = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), op, count, none, none, kinds) };
    usize::try_from(woken).unwrap_or(0)
}

/// Wakes all sleepers of `word`.
pub(crate) fn wake_all(word: &AtomicU32) -> usize {
    wake(word, u32::MAX)
}
