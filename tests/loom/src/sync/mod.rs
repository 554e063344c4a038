//! As in the runtime.
pub(crate) mod prim;

/// The mistakes that the kernels can make.
pub(crate) mod mutants {
    pub(crate) const SEMAPHORE_IN_TWO_STEPS: u32 = 2;
    pub(crate) const SEMAPHORE_PERMITS_KEPT: u32 = 3;
    pub(crate) const BARRIER_IN_TWO_STEPS: u32 = 4;
}

#[allow(dead_code, reason = "models do not use all of it")]
#[path = "../../../../runtime/src/sync/owner_lock.rs"]
pub(crate) mod owner_lock;

/// No spinning.
pub(crate) mod wait {
    use super::prim::{AtomicU32, Ordering};

    pub(crate) fn spin_while(word: &AtomicU32, value: u32) -> bool {
        word.load(Ordering::Acquire) != value
    }
}

#[allow(dead_code, unused_imports, reason = "models do not use all of it")]
#[path = "../../../../runtime/src/sync/raw/mod.rs"]
pub(crate) mod raw;
