//! A command that was started.

use std::fmt;
use std::io::{PipeReader, PipeWriter};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::start::Pipes;
use super::{Command, CommandError};
use crate::object::wait_any::{Bell, Rope, Waitable, sealed};
use crate::process::supervisor::{self, Watched};
use crate::sys::pidfd::{self, Reaped};
use crate::sys::spawn::Spawned;
use crate::{ExitStatus, Signal};

/// A command that was started by [`Command::spawn`].
///
/// Dropping it does not end the command, nor leaves it a zombie when it ends. Once it has ended and this is dropped, what is left of its
/// process group is killed; as is all of the group when this process ends.
///
/// # Examples
/// ```
/// use offspring::{Signal, process::Command};
///
/// # fn main() -> offspring::Result<()> {
/// let mut command = Command::new("sleep").arg("600").spawn()?;
/// assert!(command.pid() > 0);
/// assert_eq!(command.exit_status(), None);
/// command.signal(Signal::TERM)?;
/// assert_eq!(command.wait()?.exitcode(), Some(-15));
/// # Ok(())
/// # }
/// ```
pub struct RunningCommand {
    state: Arc<State>,
    command: String,
    pid: u32,
    /// Whose child it is. A fork of that process does not see it end.
    parent: u32,
    /// The writing end of its standard input, if that is [`Redirect::Piped`](super::Redirect::Piped).
    pub stdin: Option<PipeWriter>,
    /// The reading end of its standard output, if that is piped.
    pub stdout: Option<PipeReader>,
    /// The reading end of its standard error, if that is piped.
    pub stderr: Option<PipeReader>,
}

struct State {
    life: Mutex<Life>,
    ended: Condvar,
    /// The group is killed when this is closed.
    lifeline: Mutex<Option<OwnedFd>>,
}

enum Life {
    Running { pidfd: OwnedFd, ropes: Vec<Rope> },
    Ended(ExitStatus),
}

/// Nothing that is done under one of these locks leaves the value half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RunningCommand {
    pub(super) fn new(
        command: &Command,
        Spawned { pid, pidfd }: Spawned,
        lifeline: OwnedFd,
        pipes: Pipes,
    ) -> Result<RunningCommand, CommandError> {
        let state = Arc::new(State {
            life: Mutex::new(Life::Running { pidfd, ropes: vec![] }),
            ended: Condvar::new(),
            lifeline: Mutex::new(Some(lifeline)),
        });
        let Pipes { stdin, stdout, stderr } = pipes;
        let running = RunningCommand {
            state: state.clone(),
            command: command.to_string(),
            pid,
            parent: std::process::id(),
            stdin,
            stdout,
            stderr,
        };
        let watching = match &*lock(&state.life) {
            // The watch ends when the descriptor is closed, at the command's end.
            Life::Running { pidfd, .. } => supervisor::watch(pidfd.as_fd(), state.clone()).map(|_| ()),
            Life::Ended(_) => Ok(()),
        };
        if let Err(error) = watching {
            state.discard();
            return Err(CommandError::spawn(command)(error));
        }
        Ok(running)
    }

    /// Its process id, which is also that of its process group. While it has not ended, no other process has it.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Has it not ended? Does not block.
    pub fn is_alive(&self) -> bool {
        self.exit_status().is_none()
    }

    /// How it ended; `None` while it runs. Does not block.
    #[doc(alias = "poll")]
    #[doc(alias = "returncode")]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        match &*lock(&self.state.life) {
            Life::Running { .. } => None,
            Life::Ended(status) => Some(*status),
        }
    }

    /// Waits for its end. Closes [`stdin`](RunningCommand::stdin) first, so that a command which reads to the end does end.
    ///
    /// A command that fills a pipe which nobody reads does not end: read [`stdout`](RunningCommand::stdout) first, or use
    /// [`Command::output`].
    ///
    /// ```
    /// use offspring::process::Command;
    ///
    /// let mut command = Command::shell("exit 3").spawn()?;
    /// assert_eq!(command.wait()?.code(), Some(3));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// This process is a fork of the one whose command it is.
    pub fn wait(&mut self) -> Result<ExitStatus, CommandError> {
        drop(self.stdin.take());
        self.wait_until(None).map(|status| status.unwrap_or(ExitStatus::Unknown))
    }

    /// Waits for its end, for this long at most. `false`: it still runs. Leaves [`stdin`](RunningCommand::stdin) open.
    ///
    /// ```
    /// use offspring::process::Command;
    /// use std::time::Duration;
    ///
    /// let mut command = Command::new("sleep").arg("600").spawn()?;
    /// assert!(!command.wait_timeout(Duration::from_millis(5))?);
    /// command.kill()?;
    /// assert!(command.wait_timeout(Duration::from_secs(60))?);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`wait`](RunningCommand::wait).
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<bool, CommandError> {
        self.wait_until(Instant::now().checked_add(timeout)).map(|status| status.is_some())
    }

    pub(super) fn wait_until(&self, deadline: Option<Instant>) -> Result<Option<ExitStatus>, CommandError> {
        if self.parent != std::process::id() {
            let reason = "this process is a fork of the one that started it, and does not see it end".into();
            return Err(CommandError::Io { command: self.command.clone(), reason });
        }
        let mut life = lock(&self.state.life);
        loop {
            if let Life::Ended(status) = *life {
                return Ok(Some(status));
            }
            life = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => self.state.ended.wait(life).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return Ok(None),
                Some(left) => self.state.ended.wait_timeout(life, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    /// Sends a signal to the command, to it and no other. After its end this does nothing.
    ///
    /// ```
    /// use offspring::{Signal, process::Command};
    ///
    /// let mut command = Command::new("sleep").arg("600").spawn()?;
    /// command.signal(Signal::USR1)?;
    /// assert_eq!(command.wait()?.signal(), Some(Signal::USR1));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// This process may not signal it (a command that runs as another user).
    #[doc(alias = "send_signal")]
    pub fn signal(&self, signal: Signal) -> Result<(), CommandError> {
        match &*lock(&self.state.life) {
            Life::Running { pidfd, .. } => pidfd::signal(pidfd.as_fd(), signal)
                .map_err(CommandError::while_running(self.command.clone(), "sending it a signal")),
            Life::Ended(_) => Ok(()),
        }
    }

    /// Sends `SIGTERM` to the command.
    ///
    /// ```
    /// use offspring::{Signal, process::Command};
    ///
    /// let mut command = Command::new("sleep").arg("600").spawn()?;
    /// command.terminate()?;
    /// assert_eq!(command.wait()?.signal(), Some(Signal::TERM));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`signal`](RunningCommand::signal).
    pub fn terminate(&self) -> Result<(), CommandError> {
        self.signal(Signal::TERM)
    }

    /// Kills the command and all of its process group, what it left running after its end included.
    ///
    /// ```
    /// use offspring::{Signal, process::Command};
    ///
    /// let mut command = Command::new("sleep").arg("600").spawn()?;
    /// command.kill()?;
    /// assert_eq!(command.wait()?.signal(), Some(Signal::KILL));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`signal`](RunningCommand::signal).
    pub fn kill(&self) -> Result<(), CommandError> {
        drop(lock(&self.state.lifeline).take());
        self.signal(Signal::KILL)
    }

    pub(super) fn command(&self) -> &str {
        &self.command
    }
}

impl State {
    fn end(&self, status: ExitStatus) {
        let before = std::mem::replace(&mut *lock(&self.life), Life::Ended(status));
        self.ended.notify_all();
        if let Life::Running { ropes, .. } = before {
            ropes.iter().for_each(Rope::pull);
        }
    }

    /// Ends a command that nobody can watch.
    fn discard(&self) {
        drop(lock(&self.lifeline).take());
        let mut status = ExitStatus::Unknown;
        if let Life::Running { pidfd, .. } = &*lock(&self.life) {
            _ = pidfd::signal(pidfd.as_fd(), Signal::KILL);
            _ = crate::sys::fd::await_readable(pidfd.as_fd());
            if let Ok(Reaped::Ended(ended, _)) = pidfd::reap(pidfd.as_fd()) {
                status = ended;
            }
        }
        self.end(status);
    }
}

impl Watched for State {
    fn ready(&self) -> bool {
        let status = match &*lock(&self.life) {
            Life::Ended(_) => return false,
            Life::Running { pidfd, .. } => match pidfd::reap(pidfd.as_fd()) {
                Ok(Reaped::Running) => None,
                Ok(Reaped::Ended(status, _)) => Some(status),
                Ok(Reaped::Stolen) | Err(_) => Some(pidfd::exit_info(pidfd.as_fd()).unwrap_or(ExitStatus::Unknown)),
            },
        };
        match status {
            // A debugger sees it first. Looked at again, not too often.
            None => std::thread::sleep(Duration::from_millis(5)),
            Some(status) => self.end(status),
        }
        status.is_none()
    }

    fn lost(&self) {
        self.discard();
    }
}

impl sealed::Sealed for RunningCommand {
    fn is_ready(&self) -> bool {
        !self.is_alive()
    }

    fn ring_when_ready(&self, bell: &Bell) {
        match &mut *lock(&self.state.life) {
            Life::Running { ropes, .. } => {
                ropes.retain(Rope::is_waited_for);
                ropes.push(bell.rope());
            }
            Life::Ended(_) => bell.ring(),
        }
    }
}

impl Waitable for RunningCommand {}

impl fmt::Debug for RunningCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningCommand")
            .field("command", &self.command)
            .field("pid", &self.pid)
            .field("exit_status", &self.exit_status())
            .finish_non_exhaustive()
    }
}
