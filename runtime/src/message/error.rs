//! Why a value could not be written as a message, or not be read back.

use std::error::Error as StdError;
use std::fmt;

use rkyv::rancor;

use crate::ErrorKind;

/// Why a value could not be written as a message.
///
/// One pointer wide, so that the results on the way of a small message stay in registers.
#[derive(Clone, PartialEq, Eq)]
pub struct EncodeError(Box<Reason>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Reason {
    kind: ErrorKind,
    text: String,
}

impl EncodeError {
    /// An error of this kind and text.
    #[cold]
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        EncodeError(Box::new(Reason { kind, text: text.into() }))
    }

    /// [`ErrorKind::OutOfMemory`], [`ErrorKind::NotSendable`] or what else the place written to reported.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl fmt::Debug for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncodeError").field("kind", &self.0.kind).field("text", &self.0.text).finish()
    }
}

impl StdError for EncodeError {}

impl rancor::Trace for EncodeError {
    fn trace<R: fmt::Debug + fmt::Display + Send + Sync + 'static>(mut self, trace: R) -> Self {
        self.0.text = format!("{}; {trace}", self.0.text);
        self
    }
}

// rkyv reports through this. `rancor::Error` would drop the cause in release builds.
impl rancor::Source for EncodeError {
    fn new<T: StdError + Send + Sync + 'static>(source: T) -> Self {
        EncodeError::new(ErrorKind::NotSendable, source.to_string())
    }
}

/// Why bytes are no valid message.
#[derive(Clone, PartialEq, Eq)]
pub struct DecodeError(Box<str>);

impl DecodeError {
    /// An error of this text.
    #[cold]
    pub fn new(text: impl Into<String>) -> Self {
        DecodeError(text.into().into_boxed_str())
    }

    // Not public API. Used by generated code.
    #[doc(hidden)]
    #[cold]
    pub fn unknown_variant(of: &str, tag: u8) -> Self {
        DecodeError::new(format!("`{of}` has no variant {tag}"))
    }

    /// Always [`ErrorKind::InvalidData`].
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidData
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the received bytes are no valid message: {}", self.0)
    }
}

impl fmt::Debug for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DecodeError").field(&self.0).finish()
    }
}

impl StdError for DecodeError {}

impl rancor::Trace for DecodeError {
    fn trace<R: fmt::Debug + fmt::Display + Send + Sync + 'static>(self, trace: R) -> Self {
        DecodeError::new(format!("{}; {trace}", self.0))
    }
}

impl rancor::Source for DecodeError {
    fn new<T: StdError + Send + Sync + 'static>(source: T) -> Self {
        DecodeError::new(source.to_string())
    }
}
