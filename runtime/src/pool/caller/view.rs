//! Results that are read where the workers wrote them.
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::ops::Index;
use std::sync::Arc;

use crate::message::{Archived, Message};
use crate::pool::job::window::Window;
use crate::pool::master::estate::Estate;
use crate::view::View;

/// A finished window in which every item has its result. Given back when the last view of it is dropped.
struct Held<R> {
    window: Window<R>,
    estate: Arc<Estate>,
}

impl<R> Drop for Held<R> {
    fn drop(&mut self) {
        self.estate.retire(self.window.job().clone());
    }
}

impl<R: Message> Held<R> {
    fn slots(&self) -> &[Archived<R>] {
        assert!(
            self.estate.arena.is_here(),
            "results in shared memory cannot be read in a fork() of the process that has them"
        );
        let view = self.window.job().view();
        // SAFETY: only `Views::push` makes one of these: of a window of which all items are done, none failed, and where a
        // worker died were validated. `self` keeps the memory, and nobody writes to it any more.
        unsafe { std::slice::from_raw_parts(view.outputs().cast::<Archived<R>>(), view.items()) }
    }
}

/// The results of a batch, in order, in shared memory; made by [`Pool::map_in_place`](crate::Pool::map_in_place).
///
/// Reading one costs nothing: no copy, no allocation. The memory is given back when this and all [`View`]s of it are dropped.
///
/// They stay when the workers that wrote them end or are killed; when the process that holds them is killed, the memory is given back.
///
/// ```
/// use offspring::{Pool, task};
///
/// #[task]
/// fn stars(n: usize) -> String {
///     "*".repeat(n)
/// }
///
/// let bars = Pool::new()?.map_in_place(stars, 0..100)?;
/// assert_eq!(bars.len(), 100);
/// assert_eq!(bars[3], *"***");
/// assert_eq!(bars.iter().map(|bar| bar.len()).sum::<usize>(), 4950);
/// # Ok::<(), offspring::Error>(())
/// ```
pub struct Views<R: Message> {
    parts: Vec<(usize, Arc<Held<R>>)>,
    len: usize,
    types: PhantomData<Archived<R>>,
}

impl<R: Message> fmt::Debug for Views<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Views").field("len", &self.len).finish_non_exhaustive()
    }
}

impl<R: Message> Views<R> {
    pub(in crate::pool) fn new() -> Self {
        Views { parts: Vec::new(), len: 0, types: PhantomData }
    }

    /// Adds a window whose items all have their results: checked by the caller with `Reader::check_all`.
    pub(in crate::pool) fn push(&mut self, window: Window<R>, estate: Arc<Estate>) {
        let items = window.job().view().items();
        self.parts.push((self.len, Arc::new(Held { window, estate })));
        self.len += items;
    }

    /// How many results there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn find(&self, index: usize) -> Option<(&Arc<Held<R>>, usize)> {
        let part = self.parts.partition_point(|(first, _)| *first <= index).checked_sub(1)?;
        let (first, held) = &self.parts[part];
        (index < self.len).then_some((held, index - first))
    }

    /// The result of item `index`.
    pub fn get(&self, index: usize) -> Option<&Archived<R>> {
        self.find(index).map(|(held, at)| &held.slots()[at])
    }

    /// A view of the result of item `index` that can outlive this one.
    pub fn view(&self, index: usize) -> Option<View<R>> {
        self.find(index).map(|(held, at)| view_of(held, at))
    }

    /// The results in order.
    ///
    /// ```
    /// use offspring::{Pool, task};
    ///
    /// #[task]
    /// fn digits(n: u64) -> String {
    ///     n.to_string()
    /// }
    ///
    /// let texts = Pool::new()?.map_in_place(digits, [1, 22, 333])?;
    /// assert_eq!((texts.len(), texts[2].as_str()), (3, "333"));
    /// assert_eq!(texts.iter().map(|text| text.len()).collect::<Vec<_>>(), [1, 2, 3]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = &Archived<R>> {
        self.slices().flatten()
    }

    /// The results in order, as few slices.
    pub fn slices(&self) -> impl Iterator<Item = &[Archived<R>]> {
        self.parts.iter().map(|(_, held)| held.slots())
    }

    pub(in crate::pool) fn into_views(self) -> Vec<View<R>> {
        self.parts.iter().flat_map(|(_, held)| (0..held.slots().len()).map(move |at| view_of(held, at))).collect()
    }
}

impl<R: Message> Index<usize> for Views<R> {
    type Output = Archived<R>;

    fn index(&self, index: usize) -> &Archived<R> {
        match self.get(index) {
            Some(found) => found,
            None => panic!("there are {} results, and none with index {index}", self.len),
        }
    }
}

fn view_of<R: Message>(held: &Arc<Held<R>>, at: usize) -> View<R> {
    let root = std::ptr::from_ref(&held.slots()[at]).cast();
    // SAFETY: a result that is done, see `Held::slots`, in memory that `held` keeps.
    unsafe { View::shared(held.estate.arena, root, held.clone()) }
}
