//! Which process this is.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::boot::Boot;
use super::child_handle::ActiveChild;
use super::{entry, supervisor};

struct Identity {
    name: String,
    daemon: bool,
    parent_pid: u32,
    parent_name: String,
    parent_is_daemon: bool,
}

static IDENTITY: OnceLock<Identity> = OnceLock::new();

/// Called once in a child.
pub(crate) fn set(boot: &Boot) {
    ROOT_DECIDES.store(boot.root_decides, Ordering::SeqCst);
    _ = IDENTITY.set(Identity {
        name: boot.name.clone(),
        daemon: boot.daemon,
        parent_pid: boot.parent_pid,
        parent_name: boot.parent_name.clone(),
        parent_is_daemon: boot.parent_is_daemon,
    });
}

/// The name of this process.
pub(crate) fn name() -> &'static str {
    IDENTITY.get().map_or("main", |identity| &identity.name)
}

/// Is this process ended, instead of waited for, at the end of its parent?
pub(crate) fn is_daemon() -> bool {
    IDENTITY.get().is_some_and(|identity| identity.daemon)
}

/// Does the family's first process decide what Ctrl-C ends?
static ROOT_DECIDES: AtomicBool = AtomicBool::new(false);

/// Has children take SIGINT without dying of it, from now on.
pub(crate) fn leave_interrupts_to_root() {
    ROOT_DECIDES.store(true, Ordering::SeqCst);
}

/// Do children take SIGINT without dying of it?
pub(crate) fn root_decides() -> bool {
    ROOT_DECIDES.load(Ordering::SeqCst)
}

/// How many generations of children lie between this process and one that was started by hand.
pub(crate) fn depth() -> u32 {
    static DEPTH: OnceLock<u32> = OnceLock::new();
    *DEPTH.get_or_init(|| std::env::var(entry::DEPTH).ok().and_then(|depth| depth.parse().ok()).unwrap_or(0))
}

/// A process of the family, by what is known of it here.
///
/// ```
/// let me = offspring::process::current();
/// assert_eq!(me.pid(), std::process::id());
/// assert_eq!(me.name(), "main");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessInfo {
    pid: u32,
    name: String,
    daemon: bool,
}

impl ProcessInfo {
    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The process's name; `main` for a program that was not started by this crate.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Is it ended, instead of waited for, at the end of its parent?
    pub fn is_daemon(&self) -> bool {
        self.daemon
    }
}

/// This process.
///
/// # Examples
/// ```
/// assert_eq!(offspring::process::current().name(), "main");
/// ```
#[doc(alias = "current_process")]
pub fn current() -> ProcessInfo {
    ProcessInfo { pid: std::process::id(), name: name().to_owned(), daemon: is_daemon() }
}

/// The process that started this one; `None` in one that was not started by this crate.
///
/// # Examples
/// ```
/// assert_eq!(offspring::process::parent(), None);
/// ```
#[doc(alias = "parent_process")]
pub fn parent() -> Option<ProcessInfo> {
    IDENTITY.get().map(|identity| ProcessInfo {
        pid: identity.parent_pid,
        name: identity.parent_name.clone(),
        daemon: identity.parent_is_daemon,
    })
}

/// The children of this process that have not ended, workers of pools included, in the order of their slots.
///
/// Each can be signalled; a child that ends meanwhile just is no longer alive.
///
/// # Examples
/// ```
/// assert!(offspring::process::active_children().is_empty());
/// ```
pub fn active_children() -> Vec<ActiveChild> {
    supervisor::children().into_iter().map(ActiveChild::new).collect()
}

/// How many CPUs this process may use: by its affinity and its cgroup's quota, at least 1.
///
/// # Examples
/// ```
/// assert!(offspring::process::cpu_count() >= 1);
/// ```
#[doc(alias = "num_cpus")]
pub fn cpu_count() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
