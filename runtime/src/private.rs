//! Not public API: what the attributes' generated code names.

pub use inventory;
pub use rkyv;

pub use crate::message::{Auto, DecodeError, Decoder, EncodeError, Encoder, InPlace};
pub use crate::task::{Fallibly, Plainly, TaskEntry, TaskSource, constructor, param, plain, with_state};
