//! The child's side of `Process`.
use super::boot::Boot;

pub(crate) fn main(_boot: &Boot) -> i32 {
    0
}
