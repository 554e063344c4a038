//! Child processes: how they start, how they end, and who watches them.
mod boot;
mod build;
mod child;
mod current;
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
mod spec;
mod status;
pub(crate) mod supervisor;
mod task_child;
mod wait_any;

pub use self::current::{ProcessInfo, active_children, cpu_count, current, parent};
pub use entry::init;
pub use error::SpawnError;
pub use spec::StartMethod;
pub use status::{ExitStatus, Signal};
pub use wait_any::{Waitable, wait_any};

pub(crate) use boot::Role;
pub(crate) use handle::{ChildHandle, Death, Note, PanicNote};
pub(crate) use spec::ChildSpec;
