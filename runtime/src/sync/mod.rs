//! Waiting and waking across processes, and what is built on it.
pub(crate) mod owner_lock;
pub(crate) mod prim;
pub(crate) mod raw;
pub(crate) mod wait;

pub(crate) use owner_lock::OwnerLock;
