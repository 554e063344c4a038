//! Counting words: the stages of the flow, and the same work as a plain loop.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::hash::{BuildHasher, Hash, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use hashbrown::DefaultHashBuilder;
use offspring::{Failure, message, task};

use crate::text;

/// A larger file is taken in pieces of this size.
pub const PIECE: u64 = 1 << 20;

/// A file that was small when it was found and is larger than this when it is read is given up: memory is bounded.
const LARGEST: u64 = 64 << 20;

/// A word of a large file that goes on for longer than this makes the file unreadable to us.
const LONGEST_WORD: usize = 64 << 20;

/// Letters that a word can have without memory of its own.
const SHORT: usize = 23;

/// A word: ASCII letters in lower case. Most are short, and need no memory of their own.
#[message]
#[derive(Clone, PartialEq, Eq)]
pub enum Word {
    /// Filled up with zeros.
    Short([u8; SHORT]),
    /// Longer than those.
    Long(Vec<u8>),
}

impl Word {
    /// The word with these letters, in whatever case they are.
    pub fn new(letters: &[u8]) -> Word {
        let mut short = [0; SHORT];
        match short.get_mut(..letters.len()) {
            Some(place) => {
                place.copy_from_slice(letters);
                // All of them, the zeros too: a known number takes few instructions.
                short.make_ascii_lowercase();
                Word::Short(short)
            }
            None => Word::Long(letters.to_ascii_lowercase()),
        }
    }

    /// Its letters.
    pub fn letters(&self) -> &[u8] {
        match self {
            Word::Short(letters) => {
                let len = letters.iter().position(|&letter| letter == 0).unwrap_or(SHORT);
                &letters[..len]
            }
            Word::Long(letters) => letters,
        }
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(self.letters()).fmt(f)
    }
}

impl Hash for Word {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            // By the word of the machine: much faster than byte by byte.
            Word::Short(letters) => {
                let mut padded = [0; 24];
                padded[..SHORT].copy_from_slice(letters);
                let (eights, _) = padded.as_chunks::<8>();
                eights.iter().for_each(|&eight| state.write_u64(u64::from_ne_bytes(eight)));
            }
            Word::Long(letters) => letters.hash(state),
        }
    }
}

impl Ord for Word {
    fn cmp(&self, other: &Self) -> Ordering {
        self.letters().cmp(other.letters())
    }
}

impl PartialOrd for Word {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A file, or a piece of a large one that is known to be valid UTF-8.
#[message]
#[derive(Debug, Clone)]
pub struct Piece {
    /// The file.
    pub path: PathBuf,
    /// From where to where; `None`: all of it.
    pub range: Option<(u64, u64)>,
}

/// The pieces of a large file.
pub fn pieces(path: &Path, len: u64) -> impl Iterator<Item = Piece> {
    let piece = move |start| Piece { path: path.to_owned(), range: Some((start, len.min(start + PIECE))) };
    (0..len).step_by(PIECE as usize).map(piece)
}

/// The text of a piece from the first to the last of its words; of a small file that is no text, nothing.
#[task]
pub fn read_text(piece: Piece) -> Result<Vec<u8>, Failure> {
    let file = File::open(piece.path)?;
    if let Some((start, end)) = piece.range {
        return Ok(text::words_piece(&file, start, end, LONGEST_WORD)?);
    }
    // Its length now; what comes after it meanwhile is read all the same.
    let len = file.metadata()?.len().min(LARGEST) as usize;
    let mut bytes = Vec::with_capacity(len + 1);
    if (&file).take(LARGEST + 1).read_to_end(&mut bytes)? as u64 > LARGEST {
        return Err(Failure::msg("it grew while it was read"));
    }
    if std::str::from_utf8(&bytes).is_err() {
        bytes.clear();
    }
    Ok(bytes)
}

/// The words of a text, each once for each time that it stands there. They are looked for as they are asked for.
#[message]
#[derive(Debug)]
pub struct Words {
    text: Vec<u8>,
}

impl IntoIterator for Words {
    type Item = (Word, u64);
    type IntoIter = Counted;

    fn into_iter(self) -> Counted {
        Counted { text: self.text, at: 0 }
    }
}

/// Iterator over [`Words`].
#[derive(Debug)]
pub struct Counted {
    text: Vec<u8>,
    at: usize,
}

impl Iterator for Counted {
    type Item = (Word, u64);

    fn next(&mut self) -> Option<(Word, u64)> {
        text::next_word(&self.text, &mut self.at).map(|word| (Word::new(word), 1))
    }
}

/// Each word of a text.
#[task]
pub fn words_of(text: Vec<u8>) -> Words {
    Words { text }
}

/// Adds two counts.
#[task]
pub fn sum(a: u64, b: u64) -> u64 {
    a + b
}

/// Is this piece of a large file valid UTF-8?
#[task]
pub fn is_text(piece: Piece) -> Result<bool, Failure> {
    let (start, end) = piece.range.unwrap_or((0, LARGEST));
    Ok(text::is_utf8_piece(&File::open(piece.path)?, start, end)?)
}

/// Both?
#[task]
pub fn both(a: bool, b: bool) -> bool {
    a && b
}

/// All words of these files, counted by one thread: what the flow is measured against. Files are as large as memory holds.
///
/// # Errors
///
/// The first that a file gives.
pub fn count_alone(paths: &[PathBuf]) -> io::Result<HashMap<Word, u64, impl BuildHasher + use<>>> {
    let mut counts: HashMap<Word, u64, DefaultHashBuilder> = HashMap::default();
    let mut bytes = Vec::new();
    for path in paths {
        bytes.clear();
        File::open(path)?.read_to_end(&mut bytes)?;
        if std::str::from_utf8(&bytes).is_ok() {
            text::words(&bytes).for_each(|word| *counts.entry(Word::new(word)).or_insert(0) += 1);
        }
    }
    Ok(counts)
}

/// A file's length, if it is too large for one piece.
pub fn too_large(path: &Path) -> Option<u64> {
    // What cannot be looked at is told when it is read.
    fs::metadata(path).ok().map(|file| file.len()).filter(|len| *len > PIECE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_all_lengths_come_back_and_compare_by_their_letters() {
        let words: Vec<Word> = (0..60).map(|len| Word::new(&vec![b'x'; len])).collect();
        for (len, word) in words.iter().enumerate() {
            assert_eq!(word.letters(), vec![b'x'; len]);
        }
        assert!(words.windows(2).all(|pair| pair[0] < pair[1] && pair[0] != pair[1]));
        assert!(Word::new(b"ABC") == Word::new(b"abc") && Word::new(&[b'X'; 40]) == words[40]);
        assert!(Word::new(&[b'b'; 3]) > Word::new(&[b'a'; 40]));
        let hasher = DefaultHashBuilder::default();
        let hash = |word: &Word| hasher.hash_one(word);
        assert_eq!(hash(&words[7]), hash(&Word::new(b"xxxxxxx")));
    }

    #[test]
    fn the_pieces_of_a_file_are_all_of_it() {
        let pieces: Vec<_> = pieces(Path::new("f"), 2 * PIECE + 5).filter_map(|piece| piece.range).collect();
        assert_eq!(pieces, [(0, PIECE), (PIECE, 2 * PIECE), (2 * PIECE, 2 * PIECE + 5)]);
    }
}
