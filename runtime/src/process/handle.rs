//! A child as its parent sees it.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::crash::CrashTrace;
use crate::arena::Owner;
use crate::object::wait_any::{Bell, Rope};
use crate::process::child;
use crate::status::Usage;
use crate::sync::permits;
use crate::sys::pidfd;
use crate::task::{PanicRecord, TaskContext, TaskError};
use crate::{ExitStatus, Signal};

/// What a dead child left to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Note {
    /// It panicked, and said so before it ended.
    Panic(PanicRecord),
    /// Why it ended, in words: a fatal signal's circumstances, or what kept it from starting.
    Text(String),
    /// A fatal signal's circumstances, and where it came.
    Crash(String, CrashTrace),
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Panic(panic) => write!(f, "it panicked at {}: {}", panic.location, panic.message),
            Note::Text(text) | Note::Crash(text, _) => f.write_str(text),
        }
    }
}

/// The end of a child.
#[derive(Debug, Clone)]
pub(crate) struct Death {
    pub(crate) owner: Owner,
    pub(crate) pid: u32,
    pub(crate) status: ExitStatus,
    pub(crate) note: Option<Note>,
    /// Had it become a member of the family, and so, shortly after, begun its work?
    pub(crate) began: bool,
    /// What it had used; `None` where somebody else took its exit status.
    pub(crate) usage: Option<Usage>,
    /// Was it the kernel that killed it, as memory ran out? `None`: nothing tells.
    pub(crate) oom_killed: Option<bool>,
    /// The last that it wrote to its standard error, where that was asked for.
    pub(crate) stderr: Option<String>,
}

impl Death {
    /// An end of which no more than this is known.
    pub(crate) fn new(owner: Owner, pid: u32, status: ExitStatus) -> Death {
        Death { owner, pid, status, note: None, began: true, usage: None, oom_killed: None, stderr: None }
    }

    /// The error of a task that it was running, for the time that `tries` says.
    pub(crate) fn as_error(&self, context: TaskContext, tries: u32) -> TaskError {
        match &self.note {
            // Where panics abort, the panic was the end of the process, and the note it left is all there is.
            Some(Note::Panic(panic)) => TaskError::Panicked {
                context,
                message: panic.message.clone(),
                location: panic.location.clone(),
                worker: self.pid,
                tries,
                backtrace: panic.backtrace.clone().map(String::into_boxed_str),
            },
            note => TaskError::WorkerDied {
                context: match note {
                    Some(Note::Crash(_, trace)) => context.crashed(trace),
                    _ => context,
                },
                status: self.status,
                worker: self.pid,
                tries,
                note: note.as_ref().map(ToString::to_string),
                oom_killed: self.oom_killed,
                usage: self.usage.map(Box::new),
                stderr: self.stderr.clone().map(String::into_boxed_str),
            },
        }
    }

    /// Why it never began its work, where that is not for the reasons that can end any process.
    pub(crate) fn start_failure(&self) -> Option<String> {
        let code = self.status.code().filter(|_| !self.began)?;
        let note = match &self.note {
            Some(Note::Text(text)) => text.as_str(),
            _ => "it did not say why",
        };
        Some(match code {
            child::EXIT_WRONG_BUILD => format!("the child {}", child::WRONG_BUILD),
            child::EXIT_NO_ARENA => {
                "the child could not map the family's shared memory: is its address space limited?".into()
            }
            child::EXIT_NO_SETUP => format!("the child could not be set up: {note}"),
            _ => return None,
        })
    }
}

/// A child of this process, for any thread. It is watched whether a handle is held or not.
pub(crate) struct ChildHandle {
    owner: Owner,
    pid: u32,
    /// Whose child it is. In a fork of that process nobody sees it end.
    parent: u32,
    name: String,
    daemon: bool,
    /// Has this process sent it SIGKILL?
    killed: AtomicBool,
    state: Mutex<State>,
    ended: Condvar,
}

enum State {
    Running { pidfd: OwnedFd, ropes: Vec<Rope> },
    Ended(Death),
}

impl ChildHandle {
    pub(crate) fn new(owner: Owner, pid: u32, pidfd: OwnedFd, name: String, daemon: bool) -> ChildHandle {
        let state = Mutex::new(State::Running { pidfd, ropes: Vec::new() });
        let (parent, killed) = (std::process::id(), AtomicBool::new(false));
        ChildHandle { owner, pid, parent, name, daemon, killed, state, ended: Condvar::new() }
    }

    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn is_daemon(&self) -> bool {
        self.daemon
    }

    /// Is it a child of this process, and not of one that this process was forked from?
    pub(crate) fn check(&self) -> io::Result<()> {
        let ChildHandle { pid, parent, name, .. } = self;
        if *parent == std::process::id() {
            return Ok(());
        }
        let reason = format!("process {pid} ({name}) is a child of process {parent}, of which this one is a fork");
        Err(io::Error::new(io::ErrorKind::Unsupported, reason))
    }

    /// `None` in a fork, where another thread may have held the lock when it was made.
    fn state(&self) -> Option<MutexGuard<'_, State>> {
        self.check().ok()?;
        // Nothing panics while it holds the lock; the state is whole at any time.
        Some(self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has this process sent it SIGKILL?
    pub(crate) fn was_killed(&self) -> bool {
        self.killed.load(Ordering::Relaxed)
    }

    /// How it ended; `None` while it runs. Unknown in a fork.
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        let Some(state) = self.state() else { return Some(ExitStatus::Unknown) };
        match &*state {
            State::Running { .. } => None,
            State::Ended(death) => Some(death.status),
        }
    }

    /// How it ended, with what it left to say; `None` while it runs, and in a fork.
    pub(crate) fn death(&self) -> Option<Death> {
        match &*self.state()? {
            State::Running { .. } => None,
            State::Ended(death) => Some(death.clone()),
        }
    }

    /// Waits for its end; `None`: the deadline passed. Unknown in a fork.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> Option<ExitStatus> {
        // Before the lock, so that it ends after it.
        let mut _paused = None;
        let Some(mut state) = self.state() else { return Some(ExitStatus::Unknown) };
        loop {
            if let State::Ended(death) = &*state {
                return Some(death.status);
            }
            _paused = _paused.or_else(permits::pause);
            state = match deadline {
                None => self.ended.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
                    self.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Sends a signal, to this process and no other. A child that has ended is not signalled: `Ok`.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        self.check()?;
        let Some(state) = self.state() else { return Ok(()) };
        if signal == Signal::KILL {
            self.killed.store(true, Ordering::Relaxed);
        }
        match &*state {
            State::Running { pidfd, .. } => match pidfd::signal(pidfd.as_fd(), signal) {
                // It has ended, and the supervisor is about to say so.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
                result => result,
            },
            State::Ended(_) => Ok(()),
        }
    }

    /// Sends SIGKILL.
    pub(crate) fn kill(&self) -> io::Result<()> {
        self.signal(Signal::KILL)
    }

    /// Stops the process, and kills it if `still` says so then; else lets it go on. Waits until it has stopped. `true` if it was killed.
    pub(crate) fn kill_if(&self, still: impl FnOnce() -> bool) -> io::Result<bool> {
        self.signal_if(Signal::KILL, still)
    }

    /// Stops the process, sends it `signal` if `still` says so then, and lets it go on. Waits until it has stopped. `true` if it was sent.
    pub(crate) fn signal_if(&self, signal: Signal, still: impl FnOnce() -> bool) -> io::Result<bool> {
        self.check()?;
        let Some(state) = self.state() else { return Ok(false) };
        let State::Running { pidfd, .. } = &*state else { return Ok(false) };
        pidfd::signal(pidfd.as_fd(), Signal::STOP)?;
        pidfd::await_stop(pidfd.as_fd())?;
        let still = still();
        if still {
            self.killed.fetch_or(signal == Signal::KILL, Ordering::Relaxed);
            pidfd::signal(pidfd.as_fd(), signal)?;
        }
        if !still || signal != Signal::KILL {
            pidfd::signal(pidfd.as_fd(), Signal::CONT)?;
        }
        Ok(still)
    }

    /// Rings `bell` at its end, or now.
    pub(crate) fn ring_at_end(&self, bell: &Bell) {
        let Some(mut state) = self.state() else { return bell.ring() };
        match &mut *state {
            State::Running { ropes, .. } => {
                ropes.retain(Rope::is_waited_for);
                ropes.push(bell.rope());
            }
            State::Ended(_) => bell.ring(),
        }
    }

    /// Has it ended, without the supervisor having come to it?
    #[cfg(feature = "testing")]
    pub(crate) fn has_ended_unseen(&self) -> bool {
        self.with_pidfd(|pidfd| crate::sys::fd::is_readable(pidfd.as_fd()).unwrap_or(false)).unwrap_or(false)
    }

    /// Runs `f` with the descriptor, if it runs.
    pub(super) fn with_pidfd<R>(&self, f: impl FnOnce(&OwnedFd) -> R) -> Option<R> {
        match &*self.state()? {
            State::Running { pidfd, .. } => Some(f(pidfd)),
            State::Ended(_) => None,
        }
    }

    /// Tells everybody that it has ended.
    pub(super) fn end(&self, death: Death) {
        let Some(mut state) = self.state() else { return };
        let before = std::mem::replace(&mut *state, State::Ended(death));
        drop(state);
        self.ended.notify_all();
        if let State::Running { ropes, .. } = before {
            ropes.iter().for_each(Rope::pull);
        }
    }
}

impl fmt::Debug for ChildHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ChildHandle { owner, pid, name, daemon, .. } = self;
        f.debug_struct("ChildHandle")
            .field("owner", owner)
            .field("pid", pid)
            .field("name", name)
            .field("daemon", daemon)
            .field("status", &self.status())
            .finish()
    }
}
