//! What a thread has until it has ended: looked after when the destructors of its thread locals have run, which may still use it.
//!
//! A value under a POSIX key. Its destructor runs after those of thread locals (glibc), or among them (musl, where Rust's own
//! destructors hang on such a key). It runs again, four times at most, as long as it leaves a value behind; so the value is put
//! back a few times before it is dropped. The end of a process runs no destructors of keys.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr;
use std::sync::OnceLock;

use libc::{c_void, pthread_key_t};

/// How often the value is put back. POSIX promises one round more.
const ROUNDS: u32 = 3;

/// A value for each thread, made when it is first asked for, dropped when the thread has ended.
///
/// The destructor must not use it.
pub(crate) struct UntilEnd<T: 'static> {
    key: OnceLock<Option<pthread_key_t>>,
    of: PhantomData<fn() -> T>,
}

struct Kept<T> {
    value: T,
    key: pthread_key_t,
    rounds: Cell<u32>,
}

impl<T: Default> UntilEnd<T> {
    pub(crate) const fn new() -> UntilEnd<T> {
        UntilEnd { key: OnceLock::new(), of: PhantomData }
    }

    /// Calls `body` with this thread's value; `None` where the system has no key left.
    pub(crate) fn with<R>(&self, body: impl FnOnce(&T) -> R) -> Option<R> {
        let key = (*self.key.get_or_init(make_key::<T>))?;
        // SAFETY: a key that was made and is never deleted.
        let mut kept = unsafe { libc::pthread_getspecific(key) }.cast::<Kept<T>>();
        if kept.is_null() {
            kept = Box::into_raw(Box::new(Kept { value: T::default(), key, rounds: Cell::new(0) }));
            // SAFETY: as above; the value is what `end` expects.
            if unsafe { libc::pthread_setspecific(key, kept.cast::<c_void>()) } != 0 {
                // SAFETY: nobody else knows it.
                drop(unsafe { Box::from_raw(kept) });
                return None;
            }
        }
        // SAFETY: what is under the key was put there above, belongs to this thread, and is dropped by `end` alone, which this
        // thread runs when nothing of it is on the stack any more.
        Some(body(unsafe { &(*kept).value }))
    }
}

fn make_key<T>() -> Option<pthread_key_t> {
    let mut key = 0;
    // SAFETY: the place is ours; the destructor is one for the values that `with` puts under the key.
    (unsafe { libc::pthread_key_create(&mut key, Some(end::<T>)) } == 0).then_some(key)
}

extern "C" fn end<T>(kept: *mut c_void) {
    let kept = kept.cast::<Kept<T>>();
    // SAFETY: what `with` put under the key, given back once in each round.
    let (key, rounds) = unsafe { ((*kept).key, &(*kept).rounds) };
    rounds.set(rounds.get() + 1);
    // SAFETY: a key that is never deleted.
    if rounds.get() < ROUNDS && unsafe { libc::pthread_setspecific(key, kept.cast::<c_void>()) } == 0 {
        return;
    }
    // SAFETY: as above; who looks from here on finds nothing, as the system took the value from under the key, or it is taken here.
    unsafe {
        libc::pthread_setspecific(key, ptr::null());
        drop(Box::from_raw(kept));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    static ENDED: AtomicU32 = AtomicU32::new(0);
    static SEEN_LATE: AtomicU32 = AtomicU32::new(0);

    #[derive(Default)]
    struct Ends(Cell<u32>);

    impl Drop for Ends {
        fn drop(&mut self) {
            ENDED.fetch_add(1, Ordering::SeqCst);
        }
    }

    static VALUE: UntilEnd<Ends> = UntilEnd::new();

    struct Late;

    impl Drop for Late {
        fn drop(&mut self) {
            assert_eq!(ENDED.load(Ordering::SeqCst), 0);
            VALUE.with(|value| SEEN_LATE.store(value.0.get(), Ordering::SeqCst));
        }
    }

    thread_local! {
        static LATE: Late = const { Late };
    }

    #[test]
    fn the_value_outlives_all_thread_locals_and_goes_with_the_thread() {
        std::thread::spawn(|| {
            // Destroyed after what is first used later, if that is a thread local.
            LATE.with(|_| ());
            VALUE.with(|value| value.0.set(7));
            assert_eq!(VALUE.with(|value| value.0.get()), Some(7));
        })
        .join()
        .unwrap();
        assert_eq!((SEEN_LATE.load(Ordering::SeqCst), ENDED.load(Ordering::SeqCst)), (7, 1));
    }
}
