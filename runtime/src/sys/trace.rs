//! The way to a crash: walking the stack from a signal handler, and saying of each address which file it is in.
//!
//! An address means nothing in another process, as each maps its files elsewhere. So a frame names the file, and how far into it.
//!
//! # Invariants of the unsafe code here
//! Nothing here allocates or takes a lock of its own; files are read by plain system calls. What walks the stack is the unwinder that
//! panics use, which reads the tables that the compiler made.
#![allow(unsafe_code)]

use std::ffi::c_void;

use super::image;

/// Frames that are kept of a stack.
pub(crate) const MOST_FRAMES: usize = 96;

/// One frame of a stack, as it crosses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The file's inode; 0: the program's own file; [`NOWHERE`]: no file.
    pub(crate) file: u64,
    /// How far into the file; in the program's own, from where its first byte lies in memory. The address itself, if it is in no file.
    pub(crate) at: u64,
}

/// Value of [`Frame::file`].
pub(crate) const NOWHERE: u64 = u64::MAX;
pub(crate) const NO_FRAME: Frame = Frame { file: NOWHERE, at: 0 };

type Visit = extern "C" fn(*mut c_void, *mut c_void) -> libc::c_int;

unsafe extern "C" {
    fn _Unwind_Backtrace(visit: Visit, argument: *mut c_void) -> libc::c_int;
    fn _Unwind_GetIPInfo(context: *mut c_void, before: *mut libc::c_int) -> usize;
}

/// Where the walk is.
struct Walk<'a> {
    /// What the signal interrupted; frames before it are the handler's.
    interrupted: usize,
    met: bool,
    addresses: &'a mut [usize; MOST_FRAMES],
    len: usize,
}

extern "C" fn visit(context: *mut c_void, walk: *mut c_void) -> libc::c_int {
    const GO_ON: libc::c_int = 0;
    const STOP: libc::c_int = 5;
    let mut before = 0;
    // SAFETY: the unwinder calls this with its own context, and with the walk that `of_signal` lent it for the duration.
    let (walk, ip) = unsafe { (&mut *walk.cast::<Walk<'_>>(), _Unwind_GetIPInfo(context, &mut before)) };
    if !walk.met {
        walk.met = ip == walk.interrupted;
        // It is first on the list already.
        return GO_ON;
    }
    if walk.len == walk.addresses.len() || ip == 0 {
        return STOP;
    }
    // A return address is behind the call, perhaps in the next line, perhaps in the next function.
    walk.addresses[walk.len] = if before != 0 { ip } else { ip - 1 };
    walk.len += 1;
    GO_ON
}

/// The frames of what a signal has interrupted, innermost first; how many.
///
/// # Safety
/// `context` is what the kernel gave to the handler that calls this. The walk reads the interrupted stack: it may fault, or hang.
pub(crate) unsafe fn of_signal(context: *mut c_void, frames: &mut [Frame; MOST_FRAMES]) -> usize {
    // SAFETY: as the caller says.
    let (interrupted, caller) = unsafe { registers(context) };
    let mut addresses = [0; MOST_FRAMES];
    addresses[0] = interrupted;
    let mut walk = Walk { interrupted, met: false, addresses: &mut addresses, len: 1 };
    // SAFETY: `visit` gets the walk that outlives the call.
    unsafe { _Unwind_Backtrace(visit, (&raw mut walk).cast()) };
    let mut len = walk.len;
    if len == 1
        && let Some(caller) = caller
    {
        // A call to where there is no code: only the return address is left of the way there.
        (addresses[1], len) = (caller.saturating_sub(1), 2);
    }
    for (frame, address) in frames.iter_mut().zip(&addresses[..len]) {
        *frame = match image::offset(*address) {
            Some(at) => Frame { file: 0, at },
            None => Frame { file: NOWHERE, at: *address as u64 },
        };
    }
    name_files(&mut frames[..len]);
    len
}

/// The address of the interrupted instruction, and what would be the return address if it were the first of a function.
#[cfg(target_arch = "x86_64")]
unsafe fn registers(context: *mut c_void) -> (usize, Option<usize>) {
    // SAFETY: a ucontext, as the caller of `of_signal` says.
    let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let (ip, sp) = (registers[libc::REG_RIP as usize] as usize, registers[libc::REG_RSP as usize] as usize);
    let mut caller = 0usize;
    let local = libc::iovec { iov_base: (&raw mut caller).cast(), iov_len: size_of::<usize>() };
    let remote = libc::iovec { iov_base: std::ptr::with_exposed_provenance_mut(sp), iov_len: size_of::<usize>() };
    // SAFETY: reads this process's own memory as another's, so an address that is none is an error and no fault.
    let read = unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) };
    (ip, (read == size_of::<usize>() as isize).then_some(caller))
}

#[cfg(target_arch = "aarch64")]
unsafe fn registers(context: *mut c_void) -> (usize, Option<usize>) {
    // SAFETY: a ucontext, as the caller of `of_signal` says.
    let context = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
    (context.pc as usize, Some(context.regs[30] as usize))
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn registers(_: *mut c_void) -> (usize, Option<usize>) {
    (0, None)
}

/// A line of `/proc/self/maps`, as far as it says where a file lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// How far into the file it begins.
    pub(crate) offset: u64,
    /// 0: no file.
    pub(crate) inode: u64,
}

/// Reads a line of `/proc/self/maps`: `start-end perms offset device inode path`.
pub(crate) fn mapping(line: &[u8]) -> Option<Mapping> {
    let mut fields = line.split(|byte| *byte == b' ').filter(|field| !field.is_empty());
    let mut range = fields.next()?.split(|byte| *byte == b'-');
    let (start, end) = (number(range.next()?, 16)?, number(range.next()?, 16)?);
    let offset = number(fields.nth(1)?, 16)?;
    let inode = number(fields.nth(1)?, 10)?;
    Some(Mapping { start, end, offset, inode })
}

fn number(digits: &[u8], radix: u32) -> Option<u64> {
    let mut value = 0u64;
    for digit in digits {
        value = value.checked_mul(radix.into())?.checked_add((*digit as char).to_digit(radix)?.into())?;
    }
    (!digits.is_empty()).then_some(value)
}

/// Calls `each` with each line of `/proc/self/maps`, cut off after some bytes. Async-signal-safe, if `each` is.
fn each_mapping(mut each: impl FnMut(Mapping)) {
    // SAFETY: a name that ends with a zero.
    let file = unsafe { libc::open(c"/proc/self/maps".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if file < 0 {
        return;
    }
    let mut buffer = [0u8; 1024];
    let (mut line, mut len) = ([0u8; 128], 0);
    loop {
        // SAFETY: reads into a local, of that length.
        let read = unsafe { libc::read(file, buffer.as_mut_ptr().cast(), buffer.len()) };
        let Ok(read @ 1..) = usize::try_from(read) else { break };
        for byte in &buffer[..read] {
            if *byte == b'\n' {
                mapping(&line[..len]).into_iter().for_each(&mut each);
                len = 0;
            } else if let Some(place) = line.get_mut(len) {
                // What is cut off is the path.
                *place = *byte;
                len += 1;
            }
        }
    }
    // SAFETY: opened above.
    unsafe { libc::close(file) };
}

/// Says of addresses outside of the program which file they are in.
fn name_files(frames: &mut [Frame]) {
    if frames.iter().all(|frame| frame.file == 0) {
        return;
    }
    each_mapping(|Mapping { start, end, offset, inode }| {
        for frame in frames.iter_mut().filter(|frame| frame.file == NOWHERE && (start..end).contains(&frame.at)) {
            if inode != 0 {
                *frame = Frame { file: inode, at: frame.at - start + offset };
            }
        }
    });
}

/// Where these frames of another process of this build are in this one; `None`: its file is not mapped here, or there is none.
#[cfg(feature = "backtrace")]
pub(crate) fn addresses(frames: &[Frame]) -> Vec<Option<usize>> {
    let here = |frame: &Frame| (frame.file == 0).then(|| image::start() as usize + frame.at as usize);
    let mut found: Vec<Option<usize>> = frames.iter().map(here).collect();
    each_mapping(|Mapping { start, end, offset, inode }| {
        for (frame, found) in frames.iter().zip(&mut found) {
            if frame.file == inode && inode != 0 && (offset..offset + (end - start)).contains(&frame.at) {
                *found = usize::try_from(frame.at - offset + start).ok();
            }
        }
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table_of_mappings_is_read() {
        let line = b"7f1c00-7f1d00 r-xp 0001a000 fd:01 131  /usr/lib/libc.so.6";
        assert_eq!(mapping(line), Some(Mapping { start: 0x7f1c00, end: 0x7f1d00, offset: 0x1a000, inode: 131 }));
        assert_eq!(
            mapping(b"7f1c00-7f1d00 rw-p 00000000 00:00 0"),
            Some(Mapping { start: 0x7f1c00, end: 0x7f1d00, offset: 0, inode: 0 })
        );
        for bad in [&b""[..], b"x-y r 0 0 0", b"1-2 r", b"1 r 0 0:0 1", b"fffffffffffffffff-1 r 0 0:0 1"] {
            assert_eq!(mapping(bad), None);
        }
    }

    #[test]
    fn an_address_in_another_file_is_named_by_it() {
        let address = libc::getppid as *const () as u64;
        let mut frames = [Frame { file: NOWHERE, at: address }, Frame { file: NOWHERE, at: 1 }];
        name_files(&mut frames);
        assert_eq!(frames[1], Frame { file: NOWHERE, at: 1 });
        if cfg!(all(target_env = "gnu", not(target_feature = "crt-static"))) {
            assert!(frames[0].file != NOWHERE && frames[0].at < address, "{frames:?}");
            #[cfg(feature = "backtrace")]
            assert_eq!(addresses(&frames), [Some(address as usize), None]);
        }
    }
}
