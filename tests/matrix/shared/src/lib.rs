//! The runtime in a shared library.
pub use offspring;
