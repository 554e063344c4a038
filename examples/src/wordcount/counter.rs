//! A table of words and how often each was seen, and the form in which a worker hands it over.

use std::hash::BuildHasher;
use std::ops::Range;

use hashbrown::{DefaultHashBuilder, HashTable};
use offspring::message;

/// Words and their counts, as a worker returns them: two flat arrays, so that it crosses by plain copies.
#[message]
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counts {
    /// All words, each followed by a newline.
    pub words: Vec<u8>,
    /// The count of each.
    pub counts: Vec<u64>,
}

impl Counts {
    /// Each word with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.words.split(|&byte| byte == b'\n').zip(self.counts.iter().copied())
    }
}

/// Counts words.
#[derive(Debug, Default)]
pub struct Counter {
    entries: HashTable<Entry>,
    /// The bytes of all words, one after the other.
    words: Vec<u8>,
    hasher: DefaultHashBuilder,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    start: usize,
    len: usize,
    count: u64,
}

impl Entry {
    fn range(&self) -> Range<usize> {
        self.start..self.start + self.len
    }
}

impl Counter {
    /// `word` was seen `times` more.
    pub fn add(&mut self, word: &[u8], times: u64) {
        let Counter { entries, words, hasher } = self;
        let hash = hasher.hash_one(word);
        if let Some(entry) = entries.find_mut(hash, |entry| words[entry.range()] == *word) {
            entry.count += times;
            return;
        }
        let entry = Entry { start: words.len(), len: word.len(), count: times };
        words.extend(word);
        entries.insert_unique(hash, entry, |entry| hasher.hash_one(&words[entry.range()]));
    }

    /// Each word with its count, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.entries.iter().map(|entry| (&self.words[entry.range()], entry.count))
    }

    /// About how many bytes of memory it takes.
    pub fn memory(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.words.capacity()
    }

    /// The table as a message.
    pub fn into_counts(self) -> Counts {
        let mut counts = Counts::default();
        counts.words.reserve(self.words.len() + self.entries.len());
        counts.counts.reserve(self.entries.len());
        for (word, count) in self.iter() {
            counts.words.extend(word);
            counts.words.push(b'\n');
            counts.counts.push(count);
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_and_cross_as_they_are() {
        let mut counter = Counter::default();
        for word in ["b", "a", "b", "", "b"] {
            counter.add(word.as_bytes(), 1);
        }
        counter.add(b"a", 10);
        let counts = counter.into_counts();
        let mut seen: Vec<_> = counts.iter().collect();
        seen.sort();
        assert_eq!(seen, [(&b""[..], 1), (b"a", 11), (b"b", 3)]);
    }
}
