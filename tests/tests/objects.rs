//! Handles to objects in shared memory, by the smallest kind there is: where they can go, and how long what they refer to
//! lives.

use offspring::testing::object::{OtherBox, TestBox};
use offspring::{Executor, Inline, Pool, Waitable, message, spawn, task, wait_any};
use offspring_tests::{leaks, watchdog};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// Starts what a process keeps for good.
fn warm_up() {
    let pool = Pool::builder().workers(1).build().unwrap();
    assert_eq!(pool.call(nothing, ()).unwrap(), ());
    assert!(spawn(nothing, ()).unwrap().join().is_ok());
}

fn checked(test: impl FnOnce()) {
    let _watch = watchdog(LONG);
    leaks::check(warm_up, test);
}

#[task]
fn nothing() {}

#[task]
fn fill(into: TestBox, with: u64) {
    into.put(&with).unwrap();
}

#[message]
#[derive(Debug)]
struct Desk {
    name: String,
    inbox: TestBox,
    shelf: Vec<TestBox>,
    spare: Option<TestBox>,
    by_name: BTreeMap<String, TestBox>,
    by_number: HashMap<u32, (TestBox, u64)>,
}

#[task]
fn work_at(desk: Desk) -> usize {
    let all = [desk.inbox]
        .into_iter()
        .chain(desk.shelf)
        .chain(desk.spare)
        .chain(desk.by_name.into_values())
        .chain(desk.by_number.into_values().map(|(it, _)| it));
    let mut count = 0;
    for (next, it) in (1u64..).zip(all) {
        it.put(&next).unwrap();
        count += 1;
    }
    count + desk.name.len()
}

#[task]
fn make(with: u64) -> TestBox {
    let made = TestBox::new().unwrap();
    made.put(&with).unwrap();
    made
}

#[task]
fn make_many(count: u64) -> Vec<TestBox> {
    (0..count).map(make).collect()
}

#[task]
fn hand_down(depth: u64, it: TestBox) {
    if depth == 0 {
        it.put(&77u64).unwrap();
    } else {
        spawn(hand_down, (depth - 1, it)).unwrap().join().unwrap();
    }
}

#[task(state)]
fn keeper(it: TestBox) -> TestBox {
    it
}

#[task]
fn keep(state: &mut TestBox, value: u64) -> u64 {
    state.put(&value).unwrap();
    value
}

#[task]
fn die_with(it: TestBox) {
    it.put(&1u64).unwrap();
    std::mem::forget(it);
    std::process::abort();
}

/// Inputs and children are given up by threads of the library, perhaps a moment after their results are had.
fn comes_down_to_one(it: &TestBox) {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while it.references(0) != 1 {
        assert!(std::time::Instant::now() < deadline, "{} references are left", it.references(0));
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn value(it: &TestBox) -> Option<u64> {
    it.get::<u64>().unwrap()
}

#[test]
fn a_handle_goes_as_an_argument_and_shows_the_same_object() {
    checked(|| {
        let it = TestBox::new().unwrap();
        spawn(fill, (it.clone(), 7)).unwrap().join().unwrap();
        assert_eq!(value(&it), Some(7));
        let pool = Pool::builder().workers(2).build().unwrap();
        pool.map(fill, (0..100).map(|at| (it.clone(), at))).unwrap();
        assert!(value(&it).is_some_and(|value| value < 100));
        drop(pool);
        comes_down_to_one(&it);
    });
}

#[test]
fn handles_go_inside_of_structs_and_collections() {
    checked(|| {
        let boxes: Vec<TestBox> = (0..6).map(|_| TestBox::new().unwrap()).collect();
        let desk = || Desk {
            name: "desk".into(),
            inbox: boxes[0].clone(),
            shelf: boxes[1..3].to_vec(),
            spare: Some(boxes[3].clone()),
            by_name: [("a".to_owned(), boxes[4].clone())].into(),
            by_number: [(5, (boxes[5].clone(), 9))].into(),
        };
        let pool = Pool::builder().workers(1).build().unwrap();
        assert_eq!(pool.call(work_at, desk()).unwrap(), 10);
        let seen: Vec<_> = boxes.iter().map(value).collect();
        assert_eq!(seen, [Some(1), Some(2), Some(3), Some(4), Some(5), Some(6)]);
        assert_eq!(spawn(work_at, desk()).unwrap().join().unwrap(), 10);
    });
}

#[test]
fn a_handle_comes_back_as_a_result_and_outlives_its_maker() {
    checked(|| {
        let one = spawn(make, 5).unwrap().join().unwrap();
        comes_down_to_one(&one);
        assert_eq!(value(&one), Some(5));
        let pool = Pool::builder().workers(2).build().unwrap();
        let many = pool.map(make_many, [3, 0, 4]).unwrap();
        drop(pool);
        assert_eq!(many.iter().map(Vec::len).collect::<Vec<_>>(), [3, 0, 4]);
        assert_eq!(many[2].iter().map(value).collect::<Vec<_>>(), [Some(0), Some(1), Some(2), Some(3)]);
    });
}

#[test]
fn a_result_that_nobody_fetches_is_given_up() {
    checked(|| {
        let pool = Pool::builder().workers(1).build().unwrap();
        let handle = pool.submit(make_many, 10).unwrap();
        assert!(handle.wait(LONG).unwrap());
        drop(handle);
        drop(pool);
        let child = spawn(make, 5).unwrap();
        while child.is_alive() {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}

#[test]
fn a_handle_reaches_grandchildren() {
    checked(|| {
        let it = TestBox::new().unwrap();
        spawn(hand_down, (3, it.clone())).unwrap().join().unwrap();
        comes_down_to_one(&it);
        assert_eq!(value(&it), Some(77));
    });
}

#[test]
fn a_handle_lives_in_the_state_of_workers() {
    checked(|| {
        let it = TestBox::new().unwrap();
        let pool = Pool::builder().workers(2).state(keeper, it.clone()).build().unwrap();
        assert_eq!(pool.map(keep, 0..20).unwrap(), (0..20).collect::<Vec<_>>());
        assert!(value(&it).is_some());
        drop(pool);
        comes_down_to_one(&it);
    });
}

#[test]
fn a_handle_goes_through_an_object_and_keeps_what_it_refers_to() {
    checked(|| {
        let outer = TestBox::new().unwrap();
        {
            let inner = TestBox::new().unwrap();
            inner.put(&"deep".to_owned()).unwrap();
            outer.put(&Some(inner)).unwrap();
        }
        let inner = outer.get::<Option<TestBox>>().unwrap().flatten().unwrap();
        assert_eq!(inner.get::<String>().unwrap().unwrap(), "deep");
        assert_eq!(inner.references(0), 2);
        assert!(outer.take().unwrap());
        assert_eq!((inner.references(0), inner.get::<String>().unwrap().unwrap()), (1, "deep".to_owned()));
    });
}

#[test]
fn a_chain_of_ten_thousand_objects_is_freed_without_a_deep_stack() {
    checked(|| {
        let mut chain = TestBox::new().unwrap();
        for _ in 0..10_000 {
            let next = TestBox::new().unwrap();
            next.put(&chain).unwrap();
            chain = next;
        }
    });
}

#[test]
fn many_handles_in_one_message_pin_each_object_once() {
    checked(|| {
        let boxes: Vec<TestBox> = (0..2_000).map(|_| TestBox::new().unwrap()).collect();
        let holder = TestBox::new().unwrap();
        let twice: Vec<TestBox> = boxes.iter().chain(&boxes).cloned().collect();
        holder.put(&twice).unwrap();
        assert!(boxes.iter().all(|it| it.references(0) == 2));
        drop((boxes, twice));
        let back: Vec<TestBox> = holder.get().unwrap().unwrap();
        assert_eq!(back.len(), 4_000);
        drop(holder);
        assert_eq!((back[0].references(0), value(&back[0])), (2, None));
    });
}

#[test]
fn the_references_of_the_dead_go() {
    checked(|| {
        let it = TestBox::new().unwrap();
        for _ in 0..3 {
            assert!(spawn(die_with, it.clone()).unwrap().join().is_err());
            comes_down_to_one(&it);
            assert_eq!(value(&it), Some(1));
        }
        let wakes = it.wakes();
        assert!(wakes >= 3, "after a death nobody was told to look again");
    });
}

#[test]
fn inline_runs_take_handles_too() {
    checked(|| {
        let it = TestBox::new().unwrap();
        let inline = Inline::new();
        inline.map(fill, [(it.clone(), 3)]).unwrap();
        assert_eq!(value(&it), Some(3));
        let made = inline.map(make, [4]).unwrap();
        assert_eq!((value(&made[0]), made[0].references(0)), (Some(4), 1));
        let inline = Inline::with_state(keeper, it.clone()).unwrap();
        assert_eq!(inline.map(keep, [9]).unwrap(), [9]);
        drop(inline);
        assert_eq!((value(&it), it.references(0)), (Some(9), 1));
    });
}

#[test]
fn a_handle_in_the_place_of_another_kind_is_refused() {
    checked(|| {
        let holder = TestBox::new().unwrap();
        holder.put(&OtherBox::new().unwrap()).unwrap();
        let why = holder.get::<TestBox>().unwrap_err();
        assert!(why.contains("a handle to another box for tests in the place of one to a box for tests"), "{why}");
        assert_eq!(holder.get::<OtherBox>().unwrap().unwrap().references(), 2);
    });
}

#[task]
fn fill_after(into: TestBox, millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
    into.put(&1u64).unwrap();
}

#[task]
fn wait_for_either(one: TestBox, two: TestBox) -> Option<usize> {
    wait_any(&[&one, &two], Some(LONG)).unwrap()
}

/// Waits until the process watches.
fn is_watched(it: &TestBox) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while it.watchers() == 0 {
        assert!(std::time::Instant::now() < deadline, "nobody watches");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn whoever_waits_for_several_is_woken_by_another_process() {
    checked(|| {
        let boxes: Vec<TestBox> = (0..300).map(|_| TestBox::new().unwrap()).collect();
        let child = spawn(fill_after, (boxes[222].clone(), 30)).unwrap();
        let waitables: Vec<&dyn Waitable> = boxes.iter().map(|it| it as &dyn Waitable).collect();
        assert_eq!(wait_any(&waitables, Some(LONG)).unwrap(), Some(222));
        assert!(boxes.iter().all(|it| it.watchers() == 0), "the wait is over, and still somebody watches");
        child.join().unwrap();
        let rest = wait_any(&waitables[..222], Some(Duration::from_millis(20))).unwrap();
        assert_eq!((rest, wait_any(&[], Some(LONG)).unwrap()), (None, None));
        assert_eq!(wait_any(&waitables, Some(Duration::ZERO)).unwrap(), Some(222));
    });
}

#[test]
fn objects_children_and_calls_are_waited_for_together() {
    checked(|| {
        let it = TestBox::new().unwrap();
        let pool = Pool::builder().workers(1).build().unwrap();
        let child = spawn(wait_for_either, (it.clone(), it.clone())).unwrap();
        let call = pool.submit(wait_for_either, (it.clone(), it.clone())).unwrap();
        is_watched(&it);
        assert_eq!(wait_any(&[&child, &call, &it], Some(Duration::from_millis(20))).unwrap(), None);
        it.put(&1u64).unwrap();
        assert!(wait_any(&[&child, &it], Some(LONG)).unwrap().is_some());
        assert_eq!(child.join().unwrap(), Some(0));
        assert_eq!(wait_any(&[&call], Some(LONG)).unwrap(), Some(0));
        assert_eq!(call.get().unwrap(), Some(0));
    });
}

#[test]
fn threads_of_a_process_wait_for_different_things_and_for_the_same() {
    checked(|| {
        let boxes: Vec<TestBox> = (0..4).map(|_| TestBox::new().unwrap()).collect();
        std::thread::scope(|scope| {
            let waits: Vec<_> = (0..8)
                .map(|at| {
                    let it = &boxes[at % 4];
                    scope.spawn(move || wait_any(&[it], Some(LONG)).unwrap())
                })
                .collect();
            boxes.iter().for_each(is_watched);
            let pool = Pool::builder().workers(1).build().unwrap();
            pool.map(fill, boxes.iter().map(|it| (it.clone(), 1))).unwrap();
            assert!(waits.into_iter().all(|wait| wait.join().unwrap() == Some(0)));
        });
        assert!(boxes.iter().all(|it| it.watchers() == 0));
    });
}

#[test]
fn a_waiter_that_is_killed_leaves_nothing() {
    checked(|| {
        let it = TestBox::new().unwrap();
        let child = spawn(wait_for_either, (it.clone(), it.clone())).unwrap();
        is_watched(&it);
        child.kill().unwrap();
        assert!(child.join().is_err());
        assert_eq!(it.watchers(), 0);
        it.put(&1u64).unwrap();
    });
}

#[task]
fn drop_at_once(it: TestBox) -> u64 {
    drop(it);
    1
}

#[task]
fn die_if_told(it: TestBox, how: u32) -> u32 {
    match how {
        0 => 0,
        1 => panic!("as told"),
        _ => {
            std::mem::forget(it);
            std::process::abort()
        }
    }
}

#[test]
fn what_an_input_refers_to_goes_when_the_work_is_done_although_nobody_fetched_the_result() {
    checked(|| {
        let it = TestBox::new().unwrap();
        let child = spawn(drop_at_once, it.clone()).unwrap();
        comes_down_to_one(&it);
        assert_eq!(child.join().unwrap(), 1);
        let killed = spawn(die_with, it.clone()).unwrap();
        comes_down_to_one(&it);
        assert!(killed.join().is_err());
        let pool = Pool::builder().workers(2).build().unwrap();
        for how in 0..3 {
            let call = pool.submit(die_if_told, (it.clone(), how)).unwrap();
            comes_down_to_one(&it);
            assert_eq!(call.get().is_ok(), how == 0);
        }
        let calls: Vec<_> = (0..50).map(|_| pool.submit(drop_at_once, it.clone()).unwrap()).collect();
        comes_down_to_one(&it);
        assert!(calls.into_iter().all(|call| call.get().is_ok_and(|one| one == 1)));
    });
}

#[test]
fn an_input_that_is_tried_again_keeps_what_it_refers_to() {
    checked(|| {
        let it = TestBox::new().unwrap();
        let pool = Pool::builder().workers(2).retries(2).build().unwrap();
        for _ in 0..5 {
            it.take().unwrap();
            let call = pool.submit(die_the_first_time, it.clone()).unwrap();
            assert_eq!(call.get().unwrap(), 2);
            comes_down_to_one(&it);
        }
    });
}

#[task]
fn die_the_first_time(it: TestBox) -> u64 {
    if value(&it).is_none() {
        it.put(&2u64).unwrap();
        std::process::abort();
    }
    value(&it).unwrap()
}
