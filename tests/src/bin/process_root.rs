//! Programs that start processes and end in different ways, for the tests to watch from outside: `process_root WHAT [ARGUMENTS]`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "programs talk to the test that runs them")]

use std::io::{Read, Write};
use std::time::Duration;

use offspring::{Process, StartMethod, process::Stream, task};

/// Burns a CPU, or sleeps, for ever, below `depth` generations of others like it.
#[task]
fn tree(depth: u64, width: u64, busy: bool) {
    grow(depth, width, busy);
    if busy {
        loop {
            std::hint::spin_loop();
        }
    }
    std::thread::sleep(Duration::from_secs(3600));
}

fn grow(depth: u64, width: u64, busy: bool) {
    for number in 0..if depth > 0 { width } else { 0 } {
        let method = if number % 2 == 0 { StartMethod::ForkServer } else { StartMethod::Spawn };
        // Nobody's stdout: a reader of the root's must see its end.
        let process = Process::new(tree, (depth - 1, width, busy)).start_method(method).stdout(Stream::null());
        process.stderr(Stream::null()).spawn().expect("a child");
    }
}

#[task]
fn sleep(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

#[task]
fn run_this_program() -> String {
    let output = std::process::Command::new("/proc/self/exe").arg("works").output().expect("a program");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[task]
fn say_late(text: String) {
    std::thread::sleep(Duration::from_millis(300));
    println!("{text}");
}

#[task]
fn abort_in_panic(text: String) {
    panic!("{text}");
}

fn main() -> offspring::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(0);
    match arguments.first().map_or("", String::as_str) {
        // A tree of processes, then whatever the test does to its root, or a line of input says.
        "tree" => {
            grow(number(1), number(2), arguments.get(3).is_some_and(|text| text == "busy"));
            println!("grown");
            end_as_told()
        }
        // Main ends while children run.
        "main-ends" => {
            offspring::spawn(say_late, "late")?;
            Process::new(sleep, 3_600_000).daemon(true).spawn()?;
            println!("end of main");
            Ok(())
        }
        "main-panics" => {
            offspring::spawn(say_late, "late")?;
            panic!("main panics");
        }
        "exit" => {
            offspring::spawn(say_late, "late")?;
            std::process::exit(7);
        }
        // Waits longer than it stays silent.
        "waits" => {
            Process::new(sleep, 6000).name("slowpoke").spawn()?;
            Ok(())
        }
        "aborting" => {
            let error = offspring::spawn(abort_in_panic, "told all the same")?.join().expect_err("a panic");
            println!("{error}");
            Ok(())
        }
        "refused" => {
            let error = offspring::spawn(sleep, 1).expect_err("a refusal");
            println!("{:?}: {error}", error.kind());
            Ok(())
        }
        // Its own file is replaced by another program while it runs, or deleted.
        "replaced" => {
            let file = std::env::current_exe().expect("a path");
            std::fs::remove_file(&file).expect("deleted");
            if let Some(other) = arguments.get(1) {
                std::fs::copy(other, &file).expect("replaced");
            }
            print_whether_it_works();
            Ok(())
        }
        // The test replaces the file, and then closes our input.
        "when-told" => {
            println!("ready");
            std::io::stdin().read_to_end(&mut Vec::new()).expect("stdin");
            print_whether_it_works();
            Ok(())
        }
        // A task's own command is this very program: no child of ours.
        "commands" => {
            println!("{}", offspring::spawn(run_this_program, ())?.join()?);
            Ok(())
        }
        "works" => {
            offspring::spawn(sleep, 1)?.join()?;
            Process::new(sleep, 1).start_method(StartMethod::ForkServer).spawn()?.join()?;
            println!("works");
            Ok(())
        }
        other => panic!("process_root {other}: there is no such program"),
    }
}

/// By both start methods.
fn print_whether_it_works() {
    match offspring::spawn(sleep, 1).expect("a child").join() {
        Ok(()) => println!("works"),
        Err(error) => println!("{:?}: {error}", error.kind()),
    }
    match Process::new(sleep, 1).start_method(StartMethod::ForkServer).spawn() {
        Ok(child) => println!("{:?}", child.join().map_err(|error| error.kind())),
        Err(error) => println!("{:?}: {error}", error.kind()),
    }
}

/// Reads one word and ends in that way.
fn end_as_told() -> ! {
    std::io::stdout().flush().expect("stdout");
    let mut word = String::new();
    std::io::stdin().read_to_string(&mut word).expect("stdin");
    match word.trim() {
        "abort" => std::process::abort(),
        "trap" => {
            offspring_tests::kill::signal(std::process::id() as i32, libc::SIGTRAP).expect("a signal");
            std::process::abort()
        }
        "exec" => {
            use std::os::unix::process::CommandExt;
            panic!("{}", std::process::Command::new("sleep").arg("60").exec());
        }
        other => panic!("no way to end: {other:?}"),
    }
}
