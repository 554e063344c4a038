//! The program's own file as it lies in memory: its segments, and where its code is.
//!
//! What is read here was written by the linker and mapped by the loader, read-only, before anything of the program ran.
#![allow(unsafe_code)]

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

/// One segment.
#[repr(C)]
#[cfg(target_pointer_width = "64")]
#[derive(Debug)]
pub(crate) struct ProgramHeader {
    pub(crate) kind: u32,
    pub(crate) flags: u32,
    pub(crate) offset: u64,
    pub(crate) address: u64,
    pub(crate) physical: u64,
    pub(crate) file_size: u64,
    pub(crate) memory_size: u64,
    pub(crate) align: u64,
}

unsafe extern "C" {
    /// The ELF header of the module that this code is in; defined by every linker.
    #[link_name = "__ehdr_start"]
    static ELF: ElfHeader;
}

/// The segments of the module that this code is in.
pub(crate) fn headers() -> &'static [ProgramHeader] {
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

/// Where the file's first byte lies in memory. Differs from process to process of one build; distances to it do not.
pub(crate) fn start() -> *const u8 {
    (&raw const ELF).cast()
}

/// The address for which the first byte was linked.
pub(crate) fn load_address() -> u64 {
    headers().iter().find(|header| header.kind == LOAD && header.offset == 0).map_or(0, |header| header.address)
}

/// The distance of `address` from the start of the file, if it lies in code of this module.
pub(crate) fn code_offset(address: usize) -> Option<u64> {
    let offset = (address as u64).checked_sub(start() as u64)?;
    is_code(offset).then_some(offset)
}

/// The distance of `address` from the start of the file, if it lies in this module at all.
pub(crate) fn offset(address: usize) -> Option<u64> {
    let offset = (address as u64).checked_sub(start() as u64)?;
    is_within(offset, |_| true).then_some(offset)
}

/// The address at this distance from the start of the file, if it lies in code of this module.
pub(crate) fn code_at(offset: u64) -> Option<*const u8> {
    is_code(offset).then(|| start().wrapping_add(offset as usize))
}

fn is_code(offset: u64) -> bool {
    is_within(offset, |header| header.flags & EXECUTABLE != 0)
}

/// Does it lie in a loaded segment of this kind?
fn is_within(offset: u64, is_meant: impl Fn(&ProgramHeader) -> bool) -> bool {
    let Some(address) = offset.checked_add(load_address()) else { return false };
    let holds = |header: &ProgramHeader| {
        header.kind == LOAD
            && is_meant(header)
            && (header.address..header.address.saturating_add(header.memory_size)).contains(&address)
    };
    headers().iter().any(holds)
}

const LOAD: u32 = 1;
const EXECUTABLE: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn generic<T>() -> usize {
        size_of::<T>()
    }

    #[test]
    fn a_function_is_found_again_by_its_distance_and_data_is_no_code() {
        let address = generic::<u32> as fn() -> usize as usize;
        let offset = code_offset(address).unwrap();
        assert_eq!(code_at(offset).unwrap() as usize, address);
        static DATA: u32 = 7;
        assert_eq!(code_offset(&raw const DATA as usize), None);
        let heap = Box::new(1u8);
        assert_eq!(code_offset(&raw const *heap as usize), None);
        assert_eq!(code_at(u64::MAX), None);
    }

    #[test]
    fn a_library_function_is_no_code_of_the_program() {
        // The test binary is linked against a shared libc.
        if cfg!(all(target_env = "gnu", not(target_feature = "crt-static"))) {
            // SAFETY: a name that ends with a zero.
            let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"getpid".as_ptr()) } as usize;
            assert_eq!(code_offset(address), None);
        }
    }
}
