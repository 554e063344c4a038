//! Thin wrappers of system calls; the only place that makes raw ones.
pub(crate) mod clock;
pub(crate) mod clone;
pub(crate) mod daemon;
pub(crate) mod fd;
pub(crate) mod futex;
pub(crate) mod image;
pub(crate) mod lock;
pub(crate) mod mem;
pub(crate) mod pidfd;
pub(crate) mod proc;
pub(crate) mod signal;
pub(crate) mod spawn;
pub(crate) mod thread_end;
pub(crate) mod timer;
pub(crate) mod trace;
pub(crate) mod usage;
