//! The fork server: a small process of the same program that copies itself on request.
//!
//! It is executed anew by the supervisor's thread, runs the program's constructors once, and is not a member of the family: it maps nothing
//! shared and holds no slot. Its copies are made with `CLONE_PARENT`, so they are the children of the process that asks, which
//! gets their process descriptors back over the socket. A request carries whatever of the asking process may have changed since.
#![allow(unsafe_code)]

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::boot::{Boot, MAX_IN_SOCKET};
use super::child::{self, Inherited};
use super::error::SpawnError;
use super::launch::{self, Environment, FamilyFds, Launch, Lifeline, ProcessState};
use super::note;
use super::spec::EnvChanges;
use crate::sys::clone::{Copied, sibling};
use crate::sys::proc::{Namespaces, Rights};
use crate::sys::spawn::Spawned;
use crate::sys::{self, proc};
use crate::{ExitStatus, Signal, task};

/// A running fork server, as its parent sees it.
#[derive(Debug)]
pub(crate) struct ForkServer {
    socket: OwnedFd,
    process: Spawned,
    _lifeline: OwnedFd,
    /// What it may do: what its parent's supervisor could when it was started.
    pub(crate) rights: Option<Rights>,
    pub(crate) namespaces: Namespaces,
    /// What its copies have without being told.
    pub(crate) state: ProcessState,
    env: Environment,
}

/// Why a request gave no child.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The server is gone: another may do better.
    Gone,
    /// It cannot make this child; a start by re-exec can.
    Unable,
    /// It may do what the caller may not, or the reverse.
    Rights,
    /// No child can be made now.
    Failed(SpawnError),
}

const CONTEXT: &str = "starting the fork server";
/// An answer's status, beside the numbers of errors: constructors have started threads.
const HAS_THREADS: i32 = -1;

impl ForkServer {
    /// Starts one. Only the supervisor's thread may: the server dies with the thread that made it.
    ///
    /// `library_threads` are variables that are read by constructors, and so have to be there when it is executed.
    pub(crate) fn start(family: FamilyFds, library_threads: &[(OsString, OsString)]) -> Result<ForkServer, SpawnError> {
        let (ours, theirs) = sys::fd::packet_pair().map_err(SpawnError::io(CONTEXT))?;
        let lifeline = Lifeline::new()?;
        let (rights, umask) = proc::rights().unzip();
        let namespaces = proc::namespaces(rights.as_ref());
        let state = ProcessState::of_this_process(umask);
        let env = Environment::new(&EnvChanges::default(), library_threads);
        let mut boot = launch::fork_server_boot();
        boot.fds.socket = theirs.as_raw_fd();
        boot.fds.lifeline = lifeline.reader.as_raw_fd();
        let process = launch::exec(&mut boot, family, &lifeline, &env)?;
        Ok(ForkServer { socket: ours, process, _lifeline: lifeline.writer, rights, namespaces, state, env })
    }

    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.process.pidfd.as_fd()
    }

    /// Has a child made.
    pub(crate) fn request(&self, launch: &mut Launch) -> Result<Spawned, Refused> {
        launch.fill_in_own_fds();
        launch.boot.env = (launch.env != self.env).then(|| launch.env.bytes());
        let bytes = launch.boot.encode();
        if bytes.len() > MAX_IN_SOCKET {
            return Err(Refused::Unable);
        }
        let numbers: Vec<RawFd> = launch.boot.fds.numbers().map(|fd| *fd).collect();
        // SAFETY: `launch` holds them open until this returns.
        let fds: Vec<BorrowedFd<'_>> = numbers.iter().map(|&fd| unsafe { BorrowedFd::borrow_raw(fd) }).collect();
        sys::fd::send(self.socket.as_fd(), &bytes, &fds).map_err(|_| Refused::Gone)?;
        let mut answer = [0; 8];
        let failed = SpawnError::io("receiving a child's descriptor from the fork server");
        match sys::fd::receive(self.socket.as_fd(), &mut answer) {
            Ok((8, fds)) => {
                let [status, pid] = [0, 4].map(|at| i32::from_le_bytes([0, 1, 2, 3].map(|i| answer[at + i])));
                match (status, fds.into_iter().next()) {
                    (0, Some(pidfd)) => Ok(Spawned { pid: pid as u32, pidfd }),
                    (HAS_THREADS, _) => Err(Refused::Unable),
                    (errno, _) => {
                        let error = std::io::Error::from_raw_os_error(errno);
                        Err(Refused::Failed(SpawnError::io("copying the fork server")(error)))
                    }
                }
            }
            Ok(_) => Err(Refused::Gone),
            Err(error) if error.raw_os_error() == Some(libc::ECONNRESET) => Err(Refused::Gone),
            Err(error) => Err(Refused::Failed(failed(error))),
        }
    }

    /// Ends it, leaving no zombie; how it ended.
    pub(crate) fn end(self) -> ExitStatus {
        _ = sys::pidfd::signal(self.pidfd(), Signal::KILL);
        _ = sys::fd::await_readable(self.pidfd());
        match sys::pidfd::reap(self.pidfd()) {
            Ok(sys::pidfd::Reaped::Ended(status, _)) => status,
            _ => ExitStatus::Unknown,
        }
    }
}

/// The server's own life; it ends with its parent's end of the socket.
pub(crate) fn serve(fds: Inherited) -> ! {
    let Inherited { memory, locks, lifeline, socket, .. } = fds;
    let Some(socket) = socket else { super::entry::exit_now(child::EXIT_WRONG_BUILD) };
    // Children get their own mask from their request; nothing but SIGKILL and SIGSTOP should reach the server.
    std::mem::forget(sys::signal::block_all());
    proc::set_thread_name("offspring-fork");
    proc::offer_to_oom_killer();
    release_what_it_was_started_with();
    _ = child::set_up_common_signals();
    prepare_for_copies();
    let mut bytes = vec![0; MAX_IN_SOCKET];
    loop {
        let (len, received) = match sys::fd::receive(socket.as_fd(), &mut bytes) {
            Ok((0, _)) => super::entry::exit_now(0),
            Ok(message) => message,
            Err(error) => {
                answer(&socket, error.raw_os_error().unwrap_or(libc::EIO), None);
                continue;
            }
        };
        let Some((boot, own)) = request(&bytes[..len], received) else {
            answer(&socket, libc::EPROTO, None);
            continue;
        };
        if !proc::is_single_threaded() {
            answer(&socket, HAS_THREADS, None);
            continue;
        }
        // SAFETY: one thread, as asked just now; it is this one, and it starts none.
        match unsafe { sibling() } {
            Err(error) => answer(&socket, error.raw_os_error().unwrap_or(libc::EIO), None),
            Ok(Copied::Original(spawned)) => answer(&socket, 0, Some(&spawned)),
            Ok(Copied::Copy) => {
                drop(socket);
                drop(lifeline);
                let Received { lifeline, directory, streams } = own;
                child::run_copy(&boot, Inherited { memory, locks, lifeline, socket: None, directory, streams })
            }
        }
    }
}

struct Received {
    lifeline: OwnedFd,
    directory: Option<OwnedFd>,
    streams: Vec<OwnedFd>,
}

/// Reads a request; the numbers in it become those that the descriptors have here.
fn request(bytes: &[u8], received: Vec<OwnedFd>) -> Option<(Boot, Received)> {
    let mut boot = Boot::decode(bytes)?;
    if boot.fds.numbers().count() != received.len() {
        return None;
    }
    let has_directory = boot.fds.directory >= 0;
    boot.fds.numbers().zip(&received).for_each(|(number, fd)| *number = fd.as_raw_fd());
    let mut received = received.into_iter();
    let lifeline = received.next()?;
    let directory = if has_directory { received.next() } else { None };
    Some((boot, Received { lifeline, directory, streams: received.collect() }))
}

fn answer(socket: &OwnedFd, status: i32, spawned: Option<&Spawned>) {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&status.to_le_bytes());
    bytes[4..].copy_from_slice(&spawned.map_or(0, |spawned| spawned.pid).to_le_bytes());
    let fds: Vec<BorrowedFd<'_>> = spawned.iter().map(|spawned| spawned.pidfd.as_fd()).collect();
    if sys::fd::send(socket.as_fd(), &bytes, &fds).is_err() {
        super::entry::exit_now(0);
    }
}

/// What every copy would have to do first is done once here. Memory that is written already is also memory that a copy need not have
/// faulted in, page by page, which costs more than the work itself.
fn prepare_for_copies() {
    // Two tasks of one key: each copy says so itself.
    _ = task::registry::check();
    task::install_panic_hook(note::write_panic);
    _ = std::io::stdout();
}

/// The server outlives what its parent does with its streams and directories: holding them would keep a reader waiting, or a
/// file system mounted. Each request brings the child's own.
fn release_what_it_was_started_with() {
    _ = std::env::set_current_dir("/");
    if let Ok(null) = std::fs::File::options().read(true).write(true).open("/dev/null") {
        (0..3).for_each(|number| _ = sys::fd::install(null.as_fd(), number));
    }
}
