//! Becoming a daemon, before anything of this library runs.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::Stream;
use crate::sys::daemon::Forked;
use crate::{ErrorKind, arena, sys};

/// Makes this program a daemon: its options, until [`start`](Daemon::start).
///
/// A daemon has a session of its own and no terminal, works in the root directory with umask 0, and has its standard streams in files or
/// nowhere: all as long as nothing else is said here.
///
/// It is to be done before the first child, pool or shared object is made: those belong to the process that made them, which becoming a
/// daemon leaves behind. Afterwards it is refused.
///
/// # Examples
/// ```no_run
/// use offspring::{Pool, Signal, Signals, process::Daemon};
/// use std::fs::File;
///
/// fn main() -> offspring::Result<()> {
///     let log = File::options().create(true).append(true).open("/var/log/thumbnails.log")?;
///     let daemon = Daemon::new().pid_file("/run/thumbnails.pid").stdout(log.try_clone()?).stderr(log).start()?;
///     let pool = Pool::new()?; // from here on it is the daemon that runs
///     println!("{} serves", daemon.pid());
///     let signal = Signals::new([Signal::TERM])?.wait()?;
///     println!("ended by {signal}");
///     pool.terminate();
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Daemon {
    directory: PathBuf,
    umask: u32,
    pid_file: Option<PathBuf>,
    streams: [Stream; 3],
}

/// This process as a daemon. When it is dropped, its pid file is removed.
#[derive(Debug)]
pub struct RunningDaemon {
    pid_file: Option<(PathBuf, Flock<File>)>,
}

/// Why a program could not become a daemon.
///
/// ```
/// use offspring::{ErrorKind, process::Daemon};
///
/// // A test has several threads, and forking would leave all but one behind.
/// std::thread::scope(|scope| {
///     let (done, wait) = std::sync::mpsc::channel::<()>();
///     scope.spawn(move || wait.recv());
///     assert_eq!(Daemon::new().start().unwrap_err().kind(), ErrorKind::Unsupported);
///     drop(done);
/// });
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// Another process holds the pid file.
    #[error("{} says that process {pid} is running already", path.display())]
    AlreadyRunning {
        /// The pid file.
        path: PathBuf,
        /// Who holds it, as it says.
        pid: String,
    },
    /// Something was started before that would be left behind.
    #[error("{reason}")]
    TooLate {
        /// What, and what to do.
        reason: &'static str,
    },
    /// A system call failed.
    #[error("becoming a daemon: {context}: {source}")]
    Io {
        /// What was attempted.
        context: String,
        /// The system's answer.
        source: io::Error,
    },
}

impl DaemonError {
    /// The kind of this failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            DaemonError::AlreadyRunning { .. } => ErrorKind::InUse,
            DaemonError::TooLate { .. } => ErrorKind::Unsupported,
            DaemonError::Io { .. } => ErrorKind::Io,
        }
    }

    fn io(context: impl Into<String>) -> impl FnOnce(io::Error) -> DaemonError {
        let context = context.into();
        move |source| DaemonError::Io { context, source }
    }
}

impl Default for Daemon {
    fn default() -> Daemon {
        Daemon::new()
    }
}

impl Daemon {
    /// A daemon in the root directory, with umask 0, no standard streams and no pid file.
    pub fn new() -> Daemon {
        let streams = [Stream::null(), Stream::null(), Stream::null()];
        Daemon { directory: "/".into(), umask: 0, pid_file: None, streams }
    }

    /// Sets the working directory.
    #[must_use]
    pub fn current_dir(mut self, path: impl AsRef<Path>) -> Self {
        self.directory = path.as_ref().into();
        self
    }

    /// Sets the mask of permissions that new files do not get.
    #[must_use]
    pub fn umask(mut self, mask: u32) -> Self {
        self.umask = mask;
        self
    }

    /// Writes the daemon's pid into this file, and holds a lock on it (`flock`) as long as the daemon runs: a second start with the same file is
    /// refused. A file that a killed daemon left behind is in nobody's way.
    #[must_use]
    pub fn pid_file(mut self, path: impl AsRef<Path>) -> Self {
        self.pid_file = Some(path.as_ref().into());
        self
    }

    /// Sets the standard input.
    #[must_use]
    pub fn stdin(mut self, stream: impl Into<Stream>) -> Self {
        self.streams[0] = stream.into();
        self
    }

    /// Sets the standard output: a file as a rule.
    #[must_use]
    pub fn stdout(mut self, stream: impl Into<Stream>) -> Self {
        self.streams[1] = stream.into();
        self
    }

    /// Sets the standard error: a file as a rule.
    #[must_use]
    pub fn stderr(mut self, stream: impl Into<Stream>) -> Self {
        self.streams[2] = stream.into();
        self
    }

    /// Makes this program a daemon. Returns in the daemon; the process that called it ends with code 0 when the daemon is ready.
    ///
    /// The daemon is another process, with another pid, that goes on here. It keeps this process's memory and open files, and no lock of `fcntl`.
    /// What was written to standard output before is written out first. Handlers of this process's exit do not run in the process that ends.
    ///
    /// # Errors
    /// In the process that called it, which goes on: another daemon holds the pid file; there are children, shared objects or other threads
    /// already; a system call failed.
    pub fn start(self) -> Result<RunningDaemon, DaemonError> {
        if arena::has_family() {
            let reason = "this process already has children or shared objects, which would be left behind: become a daemon first";
            return Err(DaemonError::TooLate { reason });
        }
        if !sys::proc::is_single_threaded() {
            let reason =
                "this process has other threads, which would be left behind: become a daemon before starting any";
            return Err(DaemonError::TooLate { reason });
        }
        let pid_file = self.pid_file.map(lock_pid_file).transpose()?;
        let [input, output, errors] = self.streams;
        let failed = || DaemonError::io("a standard stream");
        let streams = [
            input.open_for_reading().map_err(failed())?.0,
            output.open_for_writing().map_err(failed())?.0,
            errors.open_for_writing().map_err(failed())?.0,
        ];
        let directory = CString::new(self.directory.as_os_str().as_bytes())
            .map_err(io::Error::from)
            .and_then(|path| sys::proc::open_path(&path, libc::O_DIRECTORY))
            .map_err(DaemonError::io(format!("its directory {}", self.directory.display())))?;
        // Copied memory would be written out twice. Whether somebody reads it is not this call's concern.
        _ = io::stdout().flush();
        let (mut from_daemon, to_caller) = io::pipe().map_err(DaemonError::io("a pipe"))?;
        match sys::daemon::fork_into_session().map_err(DaemonError::io("fork"))? {
            Forked::Caller => {
                drop(to_caller);
                let mut said = String::new();
                from_daemon.read_to_string(&mut said).map_err(DaemonError::io("waiting for the daemon"))?;
                match said.as_str() {
                    READY => sys::daemon::leave(0),
                    "" => Err(DaemonError::io("the daemon")(io::Error::other("it ended before it was ready"))),
                    other => Err(DaemonError::io("the daemon")(io::Error::other(other.to_owned()))),
                }
            }
            Forked::Daemon => {
                let mut daemon = RunningDaemon { pid_file };
                let done = daemon.set_up(streams, directory, self.umask);
                let said = done.as_ref().map_or_else(ToString::to_string, |()| READY.to_owned());
                // Nobody to tell it to is no reason not to serve.
                _ = (&to_caller).write_all(said.as_bytes());
                if done.is_err() {
                    sys::daemon::leave(1);
                }
                Ok(daemon)
            }
        }
    }
}

/// What the daemon says when it is.
const READY: &str = "ready\n";

impl RunningDaemon {
    /// The daemon's pid: this process's.
    pub fn pid(&self) -> u32 {
        std::process::id()
    }

    fn set_up(&mut self, streams: [Option<OwnedFd>; 3], directory: OwnedFd, umask: u32) -> io::Result<()> {
        sys::proc::change_directory(directory.as_fd())?;
        sys::proc::set_umask(umask);
        for (target, stream) in (0..).zip(&streams) {
            if let Some(stream) = stream {
                sys::fd::install(stream.as_fd(), target)?;
            }
        }
        if let Some((_, file)) = &mut self.pid_file {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())?;
        }
        Ok(())
    }
}

impl Drop for RunningDaemon {
    fn drop(&mut self) {
        if let Some((path, _)) = &self.pid_file {
            // Before the lock is released: a second start makes a new one.
            _ = std::fs::remove_file(path);
        }
    }
}

/// Opens and locks the file. The lock is the open file's: the daemon inherits it.
fn lock_pid_file(path: PathBuf) -> Result<(PathBuf, Flock<File>), DaemonError> {
    let failed = |path: &Path| DaemonError::io(format!("its pid file {}", path.display()));
    // The daemon changes its directory, and removes the file in the end.
    let path = std::path::absolute(&path).map_err(failed(&path))?;
    let open = || File::options().read(true).write(true).create(true).truncate(false).open(&path);
    loop {
        match Flock::lock(open().map_err(failed(&path))?, FlockArg::LockExclusiveNonblock) {
            Ok(file) => {
                // Its holder may have removed it between our opening and its end.
                if is_at(&file, &path) {
                    return Ok((path, file));
                }
            }
            Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
                let mut pid = String::new();
                file.read_to_string(&mut pid).map_err(failed(&path))?;
                return Err(DaemonError::AlreadyRunning { path, pid: pid.trim().to_owned() });
            }
            Err((_, error)) => return Err(failed(&path)(error.into())),
        }
    }
}

/// Is the open file the one that the path leads to?
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), path.metadata()) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}
