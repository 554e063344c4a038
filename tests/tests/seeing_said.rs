//! What tasks say before they return: values for their handles, how far they are, notes.

use std::time::{Duration, Instant};

use offspring::{ErrorKind, Executor, Inline, Pool, Queue, TaskError, message, task};
use offspring_tests::{kill, leaks, watchdog};

const LIMIT: Duration = Duration::from_secs(120);

#[message]
#[derive(Debug, Clone, PartialEq)]
struct Epoch {
    number: u32,
    names: Vec<String>,
}

fn epoch(number: u32) -> Epoch {
    Epoch { number, names: (0..number).map(|name| format!("name {name} of a length that is not inline")).collect() }
}

#[task]
fn trains(epochs: u32) -> u32 {
    for number in 0..epochs {
        task::emit(epoch(number)).unwrap();
        if number % 2 == 0 {
            task::emit(f64::from(number)).unwrap();
        }
    }
    epochs
}

#[task]
fn emits_and_waits(go_on: Queue<u32>) -> u32 {
    let mut sum = 0;
    loop {
        task::emit(sum).unwrap();
        match go_on.get() {
            Ok(number) => sum += number,
            Err(_) => return sum,
        }
    }
}

#[task]
fn emits_then_dies(values: u32) {
    for value in 0..values {
        task::emit(epoch(value)).unwrap();
        task::note(format_args!("emitted {value}"));
    }
    kill::sigkill(std::process::id() as i32).unwrap();
    std::thread::sleep(Duration::from_secs(600));
}

#[task]
fn notes_then(count: u32, how: &str) -> u32 {
    for number in 0..count {
        task::note(format!("note {number}"));
    }
    match how {
        "dies" => {
            kill::sigkill(std::process::id() as i32).unwrap();
            std::thread::sleep(Duration::from_secs(600));
        }
        "panics" => panic!("as told"),
        "lasts" => std::thread::sleep(Duration::from_secs(600)),
        _ => {}
    }
    count
}

#[task]
fn reports(steps: u64, go_on: Queue<u32>) {
    for step in 0..steps {
        task::progress(step, steps);
        go_on.get().unwrap();
    }
}

#[task]
fn says_nothing(_: u32, go_on: Queue<u32>) {
    go_on.get().unwrap();
}

#[task]
fn emits_a_lot(count: u32) -> u32 {
    (0..count).for_each(|value| task::emit(vec![value; 100]).unwrap());
    count
}

#[task]
fn current_twice(_: u32) -> (Option<usize>, u32, u32, bool, bool) {
    let run = task::current().unwrap();
    (run.item, run.tries, run.worker, run.deadline.is_some(), run.cancelled)
}

fn pool(workers: usize) -> Pool {
    Pool::builder().workers(workers).build().unwrap()
}

#[test]
fn values_come_in_order_by_type_and_once() {
    let _watchdog = watchdog(LIMIT);
    let pool = pool(1);
    for handle in [pool.submit(trains, 5u32).unwrap(), Inline::new().submit(trains, 5u32).unwrap()] {
        let epochs: Vec<Epoch> = handle.emitted().collect();
        assert_eq!(epochs, (0..5).map(epoch).collect::<Vec<_>>());
        assert_eq!(handle.emitted::<f64>().collect::<Vec<_>>(), [0.0, 2.0, 4.0]);
        assert_eq!(handle.emitted::<Epoch>().next(), None);
        assert_eq!(handle.emitted::<String>().try_next(), None);
        assert_eq!(handle.get().unwrap(), 5);
    }
}

#[test]
fn a_value_is_there_while_the_task_goes_on() {
    let _watchdog = watchdog(LIMIT);
    let (pool, go_on) = (pool(1), Queue::unbounded().unwrap());
    let handle = pool.submit(emits_and_waits, go_on.clone()).unwrap();
    let mut values = handle.emitted::<u32>();
    assert_eq!(values.next(), Some(0));
    assert_eq!(values.next_timeout(Duration::from_millis(20)), None);
    for (number, sum) in [(3, 3), (4, 7)] {
        go_on.put(&number).unwrap();
        assert_eq!(values.next(), Some(sum));
        assert!(!handle.is_ready());
    }
    go_on.close().unwrap();
    assert_eq!(values.next(), None);
    assert_eq!(handle.get().unwrap(), 7);
}

#[test]
fn what_was_emitted_and_noted_before_a_kill_is_there() {
    let _watchdog = watchdog(LIMIT);
    let pool = pool(1);
    let handle = pool.submit(emits_then_dies, 9u32).unwrap();
    assert_eq!(handle.emitted::<Epoch>().collect::<Vec<_>>(), (0..9).map(epoch).collect::<Vec<_>>());
    assert_eq!(handle.notes().len(), 9);
    let error = handle.get().unwrap_err();
    assert!(error.is_worker_died());
    assert_eq!(error.notes().last().map(String::as_str), Some("emitted 8"));
}

#[test]
fn notes_are_in_the_error_of_their_item_whatever_ended_it() {
    let _watchdog = watchdog(LIMIT);
    let pool = pool(2);
    let hows = ["", "dies", "panics", "lasts"];
    let batch = pool.batch().chunk_size(4).timeout(Duration::from_millis(700));
    let results = batch.try_map(notes_then, hows.map(|how| (2u32, how))).unwrap();
    assert_eq!(results[0], Ok(2));
    for (result, how) in results.iter().zip(hows).skip(1) {
        let error = result.as_ref().unwrap_err();
        assert_eq!(error.notes(), ["note 0", "note 1"], "{how}: {error}");
        assert!(error.to_string().contains("its notes: note 0; note 1"), "{error}");
    }
    assert!(matches!(results[3], Err(TaskError::TimedOut { .. })));
    let error = Inline::new().call(notes_then, (2u32, "panics")).unwrap_err();
    assert_eq!(error.notes(), ["note 0", "note 1"]);
}

#[test]
fn of_many_notes_the_first_ones_and_the_last_are_kept() {
    let _watchdog = watchdog(LIMIT);
    let error = pool(1).call(notes_then, (10_000u32, "dies")).unwrap_err();
    let mut expected: Vec<String> = (0..31).map(|number| format!("note {number}")).collect();
    expected.push("note 9999".into());
    assert_eq!(error.notes(), expected);
    let error = Inline::new().call(notes_then, (10_000u32, "panics")).unwrap_err();
    assert_eq!(error.notes(), expected);
}

#[test]
fn progress_is_of_the_run_that_is_under_way() {
    let _watchdog = watchdog(LIMIT);
    let (pool, go_on) = (pool(1), Queue::unbounded().unwrap());
    let handle = pool.submit(reports, (3u64, go_on.clone())).unwrap();
    for step in 0..3 {
        let begun = Instant::now();
        while handle.progress() != Some((step, 3)) {
            assert!(begun.elapsed() < LIMIT, "{:?}", handle.progress());
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(pool.workers()[0].progress, Some((step, 3)));
        go_on.put(&0).unwrap();
    }
    handle.get().unwrap();
    let handle = pool.submit(says_nothing, (0u32, go_on.clone())).unwrap();
    while !pool.workers().iter().any(|worker| worker.busy) {
        std::thread::yield_now();
    }
    assert_eq!((handle.progress(), pool.workers()[0].progress), (None, None));
    go_on.put(&0).unwrap();
    handle.get().unwrap();
}

#[test]
fn outside_of_tasks_emitting_is_an_error_and_the_rest_does_nothing() {
    assert_eq!(task::emit(7u32).unwrap_err().kind(), ErrorKind::Unsupported);
    task::progress(1, 2);
    task::note("nobody hears this");
    assert_eq!(task::current(), None);
}

#[test]
fn a_task_knows_its_item_try_worker_and_deadline() {
    let _watchdog = watchdog(LIMIT);
    let pool = pool(1);
    let runs = pool.batch().timeout(Duration::from_secs(60)).map(current_twice, 0..3u32).unwrap();
    for (item, run) in runs.iter().enumerate() {
        assert_eq!((run.0, run.1, run.3, run.4), (Some(item), 1, true, false));
        assert!(run.2 != 0 && run.2 != std::process::id());
    }
}

#[test]
fn what_was_emitted_goes_with_the_handle() {
    let _watchdog = watchdog(LIMIT);
    leaks::check(
        || drop(pool(1).submit(emits_a_lot, 10u32).unwrap().get()),
        || {
            let pool = pool(1);
            for _ in 0..20 {
                let handle = pool.submit(emits_a_lot, 300u32).unwrap();
                assert_eq!(handle.emitted::<Vec<u32>>().take(200).count(), 200);
                handle.get().unwrap();
            }
            pool.close();
            pool.join().unwrap();
        },
    );
}
