//! What a child should be like, as the library's own parts ask for it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use super::boot::Role;
use super::handle::Death;
use crate::arena::BlockId;

/// How a child process is made.
///
/// ```
/// use offspring::StartMethod;
///
/// assert_ne!(StartMethod::Spawn, StartMethod::ForkServer);
/// ```
#[doc(alias = "get_context")]
#[doc(alias = "set_start_method")]
#[doc(alias = "get_start_method")]
#[doc(alias = "get_all_start_methods")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StartMethod {
    /// The program is executed anew: slower (0.7 ms), and free of all state. The default of [`Process`](crate::Process).
    Spawn,
    /// A small helper process, itself executed anew, copies itself (0.2 ms). Its state is brought up to date for each child: working
    /// directory, environment, umask, limits, CPUs, streams. What constructors set up before `main` is shared by its children.
    /// The default of pools. Where it cannot be used (musl, threads started by constructors), children are made by `Spawn`.
    ForkServer,
}

/// Changes to the parent's environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct EnvChanges {
    pub(crate) clear: bool,
    /// `None`: removed.
    pub(crate) vars: BTreeMap<OsString, Option<OsString>>,
}

impl EnvChanges {
    /// Sets a variable. `Err`: it cannot be set, and why.
    pub(crate) fn set(&mut self, key: &OsStr, value: &OsStr) -> Result<(), String> {
        let bad = |text: &OsStr, byte| text.as_bytes().contains(&byte);
        if key.is_empty() || bad(key, b'=') || bad(key, 0) || bad(value, 0) {
            return Err(format!("{key:?} cannot be set to {value:?} in an environment"));
        }
        self.vars.insert(key.into(), Some(value.into()));
        Ok(())
    }
}

/// Limits on what the child may use.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    /// Bytes of private memory.
    pub(crate) memory: Option<u64>,
    /// CPU time of all its threads.
    pub(crate) cpu_time: Option<Duration>,
}

/// Called once, on the supervisor's thread, after the child has ended and what it held has been recovered.
pub(crate) type OnDeath = Box<dyn FnOnce(&Death) + Send>;

/// What a child should be like.
pub(crate) struct ChildSpec {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) boot: BlockId,
    pub(crate) method: StartMethod,
    pub(crate) daemon: bool,
    pub(crate) env: EnvChanges,
    pub(crate) cwd: Option<PathBuf>,
    /// Standard input, output and error. `None`: the parent's.
    pub(crate) streams: [Option<OwnedFd>; 3],
    /// `None`: the calling thread's.
    pub(crate) nice: Option<i32>,
    /// `None`: the calling thread's.
    pub(crate) cpus: Option<Vec<usize>>,
    pub(crate) limits: Limits,
    /// Is the end of what it writes to standard error kept?
    pub(crate) stderr_tail: bool,
    /// How numerical libraries are told how many threads to use. The fork server, which runs the libraries' constructors, gets this too.
    pub(crate) library_threads: Vec<(OsString, OsString)>,
    pub(crate) on_death: Option<OnDeath>,
}

impl ChildSpec {
    /// A non-daemon child with nothing special about it.
    pub(crate) fn new(role: Role, boot: BlockId, method: StartMethod) -> ChildSpec {
        ChildSpec {
            name: String::new(),
            role,
            boot,
            method,
            daemon: false,
            env: EnvChanges::default(),
            cwd: None,
            streams: [None, None, None],
            nice: None,
            cpus: None,
            limits: Limits::default(),
            stderr_tail: false,
            library_threads: Vec::new(),
            on_death: None,
        }
    }
}
