//! Messages that are read where they lie in shared memory.
#![allow(unsafe_code)]

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use crate::arena::{Arena, Block};
use crate::message::{Archived, Message};

/// A message in shared memory, read in place: a result of a pool, or an item of a queue.
///
/// Derefs to the archived form. The memory is given back when the view is dropped; of results, when the last view of its
/// window is. A view may outlive the pool or the queue that it came from. (A short item of a queue is copied out of it
/// instead, which costs less than keeping it there would.)
///
/// ```
/// use offspring::{Queue, View};
///
/// let queue: Queue<Vec<String>> = Queue::unbounded()?;
/// queue.put(&vec!["a".to_string(), "b".to_string()])?;
/// let view: View<Vec<String>> = queue.take()?;
/// drop(queue);
/// assert_eq!(view.len(), 2);
/// assert_eq!(view[1], *"b");
/// # Ok::<(), offspring::Error>(())
/// ```
///
/// # Panics
/// Reading it panics in a `fork()` of the process that has it, where shared memory is absent.
pub struct View<R: Message> {
    root: *const Archived<R>,
    keep: Keep,
    types: PhantomData<Archived<R>>,
}

/// What keeps the memory, which is dropped with it.
enum Keep {
    Shared { arena: &'static Arena, _memory: Arc<dyn Any + Send + Sync> },
    Block { arena: &'static Arena, _memory: Block },
    Copy { _memory: Box<dyn Any + Send + Sync> },
}

// SAFETY: a view lends `&Archived<R>` only, and what it keeps may be dropped by any thread.
unsafe impl<R: Message> Send for View<R> where Archived<R>: Send + Sync {}
// SAFETY: as above.
unsafe impl<R: Message> Sync for View<R> where Archived<R>: Send + Sync {}

impl<R: Message> View<R> {
    /// # Safety
    /// `root` is a valid `Archived<R>` in the arena, which nobody changes as long as `memory` is not dropped.
    pub(crate) unsafe fn shared(arena: &'static Arena, root: *const u8, memory: Arc<dyn Any + Send + Sync>) -> View<R> {
        View { root: root.cast(), keep: Keep::Shared { arena, _memory: memory }, types: PhantomData }
    }

    /// # Safety
    /// `root` is a valid `Archived<R>` in this block, or below it.
    pub(crate) unsafe fn block(arena: &'static Arena, root: *const u8, block: Block) -> View<R> {
        View { root: root.cast(), keep: Keep::Block { arena, _memory: block }, types: PhantomData }
    }

    /// # Safety
    /// `root` is a valid `Archived<R>` within what `memory` points to, which nobody changes.
    pub(crate) unsafe fn copy(root: *const u8, memory: Box<dyn Any + Send + Sync>) -> View<R> {
        View { root: root.cast(), keep: Keep::Copy { _memory: memory }, types: PhantomData }
    }
}

impl<R: Message> Deref for View<R> {
    type Target = Archived<R>;

    fn deref(&self) -> &Archived<R> {
        if let Keep::Shared { arena, .. } | Keep::Block { arena, .. } = &self.keep {
            assert!(arena.is_here(), "shared memory cannot be read in a fork() of the process that has the view");
        }
        // SAFETY: whoever made this vouched for `root` for as long as `keep` lives.
        unsafe { &*self.root }
    }
}

/// Of any message: it shows where the view is, `*view` what it views.
impl<R: Message> fmt::Debug for View<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("at", &self.root).finish_non_exhaustive()
    }
}
