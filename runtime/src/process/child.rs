//! What a child does between its start and its work.
//!
//! In this order, as each step protects the next: the two ends of its life that hang on the parent's (so that no child is left however
//! early the parent dies), the descriptors that came along, the arena, then everything that the parent's thread would have handed on to a
//! forked child.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::boot::{Boot, Role, StreamSource};
use super::{build, current, exit, fatal, fork_server, note, task_child};
use crate::arena::{self, Life, Slot};
use crate::{Signal, pool, sys, task};

/// A child that finds its parent gone. Nobody sees it.
pub(crate) const EXIT_ORPHANED: i32 = 120;
/// The child's program is not the parent's build.
pub(crate) const EXIT_WRONG_BUILD: i32 = 121;
pub(crate) const WRONG_BUILD: &str =
    "runs another build of this program: was its file replaced while it ran? Start the program anew";
/// The shared memory could not be mapped in the child.
pub(crate) const EXIT_NO_ARENA: i32 = 122;
/// The child could not be given what was asked for it: its note says what.
pub(crate) const EXIT_NO_SETUP: i32 = 123;

/// What a re-exec'd process does before its program's remaining constructors run; `lifeline` is the pipe that the message came through.
pub(crate) fn prepare(boot: &mut Boot, lifeline: OwnedFd) -> Inherited {
    if boot.build != build::fingerprint() {
        entry_exit(EXIT_WRONG_BUILD);
    }
    hang_on_parent(boot, &lifeline);
    // It is among those taken.
    std::mem::forget(lifeline);
    let fds = Inherited::take(boot);
    // They came through exec, so close-on-exec is off.
    fds.all().for_each(|fd| _ = sys::fd::close_on_exec(fd.as_fd()));
    fds
}

/// What a re-exec'd process does then.
pub(crate) fn run(boot: &Boot, fds: Inherited) -> ! {
    match boot.role {
        Role::ForkServer => fork_server::serve(fds),
        Role::Task | Role::Worker => {
            // Failures here cost a report of a crash, not more.
            _ = set_up_common_signals();
            work(boot, fds)
        }
    }
}

/// What the fork server's copies do.
pub(crate) fn run_copy(boot: &Boot, fds: Inherited) -> ! {
    hang_on_parent(boot, &fds.lifeline);
    work(boot, fds)
}

/// The descriptors that came along, owned.
#[derive(Debug)]
pub(crate) struct Inherited {
    pub(crate) memory: OwnedFd,
    pub(crate) locks: OwnedFd,
    pub(crate) lifeline: OwnedFd,
    pub(crate) socket: Option<OwnedFd>,
    pub(crate) directory: Option<OwnedFd>,
    pub(crate) streams: Vec<OwnedFd>,
}

impl Inherited {
    fn take(boot: &Boot) -> Inherited {
        // SAFETY: the numbers are of descriptors that the parent left open for this process, each for one purpose. Constructors that ran
        // before, if any, may own descriptors, but those they have opened themselves, and so under other numbers.
        let own = |fd: RawFd| unsafe { OwnedFd::from_raw_fd(fd) };
        let optional = |fd: RawFd| (fd >= 0).then(|| own(fd));
        let fds = boot.fds;
        Inherited {
            memory: own(fds.memory),
            locks: own(fds.locks),
            lifeline: own(fds.lifeline),
            socket: optional(fds.socket),
            directory: optional(fds.directory),
            streams: fds
                .streams
                .iter()
                .filter_map(|stream| match stream {
                    StreamSource::Fd(fd) => optional(*fd),
                    StreamSource::Keep | StreamSource::Closed => None,
                })
                .collect(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &OwnedFd> {
        [&self.memory, &self.locks, &self.lifeline]
            .into_iter()
            .chain(&self.socket)
            .chain(&self.directory)
            .chain(&self.streams)
    }
}

/// Ties this process's life to its parent's, by two means that fail for different reasons.
fn hang_on_parent(boot: &Boot, lifeline: &OwnedFd) {
    let tied = sys::fd::die_with(lifeline.as_fd());
    if boot.thread_is_permanent {
        _ = sys::proc::die_with_parent_thread();
    }
    // Both are armed now; if the parent died before, neither will fire.
    let parent = sys::proc::parent_pid();
    let closed = sys::fd::is_readable(lifeline.as_fd()).unwrap_or(true);
    if closed || tied.is_err() || (parent != boot.parent_pid && parent != 0) {
        entry_exit(EXIT_ORPHANED);
    }
}

fn work(boot: &Boot, fds: Inherited) -> ! {
    let Some(owner) = arena::Owner::from_raw(boot.owner) else { entry_exit(EXIT_WRONG_BUILD) };
    let Inherited { memory, locks, lifeline, socket: _, directory, streams } = fds;
    let Ok(arena) = arena::attach(arena::ArenaFds { memfd: memory, locks }, owner) else { entry_exit(EXIT_NO_ARENA) };
    exit::note_own_exit();
    // Held for the life of the process: it is closed by nothing but its end.
    std::mem::forget(lifeline);
    current::set(boot);
    if let Err((what, error)) = set_up(boot, directory, streams) {
        note::write_text(format!("{what}: {error}").as_bytes());
        entry_exit(EXIT_NO_SETUP);
    }
    if let Some(slot) = arena.slots().get(owner) {
        await_permission(slot);
    }
    // A panic that aborts the process is still told.
    task::install_panic_hook(note::write_panic);
    let code = match boot.role {
        Role::Worker => match arena::BlockId::from_raw(boot.block) {
            Some(block) => crate::pool::worker::main(block),
            None => EXIT_WRONG_BUILD,
        },
        Role::Task => task_child::main(boot),
        Role::ForkServer => unreachable!("a fork server makes no fork servers"),
    };
    std::process::exit(code)
}

/// Gives this process what the parent's thread has or the caller asked for.
fn set_up(boot: &Boot, directory: Option<OwnedFd>, streams: Vec<OwnedFd>) -> Result<(), (&'static str, io::Error)> {
    sys::proc::set_thread_name(&boot.name);
    set_up_streams(boot, &streams).map_err(|error| ("its standard streams could not be set", error))?;
    drop(streams);
    if let Some(directory) = directory {
        sys::proc::change_directory(directory.as_fd())
            .map_err(|error| ("it could not change to its working directory", error))?;
    }
    if let Some(env) = &boot.env {
        set_environment(env);
    }
    if let Some(umask) = boot.umask {
        sys::proc::set_umask(umask);
    }
    if let Some(scheduling) = boot.scheduling {
        sys::proc::set_scheduling(scheduling).map_err(|error| ("its niceness could not be set", error))?;
    }
    if let Some(cpus) = &boot.cpus
        && sys::proc::cpus().is_none_or(|now| now != *cpus)
    {
        sys::proc::set_cpus(cpus).map_err(|error| ("its set of CPUs could not be set", error))?;
    }
    for &(number, limit) in &boot.limits {
        if sys::proc::limit(number).is_ok_and(|now| now != limit) {
            sys::proc::set_limit(number, limit).map_err(|error| ("a resource limit could not be set", error))?;
        }
    }
    set_up_signals(boot).map_err(|error| ("its signal handlers could not be set", error))
}

fn set_up_streams(boot: &Boot, streams: &[OwnedFd]) -> io::Result<()> {
    for (target, source) in (0..).zip(boot.fds.streams) {
        match source {
            StreamSource::Keep => {}
            StreamSource::Fd(fd) => {
                if let Some(stream) = streams.iter().find(|stream| stream.as_raw_fd() == fd) {
                    sys::fd::install(stream.as_fd(), target)?;
                }
            }
            StreamSource::Closed => {
                let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
                sys::fd::install(null.as_fd(), target)?;
            }
        }
    }
    Ok(())
}

/// Replaces the environment by `KEY=value` strings, each ended by a zero.
fn set_environment(env: &[u8]) {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    // SAFETY: this process has one thread yet.
    unsafe {
        libc::clearenv();
        for entry in env.split(|&byte| byte == 0) {
            // What no `getenv` finds, an entry without a name, is left out.
            if let Some(at) = entry.iter().position(|&byte| byte == b'=').filter(|&at| at > 0) {
                std::env::set_var(OsStr::from_bytes(&entry[..at]), OsStr::from_bytes(&entry[at + 1..]));
            }
        }
    }
}

/// What all children have in common. The fork server does it once, and its copies inherit it.
pub(crate) fn set_up_common_signals() -> io::Result<()> {
    use sys::signal::{Action, set_action};
    // As std does before `main`: writing to a closed pipe is an error value.
    set_action(Signal::PIPE, Action::Ignore)?;
    // Growing a file past a limit is one too, also where the file is the shared memory.
    set_action(Signal::XFSZ, Action::Ignore)?;
    if sys::signal::is_ignored(Signal::CHLD) {
        // Inherited: then this process's own children would leave no status.
        set_action(Signal::CHLD, Action::Default)?;
    }
    fatal::install()
}

fn set_up_signals(boot: &Boot) -> io::Result<()> {
    if boot.role == Role::Worker || boot.root_decides {
        // Ctrl-C reaches the whole foreground group, and is the root's to handle. Not ignored: commands would inherit that.
        sys::signal::set_action(Signal::INT, sys::signal::Action::Nothing)?;
        // What a task is interrupted with that is to end; see `pool/ending/cancel.rs`.
        sys::signal::set_action(pool::INTERRUPT, sys::signal::Action::Interrupt)?;
    }
    let mut mask = sys::signal::Mask(boot.mask);
    if boot.role == Role::Worker {
        mask.remove(pool::INTERRUPT);
    }
    sys::signal::set_mask(mask);
    Ok(())
}

/// The parent lets a child go on when it has it in its books, and has made sure that it may be.
fn await_permission(slot: &Slot) {
    while slot.life() == Life::Reserved {
        // The parent's death ends the wait, and this process.
        sys::futex::wait(slot.life_word(), Life::Reserved as u32, None);
    }
    slot.set_life(Life::Live);
}

/// Ends a child that has not come as far as its work.
fn entry_exit(code: i32) -> ! {
    super::entry::exit_now(code)
}
