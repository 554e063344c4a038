//! As in the runtime.
#[path = "../../../runtime/src/shared/copying.rs"]
pub(crate) mod copying;

/// The mistakes that `copying` can make.
pub(crate) mod mutants {
    pub(crate) const TORN_READ: u32 = 501;
    pub(crate) const READ_UNFENCED: u32 = 507;
}
