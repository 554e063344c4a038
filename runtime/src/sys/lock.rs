//! POSIX byte locks: the kernel's own word for "this process still has an address space".
//!
//! They belong to a process and an inode. The kernel drops all of a process's locks on an inode when that process closes
//! *any* descriptor of it, so nobody may close a duplicate of a descriptor these are used with.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

fn byte(kind: libc::c_int, offset: u32) -> libc::flock {
    // SAFETY: all-zero bytes are a valid `flock`.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = libc::off_t::from(offset);
    lock.l_len = 1;
    lock
}

/// `F_SETLK`: takes byte `offset` for this process; `false` if another process has it.
pub(crate) fn take(fd: BorrowedFd<'_>, offset: u32) -> io::Result<bool> {
    let lock = byte(libc::F_WRLCK, offset);
    // SAFETY: `lock` is readable for the call.
    if unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETLK, &lock) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Ok(false),
        _ => Err(error),
    }
}

/// `F_GETLK`: the pid of the process other than this one that has byte `offset`, as this process's pid namespace numbers it.
pub(crate) fn holder(fd: BorrowedFd<'_>, offset: u32) -> io::Result<Option<u32>> {
    let mut lock = byte(libc::F_WRLCK, offset);
    // SAFETY: `lock` is writable for the call.
    if unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETLK, &mut lock) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((i32::from(lock.l_type) != libc::F_UNLCK).then_some(lock.l_pid as u32))
}

/// Whether a process other than this one has byte `offset`.
pub(crate) fn is_taken(fd: BorrowedFd<'_>, offset: u32) -> io::Result<bool> {
    holder(fd, offset).map(|holder| holder.is_some())
}
