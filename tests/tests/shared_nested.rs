//! Functions that change an entry, and what they may do to the same structure meanwhile.

use std::time::Duration;

use offspring::ErrorKind;
use offspring::shared::{Dict, List, Namespace, SharedError, Value};
use offspring_tests::watchdog;

fn deadlock<T: std::fmt::Debug>(result: Result<T, SharedError>) {
    let error = result.unwrap_err();
    assert_eq!((error.kind(), &error), (ErrorKind::Deadlock, &SharedError::Nested));
}

#[test]
fn a_function_that_changes_its_own_entry_is_an_error_and_not_an_endless_loop() {
    let _watch = watchdog(Duration::from_secs(60));
    let dict: Dict<u32, Vec<u32>> = Dict::new().unwrap();
    dict.set(&1, &vec![1]).unwrap();
    deadlock(dict.update(&1, |old| [dict.update(&1, |inner| inner).unwrap().unwrap(), old].concat()));
    deadlock(dict.upsert(&7, |_| dict.insert(&7, &vec![2]).unwrap().unwrap_or_default()));
    deadlock(dict.modify(&1, |_| {
        dict.set(&1, &vec![3]).unwrap();
        None
    }));
    deadlock(dict.retain(|key, _| {
        dict.set(key, &vec![4]).unwrap();
        false
    }));
    deadlock(dict.update(&9, |n| n).and_then(|_| {
        dict.set(&9, &vec![1])?;
        dict.update(&9, |n| dict.remove(&9).unwrap().unwrap_or(n))
    }));
    // What the function itself did is there, and what it gave is not.
    assert_eq!(dict.get(&9).unwrap(), None);
    let changed: Vec<u32> = [1, 7].iter().flat_map(|key| dict.get(key).unwrap().unwrap()).collect();
    assert!(changed == [3, 4] || changed == [4, 2], "{changed:?}");

    let number = Value::new(1u64).unwrap();
    deadlock(number.update(|n| n + number.fetch_add(5).unwrap()));
    deadlock(number.update(|n| number.set(&(n + 1)).map(|()| n).unwrap()));
    deadlock(number.update(|n| number.replace(&(n + 1)).unwrap()));
    assert_eq!(number.get().unwrap(), 8);
    let text = Value::new("a".to_string()).unwrap();
    deadlock(text.update(|old| text.update(|inner| inner + "b").unwrap() + &old));
    assert_eq!(text.get().unwrap(), "ab");

    let list = List::from_items(0..5u32).unwrap();
    deadlock(list.update(2, |n| list.replace(2, &9).unwrap() + n));
    deadlock(list.update(2, |n| list.insert(0, &9).map(|()| n).unwrap()));
    deadlock(list.sort_by_key(|n| list.push(n).map(|()| *n).unwrap()));
    deadlock(list.retain(|_| list.pop().unwrap().is_none()));

    let space = Namespace::new().unwrap();
    space.set("n", &1u8).unwrap();
    deadlock(space.update("n", |n: u8| space.set("n", &(n + 1)).map(|()| n).unwrap()));
    assert_eq!(space.get::<u8>("n").unwrap(), Some(2));
}

#[test]
fn a_function_may_change_other_entries_and_other_structures() {
    let _watch = watchdog(Duration::from_secs(60));
    let dict: Dict<u32, u32> = Dict::new().unwrap();
    let list = List::from_items([1, 2, 3]).unwrap();
    let number = Value::new(0u32).unwrap();
    dict.set(&1, &1).unwrap();
    let got = dict.update(&1, |n| {
        dict.set(&2, &n).unwrap();
        dict.update(&2, |m| m + 10).unwrap();
        list.update(0, |item| {
            list.push(&item).unwrap();
            list.set(1, &20).unwrap();
            number.update(|n| n + 1).unwrap();
            item + 10
        })
        .unwrap();
        n + number.fetch_add(1).unwrap()
    });
    assert_eq!(got.unwrap(), Some(2));
    assert_eq!(
        (dict.get(&2).unwrap(), list.to_vec().unwrap(), number.get().unwrap()),
        (Some(11), vec![11, 20, 3, 1], 2)
    );
    // A panic in a function leaves nothing behind.
    let panicked =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| dict.update(&2, |_| panic!("in a function"))));
    assert!(panicked.is_err());
    assert_eq!(dict.update(&2, |n| n + 1).unwrap(), Some(12));
    deadlock(dict.update(&2, |n| dict.update(&2, |m| m + n).unwrap().unwrap()));
    assert_eq!(dict.get(&2).unwrap(), Some(24));
}
