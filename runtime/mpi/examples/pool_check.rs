//! What the tests of [`MpiPool`] run under `mpirun`: the first argument says which.
#![allow(clippy::print_stdout, reason = "a program")]

use std::io::Write;
use std::time::{Duration, Instant};

use offspring::{CancelLevel, ErrorKind, Executor, RunOptions, task};
use offspring_mpi::MpiPool;
use offspring_tests::conformance::conforms;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[task]
fn square(x: u64) -> u64 {
    x * x
}

/// Notes that it ran, in a file; takes its time.
#[task]
fn noted(x: u64, millis: u64, log: String) -> Result<u64, offspring::Failure> {
    std::thread::sleep(Duration::from_millis(millis));
    std::fs::OpenOptions::new().create(true).append(true).open(log)?.write_all(b".")?;
    Ok(x * x)
}

#[task]
fn crash_at(x: u64, at: u64) -> u64 {
    if x == at {
        std::process::abort();
    }
    x
}

#[task]
fn nap(millis: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(millis));
    millis
}

#[task]
fn until_cancelled(_: ()) -> bool {
    let begun = Instant::now();
    while !task::cancelled() && begun.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(1));
    }
    task::cancelled()
}

#[task]
fn pid(_: u64) -> u32 {
    std::thread::sleep(Duration::from_millis(2));
    std::process::id()
}

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |at: usize| arguments.get(at).map_or("", String::as_str);
    match argument(0) {
        "conforms" => {
            conforms(&MpiPool::new()?);
            println!("conforms");
        }
        "conforms-local" => {
            conforms(&MpiPool::builder().local_workers(2).build()?);
            println!("conforms");
        }
        "hosts" => {
            let pool = MpiPool::new()?;
            let hosts: Vec<&str> = pool.ranks().iter().map(|rank| rank.host.as_str()).collect();
            assert_eq!(pool.map(square, 0..10_000)?, (0..10_000).map(square).collect::<Vec<_>>());
            println!("{}", hosts.join(" "));
        }
        // What a run is killed in the middle of, and run again.
        "journal" => journal(argument(1), argument(2), argument(3).parse()?)?,
        "crash" => {
            let pool = MpiPool::new()?;
            println!("{:?}", pool.map(crash_at, (0..100).map(|x| (x, 50))));
        }
        "local-crash" => local_crash()?,
        "options" => options()?,
        "stuck" => {
            let pool = MpiPool::new()?;
            let limited = RunOptions::new().timeout(Duration::from_millis(100));
            let begun = Instant::now();
            let error = pool.with_options(&limited).call(nap, 3_600_000).unwrap_err();
            assert!(error.is_timed_out() && begun.elapsed() < Duration::from_secs(60), "{error}");
            println!("timed out");
            std::io::stdout().flush()?;
        }
        "exit" => {
            let pool = MpiPool::new()?;
            assert_eq!(pool.call(square, 5)?, 25);
            println!("left");
            // Nobody drops the pool.
            std::process::exit(0);
        }
        other => return Err(format!("no check {other:?}").into()),
    }
    Ok(())
}

/// Squares with a journal; the ranks that run them are printed first.
fn journal(file: &str, log: &str, millis: u64) -> Outcome {
    let pool = MpiPool::new()?;
    let ranks: Vec<String> = pool.ranks().iter().map(|rank| rank.process.to_string()).collect();
    println!("{}", ranks.join(" "));
    std::io::stdout().flush()?;
    let durable = RunOptions::new().chunk_size(1).journal(file);
    let items = (0..100).map(|x| (x, millis, log.to_owned()));
    let squares = pool.with_options(&durable).map(noted, items)?;
    let squares: Vec<u64> = squares.into_iter().collect::<Result<_, _>>()?;
    assert_eq!(squares, (0..100).map(square).collect::<Vec<_>>());
    println!("done");
    Ok(())
}

/// With local workers, a crash costs its item, and what runs can be ended by force.
fn local_crash() -> Outcome {
    let pool = MpiPool::builder().local_workers(2).build()?;
    let results = pool.try_map(crash_at, (0..100).map(|x| (x, 50)))?;
    for (x, result) in (0..).zip(results) {
        match result {
            Ok(value) => assert!(value == x && x != 50),
            Err(error) => assert!(x == 50 && error.is_worker_died() && error.item() == Some(50), "{x}: {error}"),
        }
    }
    let retried = RunOptions::new().retries(2);
    let error = pool.with_options(&retried).call(crash_at, (1, 1)).unwrap_err();
    assert_eq!((error.kind(), error.tries()), (ErrorKind::WorkerDied, Some(3)));
    let limited = RunOptions::new().timeout(Duration::from_millis(50));
    let begun = Instant::now();
    assert!(pool.with_options(&limited).call(nap, 3_600_000).unwrap_err().is_timed_out());
    let napping = pool.submit(nap, 3_600_000)?;
    napping.cancel();
    assert!(napping.get().unwrap_err().is_cancelled());
    assert!(begun.elapsed() < Duration::from_secs(60));
    // All workers of all ranks take part.
    let mut pids = pool.with_options(&RunOptions::new().chunk_size(1)).map(pid, 0..400)?;
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), pool.workers());
    println!("survived");
    Ok(())
}

fn options() -> Outcome {
    let pool = MpiPool::new()?;
    // A task that runs in the rank's own thread hears that it is to end.
    let running = pool.submit(until_cancelled, ())?;
    std::thread::sleep(Duration::from_millis(100));
    running.cancel_with(CancelLevel::Cooperative);
    assert!(running.get()?);
    // What nobody wants any more is not begun.
    let naps = pool.imap(nap, std::iter::repeat_n(50u64, 100_000)).take(2).count();
    assert_eq!(naps, 2);
    // Large items, both ways, more than are under way at a time.
    let large: Vec<Vec<u8>> = (0..24).map(|n| vec![n; 4 << 20]).collect();
    assert_eq!(pool.map(echo, &large)?, large);
    // A handle means nothing over there.
    let queue = offspring::Queue::<u64>::bounded(1)?;
    assert_eq!(pool.call(put, queue).unwrap_err().kind(), ErrorKind::NotSendable);
    println!("kept");
    Ok(())
}

#[task]
fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

#[task]
fn put(queue: offspring::Queue<u64>) -> bool {
    queue.put(&1).is_ok()
}
