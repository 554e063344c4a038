//! Tasks per second and efficiency of a pool over NATS, beside the raw client in the same run, against a server of its own:
//! `cargo bench -p offspring-nats`. `-- --quick` takes a tenth of the tasks, for a look.
//!
//! The raw client does the least that loses nothing: a work queue, two workers (processes) that pull, store the result, and confirm; a caller that takes results and
//! counts each once. It runs no tasks by name, in no other processes, and keeps no leases.
#![allow(clippy::print_stdout, missing_docs, reason = "a program that prints a table")]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::{self, stream};
use futures_util::StreamExt;
use offspring::{Executor, Pool, RunOptions, task};
use offspring_nats::NatsPool;
use offspring_tests::nats;

const WORKERS: usize = 2;

#[task]
fn spin(nanos: u64) -> u64 {
    busy(nanos);
    nanos
}

/// Works for so long, whoever else wants the processor.
fn busy(nanos: u64) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_nanos(nanos) {
        std::hint::spin_loop();
    }
}

struct Case {
    name: &'static str,
    nanos: u64,
    /// Tasks of a message.
    chunk: u64,
    tasks: u64,
}

const CASES: [Case; 8] = [
    Case { name: "tiny, 1 a message", nanos: 0, chunk: 1, tasks: 40_000 },
    Case { name: "tiny, 10 a message", nanos: 0, chunk: 10, tasks: 300_000 },
    Case { name: "tiny, 100 a message", nanos: 0, chunk: 100, tasks: 2_000_000 },
    Case { name: "10 us, 1 a message", nanos: 10_000, chunk: 1, tasks: 40_000 },
    Case { name: "10 us, 10 a message", nanos: 10_000, chunk: 10, tasks: 100_000 },
    Case { name: "10 us, 100 a message", nanos: 10_000, chunk: 100, tasks: 200_000 },
    Case { name: "10 us, the pool's choice", nanos: 10_000, chunk: 0, tasks: 200_000 },
    Case { name: "1 ms, 1 a message", nanos: 1_000_000, chunk: 1, tasks: 4_000 },
];

fn main() {
    if let Ok(url) = std::env::var("BENCH_RAW_WORKER") {
        return raw_worker(&url);
    }
    if std::env::var_os("OFFSPRING_NATS_SERVE").is_some() {
        let local = || Pool::builder().workers(1).build();
        let pool = NatsPool::builder("").local(local).connect();
        panic!("a worker returned: {pool:?}");
    }
    if !nats::nats_server() {
        return;
    }
    let quick = std::env::args().any(|argument| argument == "--quick");
    let server = nats::Server::start();
    println!("| task | pool, tasks/s | efficiency | raw client, tasks/s | efficiency | ratio |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for case in CASES {
        let tasks = if quick { case.tasks / 10 } else { case.tasks };
        let ours = {
            let _workers = workers("OFFSPRING_NATS_SERVE", &server.url());
            let pool = NatsPool::connect(&server.url()).expect("a pool");
            assert!(pool.wait_for_workers(WORKERS, Duration::from_secs(60)), "the workers join");
            let mut options = RunOptions::new();
            if case.chunk > 0 {
                options = options.chunk_size(case.chunk as usize);
            }
            let run = |tasks: u64| {
                let values = pool.with_options(&options).map(spin, std::iter::repeat_n(case.nanos, tasks as usize));
                assert_eq!(values.expect("values").len() as u64, tasks);
            };
            run(tasks / 10);
            timed(|| run(tasks))
        };
        let raw = (case.chunk > 0).then(|| {
            let _workers = workers("BENCH_RAW_WORKER", &server.url());
            raw_master(&server.url(), &case, tasks)
        });
        let rate = |time: Duration| tasks as f64 / time.as_secs_f64();
        let efficiency = |time: Duration| match case.nanos {
            0 => "-".to_owned(),
            nanos => format!("{:.0} %", 100.0 * rate(time) * nanos as f64 / 1e9 / WORKERS as f64),
        };
        print!("| {} | {:.0} | {} |", case.name, rate(ours), efficiency(ours));
        match raw {
            Some(raw) => println!(" {:.0} | {} | {:.2} |", rate(raw), efficiency(raw), rate(ours) / rate(raw)),
            None => println!(" - | - | - |"),
        }
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

struct Processes(Vec<Child>);

impl Drop for Processes {
    fn drop(&mut self) {
        for process in &mut self.0 {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Processes of this program with a variable in their environment.
fn workers(variable: &str, url: &str) -> Processes {
    let program = std::env::current_exe().expect("a program knows its file");
    let start = |_| Command::new(&program).env(variable, url).stdin(Stdio::null()).spawn().expect("a worker starts");
    Processes((0..WORKERS).map(start).collect())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

async fn raw_context(url: &str) -> jetstream::Context {
    jetstream::new(async_nats::connect(url).await.expect("a connection"))
}

async fn raw_consumer(context: &jetstream::Context, name: &str) -> jetstream::consumer::PullConsumer {
    let retention = stream::RetentionPolicy::WorkQueue;
    let config =
        stream::Config { name: name.to_owned(), subjects: vec![name.to_owned()], retention, ..Default::default() };
    let stream = context.get_or_create_stream(config).await.expect("a stream");
    let durable_name = Some("workers".to_owned());
    let config =
        pull::Config { durable_name, ack_policy: AckPolicy::Explicit, max_ack_pending: -1, ..Default::default() };
    stream.get_or_create_consumer("workers", config).await.expect("a consumer")
}

/// A message: the number of its first task, how many there are, and how long each takes.
fn raw_message(first: u64, count: u64, nanos: u64) -> bytes::Bytes {
    [first, count, nanos].iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>().into()
}

fn raw_numbers(message: &[u8]) -> [u64; 3] {
    let (numbers, _) = message.as_chunks();
    [0, 1, 2].map(|at| u64::from_le_bytes(numbers[at]))
}

fn raw_worker(url: &str) {
    runtime().block_on(async {
        let context = raw_context(url).await;
        let consumer = raw_consumer(&context, "RAW_TASKS").await;
        let mut messages = consumer.stream().max_messages_per_batch(256).messages().await.expect("messages");
        let mut stored = futures_util::stream::FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(message) = messages.next() => {
                    // All is done: the streams are gone.
                    let Ok(message) = message else { return };
                    let [_, count, nanos] = raw_numbers(&message.payload);
                    (0..count).for_each(|_| busy(nanos));
                    let sent = context.publish("RAW_RESULTS", message.payload.clone()).await.expect("it is sent");
                    stored.push(async move {
                        sent.await.expect("it is stored");
                        message.ack().await.expect("it is confirmed");
                    });
                }
                Some(()) = stored.next() => {}
            }
        }
    });
}

fn raw_master(url: &str, case: &Case, tasks: u64) -> Duration {
    runtime().block_on(async {
        let context = raw_context(url).await;
        let _tasks = raw_consumer(&context, "RAW_TASKS").await;
        let results = raw_consumer(&context, "RAW_RESULTS").await;
        let mut messages = results.stream().max_messages_per_batch(1024).messages().await.expect("messages");
        let mut seen = vec![false; tasks as usize];
        let mut time = Duration::ZERO;
        // The first round warms up.
        for round in [tasks / 10, tasks] {
            seen.fill(false);
            let begun = Instant::now();
            let (mut next, mut came) = (0, 0);
            let mut sent = futures_util::stream::FuturesUnordered::new();
            while came < round {
                tokio::select! {
                    biased;
                    Some(message) = messages.next() => {
                        let message = message.expect("a result");
                        let [first, count, _] = raw_numbers(&message.payload);
                        message.ack().await.expect("it is confirmed");
                        for task in first..first + count {
                            came += u64::from(!std::mem::replace(&mut seen[task as usize], true));
                        }
                    }
                    Some(()) = sent.next() => {}
                    () = std::future::ready(()), if next < round && sent.len() < 512 => {
                        let count = case.chunk.min(round - next);
                        let publish = context.publish("RAW_TASKS", raw_message(next, count, case.nanos));
                        let stored = publish.await.expect("it is sent");
                        sent.push(async move { drop(stored.await.expect("it is stored")) });
                        next += count;
                    }
                }
            }
            time = begun.elapsed();
        }
        for stream in ["RAW_TASKS", "RAW_RESULTS"] {
            context.delete_stream(stream).await.expect("it is removed");
        }
        time
    })
}
