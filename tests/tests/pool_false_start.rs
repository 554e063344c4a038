//! Workers that end before they can work. Alone in its binary, as it spoils the start of every child.
#![allow(unsafe_code)]

use std::time::Duration;

use offspring::{ErrorKind, Pool, StartMethod, TaskError, task};
use offspring_tests::watchdog;

const SPOIL: &str = "OFFSPRING_TEST_SPOIL_START";

#[task]
fn square(x: u64) -> u64 {
    x * x
}

/// Runs in every process before `main`, and ends those that inherit the variable.
extern "C" fn constructor() {
    if std::env::var_os(SPOIL).is_some() {
        std::process::abort();
    }
}

// SAFETY: a plain function pointer in the table of constructors, which the loader calls once.
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = constructor;

#[test]
fn a_start_up_crash_loop_ends_in_an_error() {
    let _watch = watchdog(Duration::from_secs(60));
    for method in [StartMethod::Spawn, StartMethod::ForkServer] {
        let pool = Pool::builder().workers(2).start_method(method).build().unwrap();
        // SAFETY: this test is alone in its process; no other thread reads the environment now.
        unsafe { std::env::set_var(SPOIL, "1") };
        let error = pool.map(square, 0..100u64).unwrap_err();
        // SAFETY: as above.
        unsafe { std::env::remove_var(SPOIL) };
        assert!(matches!(error, TaskError::NoWorker { .. }), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::Spawn, "{error}");
        assert!(pool.stats().started <= 8, "{:?}", pool.stats());
        assert_eq!(pool.call(square, 3u64).unwrap_err().kind(), ErrorKind::Spawn);
        let healthy = Pool::builder().workers(2).start_method(method).build().unwrap();
        assert_eq!(healthy.call(square, 3u64).unwrap(), 9);
    }
}
