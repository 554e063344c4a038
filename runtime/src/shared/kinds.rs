//! The kinds of objects that shared structures are.
#![allow(unsafe_code)]

use std::ptr;

use crate::arena::{ArenaError, Owner, Pos};
use crate::object::{Doomed, Handle, Kind, Locked, Object};

/// Where a word of an object's fixed part stands in the arena.
pub(super) fn pos_in<K: Kind, T>(handle: &Handle<K>, word: &T) -> Result<Pos, ArenaError> {
    pos_of(&handle.object(), word)
}

/// As [`pos_in`].
pub(super) fn pos_of<K: Kind, T>(object: &Object<'_, K>, word: &T) -> Result<Pos, ArenaError> {
    let start = object.arena().at(object.id().pos(), 1).ok_or(ArenaError::Foreign { what: K::NAME })?;
    Ok(object.id().pos() + (ptr::from_ref(word).addr() - start.as_ptr().addr()) as u64)
}

/// A kind whose structure keeps itself by redo records ([`crate::arena::journal`]), and only has to be given back.
macro_rules! kind {
    ($(#[$doc:meta])* $name:ident = $code:literal, $text:literal, $shared:ty, |$object:ident| $destroy:expr) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $name;

        // SAFETY: the fixed part is `repr(C)` and all atomics, zero is an empty structure, and the code is this kind's alone.
        unsafe impl Kind for $name {
            const CODE: u32 = $code;
            const NAME: &'static str = $text;
            type Shared = $shared;

            fn recover(_: &Locked<'_, Self>, _: Owner) -> Result<(), ArenaError> {
                Ok(())
            }

            fn destroy($object: &Doomed<'_, Self>) -> Result<(), ArenaError> {
                $destroy
            }

            fn wake(_: &Object<'_, Self>) {}
        }
    };
}

kind! {
    /// The kind of [`super::Dict`] and [`super::Namespace`].
    DictKind = 50, "a dictionary", super::dict::Root, |object| {
        let root = object.shared();
        super::dict::Table::new(object.arena(), root, pos_of(object, root)?).destroy()
    }
}

kind! {
    /// The kind of [`super::List`].
    ListKind = 51, "a list", super::list::Root, |object| {
        let root = object.shared();
        super::list::Spine::new(object.arena(), root, pos_of(object, root)?).destroy()
    }
}

kind! {
    /// The kind of [`super::Namespace`].
    NamespaceKind = 52, "a namespace", super::dict::Root, |object| {
        let root = object.shared();
        super::dict::Table::new(object.arena(), root, pos_of(object, root)?).destroy()
    }
}

kind! {
    /// The kind of [`super::Value`].
    ValueKind = 53, "a shared value", super::value::Root, |object| super::value::destroy(object)
}

kind! {
    /// The kind of [`super::Shared`].
    BroadcastKind = 54, "a value that is written once", super::broadcast::Root, |object| super::broadcast::destroy(object)
}

/// The kind of [`super::Array`].
#[derive(Debug)]
pub(crate) struct ArrayKind;

// SAFETY: as above.
unsafe impl Kind for ArrayKind {
    const CODE: u32 = 55;
    const NAME: &'static str = "an array";
    type Shared = super::array::Root;

    fn recover(object: &Locked<'_, Self>, dead: Owner) -> Result<(), ArenaError> {
        super::array::recover(object, dead);
        Ok(())
    }

    fn destroy(object: &Doomed<'_, Self>) -> Result<(), ArenaError> {
        super::array::destroy(object)
    }

    fn wake(object: &Object<'_, Self>) {
        super::array::wake(object);
    }
}
