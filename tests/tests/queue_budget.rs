//! A message that does not fit the budget of shared memory.

use std::time::Duration;

use offspring::{ErrorKind, Queue, testing};
use offspring_tests::watchdog;

#[test]
fn a_message_over_the_budget_is_an_error_and_nothing_is_lost() {
    let _watch = watchdog(Duration::from_secs(60));
    let queue: Queue<Vec<u8>> = Queue::bounded(4).unwrap();
    queue.put(&vec![1; 10]).unwrap();
    let arena = testing::Arena::family().unwrap();
    let budget = arena.ledger().budget;
    arena.set_budget(64 << 20);
    let error = queue.put(&vec![2; 256 << 20]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    assert!(error.to_string().contains("out of shared memory"), "{error}");
    assert_eq!(queue.len(), 1);
    // So many small ones that the queue's own memory does not fit: what was put before is there.
    let small: Queue<[u64; 100]> = Queue::unbounded().unwrap();
    let mut put = 0;
    let error = loop {
        match small.put(&[put; 100]) {
            Ok(()) => put += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    arena.set_budget(budget);
    assert!(put > 10_000, "{put}");
    assert!((0..put).all(|number| small.get().unwrap() == [number; 100]));
    assert!(small.is_empty());
    assert_eq!(queue.get().unwrap(), [1; 10]);
}
