//! `wordcount DIR...`: the 20 most frequent words of all files that are valid UTF-8.
//!
//! Small files go to the workers by the batch, and each batch comes back as one table. A large file is first checked,
//! then counted, in pieces. So nobody holds more than a piece, and the totals move to disk when they grow large.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Write};
use std::iter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use offspring::{Failure, Pool, TaskError, message, task};
use offspring_examples::cli::{self, Input};
use offspring_examples::problems::Problems;
use offspring_examples::progress::Progress;
use offspring_examples::text;
use offspring_examples::walk::Walk;
use offspring_examples::wordcount::{Counter, Counts, Totals};

/// Prints the 20 most frequent words of all files below DIR that are valid UTF-8
///
/// A word is a run of ASCII letters, in lower case. The output is that of `LC_ALL=C tr -cs '[:alpha:]' '\n' | tr
/// '[:upper:]' '[:lower:]' | grep . | sort | uniq -c`, most frequent first, ties by the word's bytes. Symbolic links to
/// files are not followed. Files that cannot be read are reported at the end; the exit code is then 1.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    input: Input,
}

/// How many words are printed.
const TOP: usize = 20;

/// So many files go to a worker at once.
const BATCH: usize = 32;

/// A worker's table that takes so many bytes is full.
const FULL: usize = 64 << 20;

/// A larger file is taken in pieces of this size.
const PIECE: u64 = 4 << 20;

/// A word of a large file that goes on for longer than this makes the file unreadable to us.
const LONGEST_WORD: usize = 64 << 20;

/// A worker that is killed costs its batch another try. Counting has no effects that could happen twice.
const RETRIES: u32 = 100;

/// What a worker found in a batch of files. Numbers are places in the batch.
#[message]
#[derive(Debug, Default)]
struct Batch {
    counts: Counts,
    /// Files to be taken in pieces, with their sizes.
    large: Vec<(u32, u64)>,
    unreadable: Vec<(u32, String)>,
}

#[message]
#[derive(Debug, Clone)]
struct Piece {
    path: PathBuf,
    start: u64,
    end: u64,
}

#[task]
fn count_files(paths: Vec<PathBuf>) -> Batch {
    let mut counter = Counter::default();
    let mut batch = Batch::default();
    let mut bytes = Vec::new();
    for (place, path) in (0..).zip(&paths) {
        bytes.clear();
        let content = if counter.memory() < FULL { read_small(path, &mut bytes) } else { put_off(path) };
        match content {
            Ok(Content::Small) if std::str::from_utf8(&bytes).is_ok() => {
                text::words(&bytes, |word| counter.add(word, 1))
            }
            Ok(Content::Small | Content::NoText) => {}
            Ok(Content::Large(len)) => batch.large.push((place, len)),
            Err(error) => batch.unreadable.push((place, error.to_string())),
        }
    }
    batch.counts = counter.into_counts();
    batch
}

enum Content {
    /// All of it is in the buffer.
    Small,
    /// It has this length and is to be taken in pieces.
    Large(u64),
    NoText,
}

/// Reads a file that is no larger than a piece.
fn read_small(path: &Path, bytes: &mut Vec<u8>) -> io::Result<Content> {
    let file = File::open(path)?;
    if file.metadata()?.len() <= PIECE {
        // Read on to its end: it may be growing, or be one of /proc's that tell no length.
        (&file).take(PIECE + 1).read_to_end(bytes)?;
        if bytes.len() as u64 <= PIECE {
            return Ok(Content::Small);
        }
    }
    bytes.clear();
    // Most large files that are no text show it at once.
    if text::is_utf8_piece(&file, 0, PIECE)? { Ok(Content::Large(file.metadata()?.len())) } else { Ok(Content::NoText) }
}

/// Files of a batch that comes to a full table are treated like large ones.
fn put_off(path: &Path) -> io::Result<Content> {
    Ok(Content::Large(File::open(path)?.metadata()?.len()))
}

#[task]
fn is_utf8(piece: Piece) -> Result<bool, Failure> {
    Ok(text::is_utf8_piece(&File::open(piece.path)?, piece.start, piece.end)?)
}

#[task]
fn count_piece(piece: Piece) -> Result<Counts, Failure> {
    let bytes = text::words_piece(&File::open(piece.path)?, piece.start, piece.end, LONGEST_WORD)?;
    let mut counter = Counter::default();
    text::words(&bytes, |word| counter.add(word, 1));
    Ok(counter.into_counts())
}

fn main() -> ExitCode {
    cli::exit_code("wordcount", run(Arguments::parse()))
}

fn run(arguments: Arguments) -> Result<ExitCode, Box<dyn Error>> {
    let pool = Pool::builder().workers(arguments.input.workers()).name("wordcount").retries(RETRIES).build()?;
    let mut count = Count { pool, progress: Progress::new(), problems: Problems::default(), totals: Totals::default() };
    let large = count.small_files(arguments.input.dirs)?;
    let large = count.only_utf8(large)?;
    count.large_files(&large)?;

    let Count { mut progress, problems, totals, .. } = count;
    for (word, count) in totals.top(TOP)? {
        write!(progress.output(), "{count:7} ")?;
        progress.output().extend(word);
        progress.output().push(b'\n');
    }
    progress.finish()?;
    Ok(problems.tell("wordcount"))
}

/// A file that is taken in pieces, and its length.
struct Large {
    path: PathBuf,
    len: u64,
}

impl Large {
    fn pieces(&self) -> impl Iterator<Item = Piece> {
        let piece = |start| Piece { path: self.path.clone(), start, end: self.len.min(start + PIECE) };
        (0..self.len).step_by(PIECE as usize).map(piece)
    }
}

/// The state of the count.
struct Count {
    pool: Pool,
    progress: Progress,
    problems: Problems,
    totals: Totals,
}

impl Count {
    /// Walks the tree and counts all files but the large ones, which it returns.
    fn small_files(&mut self, dirs: Vec<PathBuf>) -> Result<Vec<Large>, Box<dyn Error>> {
        let mut large = Vec::new();
        let walk = Walk::start(dirs);
        let found = walk.found();
        // What the pool has pulled and not answered yet, to have names for places.
        let under_way = RefCell::new(HashMap::new());
        let unreadable = RefCell::new(Vec::new());
        let files = walk.filter_map(|entry| entry.map_err(|problem| unreadable.borrow_mut().push(problem)).ok());
        let batches = batches(files).enumerate().map(|(index, batch)| {
            under_way.borrow_mut().insert(index, batch.clone());
            batch
        });
        for (index, outcome) in self.pool.imap_unordered(count_files, batches) {
            let Some(paths) = under_way.borrow_mut().remove(&index) else {
                // About no item: the pool cannot go on. So below.
                drop(outcome?);
                continue;
            };
            self.progress.advance(paths.len() as u64, found.get());
            match outcome {
                Ok(batch) => {
                    self.totals.add(&batch.counts)?;
                    let name = |place: u32| paths[place as usize].clone();
                    large.extend(batch.large.into_iter().map(|(place, len)| Large { path: name(place), len }));
                    for (place, reason) in batch.unreadable {
                        self.problems.add(name(place), reason);
                    }
                }
                Err(error) => paths.into_iter().for_each(|path| self.problems.add(path, &error)),
            }
        }
        for problem in unreadable.into_inner() {
            self.problems.add(problem.path, problem.reason);
        }
        Ok(large)
    }

    /// Keeps the files that are valid UTF-8 to their ends.
    fn only_utf8(&mut self, files: Vec<Large>) -> Result<Vec<Large>, TaskError> {
        let owners = owners(&files);
        let mut verdicts: Vec<Result<bool, String>> = vec![Ok(true); files.len()];
        for (piece, outcome) in self.pool.imap_unordered(is_utf8, files.iter().flat_map(Large::pieces)) {
            self.progress.message("checking large files");
            let Some(&owner) = owners.get(piece) else {
                drop(outcome?);
                continue;
            };
            let verdict = &mut verdicts[owner];
            match flatten(outcome) {
                Ok(valid) => *verdict = verdict.clone().map(|so_far| so_far && valid),
                Err(reason) => *verdict = Err(reason),
            }
        }
        let mut valid = Vec::new();
        for (file, verdict) in files.into_iter().zip(verdicts) {
            match verdict {
                Ok(true) => valid.push(file),
                Ok(false) => {}
                Err(reason) => self.problems.add(file.path, reason),
            }
        }
        Ok(valid)
    }

    /// Counts files that are valid UTF-8.
    fn large_files(&mut self, files: &[Large]) -> Result<(), Box<dyn Error>> {
        let owners = owners(files);
        let mut told = HashSet::new();
        for (piece, outcome) in self.pool.imap_unordered(count_piece, files.iter().flat_map(Large::pieces)) {
            self.progress.message("counting large files");
            let Some(&owner) = owners.get(piece) else {
                drop(outcome?);
                continue;
            };
            match flatten(outcome) {
                Ok(counts) => self.totals.add(&counts)?,
                Err(reason) => {
                    if told.insert(owner) {
                        self.problems.add(&files[owner].path, reason);
                    }
                }
            }
        }
        Ok(())
    }
}

/// For each piece of all files, in order, the place of its file.
fn owners(files: &[Large]) -> Vec<usize> {
    files.iter().enumerate().flat_map(|(owner, file)| file.pieces().map(move |_| owner)).collect()
}

/// Consecutive paths by the batch.
fn batches(mut paths: impl Iterator<Item = PathBuf>) -> impl Iterator<Item = Vec<PathBuf>> {
    iter::from_fn(move || {
        let batch: Vec<PathBuf> = paths.by_ref().take(BATCH).collect();
        (!batch.is_empty()).then_some(batch)
    })
}

/// The task's own failure and the pool's are the same to the user here.
fn flatten<T>(outcome: Result<Result<T, Failure>, TaskError>) -> Result<T, String> {
    outcome.map_err(|error| error.to_string())?.map_err(|failure| failure.to_string())
}
