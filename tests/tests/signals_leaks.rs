//! Signals that nobody waits for any more leave nothing behind; in a program of its own, as other tests have children.

use offspring::{Signal, Signals};
use offspring_tests::{leaks, watchdog};
use std::time::Duration;

#[test]
fn waiting_for_signals_leaves_nothing_behind() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let once = || drop(Signals::new([Signal::PROF]).unwrap());
    leaks::check(once, || (0..100).for_each(|_| once()));
}
