//! What a running task says before it returns: values for its handle, how far it is, notes.
#![allow(unsafe_code)]

use std::any::Any;
use std::fmt::Display;

use super::current::with;
use super::run::SlotLayout;
use crate::ErrorKind;
use crate::message::{self, DecodeError, EncodeError, Encoder, Message, Range};
use crate::sys::image;

/// A value was not handed on; from [`emit`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a partial result was not handed on: {reason}")]
pub struct EmitError {
    reason: String,
    kind: ErrorKind,
}

impl EmitError {
    pub(crate) fn new(reason: impl Into<String>, kind: ErrorKind) -> EmitError {
        EmitError { reason: reason.into(), kind }
    }

    /// [`NotSendable`](ErrorKind::NotSendable), [`OutOfMemory`](ErrorKind::OutOfMemory), or [`Unsupported`](ErrorKind::Unsupported) outside
    /// of tasks.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

/// A value of any type on its way to a handle.
pub(crate) trait Emission: Send {
    fn slot(&self) -> SlotLayout;
    /// The function that reads it back, by its place in the program's file; `None`: it lies in none that all processes share.
    fn reader(&self) -> Option<u64>;
    /// Writes it.
    ///
    /// # Safety
    /// `slot` has the layout that `slot` says, is this call's alone, and lies in the mapping of the encoder's spans.
    unsafe fn write(&self, encoder: &mut Encoder, slot: *mut u8) -> Result<(), EncodeError>;
    /// The value itself.
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send>;
}

/// Makes the value of an archived one again. With ranges, what lies there is checked before.
///
/// # Safety
/// The slot has the size and alignment of the archived form, and was written by [`Emission::write`] of the same type; or there are
/// ranges, and they are readable.
pub(crate) type Reader = unsafe fn(*const u8, Option<Range>) -> Result<Box<dyn Any + Send>, DecodeError>;

unsafe fn read<T: Message + Send>(slot: *const u8, check: Option<Range>) -> Result<Box<dyn Any + Send>, DecodeError> {
    // SAFETY: as the caller says.
    unsafe {
        if let Some(range) = check {
            message::validate::<T>(slot, &[range])?;
        }
        Ok(Box::new(message::decode::<T>(slot)?))
    }
}

/// The reader whose number another process of this build has sent; `None`: there is no code there.
pub(crate) fn reader_at(number: u64) -> Option<Reader> {
    let address = image::code_at(number)?;
    // SAFETY: the number was made by `Emission::reader` in a process of the same build, of a function of this type; all processes of a build
    // have it at the same distance from the start of the file. Should the linker have folded two of them, their code is the same.
    Some(unsafe { std::mem::transmute::<*const u8, Reader>(address) })
}

impl<T: Message + Send> Emission for T {
    fn slot(&self) -> SlotLayout {
        SlotLayout::of::<T::Archived>()
    }

    fn reader(&self) -> Option<u64> {
        let reader: Reader = read::<T>;
        image::in_main_program().then(|| image::code_offset(reader as usize)).flatten()
    }

    unsafe fn write(&self, encoder: &mut Encoder, slot: *mut u8) -> Result<(), EncodeError> {
        // SAFETY: as the caller says.
        unsafe { encoder.put(self, slot) }
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

/// Hands `value` to whoever holds the running task's handle, where [`TaskHandle::emitted`](crate::TaskHandle::emitted) gives it out: a partial
/// result, while the task goes on.
///
/// Never waits. The value is kept in shared memory as long as the handle is, so also after the end of the task, and when its
/// worker dies; for endless streams of values use a [`Queue`](crate::Queue). A task of a batch has no handle: what it emits is thrown away.
/// With each try of a task its values come again.
///
/// # Errors
///
/// The value cannot be sent, shared memory is used up, or no task runs in this thread or worker process.
///
/// # Examples
///
/// ```
/// use offspring::{Failure, Pool, task};
///
/// #[task]
/// fn halve(mut x: u64) -> Result<u64, Failure> {
///     let mut steps = 0;
///     while x > 1 {
///         x /= 2;
///         steps += 1;
///         task::emit(x)?;
///     }
///     Ok(steps)
/// }
///
/// let pool = Pool::builder().workers(1).build()?;
/// let handle = pool.submit(halve, 8)?;
/// assert_eq!(handle.emitted::<u64>().collect::<Vec<_>>(), [4, 2, 1]);
/// assert_eq!(handle.get()?.unwrap(), 3);
/// # Ok::<(), offspring::Error>(())
/// ```
pub fn emit<T: Message + Send>(value: T) -> Result<(), EmitError> {
    let nobody = || EmitError::new("no task runs here", ErrorKind::Unsupported);
    with(move |runner| runner.emit(Box::new(value))).unwrap_or_else(|| Err(nobody()))
}

/// Says how far the running task is: `done` of `total`; a `total` of 0 is an unknown one.
///
/// Seen by [`TaskHandle::progress`](crate::TaskHandle::progress) and in [`Pool::workers`](crate::Pool::workers). Four stores to memory: it
/// can be called often. Does nothing outside of tasks.
///
/// # Examples
///
/// ```
/// use offspring::{Pool, task};
/// use std::time::Duration;
///
/// #[task]
/// fn work(steps: u64) {
///     for step in 0..steps {
///         task::progress(step, steps);
///         std::thread::sleep(Duration::from_millis(10));
///     }
/// }
///
/// let pool = Pool::builder().workers(1).build()?;
/// let handle = pool.submit(work, 20u64)?;
/// let seen = loop {
///     if let Some(progress) = handle.progress() {
///         break progress;
///     }
///     std::thread::yield_now();
/// };
/// assert!(seen.0 < 20 && seen.1 == 20);
/// handle.get()?;
/// # Ok::<(), offspring::Error>(())
/// ```
pub fn progress(done: u64, total: u64) {
    _ = with(|runner| runner.progress(done, total));
}

/// Notes something about the running task: what it was at, with which file. If it fails, its error shows the note, also when its process
/// is killed; see [`TaskError::notes`](crate::TaskError::notes).
///
/// Of a note 4 KiB are kept, and of a run 32 notes: the first 31 and the last. Does nothing outside of tasks.
///
/// # Examples
///
/// ```
/// use offspring::{Pool, task};
///
/// #[task]
/// fn read(path: &str) -> String {
///     task::note(format_args!("reading {path}"));
///     std::fs::read_to_string(path).unwrap()
/// }
///
/// let pool = Pool::builder().workers(1).build()?;
/// let error = pool.call(read, "/no/such/file").unwrap_err();
/// assert_eq!(error.notes(), ["reading /no/such/file"]);
/// assert!(error.to_string().ends_with("; its notes: reading /no/such/file"));
/// # Ok::<(), offspring::Error>(())
/// ```
#[doc(alias = "add_note")]
pub fn note(text: impl Display) {
    _ = with(|runner| runner.note(&text.to_string()));
}

/// Longest note in bytes, and most of a run.
pub(crate) const LONGEST_NOTE: usize = 4096;
pub(crate) const MOST_NOTES: u32 = 32;

/// Keeps a note in the process that runs the task: the first ones, and the last.
pub(crate) fn keep_note(notes: &mut Vec<String>, text: &str) {
    notes.truncate(MOST_NOTES as usize - 1);
    notes.push(shortened(text).to_owned());
}

/// As much of a note as is kept.
pub(crate) fn shortened(text: &str) -> &str {
    let fits = |end: &usize| *end <= LONGEST_NOTE && text.is_char_boundary(*end);
    &text[..(0..=text.len().min(LONGEST_NOTE)).rev().find(fits).unwrap_or(0)]
}
