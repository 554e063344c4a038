//! `wordcount DIR...`: the 20 most frequent words of all files that are valid UTF-8.
//!
//! One flow: files go to the workers, which read them, take them apart and count, each in a table of its own; the tables are
//! merged by the workers too. A large file is first checked, then counted, in pieces. So a worker holds a piece and a table, and this process
//! the table of all different words.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use offspring::{FlowError, Pool};
use offspring_examples::cli::{self, Input};
use offspring_examples::problems::Problems;
use offspring_examples::progress::Progress;
use offspring_examples::walk::Walk;
use offspring_examples::wordcount::{Piece, Word, both, is_text, pieces, read_text, sum, too_large, words_of};

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

/// A worker that is killed costs its files another try. Counting has no effects that could happen twice.
const RETRIES: u32 = 100;

fn main() -> ExitCode {
    cli::exit_code("wordcount", run(Arguments::parse()))
}

fn run(arguments: Arguments) -> Result<ExitCode, Box<dyn Error>> {
    let pool = Pool::builder().workers(arguments.input.workers()).name("wordcount").retries(RETRIES).build()?;
    let (mut progress, problems) = (Progress::new(), RefCell::new(Problems::default()));
    let top = count(&pool, arguments.input.dirs, &progress, &problems)?;
    for (word, count) in top {
        write!(progress.output(), "{count:7} ")?;
        progress.output().extend(word.letters());
        progress.output().push(b'\n');
    }
    progress.finish()?;
    Ok(problems.into_inner().tell("wordcount"))
}

/// The most frequent words of all files below `dirs`.
fn count(
    pool: &Pool,
    dirs: Vec<PathBuf>,
    progress: &Progress,
    problems: &RefCell<Problems>,
) -> Result<Vec<(Word, u64)>, FlowError> {
    let walk = Walk::start(dirs);
    let found = walk.found();
    let files = walk.filter_map(|entry| entry.map_err(|it| problems.borrow_mut().add(it.path, it.reason)).ok());
    let under_way = UnderWay::default();
    let all = files.flat_map(|path| to_pieces(pool, path, problems)).inspect(|piece| under_way.add(piece.path.clone()));

    let words = pool.flow(all).try_map(read_text).flat_map(words_of);
    let words = words.on_failure(|error| {
        let reason = error.text().map_or_else(|| error.to_string(), str::to_owned);
        problems.borrow_mut().add(under_way.path(error.item()), reason);
    });
    let words = words.on_progress(|done| {
        under_way.done(done);
        progress.advance(1, found.get());
    });
    Ok(words.reduce_by_key(sum)?.top_by_value(TOP))
}

/// What is to be read of a file: all of it, its pieces if it is large, nothing if those are no text.
fn to_pieces(pool: &Pool, path: PathBuf, problems: &RefCell<Problems>) -> Vec<Piece> {
    let Some(len) = too_large(&path) else { return vec![Piece { path, range: None }] };
    let failed = Cell::new(false);
    let check = pool.flow(pieces(&path, len)).try_map(is_text).on_failure(|error| {
        if !failed.replace(true) {
            problems.borrow_mut().add(&path, error.text().map_or_else(|| error.to_string(), str::to_owned));
        }
    });
    match check.reduce(both) {
        Ok(Some(true)) if !failed.get() => pieces(&path, len).collect(),
        Ok(_) => Vec::new(),
        Err(error) => {
            problems.borrow_mut().add(&path, error);
            Vec::new()
        }
    }
}

/// The files that workers have and that are not done, to have names for items.
#[derive(Default)]
struct UnderWay {
    paths: RefCell<VecDeque<PathBuf>>,
    /// The item that the first of them is.
    first: Cell<u64>,
}

impl UnderWay {
    fn add(&self, path: PathBuf) {
        self.paths.borrow_mut().push_back(path);
    }

    fn path(&self, item: Option<usize>) -> PathBuf {
        let place = item.and_then(|item| item.checked_sub(self.first.get() as usize));
        place.and_then(|place| self.paths.borrow().get(place).cloned()).unwrap_or_else(|| "(merging)".into())
    }

    /// All items before this one are done.
    fn done(&self, item: u64) {
        let mut paths = self.paths.borrow_mut();
        let done = ((item - self.first.get()) as usize).min(paths.len());
        paths.drain(..done);
        self.first.set(item);
    }
}
