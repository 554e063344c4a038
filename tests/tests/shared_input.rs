//! Wrong input to shared data: each a value that says what is wrong, and changes nothing.
#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use offspring::shared::{Array, Dict, List, Namespace, Shared, SharedError, Value};
use offspring::testing::{self, shared};
use offspring::{ErrorKind, Failure, message, spawn, task};
use offspring_tests::watchdog;

#[task]
fn ask_too_far(list: List<u32>, array: Array<u32>) -> Result<(), Failure> {
    match list.get(2) {
        Err(SharedError::OutOfRange { index: 2, len: 2 }) => {}
        other => return Err(Failure::msg(format!("{other:?}"))),
    }
    array.set(7, &1)?;
    Ok(())
}

#[test]
fn indices_out_of_range_are_errors_with_index_and_length() {
    let _watch = watchdog(Duration::from_secs(60));
    let list = List::from_items([1u32, 2]).unwrap();
    let array = Array::<u32>::from_slice(&[1, 2, 3]).unwrap();
    #[allow(clippy::reversed_empty_ranges)]
    let errors = [
        list.get(2).map(drop),
        list.set(2, &0),
        list.replace(usize::MAX, &0).map(drop),
        list.update(2, |n| n).map(drop),
        list.insert(3, &0),
        list.remove(2).map(drop),
        list.swap(0, 2),
        list.slice(1..3).map(drop),
        list.slice(..=usize::MAX).map(drop),
        list.splice(3.., &[1]).map(drop),
        array.get(3).map(drop),
        array.set(usize::MAX, &0),
        array.slice(2..4).map(drop),
        array.part(3..4).map(drop),
        array.part(4..2).map(drop),
    ];
    for (at, error) in errors.into_iter().enumerate() {
        let error = error.unwrap_err();
        assert!(matches!(error, SharedError::OutOfRange { .. }), "number {at}: {error}");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("the length is"), "{error}");
    }
    #[allow(clippy::reversed_empty_ranges)]
    for error in [list.drain(2..1).map(drop), list.splice(1..0, &[1]).map(drop), array.part(2..1).map(drop)] {
        let error = error.unwrap_err();
        assert!(matches!(error, SharedError::Range { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    assert_eq!((list.to_vec().unwrap(), array.snapshot().unwrap()), (vec![1, 2], vec![1, 2, 3]));
    assert!(list.slice(2..).unwrap().is_empty() && array.slice(3..).unwrap().is_empty());
    // The same in a child, whose task returns it.
    let failure = spawn(ask_too_far, (&list, &array)).unwrap().join().unwrap().unwrap_err();
    assert!(failure.to_string().contains("index 7 is out of range: the length is 3"), "{failure}");
}

#[test]
fn handles_of_another_family_are_refused_and_nothing_is_changed() {
    let _watch = watchdog(Duration::from_secs(60));
    let other = testing::Arena::create(testing::Arena::LEN_MIN, 64 << 20).unwrap();
    let foreign: Value<u64> = shared::value(other, &1).unwrap();
    let dict: Dict<u32, Option<Value<u64>>> = Dict::new().unwrap();
    let list: List<(u8, Value<u64>)> = List::new().unwrap();
    let value: Value<Option<Value<u64>>> = Value::new(None).unwrap();
    let space = Namespace::new().unwrap();
    dict.set(&1, &None).unwrap();
    let refused = [
        dict.set(&1, &Some(foreign.clone())),
        dict.upsert(&2, |_| Some(foreign.clone())).map(drop),
        list.push(&(1, foreign.clone())),
        list.extend(&[(1, foreign.clone())]),
        value.set(&Some(foreign.clone())),
        space.set("x", &foreign),
        Shared::new(&foreign).map(drop),
        Value::new(vec![foreign.clone()]).map(drop),
    ];
    for (at, refused) in refused.into_iter().enumerate() {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotSendable, "number {at}: {error}");
        assert!(error.to_string().contains("another family"), "{error}");
    }
    assert!(dict.len() == 1 && list.is_empty() && value.get().unwrap().is_none() && space.is_empty());
    // And a foreign structure refuses ours.
    let theirs: Dict<u32, Value<u64>> = shared::dict(other).unwrap();
    let ours = Value::new(5u64).unwrap();
    assert_eq!(theirs.set(&1, &ours).unwrap_err().kind(), ErrorKind::NotSendable);
    assert!(theirs.is_empty());
    let error = spawn(look, &foreign).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotSendable, "{error}");
}

#[task]
fn look(value: Value<u64>) -> u64 {
    value.get().unwrap_or(0)
}

#[test]
fn names_of_another_type_and_wrong_lengths_are_errors() {
    let _watch = watchdog(Duration::from_secs(60));
    let space = Namespace::new().unwrap();
    space.set("n", &1u64).unwrap();
    let error = space.get::<u32>("n").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("\"n\" does not hold a value of type u32"), "{error}");
    assert!(space.update("n", |n: String| n).is_err());
    // Two types of one name are two types.
    {
        #[message]
        #[derive(Debug)]
        struct Twin(#[allow(dead_code, reason = "only written")] u64);
        space.set("twin", &Twin(7)).unwrap();
        assert!(space.get::<Twin>("twin").unwrap().is_some());
    }
    {
        #[message]
        #[derive(Debug)]
        struct Twin(#[allow(dead_code, reason = "only to be refused")] String);
        assert_eq!(space.get::<Twin>("twin").unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    let array = Array::<u16>::zeroed(3).unwrap();
    for error in [array.copy_from(&[1; 4]).unwrap_err(), array.split(0).unwrap_err(), array.split_by(0).unwrap_err()] {
        assert!(matches!(error, SharedError::Length { .. }) && error.kind() == ErrorKind::InvalidInput, "{error}");
    }
    let key = [7u64; 4000];
    let dict: Dict<[u64; 4000], u8> = Dict::new().unwrap();
    let error = dict.set(&key, &1).unwrap_err();
    assert!(error.kind() == ErrorKind::NotSendable && error.to_string().contains("use a hash of it"), "{error}");
    assert!(dict.is_empty());
}

/// What a `fork()` of this process sees, as its exit code: 0 if all is as it should be.
fn in_the_fork(
    dict: Dict<u32, u32>,
    list: List<u32>,
    value: Value<u64>,
    array: Array<u32>,
    shared: Shared<u64>,
) -> i32 {
    let unsupported =
        |result: Result<(), SharedError>| result.is_err_and(|error| error.kind() == ErrorKind::Unsupported);
    let checks = [
        unsupported(dict.set(&1, &2)),
        unsupported(dict.get(&1).map(drop)),
        unsupported(dict.to_map().map(drop)),
        dict.is_empty() && list.is_empty() && array.is_empty(),
        unsupported(list.push(&1)),
        unsupported(list.to_vec().map(drop)),
        unsupported(value.set(&1)),
        unsupported(value.get().map(drop)),
        unsupported(value.fetch_add(1).map(drop)),
        unsupported(array.lock().map(drop)),
        unsupported(array.snapshot().map(drop)),
        catch_unwind(AssertUnwindSafe(|| shared.to_native() == 1)).is_err(),
    ];
    drop((dict, list, value, array, shared));
    checks.iter().position(|ok| !ok).map_or(0, |index| index as i32 + 1)
}

#[test]
fn a_fork_can_drop_shared_data_and_nothing_else() {
    let _watch = watchdog(Duration::from_secs(60));
    let (dict, list, value) = (Dict::new().unwrap(), List::from_items([1]).unwrap(), Value::new(1u64).unwrap());
    let (array, shared) = (Array::<u32>::zeroed(3).unwrap(), Shared::new(&1u64).unwrap());
    dict.set(&1, &1).unwrap();
    let theirs = (dict.clone(), list.clone(), value.clone(), array.clone(), shared.clone());
    // SAFETY: the fork has one thread; what it calls needs no lock that another thread of this process may hold but the allocator's,
    // which glibc makes usable after a fork.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let (dict, list, value, array, shared) = theirs;
        let code = in_the_fork(dict, list, value, array, shared);
        // SAFETY: ends the fork without what the test harness does at an exit.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: a child of this process, and a place for its status.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    assert!(libc::WIFEXITED(status), "{status:#x}");
    assert_eq!(libc::WEXITSTATUS(status), 0);
    assert_eq!((dict.get(&1).unwrap(), list.len(), value.get().unwrap()), (Some(1), 1, 1));
    assert_eq!((array.len(), shared.to_native()), (3, 1));
}
