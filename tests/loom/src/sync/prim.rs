//! loom's parts in the place of the kernels' own.
//!
//! loom has no futex: a queue of sleepers, each with the address of its word, does the same. A wait with a deadline may time
//! out as soon as somebody else has had a turn; what the deadline is, is not looked at.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use loom::sync::{Mutex, Notify};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Woken,
    TimedOut,
    Changed,
}

struct Sleeper {
    word: usize,
    kinds: u32,
    notify: Arc<Notify>,
}

loom::lazy_static! {
    static ref SLEEPERS: Mutex<Vec<Sleeper>> = Mutex::new(Vec::new());
}

fn address(word: &AtomicU32) -> usize {
    std::ptr::from_ref(word) as usize
}

pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Option<Instant>) -> Wait {
    wait_among(u32::MAX, word, expected, deadline)
}

pub(crate) fn wait_among(kinds: u32, word: &AtomicU32, expected: u32, deadline: Option<Instant>) -> Wait {
    let notify = Arc::new(Notify::new());
    {
        let mut sleepers = SLEEPERS.lock().unwrap();
        // The kernel sees what the word is, not what it was.
        if word.compare_exchange(expected, expected, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            return Wait::Changed;
        }
        sleepers.push(Sleeper { word: address(word), kinds, notify: Arc::clone(&notify) });
    }
    loop {
        match deadline {
            Some(_) => loom::thread::yield_now(),
            None => notify.wait(),
        }
        let mut sleepers = SLEEPERS.lock().unwrap();
        let at = sleepers.iter().position(|sleeper| Arc::ptr_eq(&sleeper.notify, &notify));
        match (at, deadline) {
            (None, _) => return Wait::Woken,
            (Some(at), Some(_)) => {
                sleepers.remove(at);
                return Wait::TimedOut;
            }
            // For no reason, as loom's waits may.
            (Some(_), None) => {}
        }
    }
}

pub(crate) fn wake(word: &AtomicU32, count: u32) -> usize {
    wake_among(u32::MAX, word, count)
}

pub(crate) fn wake_among(kinds: u32, word: &AtomicU32, count: u32) -> usize {
    let mut sleepers = SLEEPERS.lock().unwrap();
    let mut woken = 0;
    while woken < count as usize
        && let Some(at) = sleepers.iter().position(|it| it.word == address(word) && it.kinds & kinds != 0)
    {
        sleepers.remove(at).notify.notify();
        woken += 1;
    }
    woken
}

pub(crate) fn wake_all(word: &AtomicU32) -> usize {
    wake(word, u32::MAX)
}

pub(crate) fn spin_until(ready: impl Fn() -> bool) -> bool {
    ready()
}

pub(crate) fn full_fence() {
    loom::sync::atomic::fence(Ordering::SeqCst);
}

thread_local! {
    static IMPATIENT: Cell<bool> = const { Cell::new(false) };
}

/// Whether whoever waits becomes the heir at once, in the models that this thread runs from now on.
pub(crate) fn set_impatient(impatient: bool) {
    IMPATIENT.set(impatient);
}

#[derive(Debug)]
pub(crate) struct Patience;

impl Patience {
    pub(crate) fn new() -> Patience {
        Patience
    }

    pub(crate) fn is_over(&self) -> bool {
        IMPATIENT.get()
    }
}
