//! Children cost little, and leave nothing.

use std::time::{Duration, Instant};

use offspring::{Process, StartMethod, process::Stream, task};
use offspring_tests::{leaks, proc, watchdog};

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];

#[task]
fn sleep(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

#[task]
fn exit_with(code: i32) {
    std::process::exit(code);
}

#[test]
fn a_thousand_children_leave_nothing() {
    let _watchdog = watchdog(Duration::from_secs(120));
    let run = |count: usize| {
        for number in 0..count {
            let child = Process::new(exit_with, 0).start_method(METHODS[number % 2]).spawn().unwrap();
            if number % 3 == 0 {
                drop(child);
            } else if number % 3 == 1 {
                child.kill().unwrap();
                _ = child.join();
            } else {
                child.join().unwrap_err();
            }
        }
    };
    leaks::check(|| run(4), || run(1000));
}

#[test]
fn many_children_at_once_cost_a_constant_number_of_descriptors_each() {
    let _watchdog = watchdog(Duration::from_secs(120));
    let start = |count: usize| -> Vec<_> {
        (0..count)
            .map(|number| {
                let method = METHODS[number % 2];
                Process::new(sleep, 60_000).start_method(method).stdout(Stream::null()).spawn().unwrap()
            })
            .collect()
    };
    leaks::check(
        || start(2).into_iter().for_each(|mut child| _ = (child.kill(), child.wait())),
        || {
            let children = start(100);
            let with_children = proc::descriptors().len();
            assert!(offspring::process::active_children().len() >= children.len());
            for mut child in children {
                child.kill().unwrap();
                child.wait().unwrap();
            }
            // The process descriptor, and the pipe that it dies with, which is closed soon after its end was told.
            let deadline = Instant::now() + Duration::from_secs(20);
            while proc::descriptors().len() + 200 != with_children {
                assert!(Instant::now() < deadline, "{with_children} with, {} without", proc::descriptors().len());
                std::thread::sleep(Duration::from_millis(5));
            }
        },
    );
}
