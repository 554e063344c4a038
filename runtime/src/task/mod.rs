//! Tasks: their registry, how they are called, and why one may have no value.
mod error;

pub use error::{TaskContext, TaskError};
