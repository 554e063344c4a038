//! Which build of the program this is.
//!
//! A child maps memory whose layout its parent's build decided, and runs tasks by their number in the parent's registry. `/proc/self/exe`
//! opens the running file even when it was replaced, but a start without /proc, or a wrapper around exec, may bring another build.
#![allow(unsafe_code)]

use std::ffi::c_void;

pub(crate) use crate::sys::image::in_main_program;
use crate::sys::image::{self, headers};

/// A number that differs between builds: of the linker's build id where there is one, of the sizes and places of segments and functions
/// and of the registered tasks elsewhere.
pub(crate) fn fingerprint() -> u64 {
    const PT_NOTE: u32 = 4;
    const NT_GNU_BUILD_ID: u32 = 3;
    let mut hash = Fnv::new();
    for header in headers() {
        hash.add(&header.kind.to_ne_bytes());
        hash.add(&header.address.to_ne_bytes());
        hash.add(&header.memory_size.to_ne_bytes());
        if header.kind != PT_NOTE {
            continue;
        }
        let load_address = image::load_address();
        // SAFETY: a note segment is part of a loaded, read-only segment; its address counts from where the file was linked to start.
        let notes = unsafe {
            let start = image::start().wrapping_add((header.address - load_address) as usize);
            std::slice::from_raw_parts(start, header.memory_size as usize)
        };
        if let Some(id) = find_note(notes, NT_GNU_BUILD_ID) {
            hash.add(id);
        }
    }
    let here = fingerprint as *const c_void as usize - image::start() as usize;
    hash.add(&here.to_ne_bytes());
    hash.0
}

/// The contents of the GNU note of this type.
fn find_note(mut notes: &[u8], kind: u32) -> Option<&[u8]> {
    let word = |bytes: &[u8], at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    loop {
        let (name_len, len, this) = (word(notes, 0)? as usize, word(notes, 4)? as usize, word(notes, 8)?);
        let start = 12 + name_len.next_multiple_of(4);
        let contents = notes.get(start..start.checked_add(len)?)?;
        if this == kind && notes.get(12..15) == Some(b"GNU") {
            return Some(contents);
        }
        notes = notes.get(start + len.next_multiple_of(4)..)?;
    }
}

/// FNV-1a: a hash that is the same in every process, which std's is not.
struct Fnv(u64);

impl Fnv {
    fn new() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_binary_is_a_main_program_with_a_stable_fingerprint() {
        assert!(image::in_main_program());
        assert_eq!(fingerprint(), fingerprint());
    }

    #[test]
    fn the_build_id_is_found_behind_another_note() {
        let mut notes = vec![];
        for (kind, contents) in [(1u32, &b"abcde"[..]), (3, b"xyz")] {
            notes.extend(4u32.to_ne_bytes());
            notes.extend((contents.len() as u32).to_ne_bytes());
            notes.extend(kind.to_ne_bytes());
            notes.extend(b"GNU\0");
            notes.extend(contents);
            notes.resize(notes.len().next_multiple_of(4), 0);
        }
        assert_eq!(find_note(&notes, 3), Some(&b"xyz"[..]));
        assert_eq!(find_note(&notes, 9), None);
        assert_eq!(find_note(&notes[..notes.len() - 3], 3), None);
    }
}
