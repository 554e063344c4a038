//! A pool in its own process, the one that made it.
//!
//! `core` holds it together. `books` are the jobs that are not finished, `waiting` those among them that found no lane, `estate` what outlives
//! the pool until its last worker is gone, `crew` the workers (and the audit of the dead), `resize` more or fewer of them, `stats` and
//! `hearing` what is known and heard of them.

pub(in crate::pool) mod books;
pub(in crate::pool) mod core;
pub(in crate::pool) mod crew;
pub(in crate::pool) mod estate;
pub(in crate::pool) mod hearing;
pub(in crate::pool) mod phase;
pub(in crate::pool) mod resize;
pub(in crate::pool) mod stats;
pub(in crate::pool) mod waiting;
