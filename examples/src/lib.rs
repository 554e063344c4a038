//! What the example programs share: walking trees, keeping order, counting words, and telling the user how it goes.
//!
//! The programs themselves, with their tasks, are in `src/bin`: one file each.

pub mod checksum_line;
pub mod cli;
pub mod fragile;
pub mod problems;
pub mod progress;
pub mod reorder;
pub mod text;
pub mod walk;
pub mod wordcount;
