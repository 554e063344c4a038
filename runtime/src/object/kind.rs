//! What kinds of objects there are, and what each must be able to do for the others' sake: for audits, and for whoever takes
//! an object's lock over from the dead.
#![allow(unsafe_code)]

use super::lock::{Doomed, Locked, Object};
use crate::arena::{ArenaError, Owner};

/// A kind of object.
///
/// # Safety
/// `Shared` is `repr(C)`, at most 64-byte aligned, and consists of atomics for which every bit pattern is valid, all zero
/// included. `CODE` is unique.
pub(crate) unsafe trait Kind: Send + Sync + Sized + 'static {
    /// The number of this kind in shared memory. Not 0.
    const CODE: u32;
    /// For errors: "a queue".
    const NAME: &'static str;

    /// The fixed part of the object's memory.
    type Shared: Sync;

    /// The process `dead` is gone, and had a reference to the object: takes back, hands on or marks as broken what that
    /// process had of it. The object's lock is held. It is called once for each reference that the dead had, and again if the
    /// auditor is killed, so it must be repeatable. `arena.owner_of_thread` still knows the threads of the dead. All sleepers
    /// are woken afterwards ([`Kind::wake`]), and watchers are rung.
    fn recover(object: &Locked<'_, Self>, dead: Owner) -> Result<(), ArenaError>;

    /// Nobody refers to the object any more: frees the blocks that it owns. Repeatable; it may have been killed half-way,
    /// or right after `init`.
    fn destroy(object: &Doomed<'_, Self>) -> Result<(), ArenaError>;

    /// Makes everybody who sleeps on words of the object look again, also those who are just about to sleep: a word whose
    /// sleepers wait for something besides its own value must be changed (a sequence counter is raised), not only woken.
    ///
    /// Called after a death, and when the last reference in a role is gone. Takes no locks.
    fn wake(object: &Object<'_, Self>);
}

/// The functions of a kind, by which the layer calls it for an object that it knows by its code only.
pub(super) struct Table {
    pub(super) code: u32,
    pub(super) name: &'static str,
    pub(super) recover: fn(&Object<'_, ()>, Owner) -> Result<(), ArenaError>,
    pub(super) destroy: fn(&Object<'_, ()>) -> Result<(), ArenaError>,
    pub(super) wake: fn(&Object<'_, ()>),
}

impl Table {
    const fn of<K: Kind>() -> Table {
        Table {
            code: K::CODE,
            name: K::NAME,
            recover: |object, dead| K::recover(&object.typed::<K>().lock()?, dead),
            destroy: |object| K::destroy(&Doomed::of(object.typed::<K>())),
            wake: |object| K::wake(&object.typed::<K>()),
        }
    }
}

/// All kinds. A new one adds its line; codes are never used again for something else.
static KINDS: &[Table] = &[
    Table::of::<super::directory::Directory>(),
    Table::of::<crate::pool::cancel::TokenKind>(),
    Table::of::<crate::shared::kinds::DictKind>(),
    Table::of::<crate::shared::kinds::ListKind>(),
    Table::of::<crate::shared::kinds::NamespaceKind>(),
    Table::of::<crate::shared::kinds::ValueKind>(),
    Table::of::<crate::shared::kinds::BroadcastKind>(),
    Table::of::<crate::shared::kinds::ArrayKind>(),
    Table::of::<crate::queue::core::QueueKind>(),
    #[cfg(feature = "testing")]
    Table::of::<super::testing::BoxKind>(),
    #[cfg(feature = "testing")]
    Table::of::<super::testing::OtherKind>(),
    Table::of::<crate::sync::MutexKind>(),
    Table::of::<crate::sync::ReentrantKind>(),
    Table::of::<crate::sync::RwLockKind>(),
    Table::of::<crate::sync::OnceKind>(),
    Table::of::<crate::sync::EventKind>(),
    Table::of::<crate::sync::CondvarKind>(),
    Table::of::<crate::sync::SemaphoreKind>(),
    Table::of::<crate::sync::BarrierKind>(),
];

/// The kind with this number; `None` for none.
pub(super) fn find(code: u32) -> Option<&'static Table> {
    KINDS.iter().find(|table| table.code == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_none_is_0() {
        for (at, table) in KINDS.iter().enumerate() {
            assert_ne!(table.code, 0);
            assert!(KINDS[..at].iter().all(|other| other.code != table.code), "{} {}", table.code, table.name);
        }
    }
}
