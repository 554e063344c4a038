//! Memory that is not to be had. Alone in its binary, as the budget is the whole family's.

use std::time::Duration;

use offspring::{ErrorKind, Pool, task};
use offspring_tests::watchdog;

#[task]
fn length(data: &[u8]) -> usize {
    data.len()
}

#[task]
fn grow(n: usize) -> Vec<u8> {
    vec![1; n]
}

#[test]
fn an_input_larger_than_the_budget_is_an_error_of_its_item() {
    let _watch = watchdog(Duration::from_secs(120));
    let pool = Pool::builder().workers(2).build().unwrap();
    let family = offspring::testing::Arena::family().unwrap();
    pool.map(length, [vec![0u8; 100]]).unwrap();
    let before = family.ledger();
    family.set_budget(before.granule_bytes + before.warm_bytes + (96 << 20));
    let results = pool.try_map(length, [10, 200 << 20, 20].map(|n| vec![0u8; n])).unwrap();
    let result = pool.try_map(grow, [10, 200 << 20, 20]).unwrap();
    family.set_budget(before.budget);
    assert_eq!((*results[0].as_ref().unwrap(), *results[2].as_ref().unwrap()), (10, 20));
    let error = results[1].as_ref().unwrap_err();
    assert_eq!((error.kind(), error.item()), (ErrorKind::OutOfMemory, Some(1)), "{error}");
    assert_eq!(result[1].as_ref().unwrap_err().kind(), ErrorKind::OutOfMemory);
    assert_eq!((result[0].as_ref().unwrap().len(), result[2].as_ref().unwrap().len()), (10, 20));
    assert_eq!(pool.map(length, [vec![0u8; 1 << 20]]).unwrap(), [1 << 20]);
}
