//! Locks in the hands of threads that are ending: destructors of thread locals hold them, and take them.

use offspring::sync::{Event, Mutex, MutexGuard, ReentrantMutex};
use offspring::{ErrorKind, Failure, Process, shared, task};
use offspring_tests::locks::{checked, murder, until};
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// Does something when its thread ends.
#[derive(Default)]
struct AtEnd(RefCell<Option<Box<dyn FnOnce()>>>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        if let Some(last) = self.0.take() {
            last();
        }
    }
}

thread_local! {
    /// Used before anything of the library: so it is destroyed after what that keeps in thread locals.
    static AT_END: AtEnd = AtEnd::default();
}

fn at_end(last: impl FnOnce() + 'static) {
    AT_END.with(|at_end| *at_end.0.borrow_mut() = Some(Box::new(last)));
}

#[shared]
static HELD: Mutex<u64> = Mutex::new(0)?;

#[task]
fn look_and_stay(ready: Event) -> Result<(), Failure> {
    assert!(HELD.is_locked());
    ready.set()?;
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

#[test]
fn a_guard_in_a_thread_local_holds_its_lock_until_it_is_dropped_whoever_dies_meanwhile() {
    static ENDING: AtomicBool = AtomicBool::new(false);
    static LOOKED: AtomicBool = AtomicBool::new(false);
    // Statics live until the family ends.
    assert!(!HELD.is_locked());
    checked(|| {
        let ready = Event::new().unwrap();
        let holder = thread::spawn(move || {
            at_end(|| ());
            let mut guard: MutexGuard<'static, u64> = HELD.lock().unwrap();
            at_end(move || {
                ENDING.store(true, Ordering::SeqCst);
                until(|| LOOKED.load(Ordering::SeqCst));
                *guard += 1;
                drop(guard);
                assert_eq!(*HELD.lock().unwrap(), 1);
            });
        });
        until(|| ENDING.load(Ordering::SeqCst));
        // An audit of a process that has the lock, too, while the thread's locals are being destroyed.
        let child = Process::new(look_and_stay, &ready).spawn().unwrap();
        ready.wait().unwrap();
        murder(child);
        assert!(!HELD.is_poisoned() && HELD.is_locked(), "the lock of a living thread was let go");
        // New threads do not come by the number of one that is still there.
        let another = || assert_eq!(HELD.try_lock().unwrap_err().kind(), ErrorKind::InUse);
        thread::spawn(another).join().unwrap();
        LOOKED.store(true, Ordering::SeqCst);
        holder.join().unwrap();
        assert_eq!(*HELD.lock().unwrap(), 1);
    });
}

#[test]
fn threads_that_end_at_once_exclude_each_other() {
    static INSIDE: AtomicU32 = AtomicU32::new(0);
    static ENTRIES: AtomicU32 = AtomicU32::new(0);
    checked(|| {
        let lock = ReentrantMutex::new().unwrap();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let lock = lock.clone();
                thread::spawn(move || {
                    at_end(|| ());
                    drop(lock.lock().unwrap());
                    at_end(move || {
                        let guard = lock.lock().unwrap();
                        assert_eq!(INSIDE.fetch_add(1, Ordering::SeqCst), 0, "two threads are inside");
                        thread::sleep(Duration::from_millis(10));
                        INSIDE.fetch_sub(1, Ordering::SeqCst);
                        ENTRIES.fetch_add(1, Ordering::SeqCst);
                        drop(guard);
                    });
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(ENTRIES.load(Ordering::SeqCst), 4);
    });
}
