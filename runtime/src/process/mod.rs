//! Child processes: how they start, how they end, and who watches them.
mod boot;
mod build;
mod builder;
mod child;
mod child_handle;
mod command;
mod crash;
mod current;
mod daemon;
mod entry;
mod error;
mod exit;
mod fatal;
mod fork_server;
mod guard;
mod handle;
mod launch;
mod mourning;
mod note;
mod oom;
mod signals;
mod spec;
mod stderr_tail;
mod stream;
pub(crate) mod supervisor;
mod task_block;
mod task_child;

pub use crate::object::wait_any::{Waitable, wait_any};
pub use crate::status::{Disposition, ExitStatus, Signal, Usage};
pub use builder::{Process, spawn};
pub use child_handle::{ActiveChild, Child};
pub use command::{ArchivedCommandError, ArchivedOutput, Command, CommandError, Output, Redirect, RunningCommand};
pub use crash::{CrashFrame, CrashTrace};
pub use current::{ProcessInfo, active_children, cpu_count, current, parent};
pub use daemon::{Daemon, DaemonError, RunningDaemon};
pub use entry::init;
pub use error::SpawnError;
pub use signals::Signals;
pub use spec::StartMethod;
pub use stream::Stream;

pub use crate::pool::worker::worker_id;

pub(crate) use crate::object::wait_any::{Bell, sealed::Sealed};
pub(crate) use boot::Role;
#[cfg(feature = "engine")]
pub(crate) use build::fingerprint as build_fingerprint;
pub(crate) use current::leave_interrupts_to_root;
pub(crate) use exit::{end_now, end_with, wait_for_children_at_exit};
pub(crate) use handle::{ChildHandle, Death};
pub(crate) use note::{forget_panic, write_panic as note_panic};
pub(crate) use spec::{ChildSpec, EnvChanges};
