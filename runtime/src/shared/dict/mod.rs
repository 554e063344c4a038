//! A dictionary in shared memory.
#![allow(unsafe_code)]

mod iter;
mod page;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;

pub use iter::{Iter, Keys, Values};
pub(super) use table::{Inserted, When};
pub(crate) use table::{Root, Table};

use super::SharedError;
use super::image::{self, Buffer, Writer, with_buffer, with_writer};
use super::key::{AsKey, Key};
use super::kinds::{DictKind, pos_in};
use super::nested::calling;
use crate::arena::journal::Taker;
use crate::arena::{Arena, BlockId};
use crate::message::Message;
use crate::object::{Handle, Role, message_by_handle};

/// A result of the operations here.
type Result<T, E = SharedError> = std::result::Result<T, E>;

/// A dictionary that all processes of a program share: Python's `Manager().dict()`, without the manager.
///
/// A handle is a small value and a message: it can be a task's argument or result, lie in a struct, a queue or another
/// dictionary. All handles mean the same dictionary, which lives as long as there is one. Keys are [`Key`]s, values any
/// [`Message`]s, of any size.
///
/// Every call is atomic towards all processes, except where its description says otherwise. Readers take no locks and do
/// not wait for each other. Writers lock one of many pages, for well under a microsecond; none waits for a process that died.
/// Growing never stops all: it moves about a hundred entries at a time.
///
/// # Kill safety
/// A process that is killed in the middle of a call leaves the dictionary as it was before, or as it is after.
///
/// # Errors
/// [`ErrorKind::OutOfMemory`](crate::ErrorKind::OutOfMemory) if the program's budget of shared memory is used up;
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) in a `fork()` of a process of the program. The same for all calls.
///
/// ```
/// use offspring::shared::Dict;
/// use offspring::{Pool, task};
///
/// #[task]
/// fn note(seen: Dict<String, u64>, word: String) -> Result<(), offspring::Failure> {
///     seen.upsert(&word, |count| count.unwrap_or(0) + 1)?;
///     Ok(())
/// }
///
/// let seen = Dict::new()?;
/// let words = ["a", "b", "a"].map(|word| (seen.clone(), word.to_string()));
/// for result in Pool::new()?.map(note, words)? {
///     result?;
/// }
/// assert_eq!((seen.len(), seen.get("a")?), (2, Some(2)));
/// # Ok::<(), offspring::Error>(())
/// ```
#[doc(alias = "SyncManager.dict")]
#[doc(alias = "DictProxy")]
pub struct Dict<K, V> {
    pub(super) handle: Handle<DictKind>,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for Dict<K, V> {
    fn clone(&self) -> Self {
        Dict { handle: self.handle.clone(), types: PhantomData }
    }
}

impl<K, V> fmt::Debug for Dict<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dict").field("id", &self.handle.id()).finish_non_exhaustive()
    }
}

/// Equal handles are handles to one dictionary.
impl<K, V> PartialEq for Dict<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.handle == other.handle
    }
}

impl<K, V> Eq for Dict<K, V> {}

/// What tells apart the values of a dictionary: nothing, as all are of one type.
const NO_TAG: u64 = 0;

impl<K: Key, V: Message> Dict<K, V> {
    /// An empty dictionary.
    ///
    /// ```
    /// let dict: offspring::shared::Dict<u64, String> = offspring::shared::Dict::new()?;
    /// assert!(dict.is_empty());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn new() -> Result<Self> {
        Dict::in_arena(crate::arena::family()?)
    }

    pub(crate) fn in_arena(arena: &'static Arena) -> Result<Self> {
        let handle = Handle::create_in(arena, 0, Role::Plain, |_| ())?;
        let dict = Dict::of(handle);
        dict.table()?.init()?;
        Ok(dict)
    }

    pub(crate) fn of(handle: Handle<DictKind>) -> Self {
        Dict { handle, types: PhantomData }
    }

    pub(super) fn table(&self) -> Result<Table<'_>> {
        self.handle.check()?;
        let root = self.handle.shared();
        Ok(Table::new(self.handle.arena(), root, pos_in(&self.handle, root)?))
    }

    /// Runs `body` with the table, a writer that has the key, and the key's hash.
    fn with<Q: AsKey<K> + ?Sized, R>(
        &self,
        key: &Q,
        body: impl FnOnce(&Table<'_>, &mut Writer, u64) -> Result<R>,
    ) -> Result<R> {
        let table = self.table()?;
        with_writer(|writer| {
            key.with_key(|key| writer.key(key))?;
            let hash = table.hash(writer.key_words());
            body(&table, writer, hash)
        })
    }

    /// The value of the copy in `buffer`, which `find` made.
    fn value(buffer: &Buffer) -> Result<V> {
        // SAFETY: a dictionary's values are all written as `V`, and `find` gives good copies only.
        unsafe { buffer.value() }
    }

    fn old(&self, taken: &Taker) -> Result<Option<V>> {
        match taken.id() {
            // SAFETY: a dictionary's values are all written as `V`; the block is in this process's hands alone.
            Some(id) => unsafe { image::value_in(self.handle.arena(), id.pos()) }.map(Some),
            None => Ok(None),
        }
    }

    /// The value at a key, with the name of its block: read again if it went away while it was decoded.
    fn read(&self, table: &Table<'_>, hash: u64, key: &[u64]) -> Result<Option<(BlockId, V)>> {
        with_buffer(|buffer| {
            loop {
                let Some(id) = table.find(hash, key, Some(buffer))? else { return Ok(None) };
                match Self::value(buffer) {
                    Ok(value) => return Ok(Some((id, value))),
                    // What a handle in it means may be gone with it.
                    Err(_) if table.find(hash, key, None)? != Some(id) => {}
                    Err(error) => return Err(error),
                }
            }
        })
    }

    /// The value at `key`. Takes no lock.
    ///
    /// ```
    /// # let dict = offspring::shared::Dict::new()?;
    /// dict.insert("pi", &3.14)?;
    /// assert_eq!((dict.get("pi")?, dict.get("e")?), (Some(3.14), None));
    /// # let _: &offspring::shared::Dict<String, f64> = &dict;
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn get<Q: AsKey<K> + ?Sized>(&self, key: &Q) -> Result<Option<V>> {
        self.with(key, |table, writer, hash| Ok(self.read(table, hash, writer.key_words())?.map(|(_, value)| value)))
    }

    /// Is there a value at `key`? Takes no lock.
    ///
    /// ```
    /// let seen = offspring::shared::Dict::new()?;
    /// seen.set("page", &true)?;
    /// assert!(seen.contains("page")? && !seen.contains("other")?);
    /// # let _: &offspring::shared::Dict<String, bool> = &seen;
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "__contains__")]
    pub fn contains<Q: AsKey<K> + ?Sized>(&self, key: &Q) -> Result<bool> {
        self.with(key, |table, writer, hash| Ok(table.find(hash, writer.key_words(), None)?.is_some()))
    }

    fn put<Q: AsKey<K> + ?Sized>(&self, key: &Q, value: &V, when: When) -> Result<Inserted> {
        self.with(key, |table, writer, hash| {
            let block = writer.block(self.handle.arena(), (hash, NO_TAG), value)?;
            table.insert((hash, writer.key_words()), block, when)
        })
    }

    /// Puts `value` at `key`, and returns what was there before.
    ///
    /// ```
    /// let dict = offspring::shared::Dict::new()?;
    /// assert_eq!(dict.insert("x", &1u8)?, None);
    /// assert_eq!(dict.insert("x", &2)?, Some(1));
    /// # let _: &offspring::shared::Dict<String, u8> = &dict;
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn insert<Q: AsKey<K> + ?Sized>(&self, key: &Q, value: &V) -> Result<Option<V>> {
        match self.put(key, value, When::Always)? {
            Inserted::Replaced(old) => self.old(&old),
            Inserted::New | Inserted::Refused => Ok(None),
        }
    }

    /// Puts `value` at `key`, as [`Dict::insert`], without making a value of what was there before.
    ///
    /// ```
    /// let prices: offspring::shared::Dict<String, f64> = offspring::shared::Dict::new()?;
    /// prices.set("apple", &0.5)?;
    /// assert_eq!(prices.get("apple")?, Some(0.5));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "__setitem__")]
    pub fn set<Q: AsKey<K> + ?Sized>(&self, key: &Q, value: &V) -> Result<()> {
        self.put(key, value, When::Always).map(drop)
    }

    /// Puts `value` at `key` if there is none yet; says whether it did.
    ///
    /// ```
    /// let owners = offspring::shared::Dict::new()?;
    /// assert!(owners.insert_new(&7u32, &"me".to_string())?);
    /// assert!(!owners.insert_new(&7u32, &"you".to_string())?);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn insert_new<Q: AsKey<K> + ?Sized>(&self, key: &Q, value: &V) -> Result<bool> {
        Ok(matches!(self.put(key, value, When::Absent)?, Inserted::New))
    }

    /// Puts `value` at `key` if there is one already; returns the old one.
    ///
    /// ```
    /// let prices: offspring::shared::Dict<String, f64> = offspring::shared::Dict::new()?;
    /// assert_eq!(prices.replace("apple", &0.5)?, None); // there is none, and none is made
    /// prices.set("apple", &0.5)?;
    /// assert_eq!(prices.replace("apple", &0.75)?, Some(0.5));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn replace<Q: AsKey<K> + ?Sized>(&self, key: &Q, value: &V) -> Result<Option<V>> {
        match self.put(key, value, When::Present)? {
            Inserted::Replaced(old) => self.old(&old),
            Inserted::New | Inserted::Refused => Ok(None),
        }
    }

    /// The value at `key`; the one that `make` gives is put there first if there is none.
    ///
    /// `make` may be called although another process comes first in the end; then the value of that is returned.
    ///
    /// ```
    /// let cache: offspring::shared::Dict<u64, Vec<u64>> = offspring::shared::Dict::new()?;
    /// assert_eq!(cache.get_or_insert_with(&3, || vec![1, 3])?, [1, 3]);
    /// assert_eq!(cache.get_or_insert_with(&3, || panic!("it is there"))?, [1, 3]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "setdefault")]
    pub fn get_or_insert_with<Q: AsKey<K> + ?Sized>(&self, key: &Q, make: impl FnOnce() -> V) -> Result<V> {
        if let Some(value) = self.get(key)? {
            return Ok(value);
        }
        let made = make();
        loop {
            if self.insert_new(key, &made)? {
                return Ok(made);
            }
            if let Some(value) = self.get(key)? {
                return Ok(value);
            }
        }
    }

    /// As [`Dict::get_or_insert_with`], with a value that is there already.
    ///
    /// ```
    /// let numbers: offspring::shared::Dict<String, u64> = offspring::shared::Dict::new()?;
    /// assert_eq!((numbers.get_or_insert("a", 1)?, numbers.get_or_insert("a", 2)?), (1, 1));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "setdefault")]
    pub fn get_or_insert<Q: AsKey<K> + ?Sized>(&self, key: &Q, value: V) -> Result<V> {
        self.get_or_insert_with(key, || value)
    }

    /// Removes `key`, and returns its value.
    ///
    /// ```
    /// let dict: offspring::shared::Dict<i32, char> = [(1, 'a')].into_iter().try_fold(
    ///     offspring::shared::Dict::new()?,
    ///     |dict, (key, value)| dict.insert(&key, &value).map(|_| dict),
    /// )?;
    /// assert_eq!((dict.remove(&1)?, dict.remove(&1)?), (Some('a'), None));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "pop")]
    #[doc(alias = "__delitem__")]
    pub fn remove<Q: AsKey<K> + ?Sized>(&self, key: &Q) -> Result<Option<V>> {
        self.with(key, |table, writer, hash| match table.remove((hash, writer.key_words()), None)? {
            Some(taken) => self.old(&taken),
            None => Ok(None),
        })
    }

    /// Removes some key, and returns it with its value; `None` if there is none.
    ///
    /// ```
    /// let todo: offspring::shared::Dict<u64, String> = offspring::shared::Dict::new()?;
    /// todo.set(&7, &"seven".to_string())?;
    /// assert_eq!(todo.pop()?, Some((7, "seven".to_string())));
    /// assert_eq!(todo.pop()?, None);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "popitem")]
    pub fn pop(&self) -> Result<Option<(K, V)>> {
        let table = self.table()?;
        let mut cursor = Some(0);
        while let Some(at) = cursor {
            let (keys, next) = table.keys_at(at)?;
            for key in keys {
                let hash = table.hash(&key);
                if let Some(taken) = table.remove((hash, &key), None)?
                    && let Some(id) = taken.id()
                {
                    // SAFETY: written as a `K` and a `V`; the block is in this process's hands alone.
                    let pair = unsafe {
                        (image::key_in(self.handle.arena(), id.pos())?, image::value_in(self.handle.arena(), id.pos())?)
                    };
                    return Ok(Some(pair));
                }
            }
            cursor = next;
        }
        Ok(None)
    }

    /// Replaces the value at `key` by what `change` makes of it, and returns a copy of the new one; `None`, and no call, if
    /// there is no value.
    ///
    /// Nothing is locked while `change` runs. It is called again, with the newer value, when another process changed the
    /// entry meanwhile; so it should do nothing but compute. It may use this dictionary, other keys of it included.
    ///
    /// # Errors
    /// [`ErrorKind::Deadlock`](crate::ErrorKind::Deadlock) if `change` changes this same entry by itself: its result would
    /// never be taken. The same for the other methods that take a function.
    ///
    /// ```
    /// # let dict = offspring::shared::Dict::new()?;
    /// dict.insert("x", &20)?;
    /// assert_eq!(dict.update("x", |x| x + 1)?, Some(21));
    /// assert_eq!(dict.update("y", |y| y + 1)?, None);
    /// # let _: &offspring::shared::Dict<String, i32> = &dict;
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn update<Q: AsKey<K> + ?Sized>(&self, key: &Q, mut change: impl FnMut(V) -> V) -> Result<Option<V>> {
        self.modify(key, |value| value.map(&mut change))
    }

    /// Puts what `change` makes of the value at `key`, or of `None` if there is none, there, and returns a copy of it. As
    /// [`Dict::update`] otherwise.
    ///
    /// ```
    /// let counts = offspring::shared::Dict::new()?;
    /// for word in ["a", "b", "a"] {
    ///     counts.upsert(word, |count| count.unwrap_or(0) + 1)?;
    /// }
    /// assert_eq!(counts.get("a")?, Some(2));
    /// # let _: &offspring::shared::Dict<String, i32> = &counts;
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "entry")]
    pub fn upsert<Q: AsKey<K> + ?Sized>(&self, key: &Q, mut change: impl FnMut(Option<V>) -> V) -> Result<V> {
        let value = self.modify(key, |value| Some(change(value)))?;
        value.ok_or(SharedError::Damaged)
    }

    /// The general form of [`Dict::update`]: `change` gets the value at `key`, if there is one, and says what is to be there;
    /// with `None` the key is removed.
    ///
    /// ```
    /// let stock = offspring::shared::Dict::new()?;
    /// stock.insert("apples", &1u32)?;
    /// let take_one = |left: Option<u32>| left?.checked_sub(1).filter(|left| *left > 0);
    /// assert_eq!(stock.modify("apples", take_one)?, None);
    /// assert!(!stock.contains("apples")?);
    /// # let _: &offspring::shared::Dict<String, u32> = &stock;
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "entry")]
    pub fn modify<Q: AsKey<K> + ?Sized>(
        &self,
        key: &Q,
        mut change: impl FnMut(Option<V>) -> Option<V>,
    ) -> Result<Option<V>> {
        self.with(key, |table, writer, hash| {
            loop {
                let (holder, value) = self.read(table, hash, writer.key_words())?.unzip();
                let call = calling(table.pos(), hash);
                let Some(new) = change(value) else {
                    match holder {
                        None => return Ok(None),
                        Some(id) if table.remove((hash, writer.key_words()), Some(id))?.is_some() => return Ok(None),
                        Some(_) => call.refused()?,
                    }
                    continue;
                };
                let block = writer.block(self.handle.arena(), (hash, NO_TAG), &new)?;
                let when = holder.map_or(When::Absent, When::Holds);
                match table.insert((hash, writer.key_words()), block, when)? {
                    Inserted::Refused => call.refused()?,
                    Inserted::New | Inserted::Replaced(_) => return Ok(Some(new)),
                }
            }
        })
    }

    /// Replaces the value at `key` by `new` if it is `current`; says whether it did.
    ///
    /// ```
    /// let state: offspring::shared::Dict<u64, String> = offspring::shared::Dict::new()?;
    /// let (new, taken) = ("new".to_string(), "taken".to_string());
    /// state.set(&1, &new)?;
    /// assert!(state.compare_exchange(&1, &new, &taken)?); // the first who tries
    /// assert!(!state.compare_exchange(&1, &new, &taken)?); // all others
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn compare_exchange<Q: AsKey<K> + ?Sized>(&self, key: &Q, current: &V, new: &V) -> Result<bool>
    where
        V: PartialEq,
    {
        self.with(key, |table, writer, hash| {
            loop {
                match self.read(table, hash, writer.key_words())? {
                    Some((id, value)) if value == *current => {
                        let block = writer.block(self.handle.arena(), (hash, NO_TAG), new)?;
                        if let Inserted::Replaced(_) =
                            table.insert((hash, writer.key_words()), block, When::Holds(id))?
                        {
                            return Ok(true);
                        }
                    }
                    _ => return Ok(false),
                }
            }
        })
    }

    /// How many keys there are: exact as long as nobody adds or removes any. Time in proportion to that, a hundred at a step.
    /// 0 in a `fork()` of a process of the program.
    #[doc(alias = "__len__")]
    pub fn len(&self) -> usize {
        self.table().and_then(|table| table.len()).unwrap_or(0)
    }

    /// Are there no keys?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all keys, at one moment; what comes in meanwhile comes before or after. Memory is given back after that moment.
    ///
    /// ```
    /// let dict: offspring::shared::Dict<u64, u64> = offspring::shared::Dict::new()?;
    /// dict.set(&1, &1)?;
    /// dict.clear()?;
    /// assert!(dict.is_empty());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn clear(&self) -> Result<()> {
        self.table()?.clear()
    }

    /// Puts all pairs in, one after the other.
    ///
    /// ```
    /// let squares: offspring::shared::Dict<u64, u64> = offspring::shared::Dict::new()?;
    /// squares.extend((0..100).map(|x| (x, x * x)))?;
    /// assert_eq!((squares.len(), squares.get(&9)?), (100, Some(81)));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "update")]
    pub fn extend(&self, pairs: impl IntoIterator<Item = (K, V)>) -> Result<()> {
        pairs.into_iter().try_for_each(|(key, value)| self.set(&key, &value))
    }

    /// Removes the pairs that `keep` refuses, one after the other; a pair that is changed meanwhile is asked for again. Returns
    /// how many were removed.
    ///
    /// ```
    /// let dict = offspring::shared::Dict::new()?;
    /// dict.extend((0..10u32).map(|n| (n, n * n)))?;
    /// assert_eq!(dict.retain(|_, square| square % 2 == 0)?, 5);
    /// assert_eq!(dict.len(), 5);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn retain(&self, mut keep: impl FnMut(&K, &V) -> bool) -> Result<usize> {
        let mut removed = 0;
        for key in self.keys() {
            let key = key?;
            self.with(&key, |table, writer, hash| {
                while let Some((id, value)) = self.read(table, hash, writer.key_words())? {
                    let call = calling(table.pos(), hash);
                    if keep(&key, &value) {
                        break;
                    }
                    if table.remove((hash, writer.key_words()), Some(id))?.is_some() {
                        removed += 1;
                        break;
                    }
                    call.refused()?;
                }
                Ok(())
            })?;
        }
        Ok(removed)
    }

    /// All pairs, in no order that means anything.
    ///
    /// Each key that is there from the beginning to the end comes exactly once, with a value that it had when it came; one
    /// that is added or removed meanwhile may come, at most once. Nothing is locked between two pairs. About a hundred keys
    /// are read ahead, values are not.
    ///
    /// ```
    /// let dict = offspring::shared::Dict::new()?;
    /// dict.extend([(1, 'a'), (2, 'b')])?;
    /// let mut pairs = dict.iter().collect::<Result<Vec<(u8, char)>, _>>()?;
    /// pairs.sort();
    /// assert_eq!(pairs, [(1, 'a'), (2, 'b')]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "items")]
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter::new(self)
    }

    /// All keys, as [`Dict::iter`] gives them.
    pub fn keys(&self) -> Keys<'_, K, V> {
        Keys::new(self)
    }

    /// All values, as [`Dict::iter`] gives them.
    pub fn values(&self) -> Values<'_, K, V> {
        Values::new(self)
    }

    /// All pairs as a map of this process's own, as [`Dict::iter`] gives them.
    ///
    /// ```
    /// let squares: offspring::shared::Dict<u64, u64> = offspring::shared::Dict::new()?;
    /// squares.set(&3, &9)?;
    /// assert_eq!(squares.to_map()?[&3], 9);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "copy")]
    pub fn to_map(&self) -> Result<HashMap<K, V>>
    where
        K: Eq + Hash,
    {
        self.iter().collect()
    }
}

impl<'a, K: Key, V: Message> IntoIterator for &'a Dict<K, V> {
    type Item = Result<(K, V)>;
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Iter<'a, K, V> {
        self.iter()
    }
}

message_by_handle!([K: Key, V: Message] Dict<K, V>, handle, Dict::of);
