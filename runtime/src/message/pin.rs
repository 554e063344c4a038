//! What a message refers to besides its bytes.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// A reference to an object in shared memory, which has to live as long as the message that holds a handle to it.
#[derive(Clone)]
pub struct Pin {
    arena: u64,
    object: u64,
    role: u32,
    keep: Arc<dyn Any + Send + Sync>,
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pin").field("object", &self.object).field("role", &self.role).finish_non_exhaustive()
    }
}

impl Pin {
    /// The object with this number in this arena, referred to in this role; it lives as long as `keep` does.
    pub(crate) fn new(arena: u64, object: u64, role: u32, keep: Arc<dyn Any + Send + Sync>) -> Pin {
        Pin { arena, object, role, keep }
    }

    /// The family of the object.
    pub(crate) fn arena(&self) -> u64 {
        self.arena
    }

    /// Which object.
    pub(crate) fn object(&self) -> u64 {
        self.object
    }

    /// In which role.
    pub(crate) fn role(&self) -> u32 {
        self.role
    }

    /// What keeps the object alive in this process.
    pub(crate) fn keep(&self) -> Arc<dyn Any + Send + Sync> {
        Arc::clone(&self.keep)
    }
}
