//! What a process writes into its slot before it ends, so that its parent learns it whoever takes the exit status.

use super::handle::Note;
use crate::arena;
use crate::task::{PanicRecord, is_panicking};

/// The kinds of notes, as they stand in a slot.
const EXIT: u32 = 1;
const PANIC: u32 = 2;
const TEXT: u32 = 3;

/// A note as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// It ended by itself with this code.
    Exit(i32),
    /// Its last words.
    Words(Note),
}

/// Writes the exit code.
pub(crate) fn write_exit(code: i32) {
    write(EXIT, &code.to_le_bytes());
}

/// Writes why it ends, in words. Async-signal-safe. The note of a panic that is under way in this thread stays: the signal is its
/// consequence. One that the task caught has nothing to do with it.
pub(crate) fn write_text(text: &[u8]) {
    if let Ok(arena) = arena::family()
        && !(is_panicking() && arena.slots().note_kind(arena.me()) == Some(PANIC))
    {
        write(TEXT, text);
    }
}

/// Writes that a panic is under way. When it is caught after all, the note is of no account, as the status shows.
pub(crate) fn write_panic(panic: &PanicRecord) {
    let PanicRecord { message, location, backtrace } = panic;
    let mut text = Vec::with_capacity(512);
    for part in [Some(location), Some(message), backtrace.as_ref()].into_iter().flatten() {
        // The parts are separated by zeros; a note that is too long is cut off at its end.
        text.extend(part.bytes().filter(|&byte| byte != 0));
        text.push(0);
    }
    write(PANIC, &text);
}

/// Takes the note of a panic back that was caught: what ends this process later has nothing to do with it.
pub(crate) fn forget_panic() {
    write(0, &[]);
}

fn write(kind: u32, text: &[u8]) {
    if let Ok(arena) = arena::family() {
        arena.slots().write_note(arena.me(), kind, text);
    }
}

/// Reads a note back.
pub(crate) fn read(kind: u32, text: &[u8]) -> Option<Found> {
    let string = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match kind {
        EXIT => Some(Found::Exit(i32::from_le_bytes(text.try_into().ok()?))),
        PANIC => {
            let mut parts = text.split(|&byte| byte == 0);
            Some(Found::Words(Note::Panic(PanicRecord {
                location: parts.next().map(string)?,
                message: parts.next().map(string)?,
                backtrace: parts.next().filter(|part| !part.is_empty()).map(string),
            })))
        }
        TEXT => Some(Found::Words(Note::Text(string(text)))),
        _ => None,
    }
}
