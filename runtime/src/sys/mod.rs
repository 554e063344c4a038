//! Thin wrappers of system calls; the only place that makes raw ones.
pub(crate) mod clock;
pub(crate) mod futex;
pub(crate) mod lock;
pub(crate) mod mem;
