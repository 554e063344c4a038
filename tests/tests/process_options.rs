//! What a child can be given: environment, directory, streams, priority, CPUs, limits.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what children write is what is tested")]

use std::io::{Read, Write};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use offspring::{Process, Signal, StartMethod, process::Stream, task};
use offspring_tests::watchdog;

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];

#[task]
fn variables() -> Vec<(String, String)> {
    std::env::vars().collect()
}

#[task]
fn directory() -> std::path::PathBuf {
    std::env::current_dir().unwrap()
}

#[task]
fn copy_in_to_out() -> u64 {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).unwrap();
    print!("out: {text}");
    eprint!("err: {text}");
    text.len() as u64
}

/// Niceness, allowed CPUs, umask and name, as the system has them.
#[task]
fn facts() -> (i32, String, String, String) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let nice = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
    (nice, field("Cpus_allowed_list:"), field("Umask:"), field("Name:"))
}

#[task]
fn descriptors() -> Vec<i32> {
    offspring_tests::proc::descriptors().into_iter().map(|(number, _)| number).collect()
}

/// Descriptors of this process's constructors: one that ran before the library's entry and one that ran after it, or both before.
static CONSTRUCTED: [AtomicI32; 2] = [AtomicI32::new(-1), AtomicI32::new(-1)];

extern "C" fn open_early() {
    CONSTRUCTED[0].store(open_inheritable(), Ordering::Relaxed);
}

extern "C" fn open_late() {
    CONSTRUCTED[1].store(open_inheritable(), Ordering::Relaxed);
}

#[allow(unsafe_code)]
#[used]
#[unsafe(link_section = ".init_array.00101")]
static EARLY: extern "C" fn() = open_early;

#[allow(unsafe_code)]
#[used]
#[unsafe(link_section = ".init_array")]
static LATE: extern "C" fn() = open_late;

/// As a C library may: without close-on-exec.
#[allow(unsafe_code)]
fn open_inheritable() -> i32 {
    // SAFETY: takes a C string; nothing is done with the number but asking about it.
    unsafe { libc::open(c"/dev/zero".as_ptr(), libc::O_RDONLY) }
}

/// What the constructors' descriptors lead to.
#[task]
fn constructed() -> Vec<String> {
    let open = offspring_tests::proc::descriptors();
    let target = |number: i32| open.iter().find(|(other, _)| *other == number).map(|(_, target)| target.clone());
    CONSTRUCTED.iter().map(|number| target(number.load(Ordering::Relaxed)).unwrap_or_default()).collect()
}

#[task]
fn allocate(bytes: usize) -> usize {
    vec![1u8; bytes].iter().map(|&byte| byte as usize).sum()
}

#[task]
fn burn() {
    loop {
        std::hint::spin_loop();
    }
}

#[task]
fn blocked_signals() -> String {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap().trim().to_owned()
}

#[test]
fn environment_changes_reach_the_child_alone() {
    let _watchdog = watchdog(Duration::from_secs(60));
    for method in METHODS {
        let child = Process::new(variables, ())
            .start_method(method)
            .env("OFFSPRING_TEST", "a=b c")
            .env_remove("PATH")
            .spawn()
            .unwrap();
        let vars = child.join().unwrap();
        let get = |name: &str| vars.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        assert_eq!(get("OFFSPRING_TEST"), Some("a=b c"));
        assert_eq!(get("PATH"), None);
        assert_eq!(get("HOME").map(str::to_owned), std::env::var("HOME").ok());
        // What a command of the task must not take for its own.
        assert_eq!(get("OFFSPRING_CHILD"), None);
        assert_eq!(get("OFFSPRING_DEPTH"), Some("1"));
        let child = Process::new(variables, ()).start_method(method).env_clear().env("ONLY", "this").spawn().unwrap();
        let mut vars = child.join().unwrap();
        vars.retain(|(key, _)| key != "OFFSPRING_DEPTH");
        assert_eq!(vars, [("ONLY".to_owned(), "this".to_owned())]);
    }
    assert!(std::env::var_os("OFFSPRING_TEST").is_none());
}

#[test]
fn an_environment_of_many_kilobytes_reaches_the_child() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let value = "v".repeat(60_000);
    for method in METHODS {
        let child = Process::new(variables, ())
            .start_method(method)
            .envs((0..5).map(|number| (format!("LONG_{number}"), &value)))
            .spawn()
            .unwrap();
        assert_eq!(child.join().unwrap().iter().filter(|(_, text)| *text == value).count(), 5);
    }
}

#[test]
fn the_working_directory_is_the_callers_or_the_one_asked_for() {
    let _watchdog = watchdog(Duration::from_secs(60));
    for method in METHODS {
        let new = || Process::new(directory, ()).start_method(method);
        assert_eq!(new().spawn().unwrap().join().unwrap(), std::env::current_dir().unwrap());
        assert_eq!(new().current_dir("/usr").spawn().unwrap().join().unwrap(), std::path::Path::new("/usr"));
    }
}

#[test]
fn streams_lead_to_pipes() {
    let _watchdog = watchdog(Duration::from_secs(60));
    for method in METHODS {
        let mut child = Process::new(copy_in_to_out, ())
            .start_method(method)
            .stdin(Stream::piped())
            .stdout(Stream::piped())
            .stderr(Stream::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(b"hello").unwrap();
        drop(input);
        let (mut out, mut err) = (String::new(), String::new());
        child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert_eq!((out.as_str(), err.as_str()), ("out: hello", "err: hello"));
        assert_eq!(child.join().unwrap(), 5);
    }
}

#[test]
fn streams_lead_to_files_and_nowhere() {
    let _watchdog = watchdog(Duration::from_secs(60));
    for method in METHODS {
        let path = std::env::temp_dir().join(format!("offspring-streams-{}-{method:?}", std::process::id()));
        std::fs::write(&path, "from a file").unwrap();
        let out = path.with_extension("out");
        let child = Process::new(copy_in_to_out, ())
            .start_method(method)
            .stdin(std::fs::File::open(&path).unwrap())
            .stdout(std::fs::File::create(&out).unwrap())
            .stderr(Stream::null())
            .spawn()
            .unwrap();
        assert_eq!(child.join().unwrap(), 11);
        assert_eq!(std::fs::read_to_string(&out).unwrap(), "out: from a file");
        std::fs::remove_file(path).unwrap();
        std::fs::remove_file(out).unwrap();
    }
}

#[test]
fn joining_a_child_that_reads_to_the_end_ends_its_input() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let child = Process::new(copy_in_to_out, ())
        .stdin(Stream::piped())
        .stdout(Stream::null())
        .stderr(Stream::null())
        .spawn()
        .unwrap();
    assert_eq!(child.join().unwrap(), 0);
}

#[test]
fn priority_cpus_and_name_are_set() {
    let _watchdog = watchdog(Duration::from_secs(60));
    for method in METHODS {
        let child = Process::new(facts, ()).start_method(method).nice(7).cpus([0]).name("named one").spawn().unwrap();
        let (nice, cpus, _, name) = child.join().unwrap();
        assert_eq!((nice, cpus.as_str(), name.as_str()), (7, "0", "named one"));
        // And without a word they are the caller's.
        let mine = facts();
        let theirs = Process::new(facts, ()).start_method(method).spawn().unwrap().join().unwrap();
        assert_eq!((theirs.0, &theirs.1, &theirs.2), (mine.0, &mine.1, &mine.2));
    }
}

#[test]
fn a_threads_own_signal_mask_is_handed_on() {
    let _watchdog = watchdog(Duration::from_secs(60));
    for method in METHODS {
        // The supervisor blocks all signals; a child has what the thread that asked for it has.
        let child = Process::new(blocked_signals, ()).start_method(method).spawn().unwrap();
        assert_eq!(child.join().unwrap(), blocked_signals());
    }
}

#[test]
fn a_child_has_few_descriptors_and_none_of_its_parents() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let file = std::fs::File::open("/dev/null").unwrap();
    // Without close-on-exec, as a C library may leave it.
    let copies: Vec<_> = (0..50).map(|_| inheritable_copy(&file)).collect();
    for method in METHODS {
        let open = Process::new(descriptors, ()).start_method(method).spawn().unwrap().join().unwrap();
        // Standard streams, memory, locks, the parent's event, the lifeline, the directory being listed, and those of constructors.
        assert!(open.len() <= 8 + CONSTRUCTED.len(), "{open:?}");
    }
    drop(copies);
}

fn inheritable_copy(file: &std::fs::File) -> std::os::fd::OwnedFd {
    use std::os::fd::{AsRawFd, FromRawFd};
    // SAFETY: a new descriptor, or -1, for which the assertion fails.
    #[allow(unsafe_code)]
    unsafe {
        let fd = libc::dup(file.as_raw_fd());
        assert!(fd >= 0);
        std::os::fd::OwnedFd::from_raw_fd(fd)
    }
}

#[test]
fn what_constructors_have_opened_stays_open() {
    let _watchdog = watchdog(Duration::from_secs(60));
    for method in METHODS {
        let open = Process::new(constructed, ()).start_method(method).spawn().unwrap().join().unwrap();
        assert_eq!(open, ["/dev/zero", "/dev/zero"]);
    }
}

#[test]
fn a_memory_limit_ends_who_takes_more() {
    let _watchdog = watchdog(Duration::from_secs(60));
    for method in METHODS {
        let new = |bytes: usize| {
            Process::new(allocate, bytes)
                .start_method(method)
                .memory_limit(64 << 20)
                .stderr(Stream::null())
                .spawn()
                .unwrap()
        };
        assert_eq!(new(1 << 20).join().unwrap(), 1 << 20);
        let mut child = new(256 << 20);
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::ABRT));
    }
}

#[test]
fn a_limit_of_cpu_time_ends_who_takes_more() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let mut child = Process::new(burn, ()).cpu_time_limit(Duration::from_millis(300)).spawn().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::XCPU));
}
