//! What is known of a child that has ended: what it used, whether the kernel killed it for want of memory, its last words.
#![allow(clippy::print_stderr, reason = "what children write is what is tested")]

use std::io::Read;
use std::time::{Duration, Instant};

use offspring::{Process, Signal, StartMethod, process::Stream, task};
use offspring_tests::cgroup::small_cgroup;
use offspring_tests::watchdog;

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];

/// Uses so much CPU time and memory.
#[task]
fn work(millis: u64, bytes: usize) -> usize {
    let data = vec![1u8; bytes];
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(millis) {
        std::hint::black_box(&data);
    }
    data.len()
}

#[task]
fn talk(lines: usize) {
    for line in 0..lines {
        eprintln!("line {line}");
    }
    std::process::abort();
}

#[task]
fn nap() {
    std::thread::sleep(Duration::from_secs(600));
}

/// Moves into a cgroup, then takes memory without end.
#[task]
fn swell(cgroup: String) {
    std::fs::write(format!("{cgroup}/cgroup.procs"), "0").unwrap();
    let mut all = Vec::new();
    loop {
        all.push(vec![1u8; 1 << 20]);
    }
}

#[test]
fn what_a_child_used_is_known() {
    let _watchdog = watchdog(Duration::from_secs(60));
    for method in METHODS {
        let mut child = Process::new(work, (300, 64 << 20)).start_method(method).spawn().unwrap();
        child.wait().unwrap();
        let usage = child.usage().unwrap();
        // On a busy machine it did not run all of the time.
        assert!(usage.cpu_time() >= Duration::from_millis(10), "{usage:?}");
        assert!(usage.cpu_time() <= Duration::from_secs(50), "{usage:?}");
        assert!((64 << 20..4 << 30).contains(&usage.max_rss), "{usage:?}");
    }
}

#[test]
fn what_a_killed_child_used_is_known_and_the_kill_is_not_blamed_on_memory() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let mut child = Process::new(nap, ()).spawn().unwrap();
    assert_eq!((child.usage(), child.oom_killed(), child.stderr_tail()), (None, None, None));
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::KILL));
    assert!(child.usage().is_some());
    assert_eq!(child.oom_killed(), Some(false));
    assert_eq!(child.stderr_tail(), None);
}

#[test]
fn the_end_of_standard_error_is_kept_and_all_of_it_passed_on() {
    let _watchdog = watchdog(Duration::from_secs(60));
    for method in METHODS {
        let lines = 5000;
        let mut child =
            Process::new(talk, lines).start_method(method).stderr(Stream::piped()).stderr_tail(true).spawn().unwrap();
        let mut passed_on = String::new();
        child.stderr.take().unwrap().read_to_string(&mut passed_on).unwrap();
        let expected: String = (0..lines).map(|line| format!("line {line}\n")).collect();
        assert!(passed_on.starts_with(&expected), "{} of {} bytes", passed_on.len(), expected.len());
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::ABRT));
        let tail = child.stderr_tail().unwrap();
        assert!(tail.len() <= 4096 && tail.len() > 4000 && passed_on.ends_with(&tail), "{} bytes: {tail}", tail.len());
    }
}

/// A child in a cgroup of its own is not counted in its parent's (version 1), so it is a grandchild's death that is asked about: the parent
/// of that one lives in the small cgroup, too.
#[task]
fn parent_of_the_swelling(cgroup: String) -> (Option<bool>, bool) {
    std::fs::write(format!("{cgroup}/cgroup.procs"), "0").unwrap();
    // Whoever is to be killed is the largest, and has said so.
    let mut child = Process::new(swell, cgroup).spawn().unwrap();
    let status = child.wait().unwrap();
    (child.oom_killed(), status.signal() == Some(Signal::KILL))
}

#[test]
fn a_victim_of_the_kernels_memory_killer_is_known_as_one() {
    let _watchdog = watchdog(Duration::from_secs(120));
    let Some(cgroup) = small_cgroup(96 << 20) else {
        offspring_tests::skip!("this process may not make memory cgroups");
    };
    let child = Process::new(parent_of_the_swelling, cgroup.display().to_string()).spawn().unwrap();
    let result = child.join();
    std::fs::remove_dir(&cgroup).ok();
    assert_eq!(result.unwrap(), (Some(true), true));
}
