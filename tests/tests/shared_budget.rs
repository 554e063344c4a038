//! Values that do not fit the budget of shared memory. Alone in its binary, as the budget is the whole family's.

use std::time::Duration;

use offspring::shared::{Array, Dict, List, Namespace, Shared, Value};
use offspring::{ErrorKind, spawn, task, testing};
use offspring_tests::watchdog;

const TOO_MUCH: usize = 256 << 20;

/// Fills all there is; how many went in before that was refused, and how.
#[task]
fn fill(dict: Dict<u64, Vec<u8>>, list: List<Vec<u8>>) -> (u64, u64, [String; 2]) {
    let mut keys = 0;
    let dict_refused = loop {
        match dict.set(&keys, &vec![1; 20_000]) {
            Ok(()) => keys += 1,
            Err(error) => break format!("{:?}", error.kind()),
        }
    };
    let mut items = 0;
    let list_refused = loop {
        match list.push(&vec![2; 500]) {
            Ok(()) => items += 1,
            Err(error) => break format!("{:?}", error.kind()),
        }
    };
    (keys, items, [dict_refused, list_refused])
}

#[test]
fn what_does_not_fit_is_refused_everywhere_and_changes_nothing() {
    let _watch = watchdog(Duration::from_secs(120));
    let big = vec![2u8; TOO_MUCH];
    let dict: Dict<u64, Vec<u8>> = Dict::new().unwrap();
    let list: List<Vec<u8>> = List::from_items([vec![1; 10], vec![2; 20]]).unwrap();
    let value = Value::new(vec![1u8; 10]).unwrap();
    let space = Namespace::new().unwrap();
    dict.set(&1, &vec![1; 10]).unwrap();
    space.set("x", &vec![1u8; 10]).unwrap();
    spawn(fill_nothing, ()).unwrap().join().unwrap();

    let arena = testing::Arena::family().unwrap();
    let budget = arena.ledger().budget;
    let now = arena.ledger();
    arena.set_budget(now.granule_bytes + now.warm_bytes + (64 << 20));
    let refused = [
        dict.set(&1, &big),
        dict.set(&2, &big),
        dict.update(&1, |_| big.clone()).map(drop),
        dict.upsert(&3, |_| big.clone()).map(drop),
        list.push(&big),
        list.set(0, &big),
        list.insert(1, &big),
        list.extend([&vec![1], &big]),
        list.update(0, |_| big.clone()).map(drop),
        value.set(&big),
        value.replace(&big).map(drop),
        value.update(|_| big.clone()).map(drop),
        space.set("x", &big),
        space.set("y", &big),
        Value::new(big.clone()).map(drop),
        Shared::new(&big).map(drop),
        Array::<u8>::zeroed(TOO_MUCH).map(drop),
        Array::from_slice(&big).map(drop),
        List::from_items([big.clone()]).map(drop),
    ];
    for (at, refused) in refused.into_iter().enumerate() {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfMemory, "number {at}: {error}");
    }
    assert_eq!(dict.to_map().unwrap(), std::collections::HashMap::from([(1, vec![1; 10])]));
    assert_eq!(list.to_vec().unwrap(), [vec![1; 10], vec![2; 20]]);
    assert_eq!((value.get().unwrap(), space.get::<Vec<u8>>("x").unwrap()), (vec![1; 10], Some(vec![1; 10])));
    assert_eq!(space.len(), 1);

    // A child takes all that is left. What it was told is in, is in, and can be taken out to make room.
    let (keys, items, refused) = spawn(fill, (&dict, &list)).unwrap().join().unwrap();
    assert_eq!(refused, ["OutOfMemory", "OutOfMemory"]);
    assert!(keys > 1000, "{keys}");
    assert_eq!((dict.len() as u64, list.len() as u64), (keys.max(2), items + 2));
    assert!((0..keys).all(|key| dict.get(&key).unwrap() == Some(vec![1; 20_000])));
    // With nothing left things can still be read, removed and replaced by smaller ones.
    assert_eq!(list.pop().unwrap(), Some(if items == 0 { vec![2; 20] } else { vec![2; 500] }));
    dict.remove(&0).unwrap().unwrap();
    dict.set(&1, &vec![3]).unwrap();
    dict.clear().unwrap();
    list.clear().unwrap();
    value.set(&vec![5; 1 << 20]).unwrap();
    assert!(dict.is_empty() && list.is_empty());
    arena.set_budget(budget);
    dict.set(&1, &big).unwrap();
    assert_eq!(dict.get(&1).unwrap().map(|it| it.len()), Some(TOO_MUCH));
}

#[task]
fn fill_nothing() {}
