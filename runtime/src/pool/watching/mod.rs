//! What happens when nobody waits (`watch`), how far a batch is for those who are told (`gauge`), and what was measured (`account`).

pub(in crate::pool) mod account;
pub(in crate::pool) mod gauge;
pub(in crate::pool) mod watch;
