//! What the pool's process and its workers agree on, so that either may be killed at any instruction: who runs which chunk (`claim`), which
//! jobs there are (`ring`), how callers and sleepers are woken (`bell`), and tasks with needs or a priority (`admission`).

pub(in crate::pool) mod admission;
pub(in crate::pool) mod bell;
pub(in crate::pool) mod claim;
pub(in crate::pool) mod mutants;
pub(in crate::pool) mod ring;
