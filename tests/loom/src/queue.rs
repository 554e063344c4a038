//! As in the runtime.
#[allow(dead_code, reason = "models do not use all of it")]
#[path = "../../../runtime/src/queue/bell.rs"]
pub(crate) mod bell;

/// The mistakes that `bell` can make.
pub(crate) mod mutants {
    pub(crate) const NO_RING: u32 = 1;
}
