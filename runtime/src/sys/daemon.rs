//! The two forks of a daemon.
#![allow(unsafe_code)]

use std::io;

/// Which process this is, after [`fork_into_session`].
#[derive(Debug)]
pub(crate) enum Forked {
    /// The one that called.
    Caller,
    /// The new one.
    Daemon,
}

/// `fork`, `setsid`, `fork`: the new process is in a session of its own, does not lead it, and so never gets a terminal. The one in between has
/// been awaited. The caller must have one thread only.
pub(crate) fn fork_into_session() -> io::Result<Forked> {
    // SAFETY: this process has one thread (a condition of this function), so that the copy is whole: no lock is held by a thread that it lacks.
    match unsafe { libc::fork() } {
        ..0 => Err(io::Error::last_os_error()),
        0 => {
            // SAFETY: as above; the copy has one thread, too.
            let second = unsafe {
                libc::setsid();
                libc::fork()
            };
            match second {
                0 => Ok(Forked::Daemon),
                other => leave(i32::from(other < 0)),
            }
        }
        pid => {
            let mut status = 0;
            // SAFETY: waits for the child just made; writes one integer. Where its status was taken by SIG_IGN of SIGCHLD, the error says that it
            // is gone.
            while unsafe { libc::waitpid(pid, &mut status, 0) } < 0
                && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
            {}
            Ok(Forked::Caller)
        }
    }
}

/// `_exit`: ends this process, running nothing.
pub(crate) fn leave(code: i32) -> ! {
    // SAFETY: does not return, and touches nothing.
    unsafe { libc::_exit(code) }
}
