//! Shared data in the arenas of a stage, for the single-step killer.
#![allow(missing_docs, clippy::missing_errors_doc, clippy::expect_used)]

use super::{Array, Dict, Key, List, Namespace, Shared, SharedError, Value};
use crate::object::{Handle, Role};
use crate::testing::Arena;
use crate::{Message, Plain};

/// Something that several members of a stage have.
pub trait OnStage: Sized {
    /// The same as another member has it.
    fn open(&self, member: Arena) -> Self;
}

macro_rules! on_stage {
    ($([$($generics:tt)*] $type:ty: $handle:ident => $make:expr;)*) => {$(
        impl<$($generics)*> OnStage for $type {
            fn open(&self, member: Arena) -> Self {
                let $handle = Handle::open(member.inner(), self.handle.id(), Role::Plain).expect("a live object");
                $make
            }
        }
    )*};
}

on_stage! {
    [K: Key, V: Message] Dict<K, V>: handle => Dict::of(handle);
    [T: Message] List<T>: handle => List::of(handle);
    [T: Message] Value<T>: handle => Value::of(handle);
    [T: Message] Shared<T>: handle => Shared::of(handle).expect("one of this type");
    [T: Plain] Array<T>: handle => Array::of(handle).expect("one of this type");
    [] Namespace: handle => Namespace::of(handle);
}

/// A dictionary whose pages always fill up in the same way.
pub fn dict<K: Key, V: Message>(arena: Arena) -> Result<Dict<K, V>, SharedError> {
    let dict = Dict::in_arena(arena.inner())?;
    dict.table()?.set_seed(7);
    Ok(dict)
}

/// How many bits an index of its directory has.
pub fn directory_bits<K: Key, V: Message>(dict: &Dict<K, V>) -> u64 {
    dict.table().map_or(0, |table| table.depth())
}

pub fn list<T: Message>(arena: Arena) -> Result<List<T>, SharedError> {
    List::in_arena(arena.inner())
}

pub fn value<T: Message>(arena: Arena, value: &T) -> Result<Value<T>, SharedError> {
    Value::in_arena(arena.inner(), value)
}

pub fn broadcast<T: Message>(arena: Arena, value: &T) -> Result<Shared<T>, SharedError> {
    Shared::in_arena(arena.inner(), value)
}

pub fn array<T: Plain>(arena: Arena, len: usize) -> Result<Array<T>, SharedError> {
    Array::in_arena(arena.inner(), len)
}

pub fn namespace(arena: Arena) -> Result<Namespace, SharedError> {
    Namespace::in_arena(arena.inner())
}
