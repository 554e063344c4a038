//! Seeded mistakes, chosen by a model.
use std::cell::Cell;

thread_local! {
    static CHOSEN: Cell<u32> = const { Cell::new(0) };
}

pub(crate) fn mutant(number: u32) -> bool {
    CHOSEN.get() == number
}

/// Makes mistake `number` in the models that this thread runs from now on.
pub(crate) fn choose_mutant(number: u32) {
    CHOSEN.set(number);
}
