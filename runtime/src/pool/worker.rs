//! What a worker process does.
use crate::arena::BlockId;

/// Runs in the child once it is a member of the family; the exit code.
pub(crate) fn main(boot: BlockId) -> i32 {
    _ = boot;
    0
}
