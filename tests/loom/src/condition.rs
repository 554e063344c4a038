use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::thread;

use crate::sync::raw::{RawCondition, RawMutex};

struct Flag {
    lock: RawMutex,
    condition: RawCondition,
    raised: UnsafeCell<u32>,
}

// SAFETY: the flag is touched under the lock only; loom sees it if not.
unsafe impl Sync for Flag {}
unsafe impl Send for Flag {}

impl Flag {
    fn take(&self, me: u32) {
        self.lock.lock(me, None).unwrap();
        // SAFETY: under the lock.
        while self.raised.with(|raised| unsafe { *raised }) == 0 {
            let ticket = self.condition.ticket();
            self.lock.unlock(me);
            self.condition.wait(ticket, None);
            self.lock.lock(me, None).unwrap();
        }
        // SAFETY: under the lock.
        self.raised.with_mut(|raised| unsafe { *raised -= 1 });
        self.lock.unlock(me);
    }

    fn raise(&self, me: u32, all: bool) {
        self.lock.lock(me, None).unwrap();
        // SAFETY: under the lock.
        self.raised.with_mut(|raised| unsafe { *raised += if all { 2 } else { 1 } });
        self.lock.unlock(me);
        if all { self.condition.notify_all() } else { self.condition.notify_one() }
    }
}

#[test]
fn no_notification_is_lost() {
    for all in [false, true] {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(2);
        builder.check(move || {
            let flag = Arc::new(Flag {
                lock: RawMutex::default(),
                condition: RawCondition::default(),
                raised: UnsafeCell::new(0),
            });
            let threads: Vec<_> = (1..=if all { 2 } else { 1 })
                .map(|me| {
                    let flag = Arc::clone(&flag);
                    thread::spawn(move || flag.take(me))
                })
                .collect();
            flag.raise(3, all);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }
}
