//! `#[shared]` statics: one object in all processes, made once, by whoever comes first.

use offspring::sync::Mutex;
use offspring::{ErrorKind, Failure, ObjectError, Pool, SharedStatic, message, shared, spawn, task};
use offspring_tests::{Watchdog, watchdog};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

fn watch() -> Watchdog {
    watchdog(Duration::from_secs(100))
}

#[shared]
static TOTAL: Mutex<u64> = Mutex::new(5)?;

#[task]
fn add(x: u64) -> Result<(), Failure> {
    *TOTAL.lock()? += x;
    Ok(())
}

#[test]
fn a_static_is_one_object_in_all_processes() {
    let _watch = watch();
    let pool = Pool::builder().workers(3).build().unwrap();
    pool.map(add, 0..100).unwrap();
    assert_eq!(*TOTAL.lock().unwrap(), 5 + 4950);
}

#[shared]
static RACED: [Mutex<u64>; 3] = [Mutex::new(0)?, Mutex::new(0)?, Mutex::new(0)?];

#[task]
fn race(which: usize) -> Result<(), Failure> {
    *RACED[which].lock()? += 1;
    Ok(())
}

#[test]
fn children_that_come_first_at_once_get_the_same_object() {
    let _watch = watch();
    let children: Vec<_> = (0..12).map(|at| spawn(race, at % 3).unwrap()).collect();
    for child in children {
        child.join().unwrap().unwrap();
    }
    assert!(RACED.iter().all(|it| *it.lock().unwrap() == 4));
}

/// How often the expression of `DEADLY` was evaluated.
#[shared]
static ATTEMPTS: Mutex<u64> = Mutex::new(0)?;

#[shared]
static DEADLY: Mutex<u64> = {
    let attempt = {
        let mut attempts = ATTEMPTS.lock()?;
        *attempts += 1;
        *attempts
    };
    let made = Mutex::new(attempt)?;
    if attempt < 3 {
        std::process::abort();
    }
    made
};

#[task]
fn dare() -> Result<u64, Failure> {
    Ok(*DEADLY.lock()?)
}

#[test]
fn who_dies_while_making_it_leaves_it_to_the_next() {
    let _watch = watch();
    assert!(spawn(dare, ()).unwrap().join().is_err());
    assert!(spawn(dare, ()).unwrap().join().is_err());
    assert_eq!(spawn(dare, ()).unwrap().join().unwrap().unwrap(), 3);
    assert_eq!(*DEADLY.lock().unwrap(), 3);
}

#[shared]
static PICKY: Mutex<u64> = {
    let attempts = std::env::var("PICKY_ATTEMPTS").map_err(|_| Failure::msg("PICKY_ATTEMPTS is not set"))?;
    Mutex::new(attempts.parse()?)?
};

#[task]
fn pick() -> Result<u64, String> {
    SharedStatic::get(&PICKY).map(|it| *it.lock().unwrap()).map_err(|error| error.to_string())
}

#[test]
fn a_failing_expression_panics_in_the_caller_or_gives_its_error_and_is_tried_again() {
    let _watch = watch();
    let error = SharedStatic::get(&PICKY).unwrap_err();
    assert!(matches!(&error, ObjectError::NotMade { kind: ErrorKind::Failed, .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        "the shared static `shared_statics::PICKY` could not be made: PICKY_ATTEMPTS is not set"
    );
    let panic = catch_unwind(AssertUnwindSafe(|| *PICKY.lock().unwrap())).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.contains("is not set; `SharedStatic::get(&PICKY)` gives this as an error"), "{text}");
    let child = offspring::Process::new(pick, ()).env("PICKY_ATTEMPTS", "42").spawn().unwrap();
    assert_eq!(child.join().unwrap(), Ok(42));
    assert_eq!(*PICKY.lock().unwrap(), 42);
}

#[shared]
static SNAKE: Vec<u64> = vec![SNAKE.len() as u64];

#[test]
fn an_expression_that_uses_its_own_static_is_refused() {
    let error = catch_unwind(|| SharedStatic::get(&SNAKE)).unwrap_err();
    let text = error.downcast_ref::<String>().unwrap();
    assert!(text.contains("its own expression uses it"), "{text}");
    #[shared]
    static MILD: u64 = SharedStatic::get(&MILD).map(|it| it + 1)?;
    let error = SharedStatic::get(&MILD).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
}

#[message]
struct Office {
    name: String,
    doors: Vec<Mutex<u32>>,
}

#[shared]
static OFFICE: Office = Office { name: "x".repeat(5000), doors: (0..50).map(Mutex::new).collect::<Result<_, _>>()? };

#[task]
fn knock(at: usize) -> Result<usize, Failure> {
    *OFFICE.doors[at].lock()? += 1000;
    Ok(OFFICE.name.len())
}

#[test]
fn a_static_may_be_any_message_with_handles() {
    let _watch = watch();
    assert_eq!(spawn(knock, 7).unwrap().join().unwrap().unwrap(), 5000);
    assert_eq!((*OFFICE.doors[7].lock().unwrap(), *OFFICE.doors[8].lock().unwrap()), (1007, 8));
}

#[test]
fn statics_of_one_name_in_two_places_are_two_objects() {
    fn one() -> &'static Mutex<u64> {
        #[shared]
        static SAME: Mutex<u64> = Mutex::new(1)?;
        &SAME
    }
    fn two() -> &'static str {
        #[shared]
        static SAME: String = "two".to_owned();
        &SAME
    }
    assert_eq!((*one().lock().unwrap(), two()), (1, "two"));
}

#[task]
fn count_in_grandchild(depth: u32) -> Result<(), Failure> {
    if depth > 0 {
        return spawn(count_in_grandchild, depth - 1)?.join()?;
    }
    #[shared]
    static DEEP: Mutex<u64> = Mutex::new(0)?;
    *DEEP.lock()? += 1;
    assert_eq!(*DEEP.lock()?, 1);
    Ok(())
}

#[test]
fn a_static_that_only_a_grandchild_made_outlives_it() {
    let _watch = watch();
    spawn(count_in_grandchild, 2).unwrap().join().unwrap().unwrap();
    // The same object: 2 now, so the assertion fails in the second one.
    assert!(spawn(count_in_grandchild, 0).unwrap().join().is_err());
}
