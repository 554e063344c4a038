//! The small programs about queues and pipes, run as processes.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::run::{right_once, run};
use offspring_tests::watchdog;

/// What follows `before` in the lines that begin with it.
fn after<'a>(lines: &'a [String], before: &'a str) -> Vec<&'a str> {
    lines.iter().filter_map(|line| line.strip_prefix(before)).collect()
}

#[test]
fn queue_producer_consumer() {
    let _watch = watchdog(Duration::from_secs(60));
    let lines = run!("queue_producer_consumer").lines();
    let put: Vec<_> = after(&lines, "put ").into_iter().map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(put.len(), 10);
    assert_eq!(after(&lines, "taken "), put);
    assert_eq!(lines.last().unwrap(), "The queue is empty");
    assert_eq!(lines.len(), 21);
}

#[test]
fn queue_many_producers() {
    let _watch = watchdog(Duration::from_secs(60));
    let lines = run!("queue_many_producers").lines();
    let pairs: BTreeSet<_> = after(&lines, "number ").iter().map(|line| line.replace(" from", "")).collect();
    let children: BTreeSet<_> = after(&lines, "child ").iter().map(|line| line.replace(" was", "")).collect();
    assert_eq!((pairs.len(), &pairs), (3, &children));
}

#[test]
fn queue_full_empty() {
    let _watch = watchdog(Duration::from_secs(60));
    let expected = [
        "try_put: Err(Full) after 0 tenths of a second",
        "put_timeout: Err(Timeout) after 1 tenths of a second",
        "put: Ok(()) after 3 tenths of a second",
        "the child has taken 1",
        "2 and 3",
        "try_get: Err(Empty) after 0 tenths of a second",
        "get_timeout: Err(Timeout) after 1 tenths of a second",
        "get: Ok(7) after 3 tenths of a second",
    ];
    right_once(|| run!("queue_full_empty"), |run| run.lines() == expected).took_at_least(800);
}

#[test]
fn joinable_queue() {
    let _watch = watchdog(Duration::from_secs(60));
    let run = run!("joinable_queue");
    // Ten items of 30 ms for three consumers: four rounds.
    run.took_at_least(120);
    let lines = run.lines();
    let mut done = lines[..10].to_vec();
    done.sort();
    assert_eq!(done, (0..10).map(|item| format!("item {item} is done")).collect::<Vec<_>>());
    assert_eq!(lines[10], "Ended");
    assert!(lines[11].starts_with("once more: ") && lines[11].contains("too many"), "{lines:?}");
}

#[test]
fn pipe_pipeline() {
    let _watch = watchdog(Duration::from_secs(60));
    let mut expected: Vec<_> = (0..10).map(|number: u64| number.pow(2).to_string()).collect();
    expected.push("End".to_owned());
    assert_eq!(run!("pipe_pipeline").lines(), expected);
}

#[test]
fn pipe_duplex() {
    let _watch = watchdog(Duration::from_secs(60));
    let expected = ["parent: [Number(42), Nothing, Text(\"hello\"), Real(0.5)]", "child: thank you for 4 values"];
    assert_eq!(run!("pipe_duplex").lines(), expected);
}

#[test]
fn producers_consumers_lock() {
    let _watch = watchdog(Duration::from_secs(60));
    let lines = run!("producers_consumers_lock").lines();
    let items: BTreeSet<u64> = after(&lines, "item ").iter().map(|item| item.parse().unwrap()).collect();
    assert_eq!(items, (1..=2000).collect());
    assert_eq!(lines.len(), 2001);
    assert_eq!(lines.last().unwrap(), "final value 2000");
}
