//! Copying a single-threaded process: a child whose parent is the caller's parent.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use crate::sys::spawn::Spawned;

/// Which side of [`sibling`] this is.
#[derive(Debug)]
pub(crate) enum Copied {
    /// The caller; here is the new process.
    Original(Spawned),
    /// The new process.
    Copy,
}

/// What the C library told the kernel about the calling thread; a bare clone has to tell it again in the copy.
struct ThreadFacts {
    tid_address: *mut libc::pid_t,
    robust_list: (*mut libc::c_void, usize),
}

impl ThreadFacts {
    fn of_this_thread() -> ThreadFacts {
        let mut facts = ThreadFacts { tid_address: std::ptr::null_mut(), robust_list: (std::ptr::null_mut(), 0) };
        // SAFETY: both calls only write one or two words to the addresses given.
        unsafe {
            let address = (&raw mut facts.tid_address).cast::<libc::c_void>();
            if libc::prctl(libc::PR_GET_TID_ADDRESS, address, 0, 0, 0) != 0 {
                facts.tid_address = std::ptr::null_mut();
            }
            let (head, len) = (&raw mut facts.robust_list.0, &raw mut facts.robust_list.1);
            if libc::syscall(libc::SYS_get_robust_list, 0, head, len) != 0 {
                facts.robust_list = (std::ptr::null_mut(), 0);
            }
        }
        facts
    }
}

/// Copies this process. The copy is a child of this process's parent, which gets its `SIGCHLD`.
///
/// `clone3` where it is not filtered, else `clone`. The C library caches the thread's id, which `CLONE_CHILD_SETTID` at the address it
/// registered repairs; its list of robust mutexes is registered again, as its own `fork` does.
///
/// # Safety
/// Requires that this process has one thread only: the copy has no other, so a lock held by another would stay locked for ever.
pub(crate) unsafe fn sibling() -> io::Result<Copied> {
    let facts = ThreadFacts::of_this_thread();
    let mut fd: libc::c_int = -1;
    let mut flags = libc::CLONE_PARENT | libc::CLONE_PIDFD;
    if !facts.tid_address.is_null() {
        flags |= libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID;
    }
    let tid = facts.tid_address;
    // SAFETY: without CLONE_VM the copy has its own memory and goes on on a copy of this stack, as after fork. The addresses point to a
    // local and to the word of the C library that it registered with the kernel for this very purpose.
    let pid = unsafe {
        let mut args: libc::clone_args = std::mem::zeroed();
        args.flags = flags as u64;
        args.pidfd = (&raw mut fd) as u64;
        args.child_tid = tid as u64;
        let mut pid = libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>());
        let refused = || matches!(io::Error::last_os_error().raw_os_error(), Some(libc::ENOSYS | libc::EPERM));
        if pid < 0 && refused() {
            let flags = flags | libc::SIGCHLD;
            #[cfg(any(target_arch = "x86_64", target_arch = "loongarch64"))]
            {
                pid = libc::syscall(libc::SYS_clone, flags, 0usize, &raw mut fd, tid, 0usize);
            }
            #[cfg(not(any(target_arch = "x86_64", target_arch = "loongarch64")))]
            {
                pid = libc::syscall(libc::SYS_clone, flags, 0usize, &raw mut fd, 0usize, tid);
            }
        }
        pid
    };
    match pid {
        ..0 => Err(io::Error::last_os_error()),
        0 => {
            let (head, len) = facts.robust_list;
            if !head.is_null() {
                // SAFETY: the list head that the C library registered for this thread; it lies at the same address in the copy.
                unsafe { libc::syscall(libc::SYS_set_robust_list, head, len) };
            }
            Ok(Copied::Copy)
        }
        // SAFETY: clone succeeded with CLONE_PIDFD, so `fd` is a new descriptor which nobody else owns.
        pid => Ok(Copied::Original(Spawned { pid: pid as u32, pidfd: unsafe { OwnedFd::from_raw_fd(fd) } })),
    }
}
