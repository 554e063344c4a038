//! Processes that the stage forks, and waiting for them with an end.

use std::cell::Cell;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::ptr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How a process changed, from `waitpid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Stopped by this signal, with this ptrace event (0: none).
    Stopped(i32, i32),
    Exited(i32),
    Killed(i32),
}

/// Prepares this process to be a stage: one thread, one processor, SIGCHLD only by asking.
///
/// # Panics
///
/// When this process has more than one thread: a fork of it could inherit a lock that nobody will release.
pub fn calm() {
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, |tasks| tasks.count());
    assert_eq!(threads, 1, "the stage must be single-threaded");
    // SAFETY: both sets are plain data, initialised by the calls; only this process is changed.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_BLOCK, &set, ptr::null_mut());
        // On one processor the victim runs where the stage just slept: a step costs a third. Failing is no harm.
        let mut cpus: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(libc::sched_getcpu().max(0) as usize, &mut cpus);
        libc::sched_setaffinity(0, size_of_val(&cpus), &cpus);
    }
    report();
}

/// Waits for a change of `pid`; `None` when there is none within `limit`.
pub(super) fn wait(pid: i32, limit: Option<Duration>) -> Option<Change> {
    let deadline = limit.map(|limit| Instant::now() + limit);
    loop {
        let mut status = 0;
        let flags = libc::__WALL | if limit.is_some() { libc::WNOHANG } else { 0 };
        // SAFETY: `status` is writable.
        let got = unsafe { libc::waitpid(pid, &mut status, flags) };
        if got == pid {
            return Some(if libc::WIFSTOPPED(status) {
                Change::Stopped(libc::WSTOPSIG(status), status >> 16)
            } else if libc::WIFSIGNALED(status) {
                Change::Killed(libc::WTERMSIG(status))
            } else {
                Change::Exited(libc::WEXITSTATUS(status))
            });
        }
        if got < 0 && io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
            panic!("waitpid({pid}): {}", io::Error::last_os_error());
        }
        if let Some(deadline) = deadline {
            let left = deadline.checked_duration_since(Instant::now())?;
            let time = libc::timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos() as i64 };
            // SAFETY: the set is initialised by the calls, `time` is valid. SIGCHLD is blocked, so that none is missed.
            unsafe {
                let mut set: libc::sigset_t = std::mem::zeroed();
                libc::sigemptyset(&mut set);
                libc::sigaddset(&mut set, libc::SIGCHLD);
                libc::sigtimedwait(&set, ptr::null_mut(), &time);
            }
        }
    }
}

/// Waits for a change of a process that should go on; `None` if it hangs: when it takes longer than `limit`, or when it and all
/// others here sleep, or are stopped, for [`STUCK`] without one of them once waking up. A timed wait that tries again is not
/// taken for a hang by that.
///
/// While it waits for a processor, on a busy machine, its time stands still.
pub(super) fn wait_going(pid: i32, limit: Duration) -> Option<Change> {
    let tick = STUCK / 8;
    let before = crate::proc::used(pid).map_or(Duration::ZERO, |(cpu, _)| cpu);
    let (mut seen, mut used, mut spent) = (Instant::now(), before, Duration::ZERO);
    let mut quiet = (None, seen);
    loop {
        if let Some(change) = wait(pid, Some(tick)) {
            return Some(change);
        }
        let now = Instant::now();
        // One that has just ended: the next wait says how.
        let Some((cpu, asleep)) = crate::proc::used(pid) else { continue };
        spent += if asleep { now.duration_since(seen) } else { cpu.saturating_sub(used) };
        (seen, used) = (now, cpu);
        // SAFETY: it has no conditions.
        let still = crate::proc::stillness(unsafe { libc::getpid() });
        if still.is_none() || still != quiet.0 {
            quiet = (still, now);
        }
        if spent >= limit || now.duration_since(quiet.1) >= STUCK {
            return None;
        }
    }
}

/// If all processes of a stage sleep, or are stopped, for so long without a single switch, nobody is left to wake them. None of
/// them waits for the clock for so long.
const STUCK: Duration = Duration::from_millis(400);

/// SIGKILL, and the zombie is reaped. Nothing for one that has ended by itself and was seen to.
pub(super) fn kill_and_reap(pid: i32) {
    let mut status = 0;
    // SAFETY: `status` is writable.
    if unsafe { libc::waitpid(pid, &mut status, libc::__WALL | libc::WNOHANG) } != 0 {
        return;
    }
    // SAFETY: `pid` is an unreaped child of this process, so the number is its.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    while matches!(wait(pid, None), Some(Change::Stopped(..))) {}
}

/// Forks; the child runs `run` and exits with what it returns, or 101 when it panics.
pub(super) fn fork(run: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the stage is single-threaded (`calm`), so the child may do what the stage might.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", io::Error::last_os_error()),
        0 => {
            // SAFETY: only this process is changed: it must not outlive the stage.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            let code = panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or(101);
            // SAFETY: ends this process without the stage's exit handlers and buffers.
            unsafe { libc::_exit(code) }
        }
        pid => pid,
    }
}

const REPORT: usize = 1 << 16;

/// Memory that all processes of the stage share, for what a survivor has to say: length, then text.
fn report() -> *mut u8 {
    static REPORT_AT: OnceLock<usize> = OnceLock::new();
    let map = || {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let at = unsafe { libc::mmap(ptr::null_mut(), REPORT, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        assert!(at != libc::MAP_FAILED, "no memory for reports");
        at as usize
    };
    *REPORT_AT.get_or_init(map) as *mut u8
}

fn say(text: &str) {
    let len = text.len().min(REPORT - 8);
    // SAFETY: the mapping is that long, and only one survivor speaks at a time.
    unsafe {
        report().cast::<u64>().write(len as u64);
        ptr::copy_nonoverlapping(text.as_ptr(), report().add(8), len);
    }
}

fn said() -> String {
    // SAFETY: as in `say`; the speaker is dead. The length is bounded here as it was there.
    let text = unsafe {
        let len = (report().cast::<u64>().read() as usize).min(REPORT - 8);
        std::slice::from_raw_parts(report().add(8), len)
    };
    String::from_utf8_lossy(text).into_owned()
}

thread_local! {
    static PANIC: Cell<String> = const { Cell::new(String::new()) };
}

/// Runs `run` in a forked process; gives what it returns.
///
/// # Errors
///
/// What it panicked with, how it died, or that it took longer than `limit`: then it is killed.
pub fn in_child(limit: Duration, run: impl FnOnce() -> String) -> Result<String, String> {
    say("");
    let pid = fork(|| {
        panic::set_hook(Box::new(|info| PANIC.set(info.to_string())));
        match panic::catch_unwind(AssertUnwindSafe(run)) {
            Ok(text) => {
                say(&text);
                0
            }
            Err(_) => {
                say(&PANIC.take());
                1
            }
        }
    });
    let end = loop {
        match wait_going(pid, limit) {
            Some(Change::Stopped(..)) => continue,
            other => break other,
        }
    };
    match end {
        Some(Change::Exited(0)) => Ok(said()),
        Some(Change::Exited(1)) => Err(said()),
        None => {
            let state = crate::proc::describe(pid);
            kill_and_reap(pid);
            Err(format!("hangs: {state}"))
        }
        Some(other) => Err(format!("the survivor ended: {other:?}")),
    }
}
