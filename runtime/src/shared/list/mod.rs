//! A list in shared memory.
#![allow(unsafe_code)]

mod spine;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeBounds;

pub(crate) use spine::{Root, Spine};

use super::SharedError;
use super::image::{self, Buffer, with_buffer, with_writer};
use super::kinds::{ListKind, pos_in};
use super::nested::{ALL, calling};
use super::range::bounds;
use crate::arena::journal::Taker;
use crate::arena::{Arena, Block, BlockId};
use crate::message::Message;
use crate::object::{Handle, Role, message_by_handle};

type Result<T, E = SharedError> = std::result::Result<T, E>;

/// A list that all processes of a program share: Python's `Manager().list()`, without the manager.
///
/// A handle is a small value and a message; all handles mean the same list, which lives as long as there is one. Items are
/// any [`Message`]s, of any size.
///
/// Every call is atomic towards all processes. Readers take no locks and do not wait for each other; writers take turns, for
/// well under a microsecond, or in proportion to how many items a call moves. Adding and removing at the end and replacing
/// cost the same in lists of any length; in the middle, a 128th of the length in words.
///
/// # Kill safety
/// A process that is killed in the middle of a call leaves the list as it was before, or as it is after; no one waits for it.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for an index out of range,
/// [`ErrorKind::OutOfMemory`](crate::ErrorKind::OutOfMemory) if the program's budget of shared memory is used up, or if one
/// call moves more items than a process can have blocks in its hands (some hundred thousand);
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) in a `fork()` of a process of the program.
///
/// ```
/// use offspring::shared::List;
/// use offspring::{Pool, task};
///
/// #[task]
/// fn add(list: List<u64>, n: u64) -> Result<(), offspring::Failure> {
///     Ok(list.push(&(n * n))?)
/// }
///
/// let list = List::new()?;
/// for result in Pool::new()?.map(add, (0..4).map(|n| (list.clone(), n)))? {
///     result?;
/// }
/// list.sort()?;
/// assert_eq!(list.to_vec()?, [0, 1, 4, 9]);
/// # Ok::<(), offspring::Error>(())
/// ```
#[doc(alias = "SyncManager.list")]
#[doc(alias = "ListProxy")]
pub struct List<T> {
    pub(super) handle: Handle<ListKind>,
    types: PhantomData<fn() -> T>,
}

impl<T> Clone for List<T> {
    fn clone(&self) -> Self {
        List { handle: self.handle.clone(), types: PhantomData }
    }
}

impl<T> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List").field("id", &self.handle.id()).finish_non_exhaustive()
    }
}

/// Equal handles are handles to one list.
impl<T> PartialEq for List<T> {
    fn eq(&self, other: &Self) -> bool {
        self.handle == other.handle
    }
}

impl<T> Eq for List<T> {}

message_by_handle!([T: Message] List<T>, handle, List::of);

impl<T: Message> List<T> {
    /// An empty list.
    ///
    /// ```
    /// let list: offspring::shared::List<String> = offspring::shared::List::new()?;
    /// assert!(list.is_empty());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn new() -> Result<Self> {
        List::in_arena(crate::arena::family()?)
    }

    /// A list of these items.
    ///
    /// ```
    /// let list = offspring::shared::List::from_items(["a", "b"].map(String::from))?;
    /// assert_eq!(list.len(), 2);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn from_items(items: impl IntoIterator<Item = T>) -> Result<Self> {
        let list = List::new()?;
        items.into_iter().try_for_each(|item| list.push(&item))?;
        Ok(list)
    }

    pub(crate) fn in_arena(arena: &'static Arena) -> Result<Self> {
        Ok(List::of(Handle::create_in(arena, 0, Role::Plain, |_| ())?))
    }

    pub(crate) fn of(handle: Handle<ListKind>) -> Self {
        List { handle, types: PhantomData }
    }

    fn spine(&self) -> Result<Spine<'_>> {
        self.handle.check()?;
        let root = self.handle.shared();
        Ok(Spine::new(self.handle.arena(), root, pos_in(&self.handle, root)?))
    }

    fn block(&self, item: &T) -> Result<Block> {
        with_writer(|writer| writer.block(self.handle.arena(), (0, 0), item))
    }

    fn blocks(&self, items: &[T]) -> Result<Vec<Block>> {
        items.iter().map(|item| self.block(item)).collect()
    }

    /// The value of an item's block that nobody changes meanwhile.
    fn value_of(&self, id: BlockId) -> Result<T> {
        // SAFETY: a list's items are all written as `T`; who calls this has the block, or the list's lock.
        unsafe { image::value_in(self.handle.arena(), id.pos()) }
    }

    fn taken(&self, taken: &Taker) -> Result<T> {
        self.value_of(taken.id().ok_or(SharedError::Damaged)?)
    }

    fn read(&self, spine: &Spine<'_>, index: usize, buffer: &mut Buffer) -> Result<(BlockId, T)> {
        loop {
            let id = spine.read(index, buffer)?;
            // SAFETY: a list's items are all written as `T`, and `read` gives good copies only.
            match unsafe { buffer.value() } {
                Ok(value) => return Ok((id, value)),
                // What a handle in it means may be gone with it.
                Err(_) if spine.read(index, buffer)? != id => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The item at `index`. Takes no lock.
    ///
    /// ```
    /// let list = offspring::shared::List::from_items([3, 4])?;
    /// assert_eq!(list.get(1)?, 4);
    /// assert!(list.get(2).is_err());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "__getitem__")]
    pub fn get(&self, index: usize) -> Result<T> {
        let spine = self.spine()?;
        with_buffer(|buffer| Ok(self.read(&spine, index, buffer)?.1))
    }

    /// The first item, if there is one.
    ///
    /// ```
    /// let list = offspring::shared::List::from_items([7, 8, 9])?;
    /// assert_eq!((list.first()?, list.last()?), (Some(7), Some(9)));
    /// list.clear()?;
    /// assert_eq!(list.first()?, None);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn first(&self) -> Result<Option<T>> {
        match self.get(0) {
            Err(SharedError::OutOfRange { .. }) => Ok(None),
            item => item.map(Some),
        }
    }

    /// The last item, if there is one.
    ///
    /// ```
    /// let list = offspring::shared::List::from_items([7, 8])?;
    /// assert_eq!(list.last()?, Some(8));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn last(&self) -> Result<Option<T>> {
        loop {
            let Some(index) = self.len().checked_sub(1) else { return Ok(None) };
            match self.get(index) {
                Err(SharedError::OutOfRange { .. }) => {}
                item => return item.map(Some),
            }
        }
    }

    /// Puts `item` in the place of the one at `index`.
    ///
    /// ```
    /// let list = offspring::shared::List::from_items([1, 2, 3])?;
    /// list.set(1, &20)?;
    /// assert_eq!(list.replace(2, &30)?, 3);
    /// assert_eq!(list.to_vec()?, [1, 20, 30]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "__setitem__")]
    pub fn set(&self, index: usize, item: &T) -> Result<()> {
        let block = self.block(item)?;
        let old = self.spine()?.lock()?.set(index, block)?;
        drop(old);
        Ok(())
    }

    /// As [`List::set`]; returns the old item.
    pub fn replace(&self, index: usize, item: &T) -> Result<T> {
        let block = self.block(item)?;
        let old = self.spine()?.lock()?.set(index, block)?;
        self.taken(&old)
    }

    /// Replaces the item at `index` by what `change` makes of it, and returns a copy of the new one.
    ///
    /// Nothing is locked while `change` runs. It is called again, with what is there then, when another process changed the
    /// place meanwhile; so it should do nothing but compute.
    ///
    /// # Errors
    /// As said at [`List`]; [`ErrorKind::Deadlock`](crate::ErrorKind::Deadlock) if `change` changes or moves this same item by
    /// itself: its result would never be taken. The same if a function that [`List::sort_by`] or [`List::retain`] calls
    /// changes the list.
    ///
    /// ```
    /// let list = offspring::shared::List::from_items([1, 2])?;
    /// assert_eq!(list.update(1, |n| n * 10)?, 20);
    /// assert_eq!(list.to_vec()?, [1, 20]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn update(&self, index: usize, mut change: impl FnMut(T) -> T) -> Result<T> {
        let spine = self.spine()?;
        loop {
            let (id, old) = with_buffer(|buffer| self.read(&spine, index, buffer))?;
            let call = calling(spine.pos(), index as u64);
            let new = change(old);
            let block = self.block(&new)?;
            let mut locked = spine.lock()?;
            if locked.item(index) == Some(id) && index < locked.len() {
                let old = locked.set(index, block)?;
                drop(locked);
                drop(old);
                return Ok(new);
            }
            drop(locked);
            call.refused()?;
        }
    }

    /// Adds `item` at the end.
    ///
    /// ```
    /// let list = offspring::shared::List::new()?;
    /// list.push(&"a".to_string())?;
    /// assert_eq!(list.last()?.as_deref(), Some("a"));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "append")]
    pub fn push(&self, item: &T) -> Result<()> {
        let block = self.block(item)?;
        self.spine()?.lock()?.push(block)
    }

    /// Takes the last item off.
    ///
    /// ```
    /// let list = offspring::shared::List::from_items([1, 2])?;
    /// assert_eq!((list.pop()?, list.pop()?, list.pop()?), (Some(2), Some(1), None));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn pop(&self) -> Result<Option<T>> {
        let taken = self.spine()?.lock()?.pop()?;
        taken.as_ref().map(|taken| self.taken(taken)).transpose()
    }

    /// Takes the first item off.
    ///
    /// ```
    /// let list = offspring::shared::List::from_items([1, 2])?;
    /// assert_eq!((list.pop_front()?, list.len()), (Some(1), 1));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "pop(0)")]
    pub fn pop_front(&self) -> Result<Option<T>> {
        let mut removed = self.splice_with(|len| Ok((0, len.min(1))), &[])?;
        Ok(removed.pop())
    }

    /// Puts `item` before the one at `index`, or at the end if `index` is the length.
    ///
    /// ```
    /// use offspring::ErrorKind;
    ///
    /// let list = offspring::shared::List::from_items(["b".to_string()])?;
    /// list.insert(0, &"a".to_string())?;
    /// assert_eq!(list.to_vec()?, ["a", "b"]);
    /// assert_eq!(list.insert(7, &"h".to_string()).unwrap_err().kind(), ErrorKind::InvalidInput);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn insert(&self, index: usize, item: &T) -> Result<()> {
        let range = |len| if index <= len { Ok((index, index)) } else { Err(SharedError::OutOfRange { index, len }) };
        self.splice_with(range, std::slice::from_ref(item)).map(drop)
    }

    /// Removes the item at `index`, and returns it.
    ///
    /// ```
    /// let list = offspring::shared::List::from_items([7, 8, 9])?;
    /// assert_eq!(list.remove(1)?, 8);
    /// assert!(list.remove_item(&9)? && !list.remove_item(&9)?);
    /// assert_eq!(list.to_vec()?, [7]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "__delitem__")]
    pub fn remove(&self, index: usize) -> Result<T> {
        let range =
            |len| if index < len { Ok((index, index + 1)) } else { Err(SharedError::OutOfRange { index, len }) };
        self.splice_with(range, &[])?.pop().ok_or(SharedError::Damaged)
    }

    /// Removes the first item that is equal to `item`; says whether there was one.
    ///
    /// ```
    /// let list = offspring::shared::List::from_items(["a".to_string(), "b".to_string()])?;
    /// assert!(list.remove_item(&"a".to_string())?);
    /// assert!(!list.remove_item(&"a".to_string())?);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "list.remove")]
    pub fn remove_item(&self, item: &T) -> Result<bool>
    where
        T: PartialEq,
    {
        self.edit(|items| match items.iter().position(|(_, it)| it == item) {
            Some(at) => {
                items.remove(at);
                Some(())
            }
            None => None,
        })
        .map(|done| done.is_some())
    }

    /// How many items there are. 0 in a `fork()` of a process of the program.
    #[doc(alias = "__len__")]
    pub fn len(&self) -> usize {
        self.spine().map_or(0, |spine| spine.len())
    }

    /// Are there no items?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all items.
    ///
    /// ```
    /// let list = offspring::shared::List::from_items(0..5u64)?;
    /// list.clear()?;
    /// assert!(list.is_empty());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn clear(&self) -> Result<()> {
        self.spine()?.lock()?.clear()
    }

    /// Adds all items at the end, all at one moment.
    ///
    /// ```
    /// let list = offspring::shared::List::from_items([1])?;
    /// list.extend(&[2, 3])?; // all of them at one moment
    /// assert_eq!(list.len(), 3);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn extend<'a>(&self, items: impl IntoIterator<Item = &'a T>) -> Result<()>
    where
        T: 'a,
    {
        let blocks = items.into_iter().map(|item| self.block(item)).collect::<Result<Vec<_>>>()?;
        let cells: Vec<BlockId> = blocks.iter().map(Block::id).collect();
        let mut locked = self.spine()?.lock()?;
        let len = locked.len();
        locked.rebuild((len, len), &cells, blocks, &[]).map(drop)
    }

    /// The items in `range`, all as they were at one moment.
    ///
    /// ```
    /// let list = offspring::shared::List::from_items(0..10)?;
    /// assert_eq!(list.slice(7..)?, [7, 8, 9]);
    /// assert!(list.slice(7..11).is_err());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "__getitem__")]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Result<Vec<T>> {
        let mut items = self.snapshot()?.0;
        let (from, to) = bounds(&range, items.len())?;
        Ok(items.drain(from..to).map(|(_, item)| item).collect())
    }

    /// Puts `items` in the place of those in `range`, and returns those.
    ///
    /// ```
    /// let list = offspring::shared::List::from_items(0..5)?;
    /// assert_eq!(list.splice(1..4, &[10, 20])?, [1, 2, 3]);
    /// assert_eq!(list.to_vec()?, [0, 10, 20, 4]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "__setitem__")]
    pub fn splice(&self, range: impl RangeBounds<usize>, items: &[T]) -> Result<Vec<T>> {
        self.splice_with(|len| bounds(&range, len), items)
    }

    /// Removes the items in `range`, and returns them.
    ///
    /// ```
    /// let list = offspring::shared::List::from_items(0..5u64)?;
    /// assert_eq!(list.drain(1..3)?, [1, 2]);
    /// assert_eq!(list.to_vec()?, [0, 3, 4]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn drain(&self, range: impl RangeBounds<usize>) -> Result<Vec<T>> {
        self.splice_with(|len| bounds(&range, len), &[])
    }

    /// Removes all items from number `len` on.
    ///
    /// ```
    /// let list = offspring::shared::List::from_items(0..5u64)?;
    /// list.truncate(2)?;
    /// assert_eq!(list.to_vec()?, [0, 1]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn truncate(&self, len: usize) -> Result<()> {
        self.splice_with(|now| Ok((len.min(now), now)), &[]).map(drop)
    }

    fn splice_with(&self, range: impl Fn(usize) -> Result<(usize, usize)>, items: &[T]) -> Result<Vec<T>> {
        let blocks = self.blocks(items)?;
        let cells: Vec<BlockId> = blocks.iter().map(Block::id).collect();
        let mut locked = self.spine()?.lock()?;
        let (from, to) = range(locked.len())?;
        let gone = locked.items(from, to)?;
        let taken = locked.rebuild((from, to), &cells, blocks, &gone)?;
        drop(locked);
        taken.iter().map(|taken| self.taken(taken)).collect()
    }

    /// Exchanges the items at two indices. Time in proportion to their distance.
    ///
    /// ```
    /// let list = offspring::shared::List::from_items(0..3u64)?;
    /// list.swap(0, 2)?;
    /// assert_eq!(list.to_vec()?, [2, 1, 0]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn swap(&self, one: usize, two: usize) -> Result<()> {
        let mut locked = self.spine()?.lock()?;
        let (low, high, len) = (one.min(two), one.max(two), locked.len());
        if high >= len {
            return Err(SharedError::OutOfRange { index: high, len });
        }
        let mut cells = locked.items(low, high + 1)?;
        cells.swap(0, high - low);
        locked.rebuild((low, high + 1), &cells, Vec::new(), &[]).map(drop)
    }

    /// All items with their blocks, as they were at one moment, and how often the list had been changed then.
    fn snapshot(&self) -> Result<(Vec<(BlockId, T)>, u64)> {
        let spine = self.spine()?;
        for _ in 0..4 {
            let Some((ids, changes)) = spine.items() else { continue };
            let copied: Option<Vec<(BlockId, T)>> = with_buffer(|buffer| {
                ids.into_iter()
                    .map(|id| {
                        let shown = image::Shown::new(self.handle.arena(), id.pos());
                        // SAFETY: a good copy of an item, which was written as a `T`.
                        let value = unsafe { buffer_value::<T>(buffer, shown, || spine.changes() == changes) };
                        Some((id, value?))
                    })
                    .collect()
            });
            if let Some(items) = copied.filter(|_| spine.changes() == changes) {
                return Ok((items, changes));
            }
        }
        // Others change it all the time: they wait for once.
        let locked = spine.lock()?;
        let ids = locked.items(0, locked.len())?;
        let items = ids.into_iter().map(|id| Ok((id, self.value_of(id)?))).collect::<Result<Vec<_>>>()?;
        Ok((items, locked.changes()))
    }

    /// All items, as they were at one moment.
    ///
    /// ```
    /// let list = offspring::shared::List::from_items(0..1000u64)?;
    /// assert_eq!(list.to_vec()?.len(), 1000);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "copy")]
    pub fn to_vec(&self) -> Result<Vec<T>> {
        Ok(self.snapshot()?.0.into_iter().map(|(_, item)| item).collect())
    }

    /// Changes the order of the items, or removes some, as `change` does to a snapshot; again where others changed the list
    /// meanwhile. `None`: nothing is to be done.
    fn edit<R>(&self, mut change: impl FnMut(&mut Vec<(BlockId, T)>) -> Option<R>) -> Result<Option<R>> {
        loop {
            let (mut items, changes) = self.snapshot()?;
            let mut gone: Vec<BlockId> = items.iter().map(|(id, _)| *id).collect();
            let len = gone.len();
            let spine = self.spine()?;
            let call = calling(spine.pos(), ALL);
            let Some(result) = change(&mut items) else { return Ok(None) };
            let cells: Vec<BlockId> = items.iter().map(|(id, _)| *id).collect();
            if cells.len() == len {
                gone.clear();
            } else {
                let kept: std::collections::HashSet<u64> = cells.iter().map(|id| id.raw()).collect();
                gone.retain(|id| !kept.contains(&id.raw()));
            }
            let mut locked = spine.lock()?;
            if locked.changes() != changes {
                drop(locked);
                call.refused()?;
                continue;
            }
            let taken = locked.rebuild((0, len), &cells, Vec::new(), &gone)?;
            drop(locked);
            drop(taken);
            return Ok(Some(result));
        }
    }

    /// Sorts the items; equal ones keep their order. Starts over if others change the list meanwhile.
    ///
    /// ```
    /// let list = offspring::shared::List::from_items(["pear", "fig"].map(String::from))?;
    /// list.sort()?;
    /// assert_eq!(list.first()?.as_deref(), Some("fig"));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn sort(&self) -> Result<()>
    where
        T: Ord,
    {
        self.sort_by(T::cmp)
    }

    /// Sorts by what `key` gives; see [`List::sort`].
    ///
    /// ```
    /// let list = offspring::shared::List::from_items(["three".to_string(), "one".to_string()])?;
    /// list.sort_by_key(|word| word.len())?;
    /// assert_eq!(list.to_vec()?, ["one", "three"]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn sort_by_key<K: Ord>(&self, mut key: impl FnMut(&T) -> K) -> Result<()> {
        self.sort_by(|one, two| key(one).cmp(&key(two)))
    }

    /// Sorts as `compare` says; see [`List::sort`].
    ///
    /// ```
    /// let list = offspring::shared::List::from_items([0.5f64, 2.5, 1.5])?;
    /// list.sort_by(|a, b| b.total_cmp(a))?;
    /// assert_eq!(list.to_vec()?, [2.5, 1.5, 0.5]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn sort_by(&self, mut compare: impl FnMut(&T, &T) -> Ordering) -> Result<()> {
        self.edit(|items| {
            items.sort_by(|(_, one), (_, two)| compare(one, two));
            Some(())
        })
        .map(drop)
    }

    /// Turns the order round.
    ///
    /// ```
    /// let list = offspring::shared::List::from_items(0..3u64)?;
    /// list.reverse()?;
    /// assert_eq!(list.to_vec()?, [2, 1, 0]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn reverse(&self) -> Result<()> {
        let mut locked = self.spine()?.lock()?;
        let len = locked.len();
        let mut cells = locked.items(0, len)?;
        cells.reverse();
        locked.rebuild((0, len), &cells, Vec::new(), &[]).map(drop)
    }

    /// Removes the items that `keep` refuses, all at one moment; returns how many. Starts over if others change the list
    /// meanwhile.
    ///
    /// ```
    /// let list = offspring::shared::List::from_items(0..10u64)?;
    /// assert_eq!(list.retain(|number| number % 5 == 0)?, 8);
    /// assert_eq!(list.to_vec()?, [0, 5]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn retain(&self, mut keep: impl FnMut(&T) -> bool) -> Result<usize> {
        let removed = self.edit(|items| {
            let len = items.len();
            items.retain(|(_, item)| keep(item));
            (items.len() < len).then_some(len - items.len())
        })?;
        Ok(removed.unwrap_or(0))
    }

    /// The index of the first item that is equal to `item`.
    ///
    /// ```
    /// let list = offspring::shared::List::from_items([7, 8, 8])?;
    /// assert_eq!((list.index_of(&8)?, list.count(&8)?, list.contains(&9)?), (Some(1), 2, false));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "index")]
    pub fn index_of(&self, item: &T) -> Result<Option<usize>>
    where
        T: PartialEq,
    {
        Ok(self.snapshot()?.0.iter().position(|(_, it)| it == item))
    }

    /// Is there an item equal to `item`?
    ///
    /// ```
    /// let list = offspring::shared::List::from_items([7, 8])?;
    /// assert!(list.contains(&7)? && !list.contains(&9)?);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "__contains__")]
    pub fn contains(&self, item: &T) -> Result<bool>
    where
        T: PartialEq,
    {
        Ok(self.index_of(item)?.is_some())
    }

    /// How many items are equal to `item`?
    ///
    /// ```
    /// let list = offspring::shared::List::from_items([7, 8, 7])?;
    /// assert_eq!(list.count(&7)?, 2);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn count(&self, item: &T) -> Result<usize>
    where
        T: PartialEq,
    {
        Ok(self.snapshot()?.0.iter().filter(|(_, it)| it == item).count())
    }

    /// The items, one after the other, each as it is when it comes: item 0, item 1, and so on until there is none. Items
    /// that others insert or remove meanwhile shift those behind. [`List::to_vec`] gives all as they are at one moment.
    ///
    /// ```
    /// let list = offspring::shared::List::from_items(1..4u64)?;
    /// let sum: u64 = list.iter().sum::<Result<u64, _>>()?;
    /// assert_eq!(sum, 6);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "__iter__")]
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { list: self, next: 0 }
    }
}

/// # Safety
/// What `shown` is an image of was written as a `T`, unless `still` says no.
unsafe fn buffer_value<T: Message>(buffer: &mut Buffer, shown: image::Shown, still: impl Fn() -> bool) -> Option<T> {
    if !buffer.copy(shown, still) {
        return None;
    }
    // SAFETY: a good copy.
    unsafe { buffer.value() }.ok()
}

/// The items of a list; made by [`List::iter`].
pub struct Iter<'a, T> {
    list: &'a List<T>,
    next: usize,
}

impl<T> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").field("next", &self.next).finish_non_exhaustive()
    }
}

impl<T: Message> Iterator for Iter<'_, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.list.get(self.next) {
            Err(SharedError::OutOfRange { .. }) => None,
            item => {
                self.next += 1;
                Some(item)
            }
        }
    }
}

impl<'a, T: Message> IntoIterator for &'a List<T> {
    type Item = Result<T>;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}
