//! The crash matrix: wherever in its work a worker ends, and however, the item that it had in hand is the only one without a value, and the
//! pool goes on. After loky's `test_reusable_executor` (crash in a task, in decoding an argument, in encoding a result, at exit) and
//! pebble's and CPython's tests of deadlocks.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use offspring::{Pool, TaskError, message, process, task};
use offspring_tests::{Watchdog, kill, watchdog};

/// How a worker ends.
#[message]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Never,
    Panic,
    Abort,
    Exit,
    Kill,
    Segfault,
}

const ENDS: [End; 5] = [End::Panic, End::Abort, End::Exit, End::Kill, End::Segfault];

impl End {
    /// Ends this process in this way, if it is a worker.
    fn come(self) {
        if process::worker_id().is_none() {
            return;
        }
        match self {
            End::Never => {}
            End::Panic => panic!("on purpose"),
            End::Abort => std::process::abort(),
            End::Exit => std::process::exit(1),
            End::Kill => {
                let _ = kill::sigkill(std::process::id() as i32);
                std::thread::sleep(Duration::from_secs(600));
            }
            // As a crash in a library would: the handler leaves its note.
            End::Segfault => {
                let _ = kill::signal(std::process::id() as i32, 11);
                std::thread::sleep(Duration::from_secs(600));
            }
        }
    }
}

/// A value whose code ends a worker when it is hashed: while an argument is decoded, or a result encoded.
#[message]
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bomb(End);

impl Hash for Bomb {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.come();
        0u8.hash(state);
    }
}

/// A value that ends a worker when it is dropped: after the task, before its result is written.
#[message]
#[derive(Debug, Clone)]
struct Mine(End);

impl Drop for Mine {
    fn drop(&mut self) {
        self.0.come();
    }
}

#[task]
fn in_the_task(end: End) -> u32 {
    end.come();
    1
}

#[task]
fn in_an_argument(bombs: HashSet<Bomb>) -> u32 {
    bombs.len() as u32
}

#[task]
fn in_dropping_an_argument(mine: Mine) -> u32 {
    drop(mine);
    1
}

/// The hook runs when the worker ends by itself.
#[task]
fn at_exit(end: u32) -> u32 {
    extern "C" fn crash() {
        std::process::abort();
    }
    if end == 1 {
        // SAFETY: a function of the signature that is asked for.
        #[allow(unsafe_code)]
        unsafe {
            libc::atexit(crash);
        }
    }
    end
}

#[task]
fn square(x: u64) -> u64 {
    x.wrapping_mul(x)
}

fn watch() -> Watchdog {
    watchdog(Duration::from_secs(180))
}

fn pool(workers: usize) -> Pool {
    Pool::builder().workers(workers).build().unwrap()
}

/// Item 3 of 8 ends its worker; the error is its own, and says how.
fn judge(end: End, results: &[Result<u32, TaskError>]) {
    for (item, result) in results.iter().enumerate() {
        if item != 3 {
            assert_eq!(*result, Ok(1), "{end:?}, item {item}");
            continue;
        }
        let error = result.as_ref().unwrap_err();
        assert_eq!(error.item(), Some(3));
        match end {
            End::Panic => assert!(error.is_panicked() && error.message() == Some("on purpose"), "{error}"),
            End::Exit => assert_eq!(error.exit_status().unwrap().code(), Some(1), "{error}"),
            _ => assert!(error.is_worker_died() && error.exit_status().unwrap().signal().is_some(), "{error}"),
        }
    }
}

fn items<T>(end: End, item: impl Fn(End) -> T) -> Vec<T> {
    (0..8).map(|at| item(if at == 3 { end } else { End::Never })).collect()
}

#[test]
fn a_crash_costs_its_own_item_wherever_it_comes() {
    let _watch = watch();
    let pool = pool(2);
    for end in ENDS {
        for chunk in [1, 8] {
            let batch = pool.batch().chunk_size(chunk);
            judge(end, &batch.try_map(in_the_task, items(end, |end| end)).unwrap());
            let bombs = items(end, |end| HashSet::from([Bomb(end)]));
            judge(end, &batch.try_map(in_an_argument, bombs).unwrap());
            judge(end, &batch.try_map(in_dropping_an_argument, items(end, Mine)).unwrap());
        }
        assert_eq!(pool.map(square, 0..3).unwrap(), [0, 1, 4]);
    }
}

#[test]
fn the_same_with_calls_and_lazily() {
    let _watch = watch();
    let pool = pool(2);
    for end in ENDS {
        let handles: Vec<_> = items(end, |end| pool.submit(in_the_task, end).unwrap());
        let failed: Vec<bool> = handles.into_iter().map(|handle| handle.get().is_err()).collect();
        assert_eq!(failed, [false, false, false, true, false, false, false, false]);
        judge(end, &pool.imap(in_the_task, items(end, |end| end)).collect::<Vec<_>>());
        let mut unordered: Vec<_> = pool.imap_unordered(in_the_task, items(end, |end| end)).collect();
        unordered.sort_by_key(|(item, _)| *item);
        judge(end, &unordered.into_iter().map(|(_, result)| result).collect::<Vec<_>>());
    }
}

#[test]
fn workers_that_crash_at_their_exit_do_not_keep_a_pool_from_ending() {
    let _watch = watch();
    for workers in [1, 3] {
        let pool = pool(workers);
        assert_eq!(pool.map(at_exit, [1u32; 20]).unwrap(), [1; 20]);
        pool.close();
        pool.join().unwrap();
    }
    // Dropped without a word, too.
    assert_eq!(pool(2).map(at_exit, [1u32; 4]).unwrap(), [1; 4]);
}

#[test]
fn all_workers_crash_at_once_again_and_again() {
    let _watch = watch();
    let pool = pool(3);
    for _ in 0..10 {
        let results = pool.batch().chunk_size(1).crash_limit(1_000).try_map(in_the_task, [End::Kill; 9]).unwrap();
        assert!(results.iter().all(|result| result.as_ref().is_err_and(TaskError::is_worker_died)));
        assert_eq!(pool.map(square, 0..3).unwrap(), [0, 1, 4]);
    }
}

#[test]
fn a_pool_can_be_ended_in_the_midst_of_crashes() {
    let _watch = watch();
    for round in 0..15u64 {
        let pool = pool(2);
        let handles: Vec<_> = (0..12).map(|at| pool.submit(in_the_task, ENDS[at % 5]).unwrap()).collect();
        std::thread::sleep(Duration::from_millis(round));
        if round % 3 == 0 {
            pool.close();
        } else if round % 3 == 1 {
            pool.terminate();
        } else {
            // The handles keep it going.
            drop(pool);
            assert!(handles.into_iter().all(|handle| handle.get().is_err()));
            continue;
        }
        pool.join().unwrap();
        assert!(handles.into_iter().all(|handle| handle.get().is_err()));
    }
}

#[test]
fn many_threads_use_a_pool_whose_workers_crash() {
    let _watch = watch();
    let pool = pool(3);
    std::thread::scope(|scope| {
        for thread in 0..4usize {
            let pool = &pool;
            scope.spawn(move || {
                for round in 0..12 {
                    let end = ENDS[(thread + round) % 5];
                    judge(end, &pool.batch().chunk_size(1).try_map(in_the_task, items(end, |end| end)).unwrap());
                }
            });
        }
    });
}
