//! A task in a process of its own: its value, its end, and what the parent can do to it.

use std::time::{Duration, Instant};

use offspring::{
    Child, ErrorKind, ExitStatus, Process, Signal, SpawnError, StartMethod, TaskError, message, process,
    process::Stream, task, wait_any,
};
use offspring_tests::watchdog;

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];

#[task]
fn square(x: u64) -> u64 {
    x * x
}

#[task]
fn shout(text: &str) -> String {
    text.to_uppercase()
}

#[message]
#[derive(Debug, Clone, PartialEq)]
struct Page {
    url: String,
    links: Vec<String>,
}

#[task]
fn relink(page: Page, more: Vec<String>) -> Result<Page, String> {
    if more.is_empty() {
        return Err(format!("nothing to add to {}", page.url));
    }
    Ok(Page { links: [page.links, more].concat(), ..page })
}

#[task]
fn ones(len: usize) -> Vec<u8> {
    vec![1; len]
}

#[task]
fn sleep(milliseconds: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(milliseconds));
    milliseconds
}

#[task]
fn exit_with(code: i32) {
    std::process::exit(code);
}

#[task]
fn panic_with(text: String) -> u64 {
    panic!("no luck: {text}");
}

/// Panics, catches that, and ends by a signal some time later.
#[task]
fn catch_and_raise(signal: i32) {
    assert!(std::panic::catch_unwind(|| panic!("caught by the task")).is_err());
    raise(signal);
}

#[task]
fn catch_and_unwind_otherwise(text: String) {
    assert!(std::panic::catch_unwind(|| panic!("caught by the task")).is_err());
    std::panic::resume_unwind(Box::new(text));
}

#[task]
fn raise(signal: i32) {
    offspring_tests::kill::signal(std::process::id() as i32, signal).unwrap();
}

#[task]
fn who_am_i() -> (String, u32, Option<(String, u32)>, bool) {
    let me = process::current();
    let parent = process::parent().map(|parent| (parent.name().to_owned(), parent.pid()));
    (me.name().to_owned(), me.pid(), parent, me.is_daemon())
}

/// Is the parent of this process's child, which is this process, a daemon?
#[task]
fn is_my_childs_parent_a_daemon() -> Option<bool> {
    offspring::spawn(is_my_parent_a_daemon, ()).unwrap().join().unwrap()
}

#[task]
fn is_my_parent_a_daemon() -> Option<bool> {
    process::parent().map(|parent| parent.is_daemon())
}

#[task]
fn grandchild(depth: u64) -> u64 {
    if depth == 0 { 1 } else { 1 + offspring::spawn(grandchild, depth - 1).unwrap().join().unwrap() }
}

fn not_a_task(x: u64) -> u64 {
    x
}

#[test]
fn values_come_back_by_both_start_methods() {
    let _watchdog = watchdog(Duration::from_secs(60));
    for method in METHODS {
        let child = Process::new(square, 7).start_method(method).spawn().unwrap();
        assert_eq!(child.join().unwrap(), 49);
        let text = "straße ".repeat(10_000);
        let child = Process::new(shout, &text).start_method(method).spawn().unwrap();
        assert_eq!(child.join().unwrap(), text.to_uppercase());
        let page = Page { url: "u".into(), links: vec!["a".into()] };
        let child = Process::new(relink, (page.clone(), vec!["b".to_owned()])).start_method(method).spawn().unwrap();
        assert_eq!(child.join().unwrap().unwrap().links, ["a", "b"]);
        let child = Process::new(relink, (page, vec![])).start_method(method).spawn().unwrap();
        assert_eq!(child.join().unwrap(), Err("nothing to add to u".to_owned()));
    }
}

#[test]
fn a_large_result_comes_back_whole() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let value = offspring::spawn(ones, 64 << 20).unwrap().join().unwrap();
    assert_eq!(value.len(), 64 << 20);
    assert!(value.iter().all(|&byte| byte == 1));
}

#[test]
fn a_child_knows_who_it_is() {
    let _watchdog = watchdog(Duration::from_secs(60));
    for method in METHODS {
        let child = Process::new(who_am_i, ()).name("ada").daemon(true).start_method(method).spawn().unwrap();
        let (pid, name) = (child.pid(), child.name().to_owned());
        assert_eq!(name, "ada");
        let parent = Some(("main".to_owned(), std::process::id()));
        assert_eq!(child.join().unwrap(), ("ada".to_owned(), pid, parent, true));
    }
    assert_eq!(offspring::spawn(is_my_parent_a_daemon, ()).unwrap().join().unwrap(), Some(false));
    for daemon in [false, true] {
        let child = Process::new(is_my_childs_parent_a_daemon, ()).daemon(daemon).spawn().unwrap();
        assert_eq!(child.join().unwrap(), Some(daemon));
    }
    assert_eq!(process::current().pid(), std::process::id());
    assert_eq!(process::parent(), None);
    assert!(process::cpu_count() >= 1);
}

#[test]
fn children_have_children() {
    let _watchdog = watchdog(Duration::from_secs(60));
    assert_eq!(offspring::spawn(grandchild, 4).unwrap().join().unwrap(), 5);
}

#[test]
fn a_panic_comes_back_with_its_message_and_place() {
    let _watchdog = watchdog(Duration::from_secs(60));
    for method in METHODS {
        let mut child =
            Process::new(panic_with, "today").start_method(method).env("RUST_BACKTRACE", "1").spawn().unwrap();
        let pid = child.pid();
        assert_eq!(child.wait().unwrap(), ExitStatus::Exited(101));
        match child.join() {
            Err(TaskError::Panicked { message, location, worker, backtrace, context, .. }) => {
                assert_eq!(message, "no luck: today");
                assert!(location.contains("process_basic.rs:"), "{location}");
                assert_eq!(worker, pid);
                assert!(backtrace.unwrap_or_default().contains("panic_with"));
                assert!(context.task.ends_with("panic_with"), "{context}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn ends_of_all_kinds_are_told_apart() {
    let _watchdog = watchdog(Duration::from_secs(60));
    for method in METHODS {
        let mut child = Process::new(exit_with, 3).start_method(method).spawn().unwrap();
        let status = child.wait().unwrap();
        assert_eq!((status.code(), status.exitcode(), status.success()), (Some(3), Some(3), false));
        let error = child.join().unwrap_err();
        assert!(error.is_worker_died() && error.exit_status() == Some(status), "{error}");
        for signal in [Signal::KILL, Signal::TERM, Signal::SEGV, Signal::ABRT, Signal::USR1] {
            let mut child = Process::new(raise, signal.as_raw()).start_method(method).spawn().unwrap();
            let status = child.wait().unwrap();
            assert_eq!(status.signal(), Some(signal));
            assert_eq!(status.exitcode(), Some(-signal.as_raw()));
            assert!(child.join().unwrap_err().is_worker_died());
        }
    }
}

#[test]
fn a_panic_that_the_task_catches_is_not_blamed_for_its_end() {
    let _watchdog = watchdog(Duration::from_secs(60));
    for method in METHODS {
        for signal in [Signal::ABRT, Signal::SEGV] {
            let new = Process::new(catch_and_raise, signal.as_raw()).start_method(method);
            let error = new.stderr(Stream::null()).spawn().unwrap().join().unwrap_err();
            assert_eq!(error.exit_status().and_then(ExitStatus::signal), Some(signal), "{error}");
            assert!(!error.to_string().contains("caught by the task"), "{error}");
        }
    }
    let new = Process::new(catch_and_unwind_otherwise, "something else").stderr(Stream::null());
    let error = new.spawn().unwrap().join().unwrap_err();
    assert!(error.is_panicked() && error.to_string().contains("something else"), "{error}");
}

#[test]
fn a_child_can_be_signalled_and_waited_for() {
    let _watchdog = watchdog(Duration::from_secs(60));
    type Send = fn(&Child<u64>) -> offspring::Result<()>;
    let ways: [(Send, Signal); 4] = [
        (Child::terminate, Signal::TERM),
        (Child::kill, Signal::KILL),
        (Child::interrupt, Signal::INT),
        (|child| child.signal(Signal::USR2), Signal::USR2),
    ];
    for (send, signal) in ways {
        let mut child = offspring::spawn(sleep, 60_000).unwrap();
        assert!(child.is_alive());
        assert_eq!(child.exit_status(), None);
        assert!(!child.wait_timeout(Duration::from_millis(1)).unwrap());
        assert_eq!(child.join_timeout(Duration::from_millis(1)).unwrap_err().kind(), ErrorKind::Timeout);
        send(&child).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(signal));
        assert!(!child.is_alive());
        send(&child).unwrap();
    }
}

#[test]
fn join_timeout_takes_the_value_once() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let mut child = offspring::spawn(square, 3).unwrap();
    assert_eq!(child.join_timeout(Duration::from_secs(30)).unwrap(), 9);
    assert_eq!(child.join_timeout(Duration::from_secs(30)).unwrap_err().kind(), ErrorKind::Taken);
    assert_eq!(child.exit_status(), Some(ExitStatus::Exited(0)));
}

#[test]
fn handles_are_shared_between_threads() {
    fn check<T: Send + Sync>() {}
    check::<offspring::Pool>();
    check::<Child<std::cell::Cell<u8>>>();
    check::<offspring::TaskHandle<u8>>();
    check::<process::ActiveChild>();
}

#[test]
fn nothing_waits_in_the_forms_that_only_try() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let mut child = offspring::spawn(sleep, 60_000).unwrap();
    assert_eq!(child.try_wait().unwrap(), None);
    assert_eq!(child.try_join().unwrap(), None);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(child.try_wait().unwrap().and_then(ExitStatus::signal), Some(Signal::KILL));
    let mut child = offspring::spawn(square, 5).unwrap();
    child.wait().unwrap();
    assert_eq!(child.try_join().unwrap(), Some(25));
    assert_eq!(child.try_join().unwrap_err().kind(), ErrorKind::Taken);
}

#[test]
fn active_children_can_be_interrupted_and_waited_for() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let child = offspring::spawn(sleep, 60_000).unwrap();
    let active = process::active_children().into_iter().find(|active| active.pid() == child.pid()).unwrap();
    assert!(!active.wait_timeout(Duration::from_millis(1)));
    active.interrupt().unwrap();
    assert_eq!(wait_any(&[&active], None).unwrap(), Some(0));
    assert_eq!(active.wait().signal(), Some(Signal::INT));
}

#[test]
fn wait_any_names_the_first_that_ends() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let slow = offspring::spawn(sleep, 60_000).unwrap();
    let quick = offspring::spawn(sleep, 50).unwrap();
    assert_eq!(wait_any(&[&slow], Some(Duration::from_millis(5))).unwrap(), None);
    let start = Instant::now();
    assert_eq!(wait_any(&[&slow, &quick], None).unwrap(), Some(1));
    assert!(start.elapsed() < Duration::from_secs(20));
    slow.kill().unwrap();
    assert_eq!(wait_any(&[&slow], None).unwrap(), Some(0));
    assert_eq!(wait_any(&[], None).unwrap(), None);
}

#[test]
fn a_function_that_is_no_task_is_refused_by_name() {
    let error = offspring::spawn(not_a_task, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownTask);
    assert!(error.to_string().contains("not_a_task"), "{error}");
}

#[test]
fn senseless_options_are_refused() {
    let kind = |process: Process<u64>| process.spawn().map(drop).map_err(|error: SpawnError| error.kind());
    let new = || Process::new(square, 1);
    assert_eq!(kind(new().nice(40)), Err(ErrorKind::InvalidInput));
    assert_eq!(kind(new().cpus([5000])), Err(ErrorKind::InvalidInput));
    assert_eq!(kind(new().cpus([])), Err(ErrorKind::InvalidInput));
    assert_eq!(kind(new().current_dir("/no/such/place")), Err(ErrorKind::InvalidInput));
    assert_eq!(kind(new().env("A=B", "c")), Err(ErrorKind::InvalidInput));
    let error = new().name("n".repeat(257)).spawn().unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains("257"), "{error}");
}
