//! How work is to be run (`policy`), and how a pool and its workers are set up (`builder`, `worker`): their limits, the state that they lend
//! to tasks, and what they run first and last (`hook`).

pub(in crate::pool) mod builder;
pub(in crate::pool) mod hook;
pub(in crate::pool) mod limits;
pub(crate) mod policy;
pub(in crate::pool) mod state;
pub(in crate::pool) mod worker;
