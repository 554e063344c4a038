//! What `benches/compare.py` measures of this package: `mpirun -n 2 bench_ranks comm`, `mpirun -n 3 bench_ranks pool`. Prints lines of JSON.
#![allow(clippy::print_stdout, reason = "a program")]

use std::time::{Duration, Instant};

use offspring::{Executor, RunOptions, message, task};
use offspring_mpi::{Comm, MpiPool, Result};

#[message]
#[derive(Debug, Clone)]
struct Object {
    number: u64,
    name: String,
    bytes: Vec<u8>,
}

fn object(len: usize) -> Object {
    Object { number: 7, name: "an object".to_owned(), bytes: vec![1; len] }
}

#[task]
fn tiny(x: u64) -> u64 {
    x + 1
}

/// Works for ten microseconds.
#[task]
fn ten_micros(x: u64) -> u64 {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_micros(10) {
        std::hint::spin_loop();
    }
    x
}

fn tell(what: &str, unit: &str, value: f64) {
    println!("{{\"what\": \"{what}\", \"unit\": \"{unit}\", \"value\": {value}}}");
}

/// The median time of one of `rounds` calls, in microseconds.
fn median(rounds: usize, mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let begun = Instant::now();
        call()?;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[rounds / 2])
}

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("comm") => comm(&Comm::world()?),
        _ => pool(&MpiPool::new()?),
    }
}

fn comm(comm: &Comm) -> Result<()> {
    let (rank, other) = (comm.rank(), 1 - comm.rank().min(1));
    for (len, name, rounds) in [(64, "64 B", 20_000), (1 << 20, "1 MiB", 400)] {
        let value = object(len);
        let ours = median(rounds, || {
            if rank == 0 {
                comm.send(&value, other, 0)?;
                comm.recv::<Object>(other, 0).map(drop)
            } else {
                let (got, _) = comm.recv::<Object>(other, 0)?;
                comm.send(&got, other, 0)
            }
        })?;
        let views = median(rounds, || {
            if rank == 0 {
                comm.send(&value, other, 0)?;
                comm.recv_view::<Object>(other, 0).map(drop)
            } else {
                comm.recv_view::<Object>(other, 0).map(drop)?;
                comm.send(&value, other, 0)
            }
        })?;
        let mut buffer = vec![1u8; len];
        let buffers = median(rounds, || {
            if rank == 0 {
                comm.send_slice(&buffer, other, 0)?;
                comm.recv_slice(&mut buffer, other, 0).map(drop)
            } else {
                comm.recv_slice(&mut buffer, other, 0).map(drop)?;
                comm.send_slice(&buffer, other, 0)
            }
        })?;
        if rank == 0 {
            tell(&format!("ping-pong {name}, objects"), "us", ours / 2.0);
            tell(&format!("ping-pong {name}, objects as views"), "us", views / 2.0);
            tell(&format!("ping-pong {name}, buffers"), "us", buffers / 2.0);
        }
    }
    let mut value = (rank == 0).then(|| object(16 << 20));
    let objects = median(20, || {
        comm.barrier()?;
        let got = comm.bcast(value.take(), 0)?;
        value = (rank == 0).then_some(got);
        comm.barrier()
    })?;
    let mut buffer = vec![1u8; 16 << 20];
    let buffers = median(20, || {
        comm.barrier()?;
        comm.bcast_slice(&mut buffer, 0)?;
        comm.barrier()
    })?;
    if rank == 0 {
        tell("bcast 16 MiB, objects", "us", objects);
        tell("bcast 16 MiB, buffers", "us", buffers);
    }
    Ok(())
}

fn pool(pool: &MpiPool) -> Result<()> {
    let rate = |what: &str, items: u64, chunk: usize, run: &dyn Fn(&RunOptions, u64) -> Result<()>| {
        let options = RunOptions::new().chunk_size(chunk);
        run(&options, items / 10)?;
        let begun = Instant::now();
        run(&options, items)?;
        tell(&format!("pool of {what}, chunk {chunk}"), "tasks/s", items as f64 / begun.elapsed().as_secs_f64());
        Ok::<(), offspring_mpi::MpiError>(())
    };
    let tiny = |options: &RunOptions, items: u64| Ok(pool.with_options(options).map(tiny, 0..items).map(drop)?);
    let busy = |options: &RunOptions, items: u64| Ok(pool.with_options(options).map(ten_micros, 0..items).map(drop)?);
    rate("tiny tasks", 200_000, 1, &tiny)?;
    rate("tiny tasks", 2_000_000, 100, &tiny)?;
    rate("10 us tasks", 50_000, 1, &busy)?;
    rate("10 us tasks", 50_000, 10, &busy)?;
    rate("10 us tasks", 50_000, 100, &busy)
}
