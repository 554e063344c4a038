//! A batch with a journal while memory is not to be had. Alone in its binary, as the budget is the whole family's.

use std::time::Duration;

use offspring::{Pool, task};
use offspring_tests::watchdog;

#[task]
fn first_of(data: [u64; 4096]) -> u64 {
    std::thread::sleep(Duration::from_millis(100));
    data[0]
}

#[test]
fn an_item_that_the_journal_was_asked_about_is_not_lost_when_memory_is_short_for_a_while() {
    let _watchdog = watchdog(Duration::from_secs(120));
    let dir = tempfile::tempdir().unwrap();
    let pool = Pool::builder().workers(1).build().unwrap();
    let family = offspring::testing::Arena::family().unwrap();
    assert_eq!(pool.map(first_of, [[5; 4096]]).unwrap(), [5]);
    let budget = family.ledger().budget;
    let mut pulled = Vec::new();
    let items = (0..12u64).map(|n| {
        pulled.push(n);
        if n == 2 {
            // Nothing more is to be had until some results are there.
            family.set_budget(1);
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(150));
                family.set_budget(budget);
            });
        }
        [n; 4096]
    });
    let results = pool.batch().chunk_size(1).journal(dir.path().join("run.db")).try_map(first_of, items);
    family.set_budget(budget);
    let results: Vec<u64> = results.unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(results, (0..12).collect::<Vec<u64>>());
    assert_eq!(pulled, (0..12).collect::<Vec<u64>>());
}
