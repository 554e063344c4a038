//! Where a worker crashed: named in the error, with the calls that led there, whatever signal it was.
#![allow(unsafe_code)]

use std::time::Duration;

use offspring::{CrashTrace, Pool, Process, Signal, TaskError, task};
use offspring_tests::{leaks, watchdog};

const LIMIT: Duration = Duration::from_secs(120);

#[inline(never)]
fn dereference(address: usize) -> u8 {
    // SAFETY: there is none; that is the point.
    unsafe { std::ptr::with_exposed_provenance::<u8>(address).read_volatile() }
}

#[task]
fn reads_null(address: usize) -> u8 {
    std::hint::black_box(dereference(std::hint::black_box(address)))
}

#[task]
fn calls_null(address: usize) {
    // SAFETY: there is none; that is the point.
    let function: extern "C" fn() = unsafe { std::mem::transmute(address) };
    std::hint::black_box(function)();
    std::hint::black_box(());
}

#[task]
fn aborts_in_c(_: ()) {
    // SAFETY: ends this process.
    unsafe { libc::abort() }
}

#[task]
fn divides_badly(_: ()) {
    // SAFETY: takes an integer.
    unsafe { libc::raise(libc::SIGFPE) };
}

#[inline(never)]
#[allow(unconditional_recursion, reason = "it is to overflow the stack")]
fn descend(depth: u64) -> u64 {
    let room = std::hint::black_box([depth; 16]);
    std::hint::black_box(descend(depth + 1)) + room[3]
}

#[task]
fn recurses(depth: u64) -> u64 {
    descend(depth)
}

#[task]
fn crashes_in_a_thread(address: usize) -> u8 {
    std::thread::spawn(move || dereference(address)).join().unwrap_or(0)
}

#[task]
fn crashes_on_a_broken_stack(_: ()) {
    // What a wild write does to return addresses and saved frames: the walk over the stack must end, and the process with it.
    let mut here = [0usize; 4];
    // SAFETY: there is none; that is the point.
    unsafe { std::ptr::write_bytes(std::hint::black_box(here.as_mut_ptr()), 0x5a, 600) };
    std::hint::black_box(&mut here);
}

#[task]
fn has_a_handler_of_its_own(_: ()) {
    extern "C" fn leave(_: libc::c_int) {
        // SAFETY: does not return.
        unsafe { libc::_exit(77) }
    }
    // SAFETY: the handler does what handlers may.
    unsafe { libc::signal(libc::SIGSEGV, leave as *const () as libc::sighandler_t) };
    dereference(8);
}

#[task]
fn runs_a_command_that_crashes(_: ()) -> Option<i32> {
    use std::os::unix::process::ExitStatusExt;
    std::process::Command::new("sh").args(["-c", "kill -SEGV $$"]).status().ok()?.signal()
}

#[task]
fn forks_a_child_that_crashes(_: ()) -> (i32, bool) {
    // SAFETY: the child of the fork does nothing but crash.
    unsafe {
        match libc::fork() {
            0 => {
                dereference(8);
                libc::_exit(1)
            }
            child => {
                let mut status = 0;
                libc::waitpid(child, &mut status, 0);
                (libc::WTERMSIG(status), libc::WIFSIGNALED(status))
            }
        }
    }
}

fn crash_of(error: &TaskError) -> &CrashTrace {
    error.crash().unwrap_or_else(|| panic!("no trace: {error:?}"))
}

fn signal_of(error: &TaskError) -> Option<Signal> {
    error.exit_status()?.signal()
}

fn pool() -> Pool {
    Pool::builder().workers(1).build().unwrap()
}

#[test]
fn a_null_dereference_says_in_which_function_and_line() {
    let _watchdog = watchdog(LIMIT);
    let error = pool().call(reads_null, 0usize).unwrap_err();
    assert_eq!(signal_of(&error), Some(Signal::SEGV));
    let crash = crash_of(&error);
    let names: Vec<&str> = crash.frames().iter().filter_map(|frame| frame.function.as_deref()).collect();
    let dereference = names.iter().position(|name| name.ends_with("dereference")).unwrap_or_else(|| panic!("{crash}"));
    let task = names.iter().position(|name| name.ends_with("reads_null")).unwrap_or_else(|| panic!("{crash}"));
    assert!(dereference < task, "{crash}");
    let place = crash.place().unwrap_or_else(|| panic!("{crash}"));
    assert!(place.function.as_deref().is_some_and(|name| name.ends_with("dereference")), "{crash}");
    assert!(place.file.as_deref().is_some_and(|file| file.ends_with("seeing_crash.rs")), "{crash}");
    let text = error.to_string();
    assert!(
        text.contains("at address 0x0") && text.contains("it crashed in") && text.contains("dereference"),
        "{text}"
    );
    assert_eq!(error.backtrace(), Some(crash.to_string()));
}

#[test]
fn a_call_of_a_null_pointer_names_the_caller() {
    let _watchdog = watchdog(LIMIT);
    let error = pool().call(calls_null, 0usize).unwrap_err();
    assert_eq!(signal_of(&error), Some(Signal::SEGV));
    let crash = crash_of(&error).to_string();
    assert!(crash.contains("calls_null"), "{crash}");
}

#[test]
fn an_abort_in_c_names_the_task_that_called_it() {
    let _watchdog = watchdog(LIMIT);
    let error = pool().call(aborts_in_c, ()).unwrap_err();
    assert_eq!(signal_of(&error), Some(Signal::ABRT));
    let crash = crash_of(&error);
    assert!(crash.to_string().contains("aborts_in_c"), "{crash}");
    assert!(crash.place().unwrap().function.as_deref().unwrap().ends_with("aborts_in_c"), "{crash}");
}

#[test]
fn another_fatal_signal_keeps_its_number() {
    let _watchdog = watchdog(LIMIT);
    let error = pool().call(divides_badly, ()).unwrap_err();
    assert_eq!(signal_of(&error), Some(Signal::FPE));
    assert!(crash_of(&error).to_string().contains("divides_badly"));
}

#[test]
fn endless_recursion_is_called_a_stack_overflow_and_shows_the_function() {
    let _watchdog = watchdog(LIMIT);
    let error = pool().call(recurses, 0).unwrap_err();
    assert_eq!(signal_of(&error), Some(Signal::SEGV));
    assert!(error.to_string().contains("stack overflow"), "{error}");
    let frames = crash_of(&error).frames();
    let deep = frames.iter().filter(|frame| frame.function.as_deref().is_some_and(|name| name.ends_with("descend")));
    assert!(deep.count() > 20, "{}", crash_of(&error));
}

#[test]
fn a_crash_in_a_thread_of_the_task_is_told_too() {
    let _watchdog = watchdog(LIMIT);
    let error = pool().call(crashes_in_a_thread, 16).unwrap_err();
    assert_eq!(signal_of(&error), Some(Signal::SEGV));
    assert!(error.to_string().contains("dereference"), "{error}");
}

#[test]
fn a_broken_stack_costs_the_trace_at_most_and_not_the_signal() {
    let _watchdog = watchdog(LIMIT);
    for _ in 0..5 {
        let error = pool().call(crashes_on_a_broken_stack, ()).unwrap_err();
        let signal = signal_of(&error);
        assert!(matches!(signal, Some(Signal::SEGV | Signal::BUS | Signal::ILL | Signal::ABRT)), "{error}");
        assert!(error.to_string().contains("SIG"), "{error}");
    }
}

#[test]
fn a_handler_of_the_task_takes_the_place_of_ours() {
    let _watchdog = watchdog(LIMIT);
    let error = pool().call(has_a_handler_of_its_own, ()).unwrap_err();
    assert_eq!(error.exit_status().and_then(|status| status.code()), Some(77));
    assert_eq!(error.crash(), None);
}

#[test]
fn commands_and_forks_of_a_task_crash_as_they_would_anywhere() {
    let _watchdog = watchdog(LIMIT);
    let pool = pool();
    assert_eq!(pool.call(runs_a_command_that_crashes, ()).unwrap(), Some(libc::SIGSEGV));
    assert_eq!(pool.call(forks_a_child_that_crashes, ()).unwrap(), (libc::SIGSEGV, true));
}

#[test]
fn a_process_of_one_task_says_where_it_crashed_as_a_worker_does() {
    let _watchdog = watchdog(LIMIT);
    let error = Process::new(reads_null, 0usize).spawn().unwrap().join().unwrap_err();
    assert_eq!(signal_of(&error), Some(Signal::SEGV));
    assert!(crash_of(&error).to_string().contains("reads_null"), "{error}");
}

#[test]
fn each_of_many_crashes_is_told_and_nothing_is_left() {
    let _watchdog = watchdog(LIMIT);
    leaks::check(
        || drop(pool().call(reads_null, 0usize)),
        || {
            let pool = Pool::builder().workers(2).build().unwrap();
            for result in pool.try_map(reads_null, [0usize; 12]).unwrap() {
                assert!(crash_of(&result.unwrap_err()).place().is_some());
            }
            pool.close();
            pool.join().unwrap();
        },
    );
}
