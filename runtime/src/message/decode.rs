//! Making values of archived ones.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;

use rkyv::rancor::Fallible;

use super::DecodeError;

/// What one decoding remembers: which shared values it has made already.
///
/// Costs nothing until a message holds an `Rc` or an `Arc`.
#[derive(Default)]
pub struct Decoder {
    shared: Option<Box<Shared>>,
    depth: u32,
}

/// By the address of the archived form, and the type made of it.
type Shared = HashMap<(usize, TypeId), Box<dyn Any>>;

/// Deeper nesting of boxes, lists and the like is refused instead of overflowing the stack.
const MAX_DEPTH: u32 = 512;

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

impl Fallible for Decoder {
    type Error = DecodeError;
}

impl Decoder {
    /// For one message.
    #[inline]
    pub fn new() -> Self {
        Decoder { shared: None, depth: 0 }
    }

    /// The shared value whose archived form is at `address`: made by `make` when it is met first.
    pub(super) fn shared<P: Any + Clone>(
        &mut self,
        address: usize,
        make: impl FnOnce(&mut Self) -> Result<P, DecodeError>,
    ) -> Result<P, DecodeError> {
        let key = (address, TypeId::of::<P>());
        if let Some(known) = self.shared.as_ref().and_then(|shared| shared.get(&key)?.downcast_ref::<P>()) {
            return Ok(known.clone());
        }
        let value = self.nested(make)?;
        self.shared.get_or_insert_default().insert(key, Box::new(value.clone()));
        Ok(value)
    }

    /// Runs `make` one level deeper.
    pub(super) fn nested<P>(
        &mut self,
        make: impl FnOnce(&mut Self) -> Result<P, DecodeError>,
    ) -> Result<P, DecodeError> {
        if self.depth == MAX_DEPTH {
            return Err(DecodeError::new(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.depth += 1;
        let value = make(self);
        self.depth -= 1;
        value
    }
}
