//! Not public API: what the attributes' generated code names.

pub use bytemuck;
pub use inventory;
pub use rkyv;

pub use crate::message::{
    Checker, DecodeError, Decoder, EncodeError, Encoder, InPlace, Message, Plain, SliceItem, is_plain,
};
pub use crate::shared::{Key, is_key};
pub use crate::task::{
    AnyArgument, AnyError, Arguments, DebugArgument, DebugError, DisplayError, Fallibly, Feed, InArchive, NoError,
    Plainly, Probe, Shown, TaskEntry, TaskSource, constructor, param, plain, show, state, with_state,
};

/// Types that public signatures mention and nobody needs to name.
pub mod internals {
    pub use crate::executor::{Kept, Lost, Part, ProgramOptions, Ran};
    pub use crate::flow::internals::*;
    pub use crate::message::*;
    pub use crate::object::ArchivedHandle;
    pub use crate::task::registry::{DuplicateTask, LookupError};
    pub use crate::task::*;
}
