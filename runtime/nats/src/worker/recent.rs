//! A set that forgets.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;

/// The last so many that were put in.
pub(super) struct Recent<T> {
    most: usize,
    order: VecDeque<T>,
    set: HashSet<T>,
}

impl<T: Copy + Eq + Hash> Recent<T> {
    pub(super) fn new(most: usize) -> Recent<T> {
        Recent { most, order: VecDeque::new(), set: HashSet::new() }
    }

    pub(super) fn contains(&self, one: T) -> bool {
        self.set.contains(&one)
    }

    pub(super) fn insert(&mut self, one: T) {
        if !self.set.insert(one) {
            return;
        }
        self.order.push_back(one);
        if self.order.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.set.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_first_and_once() {
        let mut recent = Recent::new(2);
        for number in [1, 2, 1, 3] {
            recent.insert(number);
        }
        assert_eq!([1, 2, 3].map(|number| recent.contains(number)), [false, true, true]);
    }
}
