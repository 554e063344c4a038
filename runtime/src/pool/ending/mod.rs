//! Ending work that is not done: by tokens and levels (`cancel`), after so much time (`timeout`), by Ctrl-C (`interrupt`).

pub(crate) mod cancel;
pub(in crate::pool) mod interrupt;
pub(in crate::pool) mod timeout;
