use std::sync::Arc;
use std::time::Instant;

use loom::thread;

use crate::sync::raw::RawEvent;

fn model(body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(body);
}

#[test]
fn a_set_lets_all_go_even_if_it_is_cleared_at_once() {
    model(|| {
        let event = Arc::new(RawEvent::default());
        let threads = [0, 1].map(|_| {
            let event = Arc::clone(&event);
            thread::spawn(move || assert!(event.wait(None)))
        });
        event.set();
        event.set();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        event.clear();
        assert!(!event.is_set());
    });
}

#[test]
fn who_sleeps_before_the_set_is_let_go_by_it() {
    model(|| {
        let event = Arc::new(RawEvent::default());
        let other = Arc::clone(&event);
        let waiter = thread::spawn(move || other.wait(Some(Instant::now())));
        event.set();
        event.clear();
        // It came too late, gave up, or was let go; what counts is that the model ends.
        let _ = waiter.join().unwrap();
        assert!(!event.wait(Some(Instant::now())));
    });
}
