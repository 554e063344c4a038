//! Waiting for a word in shared memory to change: a short spin, then a sleep in the kernel.
//!
//! The spin adapts: a wait that was answered within it lengthens the next one (up to 50 pauses, about 1.2 us), a wait that
//! had to sleep shortens it. Where this process may use one CPU only there is none, as the answer could not come meanwhile.

use std::hint::spin_loop;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use crate::sys::futex;

const SPIN_MAX: u32 = 50;
const SPIN_MIN: u32 = 4;

/// How many pauses the next wait of this process may take. A guess; races in updating it do no harm.
static SPIN: AtomicU32 = AtomicU32::new(SPIN_MAX);

fn is_single() -> bool {
    static SINGLE: OnceLock<bool> = OnceLock::new();
    *SINGLE.get_or_init(|| std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() == 1))
}

fn spin_limit() -> u32 {
    if is_single() { 0 } else { SPIN.load(Ordering::Relaxed) }
}

/// Lets so many pauses pass, each about 25 ns; none where nothing could happen meanwhile.
pub(crate) fn pause(pauses: u32) {
    if !is_single() {
        (0..pauses).for_each(|_| spin_loop());
    }
}

/// Waits until `ready` says so, without sleeping; `false` if that took too long to go on spinning.
pub(crate) fn spin_until(ready: impl Fn() -> bool) -> bool {
    let limit = spin_limit();
    for _ in 0..limit {
        if ready() {
            if limit < SPIN_MAX {
                SPIN.store(limit + 1, Ordering::Relaxed);
            }
            return true;
        }
        spin_loop();
    }
    if limit > SPIN_MIN {
        SPIN.store(limit - limit / 8 - 1, Ordering::Relaxed);
    }
    ready()
}

/// Waits until `*word != value`, without sleeping; `false` if that took too long to go on spinning.
pub(crate) fn spin_while(word: &AtomicU32, value: u32) -> bool {
    spin_until(|| word.load(Ordering::Acquire) != value)
}

/// Waits until `*word != value` and says what it is then; `None` if `deadline` came first.
///
/// What was written before the word was changed (with Release) is visible to the caller. Whoever changes the word wakes it.
pub(crate) fn wait_while(word: &AtomicU32, value: u32, deadline: Option<Instant>) -> Option<u32> {
    if !spin_while(word, value) {
        loop {
            let waited = futex::wait(word, value, deadline);
            if word.load(Ordering::Acquire) != value {
                break;
            }
            if waited == futex::Wait::TimedOut {
                return None;
            }
        }
    }
    // A second load: the word may have gone on, or even back to `value`, which then was an answer all the same.
    Some(word.load(Ordering::Acquire))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_wait_ends_by_a_wake_or_by_its_deadline() {
        let word = Arc::new(AtomicU32::new(1));
        assert_eq!(wait_while(&word, 0, None), Some(1));
        let start = Instant::now();
        assert_eq!(wait_while(&word, 1, Some(start + Duration::from_millis(20))), None);
        assert!(start.elapsed() >= Duration::from_millis(20));
        let waiter = std::thread::spawn({
            let word = Arc::clone(&word);
            move || wait_while(&word, 1, Some(Instant::now() + Duration::from_secs(20)))
        });
        std::thread::sleep(Duration::from_millis(5));
        word.store(2, Ordering::Release);
        futex::wake_all(&word);
        assert_eq!(waiter.join().unwrap(), Some(2));
    }
}
