//! As in the runtime.
pub(crate) mod prim;
#[allow(dead_code, reason = "models do not use all of it")]
#[path = "../../../../runtime/src/sync/raw/mod.rs"]
pub(crate) mod raw;
