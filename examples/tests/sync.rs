//! The small programs about locks and their relatives, run as processes.

mod common;

use std::time::Duration;

use common::run::{number, right_once, run};
use offspring_tests::watchdog;

#[test]
fn lock() {
    let _watch = watchdog(Duration::from_secs(60));
    let run = right_once(|| run!("lock"), |run| number(run, "without: ", " ms") < 400);
    assert!(number(&run, "with the lock: ", " ms") >= 500);
    let lines = run.lines();
    assert_eq!(lines.len(), 42);
    for pair in lines[..20].chunks(2) {
        assert_eq!(pair[0].strip_suffix("begins").unwrap(), pair[1].strip_suffix("ends").unwrap(), "{lines:?}");
    }
}

#[test]
fn semaphore() {
    let _watch = watchdog(Duration::from_secs(60));
    let run = right_once(
        || {
            let run = run!("semaphore");
            assert!(number(&run, "most at once: ", "") <= 2);
            assert!(number(&run, "took ", " ms") >= 225);
            run
        },
        // One after the other would take 450 ms.
        |run| number(run, "most at once: ", "") == 2 && number(run, "took ", " ms") < 450,
    );
    let mut children: Vec<_> = run.lines().into_iter().filter(|line| line.starts_with("child")).collect();
    children.sort();
    assert_eq!(children, (0..10).map(|i| format!("child {i}: has a permit")).collect::<Vec<_>>());
}

#[test]
fn event() {
    let _watch = watchdog(Duration::from_secs(60));
    let mut expected = vec!["without a timeout: true".to_owned(); 5];
    let answers = [(0, false), (50, false), (100, false), (150, false), (400, true)];
    expected.extend(answers.map(|(timeout, answer)| format!("timeout of {timeout} ms: {answer}")));
    right_once(|| run!("event"), |run| run.lines() == expected).took_at_least(300);
}

#[test]
fn condition() {
    let _watch = watchdog(Duration::from_secs(60));
    let taken = "a ticket is taken";
    let expected = ["one ticket", taken, "two tickets", taken, taken, "another ticket in time: false"];
    right_once(|| run!("condition"), |run| run.lines() == expected).took_at_least(500);
}

#[test]
fn barrier() {
    let _watch = watchdog(Duration::from_secs(60));
    let run = run!("barrier");
    let mut lines = run.lines();
    for (round, lines) in (1..).zip(lines.drain(..15).collect::<Vec<_>>().chunks(5)) {
        let mut coming = lines[..4].to_vec();
        coming.sort();
        assert_eq!(coming, (0..4).map(|i| format!("round {round}: child {i} comes")).collect::<Vec<_>>());
        assert_eq!(lines[4], format!("round {round}: all are there"));
    }
    assert_eq!(lines[0], "one is late");
    // One of the three is the first whose time is over; for the others, and for the late one, the barrier is broken then.
    let mut broken = lines[1..5].to_vec();
    broken.sort();
    assert_eq!(broken, ["Broken", "Broken", "Broken", "Timeout"]);
    assert_eq!(lines[5..], ["broken: true", "after a reset", "met", "met", "met", "met"]);
}

#[test]
fn rlock() {
    let _watch = watchdog(Duration::from_secs(60));
    let run = run!("rlock");
    run.took_at_least(300);
    let mut lines = run.lines();
    // The second is told so some time while the first is inside.
    let answer = lines.iter().position(|line| line == "second: free at once: false").unwrap();
    assert!(answer < lines.len() - 1);
    lines.remove(answer);
    let expected = [
        "first: level 2, held 2 times",
        "first: level 1, held 3 times",
        "first: level 0, held 4 times",
        "first: leaves level 0",
        "first: leaves level 1",
        "first: leaves level 2",
        "second: inside",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn lock_in_a_static() {
    let _watch = watchdog(Duration::from_secs(60));
    let run = run!("lock_in_a_static");
    assert!(number(&run, "took ", " ms") >= 500);
    let lines = run.lines();
    assert_eq!(lines.len(), 21);
    for pair in lines[..20].chunks(2) {
        assert_eq!(pair[0].strip_suffix("begins").unwrap(), pair[1].strip_suffix("ends").unwrap(), "{lines:?}");
    }
}
