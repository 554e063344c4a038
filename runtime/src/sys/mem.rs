//! Shared and private memory: memfds, mappings and advice.
//!
//! Invariant of the unsafe code here: a mapping is made at an address the kernel chooses, so it never replaces one that
//! somebody else uses; what is unmapped or advised is a range the caller owns, as each function's `# Safety` demands.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};

/// `memfd_create`: anonymous memory with a descriptor, closed on exec, that can be sealed.
pub(crate) fn memfd(name: &CStr) -> io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // Kernels before 6.3 do not know MFD_NOEXEC_SEAL; newer ones may demand it by sysctl.
    match create(name, flags | libc::MFD_NOEXEC_SEAL) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => create(name, flags),
        result => result,
    }
}

fn create(name: &CStr, flags: libc::c_uint) -> io::Result<OwnedFd> {
    // SAFETY: `name` is a C string that outlives the call.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `ftruncate`. The caller keeps `len` below [`file_size_limit`], or the kernel sends SIGXFSZ.
pub(crate) fn set_len(fd: BorrowedFd<'_>, len: u64) -> io::Result<()> {
    let len = libc::off_t::try_from(len).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
    // SAFETY: no memory is passed.
    check(unsafe { libc::ftruncate(fd.as_raw_fd(), len) })
}

/// The length of what `fd` names.
pub(crate) fn len(fd: BorrowedFd<'_>) -> io::Result<u64> {
    // SAFETY: all-zero bytes are a valid `stat`, which the kernel overwrites.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is writable for the call.
    check(unsafe { libc::fstat(fd.as_raw_fd(), &mut stat) })?;
    Ok(u64::try_from(stat.st_size).unwrap_or(0))
}

/// `RLIMIT_FSIZE`, which also bounds memfds; `u64::MAX` when there is none.
pub(crate) fn file_size_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable for the call.
    match unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit) } {
        0 => limit.rlim_cur,
        _ => u64::MAX,
    }
}

/// `F_ADD_SEALS`: the length of the memfd is final, so no member can take pages away from under another's mapping.
pub(crate) fn seal_len(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_SHRINK | libc::F_SEAL_GROW) })
}

/// Whether [`seal_len`] was done to `fd`.
pub(crate) fn is_sealed(fd: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: no memory is passed.
    let seals = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) };
    if seals < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(seals & libc::F_SEAL_SHRINK != 0)
}

/// Maps `len` bytes of `fd`, shared, readable and writable, without reserving memory for them.
pub(crate) fn map_shared(fd: BorrowedFd<'_>, len: usize) -> io::Result<NonNull<u8>> {
    map(len, libc::MAP_SHARED | libc::MAP_NORESERVE, fd.as_raw_fd())
}

/// Maps `len` private bytes, all zero, which a forked child finds zeroed again (`MADV_WIPEONFORK`).
pub(crate) fn map_wiped_on_fork(len: usize) -> io::Result<NonNull<u8>> {
    let page = map(len, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)?;
    // SAFETY: the mapping was made just now and is ours alone.
    unsafe { advise(page, len, Advice::WipeOnFork) }?;
    Ok(page)
}

/// Maps `len` private bytes, all zero, without reserving memory for them.
#[cfg(feature = "engine")]
pub(crate) fn map_private(len: usize) -> io::Result<NonNull<u8>> {
    map(len, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE, -1)
}

/// Gives the pages of a private mapping back to the system; they read as zeros from then on.
///
/// # Safety
/// The range is whole pages of a private mapping of this module, which nothing refers into.
#[cfg(feature = "engine")]
pub(crate) unsafe fn discard(address: NonNull<u8>, len: usize) {
    // SAFETY: as demanded of the caller. Refused, the pages stay as they are.
    unsafe { libc::madvise(address.as_ptr().cast(), len, libc::MADV_DONTNEED) };
}

fn map(len: usize, flags: libc::c_int, fd: libc::c_int) -> io::Result<NonNull<u8>> {
    // SAFETY: without MAP_FIXED the kernel picks a range that nobody uses.
    let address = unsafe { libc::mmap(ptr::null_mut(), len, libc::PROT_READ | libc::PROT_WRITE, flags, fd, 0) };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(address.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
}

/// `munmap`.
///
/// # Safety
/// The range was mapped by this module and nothing refers into it any more.
pub(crate) unsafe fn unmap(address: NonNull<u8>, len: usize) {
    // SAFETY: as demanded of the caller. It only fails for ranges that are no mapping.
    unsafe { libc::munmap(address.as_ptr().cast(), len) };
}

/// What [`advise`] can say of a range.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Advice {
    /// Not in core dumps.
    DontDump,
    /// Absent from a forked child.
    DontFork,
    /// Zeroed in a forked child.
    WipeOnFork,
}

/// `madvise`.
///
/// # Safety
/// The range is a mapping of this module that the caller owns.
pub(crate) unsafe fn advise(address: NonNull<u8>, len: usize, advice: Advice) -> io::Result<()> {
    let advice = match advice {
        Advice::DontDump => libc::MADV_DONTDUMP,
        Advice::DontFork => libc::MADV_DONTFORK,
        Advice::WipeOnFork => libc::MADV_WIPEONFORK,
    };
    // SAFETY: none of these changes the contents of the range in this process.
    check(unsafe { libc::madvise(address.as_ptr().cast(), len, advice) })
}

/// Gives the pages of a range of `fd` back to the system; they read as zeros from then on.
pub(crate) fn punch(fd: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<()> {
    let too_big = |_| io::Error::from_raw_os_error(libc::EFBIG);
    let (offset, len) = (libc::off_t::try_from(offset).map_err(too_big)?, libc::off_t::try_from(len).map_err(too_big)?);
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    loop {
        // SAFETY: no memory is passed; that the pages are nobody's is the caller's (the arena's) protocol.
        match check(unsafe { libc::fallocate(fd.as_raw_fd(), mode, offset, len) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
