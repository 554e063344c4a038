//! Counting words: in a worker, and of all workers together.

mod counter;
mod totals;

pub use counter::{Counter, Counts};
pub use totals::Totals;
