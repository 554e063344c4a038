//! Values, broadcasts and namespaces, in one process, when nobody dies. Deaths are the killer's.

use super::{Namespace, Shared, SharedError, Value};
use crate::ErrorKind;
use crate::arena::{Arena, create};

fn arena() -> &'static Arena {
    create(256 << 20, 64 << 20).unwrap()
}

fn blocks(arena: &'static Arena) -> u64 {
    arena.check_metadata().unwrap();
    arena.ledger().blocks
}

#[test]
fn small_values_are_atomic_and_integers_have_the_methods_of_atomics() {
    let arena = arena();
    let value = Value::in_arena(arena, &-5i16).unwrap();
    assert_eq!(blocks(arena), 1, "a block of its own");
    assert_eq!((value.fetch_add(7).unwrap(), value.fetch_sub(i16::MAX).unwrap()), (-5, 2));
    assert_eq!(value.get().unwrap(), 2i16.wrapping_sub(i16::MAX));
    assert_eq!((value.fetch_max(3).unwrap(), value.fetch_min(-9).unwrap()), (2i16.wrapping_sub(i16::MAX), 3));
    assert_eq!((value.fetch_and(0xf).unwrap(), value.fetch_or(16).unwrap(), value.fetch_xor(1).unwrap()), (-9, 7, 23));
    assert_eq!((value.replace(&4).unwrap(), value.take().unwrap(), value.get().unwrap()), (22, 4, 0));
    let flag = Value::in_arena(arena, &true).unwrap();
    assert!(flag.compare_exchange(&true, &false).unwrap() && !flag.compare_exchange(&true, &false).unwrap());
    let real = Value::in_arena(arena, &0.5f64).unwrap();
    assert_eq!(real.update(|it| it * 3.0).unwrap(), 1.5);
    let sum = Value::in_arena(arena, &0u64).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..20_000).for_each(|_| assert!(sum.fetch_add(1).unwrap() < 80_000)));
        }
    });
    assert_eq!(sum.get().unwrap(), 80_000);
    drop((value, flag, real, sum));
    assert_eq!(blocks(arena), 0);
}

#[test]
fn other_values_are_replaced_as_a_whole() {
    let arena = arena();
    let value = Value::in_arena(arena, &vec![0u64; 1]).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..3u64 {
            let value = value.clone();
            scope.spawn(move || {
                for n in 0..5_000u64 {
                    if n % 2 == 0 {
                        value.set(&vec![thread; (n % 300) as usize + 1]).unwrap();
                    }
                    let seen = value.get().unwrap();
                    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "torn");
                }
            });
        }
    });
    let count = Value::in_arena(arena, &(0u64, String::new())).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    count.update(|(n, _)| (n + 1, "x".repeat(n as usize % 50))).unwrap();
                }
            });
        }
    });
    assert_eq!(count.replace(&(1, "one".into())).unwrap().0, 6_000);
    assert!(!count.compare_exchange(&(2, "one".into()), &(3, String::new())).unwrap());
    assert!(count.compare_exchange(&(1, "one".into()), &(3, String::new())).unwrap());
    let refused = value.set(&vec![0; 10 << 20]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::OutOfMemory, "{refused}");
    drop((value, count));
    assert_eq!(blocks(arena), 0);
}

#[test]
fn a_broadcast_is_read_where_it_lies() {
    let arena = arena();
    let text = vec!["alpha".to_string(), "beta".repeat(1000)];
    let shared = Shared::in_arena(arena, &text).unwrap();
    let clone = shared.clone();
    assert_eq!(shared[1].as_str(), text[1]);
    assert!(std::ptr::eq(shared[1].as_str(), clone[1].as_str()));
    assert_eq!(clone.to_value().unwrap(), text);
    let refused = Shared::in_arena(arena, &vec![0u8; 100 << 20]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::OutOfMemory);
    drop(shared);
    assert_eq!(clone[0].as_str(), "alpha");
    drop(clone);
    assert_eq!(blocks(arena), 0);
}

#[test]
fn names_know_the_types_of_their_values() {
    let arena = arena();
    let space = Namespace::in_arena(arena).unwrap();
    space.set("n", &1u64).unwrap();
    space.set("text", &"a".repeat(100)).unwrap();
    assert_eq!(space.get::<u64>("n").unwrap(), Some(1));
    assert_eq!(space.get::<u64>("none").unwrap(), None);
    assert_eq!(space.get::<u32>("n").unwrap_err(), SharedError::WrongType { name: "n".into(), wanted: "u32" });
    assert_eq!(space.update("n", |n: u64| n + 1).unwrap(), Some(2));
    assert_eq!(space.update("none", |n: u64| n + 1).unwrap(), None);
    space.set("n", &Some(2u8)).unwrap();
    assert_eq!(space.get::<Option<u8>>("n").unwrap(), Some(Some(2)));
    let mut names = space.names().unwrap();
    names.sort();
    assert_eq!(names, ["n", "text"]);
    assert!(space.contains("text").unwrap() && space.remove("text").unwrap() && !space.remove("text").unwrap());
    assert_eq!((space.len(), space.is_empty()), (1, false));
    space.clear().unwrap();
    assert!(space.is_empty());
    drop(space);
    assert_eq!(blocks(arena), 0);
}
