//! Pools of worker processes.
pub(crate) mod worker;
