//! Process descriptors: signals and exit statuses that can never hit a reused pid.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use crate::status::Usage;
use crate::{ExitStatus, Signal};

/// `pidfd_open(pid, 0)`: a descriptor of the process that has this pid now.
pub(crate) fn open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes two integers; a result that is not negative is a new descriptor which nobody else owns.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd as i32)) }
    }
}

/// `pidfd_send_signal(process, signal, NULL, 0)`: signals exactly the process that the descriptor was opened for.
pub(crate) fn signal(process: BorrowedFd<'_>, signal: Signal) -> io::Result<()> {
    // SAFETY: the descriptor is open; a null siginfo is documented to mean what kill(2) would send.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            signal.as_raw(),
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What [`reap`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reaped {
    /// It has not ended yet.
    Running,
    /// It ended, and its zombie is gone.
    Ended(ExitStatus, Usage),
    /// It is no child of this process (any more): somebody else took the status, or the system dropped it.
    Stolen,
}

/// `waitid(P_PIDFD, process, WEXITED | WNOHANG)`, with what the process had used.
pub(crate) fn reap(process: BorrowedFd<'_>) -> io::Result<Reaped> {
    loop {
        // SAFETY: siginfo_t and rusage are plain integers, for which zero is valid; waitid fills them in. The C library's function does not pass
        // on the second, so this is the system call.
        let (result, info, usage) = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let mut usage: libc::rusage = std::mem::zeroed();
            let id = process.as_raw_fd() as libc::id_t;
            let options = libc::WEXITED | libc::WNOHANG;
            let result = libc::syscall(libc::SYS_waitid, libc::P_PIDFD, id, &raw mut info, options, &raw mut usage);
            (result, info, usage)
        };
        if result < 0 {
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => continue,
                Some(libc::ECHILD) => return Ok(Reaped::Stolen),
                _ => return Err(error),
            }
        }
        // SAFETY: waitid succeeded, so the SIGCHLD members of the union are the valid ones; zero pid: nothing has ended.
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        if pid == 0 {
            return Ok(Reaped::Running);
        }
        let status = match info.si_code {
            libc::CLD_EXITED => ExitStatus::Exited(status),
            code => match Signal::from_raw(status) {
                Some(signal) => ExitStatus::Signaled { signal, core_dumped: code == libc::CLD_DUMPED },
                None => ExitStatus::Unknown,
            },
        };
        return Ok(Reaped::Ended(status, usage_of(&usage)));
    }
}

fn usage_of(usage: &libc::rusage) -> Usage {
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.max(0) as u64) + Duration::from_micros(time.tv_usec.max(0) as u64)
    };
    Usage {
        user: time(usage.ru_utime),
        system: time(usage.ru_stime),
        // In KiB.
        max_rss: (usage.ru_maxrss.max(0) as u64).saturating_mul(1024),
    }
}

/// `waitid(P_PIDFD, process, WSTOPPED | WEXITED | WNOWAIT)`: waits until a child has stopped, or has ended.
pub(crate) fn await_stop(process: BorrowedFd<'_>) -> io::Result<()> {
    loop {
        // SAFETY: siginfo_t is plain integers, for which zero is valid; waitid fills it in.
        let result = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let id = process.as_raw_fd() as libc::id_t;
            libc::waitid(libc::P_PIDFD, id, &mut info, libc::WSTOPPED | libc::WEXITED | libc::WNOWAIT)
        };
        if result == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            // Ended, and reaped by somebody.
            Some(libc::ECHILD) => return Ok(()),
            _ => return Err(error),
        }
    }
}

/// `ioctl(process, PIDFD_GET_INFO)`: the exit status of a process that was reaped by anybody. Linux 6.15 and newer.
pub(crate) fn exit_info(process: BorrowedFd<'_>) -> Option<ExitStatus> {
    /// The first version of the kernel's `struct pidfd_info`.
    #[repr(C)]
    #[derive(Default)]
    struct PidfdInfo {
        mask: u64,
        cgroupid: u64,
        ids: [u32; 11],
        exit_code: i32,
    }
    const { assert!(size_of::<PidfdInfo>() == 64) };
    const PIDFD_GET_INFO: u64 = (3 << 30) | (64 << 16) | (0xFF << 8) | 11;
    const PIDFD_INFO_EXIT: u64 = 1 << 3;
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the request's size field says 64 bytes, which is the size of the struct it writes to (asserted above).
    let result = unsafe { libc::ioctl(process.as_raw_fd(), PIDFD_GET_INFO as _, &raw mut info) };
    if result < 0 || info.mask & PIDFD_INFO_EXIT == 0 {
        return None;
    }
    let code = info.exit_code;
    if libc::WIFEXITED(code) {
        Some(ExitStatus::Exited(libc::WEXITSTATUS(code)))
    } else {
        let signal = Signal::from_raw(libc::WTERMSIG(code))?;
        Some(ExitStatus::Signaled { signal, core_dumped: libc::WCOREDUMP(code) })
    }
}
