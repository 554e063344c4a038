//! How a process ended, and the signals it can be sent.

use std::fmt;
use std::time::Duration;

use offspring_macros::message;

use crate::sys;

/// A signal, by number.
///
/// A type of this crate's own, so that no other crate's version is part of the interface.
#[message(crate = crate)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(i32);

macro_rules! signals {
    ($($name:ident = $libc:ident;)*) => {
        impl Signal {
            $(#[doc = concat!("`", stringify!($libc), "`")] pub const $name: Signal = Signal(libc::$libc);)*

            /// The signal's name, such as `SIGKILL`; `None` for real-time and unknown signals.
            #[doc(alias = "strsignal")]
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $(libc::$libc => Some(stringify!($libc)),)*
                    _ => None,
                }
            }
        }
    };
}

signals! {
    HUP = SIGHUP; INT = SIGINT; QUIT = SIGQUIT; ILL = SIGILL; TRAP = SIGTRAP; ABRT = SIGABRT; BUS = SIGBUS; FPE = SIGFPE;
    KILL = SIGKILL; USR1 = SIGUSR1; SEGV = SIGSEGV; USR2 = SIGUSR2; PIPE = SIGPIPE; ALRM = SIGALRM; TERM = SIGTERM;
    CHLD = SIGCHLD; CONT = SIGCONT; STOP = SIGSTOP; TSTP = SIGTSTP; TTIN = SIGTTIN; TTOU = SIGTTOU; URG = SIGURG;
    XCPU = SIGXCPU; XFSZ = SIGXFSZ; VTALRM = SIGVTALRM; PROF = SIGPROF; WINCH = SIGWINCH; IO = SIGIO; PWR = SIGPWR; SYS = SIGSYS;
}

impl Signal {
    /// The signal of this number, if Linux has one: 1 to 64.
    #[doc(alias = "valid_signals")]
    #[doc(alias = "NSIG")]
    pub fn from_raw(number: i32) -> Option<Signal> {
        (1..=64).contains(&number).then_some(Signal(number))
    }

    /// The signal's number.
    pub fn as_raw(self) -> i32 {
        self.0
    }

    /// What this process does on the signal at present.
    ///
    /// ```
    /// use offspring::{Disposition, Signal};
    ///
    /// assert_eq!(Signal::USR2.disposition(), Disposition::Default);
    /// assert_eq!(Signal::PIPE.disposition(), Disposition::Ignored); // as in every Rust program
    /// ```
    #[doc(alias = "getsignal")]
    pub fn disposition(self) -> Disposition {
        if sys::signal::is_ignored(self) {
            Disposition::Ignored
        } else if sys::signal::is_handled(self) {
            Disposition::Handled
        } else {
            Disposition::Default
        }
    }

    /// Sends the signal to the calling thread. It returns unless the signal ends the program.
    ///
    /// ```
    /// offspring::Signal::WINCH.raise(); // is ignored by default
    /// ```
    #[doc(alias = "raise_signal")]
    pub fn raise(self) {
        sys::signal::raise(self);
    }
}

/// What a process does on a signal: see [`Signal::disposition`].
#[doc(alias = "Handlers")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Disposition {
    /// What the system does by default: for most signals, the process ends.
    #[doc(alias = "SIG_DFL")]
    Default,
    /// Nothing.
    #[doc(alias = "SIG_IGN")]
    Ignored,
    /// A handler runs.
    Handled,
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}

/// How a process ended.
#[message(crate = crate)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExitStatus {
    /// It ended by itself with this code; a panicked task's process ends with 101.
    Exited(i32),
    /// A signal ended it.
    Signaled {
        /// Which.
        signal: Signal,
        /// Was a core file written?
        core_dumped: bool,
    },
    /// It ended, but somebody else took its status (a `waitpid(-1)` of the program, or `SIGCHLD` is ignored)
    /// and it left no note.
    Unknown,
}

impl ExitStatus {
    /// Did it end with code 0?
    pub fn success(self) -> bool {
        self == ExitStatus::Exited(0)
    }

    /// Its exit code, if it ended by itself.
    pub fn code(self) -> Option<i32> {
        match self {
            ExitStatus::Exited(code) => Some(code),
            _ => None,
        }
    }

    /// The signal that ended it, if one did.
    pub fn signal(self) -> Option<Signal> {
        match self {
            ExitStatus::Signaled { signal, .. } => Some(signal),
            _ => None,
        }
    }

    /// The number that Python's `Process.exitcode` shows: 0, above 0, or `-N` for signal `N`; `None` when unknown.
    #[doc(alias = "returncode")]
    pub fn exitcode(self) -> Option<i32> {
        match self {
            ExitStatus::Exited(code) => Some(code),
            ExitStatus::Signaled { signal, .. } => Some(-signal.as_raw()),
            ExitStatus::Unknown => None,
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitStatus::Exited(code) => write!(f, "exit code {code}"),
            ExitStatus::Signaled { signal, core_dumped } => {
                let core = if *core_dumped { ", core dumped" } else { "" };
                write!(f, "killed by {signal}{core}")
            }
            ExitStatus::Unknown => f.write_str("exit status unknown: another part of the program reaped the process"),
        }
    }
}
/// What a process that has ended had used, itself and those of its children that it had waited for.
///
/// ```
/// use offspring::Process;
/// use offspring::task;
///
/// #[task]
/// fn work() -> u64 {
///     (0..1000u64).sum()
/// }
///
/// # fn main() -> offspring::Result<()> {
/// let mut child = Process::new(work, ()).spawn()?;
/// child.wait()?;
/// if let Some(usage) = child.usage() {
///     assert!(usage.max_rss > 0);
///     println!("{:?} of CPU time", usage.cpu_time());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Usage {
    /// CPU time in the program itself.
    pub user: Duration,
    /// CPU time in the kernel on its behalf.
    pub system: Duration,
    /// The most memory it had in use at once, in bytes, what it shares with others included. Of a process that was made by
    /// [`StartMethod::Spawn`](crate::StartMethod::Spawn) not less than its parent had when it was made: the kernel counts so.
    pub max_rss: u64,
}

impl Usage {
    /// CPU time in the program and in the kernel.
    pub fn cpu_time(&self) -> Duration {
        self.user + self.system
    }
}
