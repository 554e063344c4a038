//! Going through a dictionary.

use std::fmt;

use super::super::SharedError;
use super::super::image;
use super::Dict;
use crate::message::Message;
use crate::shared::key::Key;

/// The pairs of a dictionary; made by [`Dict::iter`].
pub struct Iter<'a, K, V> {
    dict: &'a Dict<K, V>,
    /// Where the next page begins; `None` after the last.
    cursor: Option<u64>,
    /// Keys of the page before that are still to come.
    keys: std::vec::IntoIter<Vec<u64>>,
}

/// The keys of a dictionary; made by [`Dict::keys`].
pub struct Keys<'a, K, V>(Iter<'a, K, V>);

/// The values of a dictionary; made by [`Dict::values`].
pub struct Values<'a, K, V>(Iter<'a, K, V>);

impl<'a, K: Key, V: Message> Iter<'a, K, V> {
    pub(super) fn new(dict: &'a Dict<K, V>) -> Self {
        Iter { dict, cursor: Some(0), keys: Vec::new().into_iter() }
    }

    /// The next key; after an error there is none.
    fn key(&mut self) -> Option<Result<Vec<u64>, SharedError>> {
        loop {
            if let Some(key) = self.keys.next() {
                return Some(Ok(key));
            }
            let cursor = self.cursor?;
            match self.dict.table().and_then(|table| table.keys_at(cursor)) {
                Ok((keys, next)) => {
                    self.cursor = next;
                    self.keys = keys.into_iter();
                }
                Err(error) => {
                    self.cursor = None;
                    return Some(Err(error));
                }
            }
        }
    }

    fn value(&self, key: &[u64]) -> Result<Option<V>, SharedError> {
        let table = self.dict.table()?;
        Ok(self.dict.read(&table, table.hash(key), key)?.map(|(_, value)| value))
    }
}

impl<K: Key, V: Message> Iterator for Iter<'_, K, V> {
    type Item = Result<(K, V), SharedError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let pair = self.key()?.and_then(|key| {
                let Some(value) = self.value(&key)? else { return Ok(None) };
                Ok(Some((image::key_of(&key)?, value)))
            });
            if let Some(pair) = pair.transpose() {
                return Some(pair);
            }
        }
    }
}

impl<'a, K: Key, V: Message> Keys<'a, K, V> {
    pub(super) fn new(dict: &'a Dict<K, V>) -> Self {
        Keys(Iter::new(dict))
    }
}

impl<K: Key, V: Message> Iterator for Keys<'_, K, V> {
    type Item = Result<K, SharedError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.0.key()?.and_then(|key| image::key_of(&key)))
    }
}

impl<'a, K: Key, V: Message> Values<'a, K, V> {
    pub(super) fn new(dict: &'a Dict<K, V>) -> Self {
        Values(Iter::new(dict))
    }
}

impl<K: Key, V: Message> Iterator for Values<'_, K, V> {
    type Item = Result<V, SharedError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let value = self.0.key()?.and_then(|key| self.0.value(&key));
            if let Some(value) = value.transpose() {
                return Some(value);
            }
        }
    }
}

macro_rules! shown {
    ($($name:ident)*) => {$(
        impl<K, V> fmt::Debug for $name<'_, K, V> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}

shown! { Iter Keys Values }
