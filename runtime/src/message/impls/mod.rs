//! Which types of std are messages.
mod leaves;
mod maps;
mod pointers;
mod sequences;
pub(super) mod system;
mod variants;
