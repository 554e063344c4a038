//! Being told how far a batch is.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use offspring::{CancelToken, Executor, Inline, Pool, Progress, RunOptions, task};
use offspring_tests::{Watchdog, watchdog};

#[task]
fn square(x: u64) -> u64 {
    x.wrapping_mul(x)
}

#[task]
fn nap(millis: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(millis));
    millis
}

/// Every seventh refuses, every eleventh panics.
#[task]
fn fare(x: u64) -> Result<u64, String> {
    assert!(x % 11 != 3, "never");
    if x % 7 == 2 { Err("no".into()) } else { Ok(x) }
}

#[task]
fn second_time(x: u64) -> u64 {
    if x % 10 == 7 && task::current().unwrap().tries == 1 {
        std::process::abort();
    }
    x
}

fn watch() -> Watchdog {
    watchdog(Duration::from_secs(120))
}

type Told = Arc<Mutex<Vec<Progress>>>;

fn listener() -> (Told, impl FnMut(&Progress) + Send + 'static) {
    let told = Told::default();
    let kept = told.clone();
    (told, move |progress: &Progress| kept.lock().unwrap().push(progress.clone()))
}

fn last(told: &Told) -> Progress {
    let told = told.lock().unwrap();
    assert!(told.windows(2).all(|pair| pair[0].done <= pair[1].done), "{told:?}");
    assert_eq!(told.iter().filter(|progress| progress.is_over).count(), 1, "{told:?}");
    let last = told.last().unwrap().clone();
    assert!(last.is_over);
    last
}

fn failed(x: u64) -> bool {
    x % 11 == 3 || x % 7 == 2
}

#[test]
fn the_last_that_is_told_agrees_with_the_results() {
    let _watch = watch();
    let pool = Pool::builder().workers(2).build().unwrap();
    let count = (0..2000).filter(|x| failed(*x)).count() as u64;
    for chunk in [1, 37] {
        let (told, listen) = listener();
        let results = pool.batch().chunk_size(chunk).progress_with(listen).try_map(fare, 0..2000).unwrap();
        let bad = results.iter().filter(|result| !matches!(result, Ok(Ok(_)))).count() as u64;
        let last = last(&told);
        assert_eq!((last.done, last.total, last.failed), (2000, Some(2000), bad));
        assert_eq!(bad, count);
    }
}

#[test]
fn unknown_totals_stay_unknown_until_the_input_has_ended() {
    let _watch = watch();
    let pool = Pool::builder().workers(2).build().unwrap();
    let (told, listen) = listener();
    let items = (0..300u64).filter(|x| x % 3 == 0);
    assert_eq!(pool.batch().progress_with(listen).imap(square, items).count(), 100);
    let last = last(&told);
    assert_eq!((last.done, last.total), (100, Some(100)));
    // One that is left early: told is what was done.
    let (told, listen) = listener();
    drop(pool.batch().progress_with(listen).imap(square, 0..).take(5).collect::<Vec<_>>());
    let last = self::last(&told);
    assert!(last.done >= 5 && last.total.is_none(), "{last:?}");
}

#[test]
fn what_is_under_way_is_told_with_rate_time_left_and_workers() {
    let _watch = watch();
    let pool = Pool::builder().workers(2).build().unwrap();
    let (told, listen) = listener();
    // All in one window, so that results say nothing before its end.
    pool.batch().chunk_size(1).progress_with(listen).map(nap, [60; 16]).unwrap();
    let told = told.lock().unwrap();
    let middle: Vec<_> = told.iter().filter(|progress| (1..16).contains(&progress.done)).collect();
    assert!(!middle.is_empty(), "{told:?}");
    assert!(middle.iter().all(|progress| progress.total == Some(16) && progress.rate > 0.0 && progress.eta.is_some()));
    let busy = middle.iter().flat_map(|progress| &progress.workers).find(|worker| worker.item.is_some()).unwrap();
    assert!(busy.id < 2 && busy.pid != std::process::id() && busy.item < Some(16), "{busy:?}");
}

#[test]
fn retries_are_told() {
    let _watch = watch();
    let pool = Pool::builder().workers(2).build().unwrap();
    let (told, listen) = listener();
    pool.batch().chunk_size(4).retries(1).progress_with(listen).map(second_time, 0..50).unwrap();
    let last = last(&told);
    assert_eq!((last.done, last.failed, last.retried), (50, 0, 5));
}

#[test]
fn flows_are_told_of_item_by_item() {
    let _watch = watch();
    let pool = Pool::builder().workers(2).build().unwrap();
    let bad = (0..500).filter(|x| failed(*x)).count() as u64;
    let (told, listen) = listener();
    let kept = pool.flow(0..500u64).progress_with(listen).on_failure(drop).try_map(fare).count().unwrap();
    let last = last(&told);
    assert_eq!((last.done, last.failed, kept as u64), (500, bad, 500 - bad));
}

#[test]
fn the_inline_executor_tells_the_same() {
    let _watch = watch();
    let bad = (0..100).filter(|x| failed(*x)).count() as u64;
    let (told, listen) = listener();
    let options = RunOptions::new().progress_with(listen);
    Inline::new().with_options(&options).try_map(fare, 0..100).unwrap();
    let progress = last(&told);
    assert_eq!((progress.done, progress.total, progress.failed), (100, Some(100), bad));
    let (told, listen) = listener();
    let kept = Inline::new().flow(0..100u64).progress_with(listen).on_failure(drop).try_map(fare).count().unwrap();
    let progress = last(&told);
    assert_eq!((progress.done, progress.failed, kept as u64), (100, bad, 100 - bad));
}

#[test]
fn what_is_cancelled_is_not_done() {
    let _watch = watch();
    let pool = Pool::builder().workers(1).build().unwrap();
    let token = CancelToken::new().unwrap();
    let (told, listen) = listener();
    let stop = token.clone();
    let mut listen = listen;
    let watched = move |progress: &Progress| {
        if progress.done > 0 {
            stop.cancel();
        }
        listen(progress);
    };
    let results = pool.batch().chunk_size(1).cancel(&token).progress_with(watched).try_map(nap, [30; 200]).unwrap();
    let values = results.iter().filter(|result| result.is_ok()).count() as u64;
    let last = last(&told);
    assert_eq!((last.done, last.failed), (values, 0));
    assert!(values < 200);
}

#[test]
fn a_callback_that_panics_harms_nothing() {
    let _watch = watch();
    let pool = Pool::builder().workers(2).build().unwrap();
    let results = pool.batch().progress_with(|_| panic!("not me")).map(square, 0..100).unwrap();
    assert_eq!(results.len(), 100);
}

/// The program that the test below runs: a batch with a bar.
#[test]
#[ignore = "run by `a_bar_is_drawn_on_a_terminal_and_nowhere_else`"]
fn batch_with_a_bar() {
    let pool = Pool::builder().workers(2).build().unwrap();
    let bar = offspring::ProgressBar::new("sifting").per_worker(true);
    pool.batch().chunk_size(1).progress(bar).map(nap, [40; 20]).unwrap();
}

#[test]
fn a_bar_is_drawn_on_a_terminal_and_nowhere_else() {
    let _watch = watch();
    let command = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "batch_with_a_bar", "--ignored", "--nocapture"])
            .env("TERM", "xterm")
            .stdout(Stdio::null());
        command
    };
    let output = command().stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let pty =
        nix::pty::openpty(&nix::pty::Winsize { ws_row: 30, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 }, None).unwrap();
    let mut child = command().stderr(Stdio::from(pty.slave)).spawn().unwrap();
    let mut drawn = Vec::new();
    // Ends with an error when the last that has the other side is gone.
    let _ = std::fs::File::from(pty.master).read_to_end(&mut drawn);
    assert!(child.wait().unwrap().success());
    let drawn = String::from_utf8_lossy(&drawn);
    for part in ["sifting [", "/20", "/s", "left", "worker 0 (", "20/20"] {
        assert!(drawn.contains(part), "{part:?} in {drawn:?}");
    }
}
