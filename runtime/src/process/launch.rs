//! Getting a child ready to start, and starting it by executing this program anew.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::OnceLock;

use super::boot::{Boot, BootFds, MAX_IN_PIPE, MAX_NAME, Role, StreamSource};
use super::error::SpawnError;
use super::spec::{ChildSpec, EnvChanges, StartMethod};
use super::{build, current, entry};
use crate::Signal;
use crate::arena::{self, Arena, Owner};
use crate::sys::{self, proc, spawn::Spawned};

/// A child that is ready to be started.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) boot: Boot,
    pub(crate) env: Environment,
    /// What the numbers in the message stand for, as far as it is this child's alone.
    pub(crate) lifeline: Lifeline,
    directory: Option<OwnedFd>,
    streams: [Option<OwnedFd>; 3],
}

/// A pipe whose writing end only the parent holds: the child dies with it.
#[derive(Debug)]
pub(crate) struct Lifeline {
    pub(crate) reader: OwnedFd,
    pub(crate) writer: OwnedFd,
}

impl Lifeline {
    pub(crate) fn new() -> Result<Lifeline, SpawnError> {
        let (reader, writer) = sys::fd::pipe().map_err(SpawnError::io("making a child's pipe"))?;
        Ok(Lifeline { reader, writer })
    }
}

/// Descriptors of the family, which every child gets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FamilyFds {
    pub(crate) memory: RawFd,
    pub(crate) locks: RawFd,
}

impl FamilyFds {
    pub(crate) fn new(arena: &'static Arena) -> FamilyFds {
        let (memory, locks) = arena.fds();
        FamilyFds { memory: memory.as_raw_fd(), locks: locks.as_raw_fd() }
    }
}

impl Launch {
    /// Collects what the calling thread would hand on to a child that it forks, and what `spec` asks for.
    pub(crate) fn new(spec: &mut ChildSpec, owner: Owner) -> Result<Launch, SpawnError> {
        if spec.name.len() > MAX_NAME {
            let reason = format!("the child's name is {} bytes long, {MAX_NAME} are allowed", spec.name.len());
            return Err(SpawnError::InvalidInput { reason });
        }
        let directory = match &spec.cwd {
            Some(path) => {
                let failed = |source| SpawnError::Directory { path: path.clone(), source };
                let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| failed(error.into()))?;
                Some(proc::open_path(&name, libc::O_DIRECTORY).map_err(failed)?)
            }
            None => None,
        };
        let mut scheduling = proc::scheduling();
        if let Some(nice) = spec.nice {
            if !(-20..=19).contains(&nice) {
                let reason = format!("a niceness of {nice}: it goes from -20 to 19");
                return Err(SpawnError::InvalidInput { reason });
            }
            scheduling.nice = nice;
        }
        let cpus = match &spec.cpus {
            Some(numbers) => Some(cpu_set(numbers)?),
            None => proc::cpus(),
        };
        let boot = Boot {
            role: spec.role,
            build: build::fingerprint(),
            parent_pid: std::process::id(),
            thread_is_permanent: true,
            owner: owner.raw(),
            parent_owner: arena::me().raw(),
            block: spec.boot.raw(),
            daemon: spec.daemon,
            root_decides: current::root_decides(),
            mask: sys::signal::mask().0,
            umask: None,
            scheduling: Some(scheduling),
            cpus,
            limits: limits(spec),
            name: spec.name.clone(),
            parent_name: current::name().to_owned(),
            parent_is_daemon: current::is_daemon(),
            env: None,
            fds: NO_FDS,
        };
        Ok(Launch {
            boot,
            env: Environment::new(&spec.env, &spec.library_threads),
            lifeline: Lifeline::new()?,
            directory,
            streams: std::mem::take(&mut spec.streams),
        })
    }

    /// For a fork server, which knows nothing of this process's present state: adds what differs from the server's.
    pub(crate) fn add_process_state(&mut self, umask: Option<u32>, server: &ProcessState) -> Result<(), SpawnError> {
        let now = ProcessState::of_this_process(umask);
        let Boot { umask, scheduling, cpus, limits, .. } = &mut self.boot;
        *umask = now.umask.filter(|_| now.umask != server.umask);
        *scheduling = scheduling.filter(|wanted| *wanted != server.scheduling);
        *cpus = cpus.filter(|_| *cpus != server.cpus);
        for (number, (now, servers)) in now.limits.into_iter().zip(server.limits).enumerate() {
            if let Some(now) = now
                && Some(now) != servers
                && limits.iter().all(|(other, _)| *other != number)
            {
                limits.push((number, now));
            }
        }
        if self.directory.is_none() {
            let failed = SpawnError::io("opening the working directory for a child");
            self.directory = Some(proc::open_path(c".", libc::O_DIRECTORY).map_err(failed)?);
        }
        for (number, stream) in (0..).zip(&self.streams) {
            if stream.is_none() {
                let open = sys::fd::is_open(number);
                self.boot.fds.streams[number as usize] =
                    if open { StreamSource::Fd(number) } else { StreamSource::Closed };
            }
        }
        Ok(())
    }

    /// Undoes what was added for a fork server: a child that is executed anew inherits it.
    pub(crate) fn drop_process_state(&mut self) {
        let Boot { umask, env, fds, .. } = &mut self.boot;
        (*umask, *env) = (None, None);
        fds.streams = NO_FDS.streams;
    }

    /// Writes the numbers of this child's own descriptors into the message.
    pub(crate) fn fill_in_own_fds(&mut self) {
        let fds = &mut self.boot.fds;
        fds.lifeline = self.lifeline.reader.as_raw_fd();
        fds.directory = self.directory.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        for (source, stream) in fds.streams.iter_mut().zip(&self.streams) {
            if let Some(stream) = stream {
                *source = StreamSource::Fd(stream.as_raw_fd());
            }
        }
    }

    /// Starts the child by re-exec, from the calling thread.
    pub(crate) fn exec(&mut self, family: FamilyFds) -> Result<Spawned, SpawnError> {
        self.fill_in_own_fds();
        exec(&mut self.boot, family, &self.lifeline, &self.env)
    }
}

/// What a process hands on to one that it forks, and a fork server to its copies: as it was when that server was started.
#[derive(Debug, Clone)]
pub(crate) struct ProcessState {
    umask: Option<u32>,
    scheduling: proc::Scheduling,
    cpus: Option<proc::Cpus>,
    limits: [Option<proc::Limit>; proc::LIMITS],
}

impl ProcessState {
    pub(crate) fn of_this_process(umask: Option<u32>) -> ProcessState {
        ProcessState {
            umask,
            scheduling: proc::scheduling(),
            cpus: proc::cpus(),
            limits: std::array::from_fn(|number| proc::limit(number).ok()),
        }
    }
}

/// No descriptors at all.
pub(crate) const NO_FDS: BootFds =
    BootFds { memory: -1, locks: -1, lifeline: -1, socket: -1, directory: -1, streams: [StreamSource::Keep; 3] };

/// Executes this program as the child that `boot` describes.
pub(crate) fn exec(
    boot: &mut Boot,
    family: FamilyFds,
    lifeline: &Lifeline,
    env: &Environment,
) -> Result<Spawned, SpawnError> {
    const CONTEXT: &str = "starting a child process";
    let FamilyFds { memory, locks } = family;
    boot.fds = BootFds { memory, locks, ..boot.fds };
    let message = boot.encode();
    if message.len() > MAX_IN_PIPE {
        // Cannot be: with the longest names it is shorter.
        return Err(SpawnError::InvalidInput { reason: "the child's boot message is too long".into() });
    }
    // One page fits into any pipe, so this cannot block.
    nix::unistd::write(&lifeline.writer, &message).map_err(|error| SpawnError::io(CONTEXT)(error.into()))?;
    let numbers: Vec<RawFd> = boot.fds.numbers().map(|fd| *fd).collect();
    // SAFETY: all are descriptors that the family, the supervisor or the caller's launch holds open until this returns.
    let keep: Vec<BorrowedFd<'_>> = numbers.iter().map(|&fd| unsafe { BorrowedFd::borrow_raw(fd) }).collect();
    let flag = format!("{}={}.{}", entry::FLAG, lifeline.reader.as_raw_fd(), std::process::id());
    let mut envp = env.strings();
    envp.push(CString::new(flag).map_err(|error| SpawnError::io(CONTEXT)(error.into()))?);
    let argv = [program_name()];
    let exec = |program| {
        sys::spawn::exec(&sys::spawn::Exec {
            program,
            argv: &argv,
            envp: &envp,
            keep: &keep,
            parent_death: boot.thread_is_permanent.then_some(Signal::KILL),
            setup: None,
        })
    };
    match exec(sys::spawn::Program::Path(proc::SELF_EXE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !proc::has_proc() => {
            exec(sys::spawn::Program::Fd(program_file()?.as_fd())).map_err(SpawnError::io(CONTEXT))
        }
        result => result.map_err(SpawnError::io(CONTEXT)),
    }
}

/// What `ps` shows.
fn program_name() -> CString {
    let name = std::env::args_os().next().unwrap_or_default();
    CString::new(name.into_vec()).unwrap_or_default()
}

/// This program's file, where /proc does not give it. Whether it still is the same file, the child finds out.
fn program_file() -> Result<&'static OwnedFd, SpawnError> {
    static FILE: OnceLock<OwnedFd> = OnceLock::new();
    if let Some(file) = FILE.get() {
        return Ok(file);
    }
    let path = proc::exec_path().ok_or_else(|| SpawnError::Unsupported {
        reason: "/proc is not mounted, and the kernel does not say where this program is: mount /proc".into(),
    })?;
    let file = proc::open_path(&path, 0).map_err(|error| SpawnError::Unsupported {
        reason: format!(
            "/proc is not mounted, and the program's file {path:?} cannot be opened ({error}): mount /proc"
        ),
    })?;
    Ok(FILE.get_or_init(|| file))
}

/// The environment of a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Environment(Vec<(OsString, OsString)>);

impl Environment {
    /// This process's, with changes, and with variables that neither has.
    pub(crate) fn new(changes: &EnvChanges, more: &[(OsString, OsString)]) -> Environment {
        let depth = (OsString::from(entry::DEPTH), OsString::from((current::depth() + 1).to_string()));
        let ours = |key: &OsString| key == entry::FLAG || key == entry::DEPTH;
        let inherited = std::env::vars_os().filter(|(key, _)| !changes.clear && !changes.vars.contains_key(key));
        let changed = changes.vars.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?)));
        let vars = inherited.chain(changed).filter(|(key, _)| !ours(key)).chain([depth]).chain(more.iter().cloned());
        Environment(vars.collect())
    }

    fn entry((key, value): &(OsString, OsString)) -> impl Iterator<Item = u8> {
        key.as_bytes().iter().chain(b"=").chain(value.as_bytes()).copied()
    }

    fn strings(&self) -> Vec<CString> {
        // Neither part holds a zero: they come from the environment, or were checked by `Process::env`.
        self.0.iter().filter_map(|var| CString::new(Self::entry(var).collect::<Vec<u8>>()).ok()).collect()
    }

    /// `KEY=value` strings, each ended by a zero.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|var| Self::entry(var).chain([0])).collect()
    }
}

fn cpu_set(numbers: &[usize]) -> Result<proc::Cpus, SpawnError> {
    let mut set = [0u64; 16];
    for &number in numbers {
        let Some(word) = set.get_mut(number / 64) else {
            let reason = format!("CPU {number}: at most 1,024 CPUs can be told apart");
            return Err(SpawnError::InvalidInput { reason });
        };
        *word |= 1 << (number % 64);
    }
    let available = proc::cpus().unwrap_or([u64::MAX; 16]);
    if set.iter().zip(available).all(|(wanted, available)| wanted & available == 0) {
        let reason = format!("none of the CPUs {numbers:?} may be used by this process");
        return Err(SpawnError::InvalidInput { reason });
    }
    Ok(set)
}

/// The limits that the caller asked for, as the system knows them.
fn limits(spec: &ChildSpec) -> Vec<(usize, proc::Limit)> {
    let mut limits = BTreeMap::new();
    let lower = |number: usize, soft: u64, hard: u64| {
        let most = proc::limit(number).map_or(u64::MAX, |(_, hard)| hard);
        (soft.min(most), hard.min(most))
    };
    if let Some(bytes) = spec.limits.memory {
        // Private memory; unlike RLIMIT_AS it leaves out the family's mapping, which is large and mostly empty.
        let number = libc::RLIMIT_DATA as usize;
        limits.insert(number, lower(number, bytes, bytes));
    }
    if let Some(time) = spec.limits.cpu_time {
        // SIGXCPU at the limit, SIGKILL a second later for those who catch it. Whole seconds, rounded up.
        let seconds = (time.as_secs() + u64::from(time.subsec_nanos() > 0)).max(1);
        let number = libc::RLIMIT_CPU as usize;
        limits.insert(number, lower(number, seconds, seconds.saturating_add(1)));
    }
    limits.into_iter().collect()
}

/// What the fork server itself is started with.
pub(crate) fn fork_server_boot() -> Boot {
    Boot {
        role: Role::ForkServer,
        build: build::fingerprint(),
        parent_pid: std::process::id(),
        thread_is_permanent: true,
        owner: 0,
        parent_owner: arena::me().raw(),
        block: 0,
        daemon: true,
        root_decides: false,
        mask: 0,
        umask: None,
        scheduling: None,
        cpus: None,
        limits: vec![],
        name: String::new(),
        parent_name: String::new(),
        parent_is_daemon: false,
        env: None,
        fds: NO_FDS,
    }
}

/// Can this start method work here at all?
pub(crate) fn effective_method(wanted: StartMethod) -> StartMethod {
    // musl's thread id cannot be repaired after a bare clone.
    if cfg!(target_env = "musl") { StartMethod::Spawn } else { wanted }
}
