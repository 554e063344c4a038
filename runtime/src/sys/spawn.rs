//! Starting a program in a child process at a price that does not depend on the parent's size.
//!
//! This is `posix_spawn` by hand, for three things it cannot do: the process descriptor comes with the process (a pid looked up
//! afterwards may be another process when somebody else reaps), the parent-death signal is set before the program starts, and
//! close-on-exec is cleared and set in the child only.
//!
//! Between clone and exec the child shares the parent's memory while the calling thread is suspended (`CLONE_VM | CLONE_VFORK`). So it
//! runs on a stack of its own, allocates nothing, takes no lock, and no signal handler may run in it: all signals are blocked.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::Signal;
use crate::sys::{pidfd, signal};

/// What to run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Program<'a> {
    /// A path.
    Path(&'a CStr),
    /// An open descriptor, for systems without /proc.
    Fd(BorrowedFd<'a>),
}

/// A child process and the descriptor that names it.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) pid: u32,
    pub(crate) pidfd: OwnedFd,
}

/// How to run it.
#[derive(Debug)]
pub(crate) struct Exec<'a> {
    pub(crate) program: Program<'a>,
    pub(crate) argv: &'a [CString],
    pub(crate) envp: &'a [CString],
    /// Descriptors that the child keeps, under the same numbers. Of the others it gets 0, 1 and 2 only.
    pub(crate) keep: &'a [BorrowedFd<'a>],
    /// Sent to the child when the calling *thread* ends.
    pub(crate) parent_death: Option<Signal>,
    /// For a program that knows nothing of this library: what it is to begin with.
    pub(crate) setup: Option<Setup<'a>>,
}

/// What a program begins with that is not to notice whose child it is: default signal handling, and what is listed here.
#[derive(Debug)]
pub(crate) struct Setup<'a> {
    /// Its standard streams. `None`: the parent's. All are above 2.
    pub(crate) streams: [Option<BorrowedFd<'a>>; 3],
    /// Its standard error goes where its standard output goes.
    pub(crate) errors_to_output: bool,
    /// Its working directory. `None`: the parent's.
    pub(crate) directory: Option<BorrowedFd<'a>>,
    /// A process group of its own, whose number is its pid.
    pub(crate) own_group: bool,
    /// A pipe, reader and writer. When the writer's last copy outside of the new program is closed, the program gets SIGKILL, and with it all of
    /// its group if that is its own. The reader is among those to keep.
    pub(crate) lifeline: (BorrowedFd<'a>, BorrowedFd<'a>),
}

/// What the child sees of the parent's memory.
struct Shared {
    program: Result<*const c_char, c_int>,
    argv: *const *const c_char,
    envp: *const *const c_char,
    keep: *const c_int,
    keep_len: usize,
    /// The highest descriptor to be marked one by one.
    highest: c_int,
    parent_death: c_int,
    setup: Option<RawSetup>,
    error: c_int,
}

/// [`Setup`] by numbers; -1 for none.
struct RawSetup {
    streams: [c_int; 3],
    errors_to_output: bool,
    directory: c_int,
    own_group: bool,
    lifeline: (c_int, c_int),
}

const STACK: usize = 64 * 1024;

/// Runs the program; returns when it has started or failed to.
pub(crate) fn exec(exec: &Exec<'_>) -> io::Result<Spawned> {
    let pointers = |strings: &[CString]| {
        strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect::<Vec<*const c_char>>()
    };
    let (argv, envp) = (pointers(exec.argv), pointers(exec.envp));
    let keep: Vec<c_int> = exec.keep.iter().map(|fd| fd.as_raw_fd()).collect();
    let mut shared = Shared {
        program: match exec.program {
            Program::Path(path) => Ok(path.as_ptr()),
            Program::Fd(fd) => Err(fd.as_raw_fd()),
        },
        argv: argv.as_ptr(),
        envp: envp.as_ptr(),
        keep: keep.as_ptr(),
        keep_len: keep.len(),
        // One that another thread opens meanwhile without close-on-exec comes along, and is of no use to anybody.
        highest: if crate::sys::fd::close_at_exec(libc::c_uint::MAX) { -1 } else { crate::sys::fd::highest() },
        parent_death: exec.parent_death.map_or(0, Signal::as_raw),
        setup: exec.setup.as_ref().map(RawSetup::new),
        error: 0,
    };
    let mut stack = vec![std::mem::MaybeUninit::<u128>::uninit(); STACK / size_of::<u128>()];
    let mut fd: c_int = -1;
    let blocked = signal::block_all();
    // SAFETY: the stack grows down from the end of an allocation that outlives the call, as CLONE_VFORK suspends this thread until the
    // child has exec'd or exited; the same holds for `shared` and what it points to. All signals are blocked. CLONE_PIDFD stores the
    // descriptor through the parent-tid argument.
    let pid = unsafe {
        let top = stack.as_mut_ptr().add(stack.len()).cast::<c_void>();
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
        libc::clone(child, top, flags, (&raw mut shared).cast(), &raw mut fd)
    };
    let failed = io::Error::last_os_error();
    drop(blocked);
    if pid < 0 {
        return Err(failed);
    }
    // SAFETY: clone succeeded with CLONE_PIDFD, so `fd` is a new descriptor which nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: a plain read; volatile because the child wrote it behind the compiler's back.
    match unsafe { (&raw const shared.error).read_volatile() } {
        0 => Ok(Spawned { pid: pid as u32, pidfd }),
        error => {
            // It is between its error and its exit: wait for that, leave no zombie.
            crate::sys::fd::await_readable(std::os::fd::AsFd::as_fd(&pidfd))?;
            pidfd::reap(std::os::fd::AsFd::as_fd(&pidfd))?;
            Err(io::Error::from_raw_os_error(error))
        }
    }
}

impl RawSetup {
    fn new(setup: &Setup<'_>) -> RawSetup {
        let number = |fd: Option<BorrowedFd<'_>>| fd.map_or(-1, |fd| fd.as_raw_fd());
        RawSetup {
            streams: setup.streams.map(number),
            errors_to_output: setup.errors_to_output,
            directory: number(setup.directory),
            own_group: setup.own_group,
            lifeline: (setup.lifeline.0.as_raw_fd(), setup.lifeline.1.as_raw_fd()),
        }
    }

    /// Does it all; the number of the error otherwise.
    ///
    /// # Safety
    /// Requires that it runs in the child, whose descriptors, directory and signal handlers are its own. Makes system calls only.
    unsafe fn apply(&self) -> Result<(), c_int> {
        let check = |result: c_int| {
            // SAFETY: reads this thread's error number, which the child shares with the suspended parent.
            if result < 0 { Err(unsafe { *libc::__errno_location() }) } else { Ok(()) }
        };
        // SAFETY: calls with integers, and with locals that outlive them. Handlers are set to their default before any signal can reach the
        // child: all are blocked.
        unsafe {
            let (reader, writer) = self.lifeline;
            let mut owner = libc::getpid();
            if self.own_group {
                check(libc::setpgid(0, 0))?;
                // The whole group: a negative number.
                owner = -owner;
            }
            check(libc::fcntl(reader, libc::F_SETOWN, owner))?;
            check(libc::fcntl(reader, crate::sys::fd::F_SETSIG, libc::SIGKILL))?;
            check(libc::fcntl(reader, libc::F_SETFL, libc::O_ASYNC | libc::O_NONBLOCK))?;
            // The parent's copy is the last one then. If it has gone before the signal was armed, the pipe says so.
            check(libc::close(writer))?;
            let mut poll = libc::pollfd { fd: reader, events: libc::POLLIN, revents: 0 };
            if libc::poll(&mut poll, 1, 0) != 0 {
                return Err(libc::ESRCH);
            }
            for (target, &source) in (0..).zip(&self.streams) {
                if source >= 0 {
                    check(libc::dup2(source, target))?;
                }
            }
            if self.errors_to_output {
                check(libc::dup2(1, 2))?;
            }
            if self.directory >= 0 {
                check(libc::fchdir(self.directory))?;
            }
            for number in 1..=64 {
                let mut action: libc::sigaction = std::mem::zeroed();
                // What the C library keeps to itself gives an error, and stays.
                if libc::sigaction(number, std::ptr::null(), &mut action) == 0 && action.sa_sigaction != libc::SIG_DFL {
                    let keep = action.sa_sigaction == libc::SIG_IGN
                        && !matches!(number, libc::SIGPIPE | libc::SIGXFSZ | libc::SIGCHLD);
                    if !keep {
                        action.sa_sigaction = libc::SIG_DFL;
                        libc::sigaction(number, &action, std::ptr::null_mut());
                    }
                }
            }
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut none);
            check(libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut()))
        }
    }
}

/// Runs in the child, on the small stack, with the parent's memory.
extern "C" fn child(shared: *mut c_void) -> c_int {
    // SAFETY: `shared` is the `Shared` of `exec` above, whose pointers stay valid while that call is suspended. Only system calls are made.
    unsafe {
        let shared = shared.cast::<Shared>();
        if (*shared).parent_death != 0 {
            libc::prctl(libc::PR_SET_PDEATHSIG, (*shared).parent_death as libc::c_ulong, 0, 0, 0);
        }
        // The table of descriptors is the child's own.
        if !crate::sys::fd::close_at_exec(3) {
            for fd in 3..=(*shared).highest {
                libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
            }
        }
        for index in 0..(*shared).keep_len {
            libc::fcntl(*(*shared).keep.add(index), libc::F_SETFD, 0);
        }
        if let Some(setup) = &(*shared).setup
            && let Err(error) = setup.apply()
        {
            (&raw mut (*shared).error).write_volatile(error);
            libc::_exit(127)
        }
        match (*shared).program {
            Ok(path) => libc::execve(path, (*shared).argv, (*shared).envp),
            Err(fd) => {
                libc::syscall(libc::SYS_execveat, fd, c"".as_ptr(), (*shared).argv, (*shared).envp, libc::AT_EMPTY_PATH)
                    as c_int
            }
        };
        (&raw mut (*shared).error).write_volatile(*libc::__errno_location());
        libc::_exit(127)
    }
}
