//! Reading pieces of text files: where characters and words begin and end.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The first word of `text` from `*at` on, which is moved behind it: the longest runs of ASCII letters, which is what
/// `LC_ALL=C tr -cs '[:alpha:]' '\n'` puts on lines.
pub fn next_word<'t>(text: &'t [u8], at: &mut usize) -> Option<&'t [u8]> {
    let rest = text.get(*at..)?;
    let start = rest.iter().position(u8::is_ascii_alphabetic)?;
    let word = &rest[start..];
    let len = word.iter().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(word.len());
    *at += start + len;
    Some(&word[..len])
}

/// All words of `text`.
pub fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = 0;
    std::iter::from_fn(move || next_word(text, &mut at))
}

/// Is `bytes[start..end]` of the file valid UTF-8, with `start` and `end` moved to where a character ends?
///
/// `start` and `end` move by a rule that looks only at the bytes before them, so neighbouring pieces agree on their
/// border: if each piece of a file is valid, the file is, and the reverse.
pub fn is_utf8_piece(file: &File, start: u64, end: u64) -> io::Result<bool> {
    let (start, end) = (after_character(file, start)?, after_character(file, end)?);
    // A piece that lies within one character has nothing left to check.
    let bytes = read_range(file, start, end.max(start))?;
    Ok(std::str::from_utf8(&bytes).is_ok())
}

/// The end of the character that begins in the three bytes before `at` and reaches beyond it; else `at`.
fn after_character(file: &File, at: u64) -> io::Result<u64> {
    let from = at.saturating_sub(3);
    let before = read_range(file, from, at)?;
    let Some(lead) = before.iter().rposition(|byte| byte & 0xc0 != 0x80) else { return Ok(at) };
    let len = match before[lead] {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xff => 4,
        _ => 1,
    };
    Ok(at.max(from + lead as u64 + len))
}

/// The bytes of the words that begin in `start..end` of the file: a word that reaches beyond `end` is read to its
/// end, one that began before `start` is left to the piece before.
///
/// # Errors
///
/// Besides those of reading, a word of more than `longest` bytes beyond the end of the piece: memory is bounded.
pub fn words_piece(file: &File, start: u64, end: u64, longest: usize) -> io::Result<Vec<u8>> {
    const STEP: u64 = 64 << 10;
    let mut bytes = read_range(file, start.saturating_sub(1), end)?;
    if start > 0 {
        let begun_before = bytes.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        bytes.drain(..begun_before);
    }
    let mut at = end;
    while bytes.last().is_some_and(u8::is_ascii_alphabetic) {
        if at - end > longest as u64 {
            return Err(io::Error::other(format!("a word is longer than {longest} bytes")));
        }
        let more = read_range(file, at, at + STEP)?;
        if more.is_empty() {
            break;
        }
        at += more.len() as u64;
        let rest = more.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        bytes.extend(&more[..rest]);
        if rest < more.len() {
            break;
        }
    }
    Ok(bytes)
}

/// The bytes `start..end` of the file; fewer at its end.
fn read_range(file: &File, start: u64, end: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; (end - start) as usize];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], start + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn collect(text: &[u8]) -> Vec<String> {
        words(text).map(|word| String::from_utf8(word.to_vec()).unwrap()).collect()
    }

    #[test]
    fn words_are_runs_of_ascii_letters() {
        assert_eq!(collect("Don't  STOP-me, naïve2you".as_bytes()), ["Don", "t", "STOP", "me", "na", "ve", "you"]);
        assert_eq!(collect(b"  a"), ["a"]);
        assert_eq!(collect(b""), [""; 0]);
        assert_eq!(collect(b"[@`{"), [""; 0]);
    }

    #[test]
    fn pieces_of_every_size_have_the_words_of_the_whole() {
        let text = "Alpha beta,gammA\n\ndelta-epsilon x y Zz ünder";
        let file = file(text.as_bytes());
        let whole = collect(text.as_bytes());
        for size in 1..text.len() as u64 + 2 {
            let mut found = Vec::new();
            let mut start = 0;
            while start < text.len() as u64 {
                let end = (start + size).min(text.len() as u64);
                found.extend(collect(&words_piece(&file, start, end, 100).unwrap()));
                start = end;
            }
            assert_eq!(found, whole, "in pieces of {size}");
        }
    }

    #[test]
    fn a_word_without_end_is_an_error() {
        let file = file(&[b'a'; 300_000]);
        assert!(words_piece(&file, 0, 10, 1000).is_err());
        assert_eq!(words_piece(&file, 0, 10, 400_000).unwrap().len(), 300_000);
    }

    #[test]
    fn pieces_of_every_size_are_valid_exactly_if_the_whole_is() {
        let mut texts: Vec<Vec<u8>> = ["aé€😀b", "😀😀", "", "é", "\u{7ff}\u{800}\u{ffff}\u{10ffff}"]
            .map(|text| text.as_bytes().to_vec())
            .to_vec();
        // Everything one byte away from valid text, and stray and missing bytes.
        for at in 0..texts[0].len() {
            for byte in [0, 0x80, 0xbf, 0xc3, 0xe2, 0xf0, 0xff] {
                let mut broken = texts[0].clone();
                broken[at] = byte;
                texts.push(broken);
            }
            let mut shorter = texts[0].clone();
            shorter.remove(at);
            texts.push(shorter);
            let mut longer = texts[0].clone();
            longer.insert(at, 0x80);
            texts.push(longer);
        }
        for text in texts {
            let file = file(&text);
            let len = text.len() as u64;
            for size in 1..len + 2 {
                let mut valid = true;
                for start in (0..len).step_by(size as usize) {
                    valid &= is_utf8_piece(&file, start, (start + size).min(len)).unwrap();
                }
                assert_eq!(valid, std::str::from_utf8(&text).is_ok(), "{text:x?} in pieces of {size}");
            }
        }
    }
}
