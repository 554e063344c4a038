//! Programs that work against the runtime inside its own process; each must succeed all the same.
#![allow(unsafe_code)]

use std::time::Duration;

use offspring::{ErrorKind, ExitStatus, Process, Signal, StartMethod, task};
use offspring_tests::{kill, proc};

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];

#[task]
fn square(x: u64) -> u64 {
    x * x
}

#[task]
fn exit_with(code: i32) {
    std::process::exit(code);
}

#[task]
fn sleep() {
    std::thread::sleep(Duration::from_secs(60));
}

#[task]
fn raise(signal: i32) {
    kill::signal(std::process::id() as i32, signal).expect("a signal");
}

fn check_statuses() {
    for method in METHODS {
        for round in 0..20 {
            let new = Process::new(square, round).start_method(method).spawn().expect("a child");
            assert_eq!(new.join().expect("a value"), round * round);
            let mut child = Process::new(exit_with, 5).start_method(method).spawn().expect("a child");
            assert_eq!(child.wait().expect("an end"), ExitStatus::Exited(5));
            let mut child = Process::new(raise, libc::SIGKILL).start_method(method).spawn().expect("a child");
            // Where the kernel does not tell (before Linux 6.15), nobody can.
            let status = child.wait().expect("an end");
            assert!(status.signal() == Some(Signal::KILL) || status == ExitStatus::Unknown, "{status}");
        }
    }
}

fn main() {
    match std::env::args().nth(1).unwrap_or_default().as_str() {
        "" => {
            // SAFETY: SIG_IGN is no function; nothing else in this program uses the signal.
            unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
            check_statuses();
            // SAFETY: as above.
            unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
            std::thread::spawn(|| {
                loop {
                    // SAFETY: a null status is allowed.
                    if unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) } < 0 {
                        std::thread::sleep(Duration::from_micros(50));
                    }
                }
            });
            check_statuses();
        }
        "fork-server" => {
            let new = || Process::new(square, 3).start_method(StartMethod::ForkServer).spawn();
            for _ in 0..20 {
                assert_eq!(new().expect("a child").join().expect("a value"), 9);
                let servers = proc::children(std::process::id() as i32);
                let server = servers.iter().find(|process| process.name == "offspring-fork").expect("a fork server");
                kill::sigkill(server.pid).expect("a kill");
            }
            // The last one is fetched too.
            let zombies = || proc::children(std::process::id() as i32).iter().any(|process| process.state == 'Z');
            while zombies() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        // A fork of this program's own has no children.
        "fork" => {
            let mut child = Process::new(sleep, ()).spawn().expect("a child");
            // SAFETY: the fork calls what it may, as the C library makes its allocator usable in it, and ends by `_exit`.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                let refused = child.wait().is_err()
                    && child.try_wait().is_err()
                    && child.kill().is_err()
                    && child.exit_status() == Some(ExitStatus::Unknown)
                    && offspring::wait_any(&[&child], None).is_err_and(|error| error.kind() == ErrorKind::Unsupported)
                    && Process::new(square, 3).spawn().is_err()
                    && child.join().is_err_and(|error| error.kind() == ErrorKind::Unsupported);
                // SAFETY: does not return.
                unsafe { libc::_exit(i32::from(!refused)) };
            }
            let mut status = -1;
            // SAFETY: writes to a local.
            assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
            assert_eq!(status, 0);
            assert!(child.is_alive());
            child.kill().expect("a signal");
            assert_eq!(child.wait().expect("an end").signal(), Some(Signal::KILL));
        }
        // The descriptor that the supervisor sleeps on is closed, as a careless daemon does.
        "close" => {
            let mut long = Process::new(sleep, ()).spawn().expect("a child");
            let mut copy = Process::new(sleep, ()).start_method(StartMethod::ForkServer).spawn().expect("a child");
            let mut other = Process::new(sleep, ()).spawn().expect("a child");
            for (number, target) in proc::descriptors() {
                if target.contains("eventpoll") {
                    // SAFETY: none; this is what the program under test does wrong.
                    assert_eq!(unsafe { libc::close(number) }, 0);
                }
            }
            assert!(Process::new(square, 3).spawn().is_err());
            other.kill().expect("a signal");
            for child in [&mut other, &mut long, &mut copy] {
                assert_eq!(child.wait().expect("an end").signal(), Some(Signal::KILL));
            }
            for method in METHODS {
                assert_eq!(
                    Process::new(square, 3).start_method(method).spawn().expect_err("lost").kind(),
                    ErrorKind::Io
                );
            }
        }
        "limits" => {
            for method in METHODS {
                let new = || Process::new(square, 3).start_method(method).spawn();
                new().expect("a child").join().expect("a value");
                let before = limit(libc::RLIMIT_NOFILE, None);
                let open = proc::descriptors().len() as u64;
                for more in 0..8 {
                    limit(libc::RLIMIT_NOFILE, Some(open + more));
                    match new() {
                        Ok(child) => assert_eq!(child.join().expect("a value"), 9),
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Limit, "{error}"),
                    }
                }
                limit(libc::RLIMIT_NOFILE, Some(3));
                assert_eq!(new().expect_err("a limit").kind(), ErrorKind::Limit);
                limit(libc::RLIMIT_NOFILE, Some(before));
                new().expect("a child").join().expect("a value");
            }
        }
        other => panic!("process_thief {other}: there is no such program"),
    }
}

/// Sets the soft limit, or asks for it.
fn limit(resource: libc::__rlimit_resource_t, value: Option<u64>) -> u64 {
    // SAFETY: the calls read and write a local.
    unsafe {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        assert_eq!(libc::getrlimit(resource, &mut limit), 0);
        let before = limit.rlim_cur;
        if let Some(value) = value {
            limit.rlim_cur = value;
            assert_eq!(libc::setrlimit(resource, &limit), 0);
        }
        before
    }
}
