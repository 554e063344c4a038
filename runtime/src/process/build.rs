//! Which build of the program this is.
//!
//! A child maps memory whose layout its parent's build decided, and runs tasks by their number in the parent's registry. `/proc/self/exe`
//! opens the running file even when it was replaced, but a start without /proc, or a wrapper around exec, may bring another build.
#![allow(unsafe_code)]

use std::ffi::c_void;

/// The start of an ELF file, where the linker put it in memory.
#[repr(C)]
struct ElfHeader {
    ident: [u8; 16],
    kind: u16,
    machine: u16,
    version: u32,
    entry: usize,
    program_headers: usize,
    section_headers: usize,
    flags: u32,
    header_size: u16,
    program_header_size: u16,
    program_header_count: u16,
}

#[repr(C)]
#[cfg(target_pointer_width = "64")]
struct ProgramHeader {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    physical: u64,
    file_size: u64,
    memory_size: u64,
    align: u64,
}

unsafe extern "C" {
    /// The ELF header of the module that this code is in; defined by every linker.
    #[link_name = "__ehdr_start"]
    static ELF: ElfHeader;
}

fn headers() -> &'static [ProgramHeader] {
    // SAFETY: the linker lays the ELF header at `__ehdr_start` and the program headers, which the loader itself reads, at the offset it
    // names in the same segment; both are mapped read-only for the life of the program.
    unsafe {
        let start = (&raw const ELF).cast::<u8>();
        let first = start.add(ELF.program_headers).cast::<ProgramHeader>();
        std::slice::from_raw_parts(first, usize::from(ELF.program_header_count))
    }
}

/// Is this code in the main program, and not in a shared library?
pub(crate) fn in_main_program() -> bool {
    // SAFETY: takes an integer; a missing value is 0.
    let main = unsafe { libc::getauxval(libc::AT_PHDR) } as usize;
    // A kernel or emulator that does not say: assume the usual.
    main == 0 || main == headers().as_ptr() as usize
}

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
        let load_address =
            headers().iter().find(|header| header.kind == 1 && header.offset == 0).map_or(0, |h| h.address);
        // SAFETY: a note segment is part of a loaded, read-only segment; its address counts from where the file was linked to start.
        let notes = unsafe {
            let start = (&raw const ELF).cast::<u8>().wrapping_add((header.address - load_address) as usize);
            std::slice::from_raw_parts(start, header.memory_size as usize)
        };
        if let Some(id) = find_note(notes, NT_GNU_BUILD_ID) {
            hash.add(id);
        }
    }
    let here = fingerprint as *const c_void as usize - (&raw const ELF) as usize;
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
        assert!(in_main_program());
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
