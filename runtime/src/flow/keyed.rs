//! Ends that keep something for each key.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;

use super::stage::FoldFn;
use super::terminal::Terminal;
use crate::message::{DecodeError, Decoder, Message};

/// What a chunk should last whose result is a table: so long that most of what it sees has a key that it knows, as each key of a chunk costs
/// about as much again when the tables are merged.
const TABLE_NANOS: u64 = 500_000_000;
/// Tables merged at once. Small: they are large.
const TABLE_FAN: usize = 8;

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// One value for each key.
pub struct ReduceByKey<F>(PhantomData<fn() -> F>);

/// All values for each key.
#[derive(Debug)]
pub struct GroupByKey;

impl<F> fmt::Debug for ReduceByKey<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReduceByKey")
    }
}

impl<K, V, F> Terminal<(K, V)> for ReduceByKey<F>
where
    K: Message + Hash + Eq,
    V: Message,
    F: FoldFn<V, V>,
{
    /// A value is absent while the task has it.
    type Acc = Map<K, Option<V>>;
    type Partial = Vec<(K, V)>;
    const NANOS: u64 = TABLE_NANOS;
    const FAN: usize = TABLE_FAN;

    fn begin() -> Self::Acc {
        Map::default()
    }

    #[inline(always)]
    fn feed(acc: &mut Self::Acc, (key, value): (K, V)) {
        let place = acc.entry(key).or_insert(None);
        *place = Some(match place.take() {
            Some(so_far) => F::fold(so_far, value),
            None => value,
        });
    }

    fn finish(acc: Self::Acc) -> Vec<(K, V)> {
        acc.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }

    fn absorb(acc: &mut Self::Acc, partial: Vec<(K, V)>) {
        acc.reserve(partial.len().saturating_sub(acc.len()));
        partial.into_iter().for_each(|pair| <Self as Terminal<(K, V)>>::feed(acc, pair));
    }

    /// Pair by pair: a vector of all of them would be written and read for nothing.
    fn absorb_archived(acc: &mut Self::Acc, partial: &<Vec<(K, V)> as Message>::Archived) -> Result<(), DecodeError> {
        acc.reserve(partial.len().saturating_sub(acc.len()));
        partial.iter().try_for_each(|pair| {
            let pair = <(K, V)>::read(pair, &mut Decoder::new())?;
            <Self as Terminal<(K, V)>>::feed(acc, pair);
            Ok(())
        })
    }
}

impl<K, V> Terminal<(K, V)> for GroupByKey
where
    K: Message + Hash + Eq,
    V: Message,
{
    type Acc = Map<K, Vec<V>>;
    type Partial = Vec<(K, Vec<V>)>;
    const NANOS: u64 = TABLE_NANOS;
    const FAN: usize = TABLE_FAN;

    fn begin() -> Self::Acc {
        Map::default()
    }

    #[inline(always)]
    fn feed(acc: &mut Self::Acc, (key, value): (K, V)) {
        acc.entry(key).or_default().push(value);
    }

    fn finish(acc: Self::Acc) -> Vec<(K, Vec<V>)> {
        acc.into_iter().collect()
    }

    fn absorb(acc: &mut Self::Acc, partial: Vec<(K, Vec<V>)>) {
        for (key, values) in partial {
            acc.entry(key).or_default().extend(values);
        }
    }
}

/// One value for each key, in no order; made by [`Flow::reduce_by_key`](super::Flow::reduce_by_key) and
/// [`Flow::group_by_key`](super::Flow::group_by_key).
///
/// ```
/// use offspring::{Executor, Inline, task};
///
/// #[task]
/// fn letters(word: &str) -> Vec<(char, u64)> {
///     word.chars().map(|letter| (letter, 1)).collect()
/// }
///
/// #[task]
/// fn sum(a: u64, b: u64) -> u64 {
///     a + b
/// }
///
/// let table = Inline::new().flow(["noon", "on"]).flat_map(letters).reduce_by_key(sum)?;
/// assert_eq!(table.len(), 2);
/// assert_eq!(table.top_by_value(1), [('n', 3)]);
/// # Ok::<(), offspring::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table<K, V> {
    entries: Vec<(K, V)>,
}

impl<K, V> Table<K, V> {
    pub(super) fn new(entries: Vec<(K, V)>) -> Self {
        Table { entries }
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The keys with their values, in no order.
    pub fn iter(&self) -> std::slice::Iter<'_, (K, V)> {
        self.entries.iter()
    }

    /// The `n` entries with the greatest values, greatest first; of equal values, those with the lesser keys first.
    ///
    /// ```
    /// use offspring::{Executor, Inline, task};
    ///
    /// #[task]
    /// fn words(text: &str) -> Vec<(String, u64)> {
    ///     text.split_whitespace().map(|word| (word.to_owned(), 1)).collect()
    /// }
    ///
    /// #[task]
    /// fn sum(a: u64, b: u64) -> u64 {
    ///     a + b
    /// }
    ///
    /// let table = Inline::new().flow(["a b a", "c a b"]).flat_map(words).reduce_by_key(sum)?;
    /// assert_eq!(table.len(), 3);
    /// assert_eq!(table.top_by_value(2), [("a".to_string(), 3), ("b".to_string(), 2)]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "most_common")]
    pub fn top_by_value(mut self, n: usize) -> Vec<(K, V)>
    where
        K: Ord,
        V: Ord,
    {
        let order = |a: &(K, V), b: &(K, V)| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0));
        if n < self.entries.len() {
            // Linear: only the few that are wanted are put in order.
            self.entries.select_nth_unstable_by(n, order);
            self.entries.truncate(n);
        }
        self.entries.sort_unstable_by(order);
        self.entries
    }

    /// All entries, in the order of their keys.
    pub fn sorted_by_key(mut self) -> Vec<(K, V)>
    where
        K: Ord,
    {
        self.entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        self.entries
    }

    /// All entries, as a map.
    pub fn into_map(self) -> HashMap<K, V>
    where
        K: Hash + Eq,
    {
        self.entries.into_iter().collect()
    }
}

impl<K, V> IntoIterator for Table<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl<'a, K, V> IntoIterator for &'a Table<K, V> {
    type Item = &'a (K, V);
    type IntoIter = std::slice::Iter<'a, (K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
