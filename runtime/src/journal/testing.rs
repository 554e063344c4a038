//! A journal over a storage of a test's own.

use redb::StorageBackend;

use super::JournalError;
use super::record::{self, Key, Outcome, Record};
use super::store::{Changes, Contents, KnownTask, Store};

/// A journal over any storage, committed to by hand.
#[derive(Debug)]
pub(super) struct Bare {
    store: Store,
    contents: Contents,
}

impl Bare {
    /// Opens, or makes, the journal in this storage.
    ///
    /// # Errors
    ///
    /// When what is there is no journal, or a damaged one.
    pub(super) fn over(storage: impl StorageBackend) -> Result<Bare, JournalError> {
        let (store, contents) = Store::over(storage)?;
        Ok(Bare { store, contents })
    }

    /// Commits records of these items, each with its own number as value.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    pub(super) fn commit(&mut self, items: std::ops::Range<u64>) -> Result<(), JournalError> {
        let mut segment = Vec::new();
        for index in items {
            let mut key: Key = [0; 16];
            key[..8].copy_from_slice(&index.to_le_bytes());
            let value = index.to_le_bytes();
            let record = Record {
                key,
                task: 0,
                index,
                outcome: Outcome::Done,
                tries: 1,
                worker: 0,
                nanos: 0,
                at: record::now(),
                text: "",
                value: &value,
            };
            let _ = record.write(&mut segment);
        }
        record::seal(&mut segment);
        let number = self.contents.next_segment;
        self.contents.next_segment += 1;
        let tasks = match number {
            0 => vec![KnownTask { number: 0, name: "task".into(), version: 1 }],
            _ => Vec::new(),
        };
        self.store.commit(&Changes { tasks, segment: Some((number, segment)), runs: Vec::new() })
    }

    /// The items with records whose value is right.
    ///
    /// # Errors
    ///
    /// When the journal cannot be read.
    pub(super) fn items(&self) -> Result<Vec<u64>, JournalError> {
        let mut items = Vec::new();
        for number in 0..self.contents.next_segment {
            let segment = self.store.segment(number)?;
            for (_, record) in record::records(&segment).flatten() {
                if record.value == record.index.to_le_bytes() {
                    items.push(record.index);
                }
            }
        }
        Ok(items)
    }
}
