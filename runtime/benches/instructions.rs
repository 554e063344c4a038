//! Instructions of a tiny task, in its worker and in the caller: the same on a busy machine as on an idle one.
//!
//! Both processes are taken through a batch step by step, by `ptrace`, and through a larger one: the difference has neither the beginning nor
//! the end of a batch in it. What is compiled in and not used has no work to do on this path; these two show it, but for what
//! the compiler arranges differently:
//!
//! ```text
//! cargo bench -p offspring --bench instructions
//! cargo bench -p offspring --bench instructions --features backtrace,engine,journal,log,progress,tracing
//! ```
//! Stepped processes are a thousand times slower, and pools choose chunks by the time that tasks take: so all cases choose their own.
#![allow(unsafe_code)]
#![allow(clippy::print_stdout, reason = "its figures are what it is run for")]

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc;
use std::time::Duration;
use std::{env, io, ptr, thread};

use offspring::pipe::{self, Receiver, Sender};
use offspring::{Batch, Pool, PoolBuilder, Process, task};

const FEW: u64 = 1000;
const MANY: u64 = 3000;

#[task]
fn square(x: u64) -> u64 {
    x.wrapping_mul(x)
}

/// How a pool and its batch are set up.
struct Case {
    name: &'static str,
    pool: fn(PoolBuilder) -> PoolBuilder,
    batch: fn(Batch<'_>) -> Batch<'_>,
}

const CASES: &[Case] = &[
    Case { name: "chunk 1", pool: |pool| pool, batch: |batch| batch.chunk_size(1) },
    Case { name: "chunk 100", pool: |pool| pool, batch: |batch| batch.chunk_size(100) },
    Case { name: "chunk 1, retries", pool: |pool| pool, batch: |batch| batch.chunk_size(1).retries(3) },
    Case {
        name: "chunk 1, worker rules",
        pool: |pool| pool.max_tasks_per_worker(u64::MAX),
        batch: |batch| batch.chunk_size(1),
    },
    Case {
        name: "chunk 1, time limit",
        pool: |pool| pool,
        batch: |batch| batch.chunk_size(1).timeout(Duration::from_secs(3600)),
    },
    Case { name: "chunk 1, account", pool: |pool| pool.account(true), batch: |batch| batch.chunk_size(1) },
];

/// Makes a pool of one, says who its worker is, and runs batches of the sizes that come.
#[task]
fn caller(case: usize, sizes: Receiver<u64>, answers: Sender<u64>) {
    let case = &CASES[case];
    let pool = (case.pool)(Pool::builder().workers(1)).build().expect("a pool");
    let run = |tasks: u64| {
        assert_eq!((case.batch)(pool.batch()).map(square, 0..tasks).expect("squares").len() as u64, tasks);
    };
    run(MANY);
    answers.send(&pool.workers()[0].pid.into()).expect("somebody listens");
    while let Ok(tasks) = sizes.recv() {
        run(tasks);
        answers.send(&tasks).expect("somebody listens");
    }
}

fn main() {
    println!("{:<28} {:>9} {:>9}", "instructions a task", "worker", "caller");
    // `-- TEXT`: the cases with that in their names.
    let wanted = env::args().skip(1).find(|arg| !arg.starts_with("--")).unwrap_or_default();
    for (at, case) in CASES.iter().enumerate().filter(|(_, case)| case.name.contains(&wanted)) {
        match measure(at) {
            Ok([worker, caller]) => println!("{:<28} {worker:>9.1} {caller:>9.1}", case.name),
            Err(error) => return println!("{}: not counted: {error}", case.name),
        }
    }
}

/// Instructions a task, of the worker and of the caller.
fn measure(case: usize) -> io::Result<[f64; 2]> {
    let (orders, sizes) = pipe::channel::<u64>().expect("a pipe");
    let (said, answers) = pipe::channel::<u64>().expect("a pipe");
    let child = Process::new(caller, (case, sizes, said)).spawn().expect("a child");
    let worker = answers.recv().expect("its worker's number") as i32;
    let traced = [worker, child.pid() as i32];
    let mut counts = [[0; 2]; 2];
    for (tasks, counts) in [FEW, MANY].into_iter().zip(&mut counts) {
        let stop = AtomicBool::new(false);
        *counts = thread::scope(|scope| {
            let (ready, are_ready) = mpsc::channel();
            let counters = traced.map(|pid| {
                let (ready, stop) = (ready.clone(), &stop);
                scope.spawn(move || count(pid, stop, || _ = ready.send(())))
            });
            drop(ready);
            if are_ready.iter().take(traced.len()).count() == traced.len() {
                orders.send(&tasks).expect("it listens");
                answers.recv().expect("its answer");
            }
            stop.store(true, SeqCst);
            // Whoever sleeps is to be seen once more.
            traced.into_iter().for_each(nudge);
            let [worker, caller] = counters.map(|counter| counter.join().expect("no panic"));
            Ok::<_, io::Error>([worker?, caller?])
        })?;
    }
    drop(orders);
    child.join().expect("it ended well");
    let each = |at: usize| (counts[1][at] as f64 - counts[0][at] as f64) / (MANY - FEW) as f64;
    Ok([each(0), each(1)])
}

/// Steps the main thread of a process until it is seen after `stop` was set; how many steps that took.
fn count(pid: i32, stop: &AtomicBool, ready: impl FnOnce()) -> io::Result<u64> {
    trace(libc::PTRACE_SEIZE, pid, 0)?;
    trace(libc::PTRACE_INTERRUPT, pid, 0)?;
    await_stop(pid)?;
    trace(libc::PTRACE_SINGLESTEP, pid, 0)?;
    ready();
    let mut steps = 0;
    loop {
        let signal = await_stop(pid)?;
        steps += u64::from(signal == libc::SIGTRAP);
        if stop.load(SeqCst) {
            trace(libc::PTRACE_DETACH, pid, 0)?;
            return Ok(steps);
        }
        let passed_on = if signal == libc::SIGTRAP { 0 } else { signal };
        trace(libc::PTRACE_SINGLESTEP, pid, passed_on)?;
    }
}

fn trace(request: libc::c_uint, pid: i32, data: i32) -> io::Result<()> {
    // SAFETY: of these requests none reads or writes memory of this process.
    let done = unsafe { libc::ptrace(request, pid, ptr::null_mut::<u8>(), data as usize as *mut u8) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The signal that the traced process has stopped with.
fn await_stop(pid: i32) -> io::Result<i32> {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
    if waited < 0 {
        return Err(io::Error::last_os_error());
    }
    if libc::WIFSTOPPED(status) { Ok(libc::WSTOPSIG(status)) } else { Err(io::Error::other("it has ended")) }
}

/// Sends the main thread of a process a signal that means nothing to it.
fn nudge(pid: i32) {
    // SAFETY: a system call without pointers.
    unsafe { libc::syscall(libc::SYS_tgkill, pid, pid, libc::SIGWINCH) };
}
