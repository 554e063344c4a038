//! The sum of all workers' counts, in bounded memory: what does not fit waits in sorted temporary files.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};

use super::{Counter, Counts};

/// So many bytes of different words are held in memory.
const MEMORY: usize = 64 << 20;

/// So many files are open at once; then they are merged into one.
const MAX_RUNS: usize = 64;

/// How often each word was seen, over all files.
#[derive(Debug)]
pub struct Totals {
    counter: Counter,
    /// Sorted by word, each word once.
    runs: Vec<File>,
    memory: usize,
}

impl Default for Totals {
    fn default() -> Totals {
        Totals::with_memory(MEMORY)
    }
}

impl Totals {
    fn with_memory(memory: usize) -> Totals {
        Totals { counter: Counter::default(), runs: Vec::new(), memory }
    }

    /// Adds what a worker counted.
    ///
    /// # Errors
    ///
    /// Those of writing a temporary file.
    pub fn add(&mut self, counts: &Counts) -> io::Result<()> {
        for (word, count) in counts.iter() {
            self.counter.add(word, count);
        }
        if self.counter.memory() > self.memory { self.spill() } else { Ok(()) }
    }

    /// The `n` most frequent words: most frequent first, ties by the word's bytes.
    ///
    /// # Errors
    ///
    /// Those of reading and writing temporary files.
    pub fn top(mut self, n: usize) -> io::Result<Vec<(Vec<u8>, u64)>> {
        let mut top = Top { n, heap: BinaryHeap::new() };
        if self.runs.is_empty() {
            self.counter.iter().for_each(|(word, count)| top.offer(word, count));
        } else {
            self.spill()?;
            merge(&mut self.runs, |word, count| {
                top.offer(word, count);
                Ok(())
            })?;
        }
        Ok(top.heap.into_sorted_vec().into_iter().map(|(Reverse(count), word)| (word, count)).collect())
    }

    /// Moves what is in memory to a file.
    fn spill(&mut self) -> io::Result<()> {
        let counter = std::mem::take(&mut self.counter);
        let mut sorted: Vec<_> = counter.iter().collect();
        sorted.sort_unstable();
        self.runs.push(write_run(|run| sorted.into_iter().try_for_each(|(word, count)| put(run, word, count)))?);
        if self.runs.len() == MAX_RUNS {
            let mut runs = std::mem::take(&mut self.runs);
            self.runs.push(write_run(|run| merge(&mut runs, |word, count| put(run, word, count)))?);
        }
        Ok(())
    }
}

/// The best `n`: the worst of them is at the heap's top, to be thrown out first.
struct Top {
    n: usize,
    heap: BinaryHeap<(Reverse<u64>, Vec<u8>)>,
}

impl Top {
    fn offer(&mut self, word: &[u8], count: u64) {
        if self.heap.len() == self.n {
            match self.heap.peek() {
                Some((Reverse(least), last)) if (Reverse(count), word) < (Reverse(*least), last.as_slice()) => {}
                _ => return,
            }
            self.heap.pop();
        }
        self.heap.push((Reverse(count), word.to_owned()));
    }
}

/// A new temporary file, which has no name and vanishes with its handle.
fn write_run(fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<File> {
    let mut run = BufWriter::with_capacity(1 << 20, tempfile::tempfile()?);
    fill(&mut run)?;
    let mut file = run.into_inner().map_err(|error| error.into_error())?;
    file.rewind()?;
    Ok(file)
}

fn put(run: &mut impl Write, word: &[u8], count: u64) -> io::Result<()> {
    run.write_all(&count.to_le_bytes())?;
    run.write_all(&(word.len() as u64).to_le_bytes())?;
    run.write_all(word)
}

fn get(run: &mut impl Read) -> io::Result<Option<(Vec<u8>, u64)>> {
    let mut head = [0; 16];
    match run.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let (count, len) = head.split_at(8);
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte));
    let mut word = vec![0; number(len) as usize];
    run.read_exact(&mut word)?;
    Ok(Some((word, number(count))))
}

/// Calls `each` with every word of the runs, in order, and the sum of its counts.
fn merge(runs: &mut [File], mut each: impl FnMut(&[u8], u64) -> io::Result<()>) -> io::Result<()> {
    let mut readers: Vec<_> = runs.iter_mut().map(|run| BufReader::with_capacity(256 << 10, run)).collect();
    let mut heads = BinaryHeap::new();
    for (index, reader) in readers.iter_mut().enumerate() {
        heads.extend(get(reader)?.map(|(word, count)| Reverse((word, count, index))));
    }
    let mut current: Option<(Vec<u8>, u64)> = None;
    while let Some(Reverse((word, count, index))) = heads.pop() {
        heads.extend(get(&mut readers[index])?.map(|(word, count)| Reverse((word, count, index))));
        match &mut current {
            Some((same, sum)) if *same == word => *sum += count,
            _ => {
                if let Some((word, sum)) = current.replace((word, count)) {
                    each(&word, sum)?;
                }
            }
        }
    }
    current.map_or(Ok(()), |(word, sum)| each(&word, sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(words: &[(String, u64)]) -> Counts {
        let mut counter = Counter::default();
        words.iter().for_each(|(word, count)| counter.add(word.as_bytes(), *count));
        counter.into_counts()
    }

    #[test]
    fn the_most_frequent_come_first_and_ties_by_bytes() {
        let mut totals = Totals::default();
        totals.add(&counts(&[("b".into(), 2), ("c".into(), 5), ("a".into(), 2), ("d".into(), 1)])).unwrap();
        assert_eq!(totals.top(3).unwrap(), [(b"c".to_vec(), 5), (b"a".to_vec(), 2), (b"b".to_vec(), 2)]);
    }

    #[test]
    fn with_little_memory_the_totals_are_the_same() {
        let mut roomy = Totals::default();
        let mut tight = Totals::with_memory(1 << 10);
        for round in 0..MAX_RUNS as u64 * 2 + 5 {
            let words: Vec<_> = (0..100).map(|i| (format!("w{}", (i * 7 + round * 13) % 501), i % 5 + 1)).collect();
            roomy.add(&counts(&words)).unwrap();
            tight.add(&counts(&words)).unwrap();
        }
        assert!(roomy.runs.is_empty() && !tight.runs.is_empty() && tight.runs.len() < MAX_RUNS);
        assert_eq!(roomy.top(1000).unwrap(), tight.top(1000).unwrap());
    }

    #[test]
    fn nothing_at_all_is_an_empty_list() {
        assert_eq!(Totals::default().top(20).unwrap(), []);
    }
}
