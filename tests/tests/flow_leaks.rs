//! What flows leave behind and what they hold meanwhile. Alone in its binary, as it counts this process's children and bytes.

use std::cell::Cell;
use std::time::Duration;

use offspring::testing::Arena;
use offspring::{Pool, task};
use offspring_tests::{leaks, watchdog};

#[task]
fn twist(x: u64) -> u64 {
    x.wrapping_mul(0x9e37_79b9).rotate_left(7) ^ x
}

#[task]
fn is_odd(x: &u64) -> bool {
    x % 2 == 1
}

#[task]
fn sum(a: u64, b: u64) -> u64 {
    a.wrapping_add(b)
}

#[task]
fn name(x: u64) -> (String, u64) {
    (format!("key {}", x % 100), x)
}

#[task]
fn picky(x: u64) -> u64 {
    if x == 700 {
        std::process::abort();
    }
    assert!(x % 500 != 99, "unlucky");
    x
}

#[test]
fn flows_leave_nothing_behind_and_hold_no_more_for_longer_input() {
    let _watch = watchdog(Duration::from_secs(240));
    let work = || {
        let pool = Pool::builder().workers(3).build().unwrap();
        let table = pool.flow(0..20_000u64).map(name).reduce_by_key(sum).unwrap();
        assert_eq!(table.len(), 100);
        let groups = pool.flow(0..2_000u64).chunk_size(3).map(name).group_by_key().unwrap();
        assert_eq!(groups.iter().map(|(_, values)| values.len()).sum::<usize>(), 2_000);
        assert_eq!(pool.flow(0u64..).map(twist).filter(is_odd).take(100).map(name).count().unwrap(), 100);
        drop(pool.flow(0u64..).map(name).stream().take(10).collect::<Vec<_>>());
        let mut lost = 0;
        let total = pool.flow(0..1_000u64).map(picky).on_failure(|_| lost += 1).reduce(sum).unwrap();
        assert_eq!((total, lost), (Some((0..1_000).filter(|x| x % 500 != 99 && *x != 700).sum()), 3));
    };
    leaks::check(work, work);

    let pool = Pool::builder().workers(2).build().unwrap();
    let most = Cell::new(0);
    let measured = |n: u64| {
        most.set(0);
        let items = (0..n).inspect(|i| {
            if i % 10_000 == 0 {
                most.set(most.get().max(Arena::family().unwrap().ledger().bytes));
            }
        });
        let total = pool.flow(items).map(twist).filter(is_odd).reduce(sum).unwrap();
        assert_eq!(total, (0..n).map(twist).filter(is_odd).reduce(sum));
        most.get()
    };
    measured(300_000);
    let (short, long) = (measured(300_000), measured(5_000_000));
    assert!(long < short.max(32 << 20) * 3, "{short} bytes in the arena for 300,000 items, {long} for 5,000,000");
}
