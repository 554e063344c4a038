use std::sync::Arc;
use std::time::Instant;

use loom::cell::UnsafeCell;
use loom::thread;

use crate::sync::raw::RawRwLock;

struct Data {
    lock: RawRwLock<3, 1>,
    value: UnsafeCell<u32>,
}

// SAFETY: the value is touched under the lock only; loom sees it if not.
unsafe impl Sync for Data {}
unsafe impl Send for Data {}

impl Data {
    fn new() -> Arc<Data> {
        Arc::new(Data { lock: RawRwLock::new(), value: UnsafeCell::new(0) })
    }

    fn look(&self) -> u32 {
        // SAFETY: the caller has the lock.
        self.value.with(|value| unsafe { *value })
    }

    fn read(&self, me: usize) -> u32 {
        self.lock.read(me as u32, me, None).unwrap();
        let value = self.look();
        self.lock.read_unlock(me);
        value
    }

    fn change(&self) {
        // SAFETY: the caller has the lock.
        self.value.with_mut(|value| unsafe { *value += 1 });
    }

    fn write(&self, me: usize) {
        self.lock.write(me as u32, None).unwrap();
        self.change();
        self.lock.write_unlock(me as u32);
    }
}

fn model(preemptions: usize, body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(body);
}

#[test]
fn a_writer_excludes_a_reader() {
    model(3, || {
        let data = Data::new();
        let other = Arc::clone(&data);
        let writer = thread::spawn(move || other.write(1));
        assert!(data.read(2) <= 1);
        writer.join().unwrap();
        assert_eq!(data.read(2), 1);
    });
}

#[test]
fn writers_and_a_reader_all_get_their_turn() {
    model(2, || {
        let data = Data::new();
        let [first, second] = [Arc::clone(&data), Arc::clone(&data)];
        let writer = thread::spawn(move || first.write(1));
        let reader = thread::spawn(move || assert!(second.read(2) <= 2));
        // Numbers are those of threads: 3 has no cell, and does not read.
        data.write(3);
        writer.join().unwrap();
        reader.join().unwrap();
        assert_eq!(data.lock.state(), (false, 0));
    });
}

#[test]
fn a_downgraded_writer_lets_readers_in_and_no_writer() {
    model(2, || {
        let data = Data::new();
        let other = Arc::clone(&data);
        let writer = thread::spawn(move || {
            other.lock.write(1, None).unwrap();
            other.change();
            other.lock.downgrade(1, 1);
            let value = other.look();
            assert_eq!(other.look(), value);
            other.lock.read_unlock(1);
        });
        data.write(2);
        writer.join().unwrap();
        assert_eq!(data.lock.state(), (false, 0));
    });
}

#[test]
fn a_reader_that_gives_up_leaves_nothing() {
    model(2, || {
        let data = Data::new();
        let other = Arc::clone(&data);
        let reader = thread::spawn(move || {
            if other.lock.read(1, 1, Some(Instant::now())).is_ok() {
                assert!(other.look() <= 2);
                other.lock.read_unlock(1);
            }
        });
        data.write(2);
        data.write(2);
        reader.join().unwrap();
        assert_eq!(data.lock.state(), (false, 0));
    });
}

#[test]
fn dead_readers_and_dead_writers_are_let_out() {
    for dies_writing in [false, true] {
        model(2, move || {
            let data = Data::new();
            let other = Arc::clone(&data);
            let dead = thread::spawn(move || {
                if dies_writing {
                    other.lock.write(1, None).unwrap();
                } else {
                    other.lock.read(1, 1, None).unwrap();
                }
            });
            let other = Arc::clone(&data);
            let waiter = thread::spawn(move || other.write(2));
            dead.join().unwrap();
            data.lock.recover_readers(1);
            data.lock.recover_writer(|id| id == 1, false, || ());
            data.lock.wake_sleepers();
            waiter.join().unwrap();
            assert_eq!(data.lock.state(), (false, 0));
        });
    }
}
