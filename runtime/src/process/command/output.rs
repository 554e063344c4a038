//! Running a command to its end: input is fed and output collected at the same time, so that neither side waits for the other for ever.

use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use offspring_macros::message;

use super::{Command, CommandError, Redirect, RunningCommand};
use crate::{ExitStatus, sys};

/// So much of its standard error is told when a command fails.
const TOLD: usize = 2048;
/// So much is read at once: what a pipe holds.
const READ: usize = 64 << 10;

/// What a command wrote, and how it ended. It is a message.
///
/// ```
/// use offspring::process::Command;
///
/// # fn main() -> offspring::Result<()> {
/// let output = Command::shell("echo to stdout; echo to stderr >&2; exit 4").output()?;
/// assert_eq!(output.status.code(), Some(4));
/// assert_eq!((output.text().as_ref(), output.stderr.as_slice()), ("to stdout\n", &b"to stderr\n"[..]));
/// # Ok(())
/// # }
/// ```
#[doc(alias = "check_returncode")]
#[doc(alias = "CompletedProcess")]
#[message(crate = crate)]
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to its standard output, where that was collected.
    pub stdout: Vec<u8>,
    /// What it wrote to its standard error, where that was collected.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Standard output as text; what is no UTF-8 is replaced.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stdout)
    }

    /// An error if it did not succeed.
    pub(super) fn check(&self, command: &Command) -> Result<(), CommandError> {
        if self.status.success() {
            return Ok(());
        }
        let last = &self.stderr[self.stderr.len().saturating_sub(TOLD)..];
        let stderr = String::from_utf8_lossy(last).trim_end().to_owned();
        Err(CommandError::Failed { command: command.to_string(), status: self.status, stderr })
    }
}

impl Command {
    /// Runs it to its end; `defaults` say where standard output and error go without a word.
    pub(super) fn run(&self, defaults: [Redirect; 2]) -> Result<Output, CommandError> {
        let deadline = self.deadline();
        let mut running = self.start(defaults)?;
        let mut talk = Talk { input: &self.input, stdout: vec![], stderr: vec![] };
        let failed = CommandError::while_running(running.command().to_owned(), "talking to it through pipes");
        let end = talk.until_end(&mut running, deadline).map_err(failed);
        if !matches!(end, Ok(true)) {
            // Nobody is left to read: it must not go on.
            running.kill()?;
        }
        let ended = if end? { running.wait_until(deadline)? } else { None };
        let Talk { stdout, stderr, .. } = talk;
        if let Some(status) = ended {
            return Ok(Output { status, stdout, stderr });
        }
        running.kill()?;
        running.wait()?;
        let after = self.timeout.unwrap_or_default();
        Err(CommandError::TimedOut { command: self.to_string(), after, stdout, stderr })
    }
}

/// What goes through the pipes.
struct Talk<'a> {
    input: &'a [u8],
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Talk<'_> {
    /// Until all pipes are closed: `true`. Until the deadline: `false`.
    fn until_end(&mut self, running: &mut RunningCommand, deadline: Option<Instant>) -> io::Result<bool> {
        let RunningCommand { stdin, stdout, stderr, .. } = running;
        let fds = [stdin.as_ref().map(AsFd::as_fd), stdout.as_ref().map(AsFd::as_fd), stderr.as_ref().map(AsFd::as_fd)];
        fds.into_iter().flatten().try_for_each(sys::fd::do_not_block)?;
        loop {
            if self.input.is_empty() {
                // The end of its input, which it may wait for.
                drop(stdin.take());
            }
            let mut polled = Vec::with_capacity(3);
            polled.extend(stdin.as_ref().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLOUT)));
            polled.extend(stdout.as_ref().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
            polled.extend(stderr.as_ref().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
            if polled.is_empty() {
                return Ok(true);
            }
            let timeout = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => PollTimeout::NONE,
                Some(left) if left.is_zero() => return Ok(false),
                // Rounded up, so that it does not turn in circles for the last millisecond.
                Some(left) => i32::try_from(left.as_millis() + 1)
                    .map_or(PollTimeout::MAX, |millis| PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)),
            };
            match poll(&mut polled, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            if let Some(writer) = stdin
                && !feed(writer, &mut self.input)?
            {
                // It reads no further, which is its own affair.
                drop(stdin.take());
            }
            drain(stdout, &mut self.stdout)?;
            drain(stderr, &mut self.stderr)?;
        }
    }
}

/// Writes what fits. `false`: nobody reads any more.
fn feed(writer: &mut impl Write, input: &mut &[u8]) -> io::Result<bool> {
    while !input.is_empty() {
        match writer.write(input) {
            Ok(len) => *input = &input[len..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Reads what is there, and closes the pipe at its end.
fn drain<R: Read>(pipe: &mut Option<R>, into: &mut Vec<u8>) -> io::Result<()> {
    let Some(reader) = pipe else { return Ok(()) };
    let mut buffer = [0; READ];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => into.extend_from_slice(&buffer[..len]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    drop(pipe.take());
    Ok(())
}
