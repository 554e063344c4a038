//! What a process writes into its slot before it ends, so that its parent learns it whoever takes the exit status.

use super::crash::CrashTrace;
use super::handle::Note;
use crate::arena;
use crate::sys::trace::{Frame, MOST_FRAMES};
use crate::task::{PanicRecord, is_panicking};

/// The kinds of notes, as they stand in a slot.
const EXIT: u32 = 1;
const PANIC: u32 = 2;
const TEXT: u32 = 3;
/// A text, and the frames of the stack.
const CRASH: u32 = 4;

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
        && arena.is_here()
        && !(is_panicking() && arena.slots().note_kind(arena.me()) == Some(PANIC))
    {
        write(TEXT, text);
    }
}

/// Writes why it ends, and the way there. Async-signal-safe; as [`write_text`].
pub(crate) fn write_crash(text: &[u8], frames: &[Frame]) {
    const MOST_TEXT: usize = 128;
    let mut bytes = [0u8; 8 + MOST_TEXT + MOST_FRAMES * 16];
    let text = &text[..text.len().min(MOST_TEXT)];
    let words = frames.iter().take(MOST_FRAMES).flat_map(|frame| [frame.file, frame.at]);
    let all = (text.len() as u64).to_le_bytes().into_iter().chain(text.iter().copied());
    let mut len = 0;
    for byte in all.chain(words.flat_map(u64::to_le_bytes)) {
        bytes[len] = byte;
        len += 1;
    }
    if let Ok(arena) = arena::family()
        && arena.is_here()
        && !(is_panicking() && arena.slots().note_kind(arena.me()) == Some(PANIC))
    {
        write(CRASH, &bytes[..len]);
    }
}

/// Reads what [`write_crash`] wrote; anything may stand there.
fn read_crash(bytes: &[u8]) -> Option<(String, Vec<Frame>)> {
    let (len, rest) = bytes.split_first_chunk::<8>()?;
    let (text, mut rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
    let mut frames = Vec::new();
    while let Some((words, tail)) = rest.split_first_chunk::<16>() {
        let (file, at) = words.split_at(8);
        let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        frames.push(Frame { file: word(file), at: word(at) });
        rest = tail;
    }
    Some((String::from_utf8_lossy(text).into_owned(), frames))
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
        CRASH => read_crash(text).map(|(text, frames)| Found::Words(Note::Crash(text, CrashTrace::new(frames)))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_crash_left_is_read_back_and_damage_is_no_crash() {
        let frames = [Frame { file: 0, at: 77 }, Frame { file: u64::MAX, at: 1 << 60 }];
        let mut bytes = 7u64.to_le_bytes().to_vec();
        bytes.extend(b"SIGSEGV");
        frames.iter().for_each(|frame| bytes.extend([frame.file, frame.at].into_iter().flat_map(u64::to_le_bytes)));
        assert_eq!(read_crash(&bytes), Some(("SIGSEGV".into(), frames.to_vec())));
        assert_eq!(read_crash(&bytes[..bytes.len() - 1]).unwrap().1, frames[..1]);
        bytes[7] = 0xff;
        assert_eq!(read_crash(&bytes), None);
        assert_eq!(read_crash(b"1234"), None);
    }
}
