//! `sha256tree DIR...`: the SHA-256 of every regular file below some directories, as GNU `sha256sum` prints them.
//!
//! Memory is bounded: the walk, the pool and the reordering of results each hold back when they are far enough ahead.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::error::Error;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Parser, ValueEnum};
use offspring::{Executor, Failure, Journal, Pool, RunOptions, TaskError, message, task};
use offspring_examples::checksum_line;
use offspring_examples::cli::{self, Input};
use offspring_examples::problems::Problems;
use offspring_examples::progress::Progress;
use offspring_examples::reorder::Reorder;
use offspring_examples::walk::Walk;
use sha2::{Digest, Sha256};

/// Prints the SHA-256 of every regular file below DIR, sorted by path, as `sha256sum` prints them
///
/// `sha256sum --check` reads the output. Symbolic links to files are not followed. Files that cannot be read are
/// reported at the end; the exit code is then 1.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    input: Input,

    /// Keeps what is done in FILE, so that a run that was stopped goes on where it was
    ///
    /// A file is hashed again when its size or its time of change is another.
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,

    /// Where the files are hashed
    ///
    /// They must be there under the same paths.
    #[arg(long, value_enum, default_value_t = Engine::Local)]
    engine: Engine,

    /// The NATS server of `--engine nats`
    #[cfg(feature = "nats")]
    #[arg(long, value_name = "URL", default_value = "nats://127.0.0.1:4222")]
    nats: String,
}

/// What runs the tasks.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Engine {
    /// Processes on this machine
    Local,
    /// The ranks that `mpirun` or `srun` has started; with `--workers`, each by so many processes
    #[cfg(feature = "mpi")]
    Mpi,
    /// The workers at the NATS server of `--nats`; with OFFSPRING_NATS_SERVE set to its address, this is one, with so many
    /// processes as `--workers` says
    #[cfg(feature = "nats")]
    Nats,
}

/// So many files are in one run of the pool: results that wait for a slow earlier file are bounded by it.
const SEGMENT: usize = 64 << 10;

/// A worker that is killed costs its file another try. Hashing has no effects that could happen twice.
const RETRIES: u32 = 100;

/// So much of a file is read at a time.
const BLOCK: usize = 256 << 10;

/// What a worker found out about a file.
#[message]
#[derive(Debug)]
struct Hashed {
    digest: [u8; 32],
    len: u64,
}

#[task]
fn hash(path: &Path) -> Result<Hashed, Failure> {
    let mut file = File::open(path)?;
    let mut sha = Sha256::new();
    let mut block = vec![0; BLOCK];
    let mut len = 0;
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok(Hashed { digest: sha.finalize().into(), len }),
            Ok(count) => {
                sha.update(&block[..count]);
                len += count as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A file, and what tells whether it has changed since it was hashed.
#[message]
#[derive(Debug)]
struct Stamped {
    path: PathBuf,
    len: u64,
    modified: Option<SystemTime>,
}

impl Stamped {
    fn of(path: PathBuf) -> Stamped {
        // What cannot be looked at cannot be read either, which its task tells.
        let found = path.symlink_metadata().ok();
        let len = found.as_ref().map_or(0, |found| found.len());
        Stamped { path, len, modified: found.and_then(|found| found.modified().ok()) }
    }
}

#[task]
fn hash_stamped(file: Stamped) -> Result<Hashed, Failure> {
    hash(&file.path)
}

fn main() -> ExitCode {
    cli::exit_code("sha256tree", run(Arguments::parse()))
}

fn run(arguments: Arguments) -> Result<ExitCode, Box<dyn Error>> {
    match arguments.engine {
        Engine::Local => {
            let pool = Pool::builder().workers(arguments.input.workers()).name("sha256tree").build()?;
            hash_all(&pool, arguments)
        }
        #[cfg(feature = "mpi")]
        Engine::Mpi => {
            let builder = offspring_mpi::MpiPool::builder();
            let pool = match arguments.input.workers {
                Some(workers) => builder.local_workers(workers.get()).build()?,
                None => builder.build()?,
            };
            hash_all(&pool, arguments)
        }
        #[cfg(feature = "nats")]
        Engine::Nats => {
            let workers = arguments.input.workers();
            let builder = offspring_nats::NatsPool::builder(arguments.nats.as_str());
            // In a worker, this does not return.
            let pool = builder.local(move || Pool::builder().workers(workers).build()).connect()?;
            hash_all(&pool, arguments)
        }
    }
}

/// Hashes the files with the workers of any engine.
fn hash_all(engine: &impl Executor, arguments: Arguments) -> Result<ExitCode, Box<dyn Error>> {
    let options = RunOptions::new().retries(RETRIES);
    let pool = engine.with_options(&options);
    let journal = arguments.journal.map(|file| Journal::at(file).retry_failed(true));
    let walk = Walk::start(arguments.input.dirs);
    let found = walk.found();
    let mut walk = walk.peekable();
    let mut progress = Progress::new();
    let problems = RefCell::new(Problems::default());
    let mut bytes = 0;

    while walk.peek().is_some() {
        // The pool pulls paths as it needs them; those under way are kept here, to stand beside their results.
        let under_way = RefCell::new(VecDeque::new());
        let paths = walk.by_ref().take(SEGMENT).filter_map(|entry| match entry {
            Ok(path) => {
                under_way.borrow_mut().push_back(path.clone());
                Some(path)
            }
            Err(unreadable) => {
                problems.borrow_mut().add(unreadable.path, unreadable.reason);
                None
            }
        });
        let mut reorder = Reorder::default();
        let mut durable = None;
        let results: Box<dyn Iterator<Item = (usize, Result<_, TaskError>)>> = match &journal {
            None => Box::new(pool.imap_unordered(hash, paths)),
            Some(journal) => {
                let durable = durable.insert(pool.with_options(&RunOptions::new().journal(journal)));
                Box::new(durable.imap_unordered(hash_stamped, paths.map(Stamped::of)))
            }
        };
        for (index, outcome) in results {
            bytes += outcome.as_ref().map_or(0, |hashed| hashed.as_ref().map_or(0, |hashed| hashed.len));
            progress.advance(1, found.get());
            progress.message(indicatif::HumanBytes(bytes).to_string());
            reorder.put(index, outcome);
            while let Some(outcome) = reorder.pop() {
                let path: Option<PathBuf> = under_way.borrow_mut().pop_front();
                let Some(path) = path else {
                    // About no file: the pool cannot go on.
                    drop(outcome?);
                    continue;
                };
                match outcome {
                    Ok(Ok(hashed)) => checksum_line::write(progress.output(), &hashed.digest, &path),
                    Ok(Err(failure)) => problems.borrow_mut().add(path, failure),
                    Err(error) => problems.borrow_mut().add(path, error),
                }
            }
            progress.flush_if_due()?;
        }
    }
    progress.finish()?;
    Ok(problems.borrow().tell("sha256tree"))
}
