//! Puts results that arrive in any order back into the order of their items.

use std::collections::VecDeque;

/// Holds back what came early.
///
/// ```
/// use offspring_examples::reorder::Reorder;
///
/// let mut reorder = Reorder::default();
/// reorder.put(1, 'b');
/// assert_eq!(reorder.pop(), None);
/// reorder.put(0, 'a');
/// assert_eq!((reorder.pop(), reorder.pop(), reorder.pop()), (Some('a'), Some('b'), None));
/// ```
#[derive(Debug)]
pub struct Reorder<T> {
    /// `waiting[k]` is the item of index `next + k`.
    waiting: VecDeque<Option<T>>,
    next: usize,
}

impl<T> Default for Reorder<T> {
    fn default() -> Self {
        Reorder { waiting: VecDeque::new(), next: 0 }
    }
}

impl<T> Reorder<T> {
    /// Takes in the result of item `index`.
    ///
    /// # Panics
    ///
    /// If that item was popped already.
    pub fn put(&mut self, index: usize, value: T) {
        let place = index.checked_sub(self.next).expect("each index comes once");
        if self.waiting.len() <= place {
            self.waiting.resize_with(place + 1, || None);
        }
        self.waiting[place] = Some(value);
    }

    /// The next one in order, if it has come.
    pub fn pop(&mut self) -> Option<T> {
        let value = self.waiting.front_mut()?.take()?;
        self.waiting.pop_front();
        self.next += 1;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_order_of_arrival_comes_out_in_order() {
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
            let mut reorder = Reorder::default();
            let mut out = Vec::new();
            for index in order {
                reorder.put(index, index);
                out.extend(std::iter::from_fn(|| reorder.pop()));
            }
            assert_eq!(out, [0, 1, 2, 3]);
        }
    }
}
