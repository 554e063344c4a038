//! The attributes of `offspring`: see the crate `offspring`, which re-exports them.
