//! Refusing to start children where they would not know that they are children, and run `main` again: a fork bomb.

use super::error::SpawnError;
use super::{build, current, entry};

/// How many generations deep children may be. A real tree is some five deep; a bomb has no bottom.
const MAX_DEPTH: u32 = 64;

/// May this process start children?
pub(crate) fn check() -> Result<(), SpawnError> {
    let refuse = |reason: String| Err(SpawnError::Recursion { reason });
    if entry::flag().is_some() {
        let flag = entry::FLAG;
        return refuse(format!(
            "this process was started as a child and did not notice ({flag} is still set): {}",
            if build::in_main_program() {
                "its program lacks the entry of `offspring`, or the variable was set by hand"
            } else {
                "call `offspring::init()` first in `main`, before any thread is started"
            }
        ));
    }
    if current::depth() >= MAX_DEPTH {
        return refuse(format!(
            "this process is {} generations deep, {MAX_DEPTH} are allowed ({})",
            current::depth(),
            entry::DEPTH
        ));
    }
    if entry::is_armed() {
        Ok(())
    } else if build::in_main_program() {
        refuse(
            "the linker left the entry of `offspring` out of this program (its `.init_array` hook did not run)".into(),
        )
    } else {
        Err(SpawnError::NotInitialized)
    }
}
