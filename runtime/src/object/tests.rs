//! One process: what handles, locks and changes do when nobody dies. Deaths are the killer's.

#![allow(unsafe_code)]

use std::sync::atomic::Ordering;

use super::testing::BoxKind;
use super::{Handle, Role, Set};
use crate::arena::{Arena, BlockId, create};

fn arena() -> &'static Arena {
    create(256 << 20, 32 << 20).unwrap()
}

fn blocks(arena: &'static Arena) -> u64 {
    arena.check_metadata().unwrap();
    arena.ledger().blocks
}

fn new(arena: &'static Arena) -> Handle<BoxKind> {
    Handle::create_in(arena, 0, Role::Plain, |_| ()).unwrap()
}

#[test]
fn an_object_lives_as_long_as_any_handle() {
    let arena = arena();
    let one = new(arena);
    let two = one.clone();
    let sender = one.with_role(Role::Sender).unwrap();
    assert_eq!((one.object().count(Role::Plain), one.object().count(Role::Sender)), (1, 1));
    assert!(one == sender && one != new(arena));
    drop((one, two));
    assert_eq!(blocks(arena), 1);
    assert_eq!((sender.object().count(Role::Plain), sender.object().count(Role::Sender)), (0, 1));
    assert!(sender.shared().wakes.load(Ordering::Relaxed) > 0, "the last plain reference went without a wake");
    let id = sender.id();
    drop(sender);
    assert_eq!(blocks(arena), 0);
    assert!(Handle::<BoxKind>::open(arena, id, Role::Plain).is_err());
}

#[test]
fn blocks_go_in_and_out_and_are_freed_with_the_object() {
    let arena = arena();
    let handle = new(arena);
    let fill = |value: u8, len: usize| {
        let block = arena.alloc_zeroed(len).unwrap();
        // SAFETY: the block is ours.
        unsafe { block.as_ptr().write_bytes(value, 8) };
        block
    };
    let first = |block: &crate::arena::Block| {
        // SAFETY: the block is ours.
        unsafe { *block.as_ptr() }
    };
    for len in [64, 700, 200_000] {
        let (cell, changes) = (&handle.shared().cell, &handle.shared().changes);
        let locked = handle.lock().unwrap();
        assert!(locked.take(cell, &[]).unwrap().is_none());
        locked.give(fill(1, len), cell, &[Set::wide(changes, 1)]);
        assert_eq!(blocks(arena), 2);
        let one = locked.swap(fill(2, len), cell, &[Set::wide(changes, 2)]).unwrap();
        assert_eq!((first(&one), changes.load(Ordering::Relaxed)), (1, 2));
        let two = locked.take(cell, &[Set::wide(changes, 3), Set::narrow(&handle.shared().wakes, 9)]).unwrap().unwrap();
        assert_eq!((first(&two), changes.load(Ordering::Relaxed)), (2, 3));
        assert_eq!((cell.load(Ordering::Relaxed), handle.shared().wakes.load(Ordering::Relaxed)), (0, 9));
        drop((one, two));
        assert_eq!(blocks(arena), 1);
        assert!(locked.swap(fill(3, len), cell, &[]).is_none());
        let id = BlockId::from_raw(cell.load(Ordering::Relaxed)).unwrap();
        drop(locked);
        assert!(arena.is_owned(id));
        drop(handle.lock().unwrap().take(cell, &[]));
    }
    handle.lock().unwrap().give(fill(4, 100), &handle.shared().cell, &[]);
    drop(handle);
    assert_eq!(blocks(arena), 0);
}
