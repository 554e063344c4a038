//! A program whose standard streams a test looks at: its pool's tasks write, in the mode that the first argument names.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what it prints is what is tested")]

use std::io::Write;
use std::time::Duration;

use offspring::{OutputMode, Pool, task};
use offspring_tests::kill;

/// Writes its lines in pieces, with others writing theirs at the same time.
#[task]
fn lines(item: u64) -> u64 {
    for line in 0..20 {
        let mut out = std::io::stdout();
        write!(out, "item {item} ").unwrap();
        out.flush().unwrap();
        if line % 5 == 0 {
            std::thread::sleep(Duration::from_micros(300));
        }
        writeln!(out, "line {line}").unwrap();
        if line == 7 {
            eprintln!("item {item} says error");
        }
    }
    item
}

#[task]
fn dies_in_a_line(item: u64) -> u64 {
    println!("whole {item}");
    print!("half {item}");
    std::io::stdout().flush().unwrap();
    if item == 1 {
        kill::sigkill(std::process::id() as i32).unwrap();
        std::thread::sleep(Duration::from_secs(600));
    }
    item
}

fn main() {
    let mut args = std::env::args().skip(1);
    let mode = match args.next().as_deref() {
        Some("tagged") => OutputMode::Tagged,
        Some("ordered") => OutputMode::Ordered,
        _ => OutputMode::Inherit,
    };
    let pool = Pool::builder().workers(3).name("w").output(mode).build().unwrap();
    match args.next().as_deref() {
        Some("lines") => {
            assert_eq!(pool.batch().chunk_size(2).map(lines, 0..30).unwrap(), (0..30).collect::<Vec<_>>());
        }
        Some("locked") => {
            // Whoever has the stream in their hands must not stop the tasks.
            let held = std::io::stdout().lock();
            assert_eq!(pool.map(lines, 0..200).unwrap().len(), 200);
            drop(held);
        }
        Some("imap") => {
            for item in pool.batch().chunk_size(1).imap(lines, 0..12) {
                println!("result {}", item.unwrap());
            }
        }
        Some("rounds") => {
            for round in 0..5 {
                pool.batch().chunk_size(1).map(lines, 0..6).unwrap();
                pool.batch().chunk_size(1).try_map(dies_in_a_line, 0..3).unwrap();
                println!("round {round} is over");
            }
        }
        Some("bar") => {
            let batch = pool.batch().chunk_size(1).progress("reading");
            std::thread::scope(|scope| {
                scope.spawn(|| pool.batch().chunk_size(1).progress("writing").map(lines, 100..120).unwrap());
                // How much there is turns out while it is read, slowly.
                let slow = |_: &u64| {
                    std::thread::sleep(Duration::from_millis(8));
                    true
                };
                assert_eq!(batch.imap(lines, (0..40).filter(slow)).count(), 40);
            });
            offspring::ProgressBar::suspend(|| println!("all over"));
        }
        Some("kill") => {
            let results = pool.batch().chunk_size(1).try_map(dies_in_a_line, 0..3).unwrap();
            assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1);
        }
        other => panic!("what is {other:?}?"),
    }
}
