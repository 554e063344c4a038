//! Descriptors: pairs, passing them on, waiting for them, and the signal that tells of a closed pipe.
#![allow(unsafe_code)]

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// The most descriptors that one message carries.
pub(crate) const MAX_PASSED: usize = 12;

/// `pipe2(O_CLOEXEC)`: reading end, writing end. Both are above 2, also where a standard stream is closed.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    Ok((above_streams(reader.into())?, above_streams(writer.into())?))
}

/// The descriptor itself, or a copy of it above 2.
pub(crate) fn above_streams(fd: OwnedFd) -> io::Result<OwnedFd> {
    match fd.as_raw_fd() {
        // SAFETY: fcntl on an open descriptor; on success the result is a new one.
        0..=2 => unsafe {
            let copy = libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3);
            if copy < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(copy)) }
        },
        _ => Ok(fd),
    }
}

/// A copy of the descriptor of this number, above 2 and with close-on-exec.
pub(crate) fn copy_above_streams(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl on a number; on success the result is a new descriptor.
    unsafe {
        let copy = libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3);
        if copy < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(copy)) }
    }
}

/// Writes all of it to the standard stream of this number, whatever buffers and locks there are in this process.
pub(crate) fn write_stream(number: RawFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        // SAFETY: reads as many bytes as there are.
        let written = unsafe { libc::write(number, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(written) {
            Ok(written) => bytes = &bytes[written..],
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                // Somebody has set it so; it is waited for all the same.
                error if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut poll = libc::pollfd { fd: number, events: libc::POLLOUT, revents: 0 };
                    // SAFETY: one pollfd, a local.
                    unsafe { libc::poll(&mut poll, 1, -1) };
                }
                error => return Err(error),
            },
        }
    }
    Ok(())
}

unsafe extern "C" {
    #[link_name = "stdout"]
    static C_STDOUT: *mut libc::FILE;
}

/// Has C's standard output written line by line, as to a terminal. Before anything was written to it.
pub(crate) fn buffer_c_output_by_lines() {
    // SAFETY: the C library's own stream, which is never closed by us; with no buffer given it keeps its own.
    unsafe { libc::setvbuf(C_STDOUT, std::ptr::null_mut(), libc::_IOLBF, 0) };
}

/// Writes what C's streams have in their buffers.
pub(crate) fn flush_c_output() {
    // SAFETY: null stands for all streams.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}

/// `socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)`: keeps messages apart, and tells of the other end's closing.
pub(crate) fn packet_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: writes two integers; on success they are new descriptors which nobody else owns.
    unsafe {
        if libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0, fds.as_mut_ptr()) < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok((OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])))
    }
}

/// `eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)`.
pub(crate) fn event() -> io::Result<OwnedFd> {
    // SAFETY: takes integers; a result that is not negative is a new descriptor.
    unsafe {
        let fd = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// Sets an eventfd. Async-signal-safe. A full counter is as good as a set one.
pub(crate) fn event_set(event: BorrowedFd<'_>) {
    let one = 1u64.to_ne_bytes();
    // SAFETY: reads eight bytes of a local.
    unsafe { libc::write(event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
}

/// Clears an eventfd.
pub(crate) fn event_clear(event: BorrowedFd<'_>) {
    let mut value = [0u8; 8];
    // SAFETY: writes eight bytes to a local.
    unsafe { libc::read(event.as_raw_fd(), value.as_mut_ptr().cast(), value.len()) };
}

const CONTROL: usize = 128;
const _: () = assert!(size_of::<libc::cmsghdr>() + MAX_PASSED * size_of::<RawFd>() + 16 <= CONTROL);

/// `sendmsg` of one message with descriptors attached.
pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if fds.len() > MAX_PASSED {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let mut control = [0u64; CONTROL / 8];
    let data = [IoSlice::new(bytes)];
    // SAFETY: the header's pointers are to locals that outlive the call; the control buffer is aligned for cmsghdr and large enough for
    // MAX_PASSED descriptors (asserted above), so CMSG_FIRSTHDR is not null.
    let sent = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = data.as_ptr().cast_mut().cast();
        message.msg_iovlen = 1;
        if !fds.is_empty() {
            let len = size_of_val(fds) as u32;
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(len) as _;
            let header = libc::CMSG_FIRSTHDR(&message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(len) as _;
            // BorrowedFd is a transparent wrapper of RawFd.
            std::ptr::copy_nonoverlapping(fds.as_ptr().cast::<u8>(), libc::CMSG_DATA(header), len as usize);
        }
        retry(|| libc::sendmsg(socket.as_raw_fd(), &message, libc::MSG_NOSIGNAL))?
    };
    if sent == bytes.len() { Ok(()) } else { Err(io::Error::from(io::ErrorKind::WriteZero)) }
}

/// `recvmsg` of one message and its descriptors, which get close-on-exec. Zero bytes: the other end is closed.
pub(crate) fn receive(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut control = [MaybeUninit::<u64>::uninit(); CONTROL / 8];
    let mut data = [IoSliceMut::new(bytes)];
    let mut fds = Vec::new();
    // SAFETY: the header's pointers are to locals that outlive the call; the kernel says in msg_controllen how much it filled in, and
    // the CMSG macros stay within that. Received descriptors are new ones which nobody else owns.
    let (len, flags) = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = data.as_mut_ptr().cast();
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = CONTROL as _;
        let len = retry(|| libc::recvmsg(socket.as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC))?;
        let mut header = libc::CMSG_FIRSTHDR(&message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let payload = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let first = libc::CMSG_DATA(header).cast::<RawFd>();
                for index in 0..payload / size_of::<RawFd>() {
                    fds.push(OwnedFd::from_raw_fd(first.add(index).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(&message, header);
        }
        (len, message.msg_flags)
    };
    if flags & libc::MSG_CTRUNC != 0 {
        // The kernel drops descriptors that do not fit under this process's limit.
        return Err(io::Error::from_raw_os_error(libc::EMFILE));
    }
    if flags & libc::MSG_TRUNC != 0 {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    Ok((len, fds))
}

fn retry(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        match call() {
            ..0 => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
            n => return Ok(n as usize),
        }
    }
}

/// Waits until there is something to read or the other end is closed.
pub(crate) fn await_readable(fd: BorrowedFd<'_>) -> io::Result<()> {
    poll(fd, -1).map(|_| ())
}

/// Is there something to read, or the other end closed?
pub(crate) fn is_readable(fd: BorrowedFd<'_>) -> io::Result<bool> {
    poll(fd, 0)
}

fn poll(fd: BorrowedFd<'_>, timeout: libc::c_int) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd, a local.
    retry(|| unsafe { libc::poll(&mut poll, 1, timeout) } as isize).map(|ready| ready > 0)
}

/// Makes the kernel send this process `SIGKILL` as soon as the other end of the pipe is closed. Nothing may be written to the pipe after.
///
/// The pipe's open file description must be this process's alone: its owner is a property of that.
pub(crate) fn die_with(pipe: BorrowedFd<'_>) -> io::Result<()> {
    let fd = pipe.as_raw_fd();
    // SAFETY: fcntl with integers on an open descriptor.
    unsafe {
        for (command, argument) in [
            (libc::F_SETOWN, libc::getpid()),
            (F_SETSIG, libc::SIGKILL),
            (libc::F_SETFL, libc::O_ASYNC | libc::O_NONBLOCK),
        ] {
            if libc::fcntl(fd, command, argument) < 0 {
                return Err(io::Error::last_os_error());
            }
        }
    }
    Ok(())
}

/// Not in the libc crate for every target; the same number on all of Linux.
pub(crate) const F_SETSIG: libc::c_int = 10;

/// `O_NONBLOCK`, for everybody who has this end.
pub(crate) fn do_not_block(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: fcntl with integers on an open descriptor.
    if unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) } < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Takes a descriptor over by its number.
///
/// # Safety
/// Requires that the descriptor, if it is open, is owned by nobody else in this process.
pub(crate) unsafe fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl on a number; whether it is open is what is asked. Ownership: the caller's promise.
    unsafe {
        if libc::fcntl(fd, libc::F_GETFD) < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// Sets close-on-exec.
pub(crate) fn close_on_exec(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: fcntl with integers on an open descriptor.
    if unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Makes `target` (0, 1 or 2) a copy of `fd`, without close-on-exec.
pub(crate) fn install(fd: BorrowedFd<'_>, target: RawFd) -> io::Result<()> {
    // SAFETY: dup2 on an open descriptor; the standard streams are owned by no OwnedFd.
    if unsafe { libc::dup2(fd.as_raw_fd(), target) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Is the descriptor of this number open?
pub(crate) fn is_open(number: RawFd) -> bool {
    // SAFETY: fcntl on a number.
    unsafe { libc::fcntl(number, libc::F_GETFD) >= 0 }
}

/// Marks every open descriptor from `first` on to be closed at `exec`: `close_range(CLOSE_RANGE_CLOEXEC)`. `false`: the system cannot (before
/// Linux 5.11, or filtered). Async-signal-safe.
pub(crate) fn close_at_exec(first: libc::c_uint) -> bool {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 1 << 2;
    // SAFETY: takes integers; with this flag no descriptor is closed now.
    unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC) == 0 }
}

/// The highest open descriptor of this process, or more.
pub(crate) fn highest() -> RawFd {
    match std::fs::read_dir("/proc/self/fd") {
        Ok(entries) => entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).max().unwrap_or(2),
        // SAFETY: takes an integer.
        Err(_) => unsafe { libc::sysconf(libc::_SC_OPEN_MAX) }.clamp(256, 1 << 20) as RawFd,
    }
}

/// Is it open without close-on-exec? Whatever came through `exec` is.
fn is_inheritable(fd: RawFd) -> bool {
    // SAFETY: fcntl on a number.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

/// Is it an open pipe that can have come through `exec`?
pub(crate) fn is_inherited_pipe(fd: RawFd) -> bool {
    // SAFETY: fstat writes to a local, whose zeroed value is valid.
    is_inheritable(fd)
        && unsafe {
            let mut stat: libc::stat = std::mem::zeroed();
            libc::fstat(fd, &mut stat) == 0 && stat.st_mode & libc::S_IFMT == libc::S_IFIFO
        }
}

/// A set of descriptors to wait for, each with a number of ours: `epoll(7)`.
#[derive(Debug)]
pub(crate) struct Poller(OwnedFd);

impl Poller {
    pub(crate) fn new() -> io::Result<Poller> {
        // SAFETY: takes an integer; a result that is not negative is a new descriptor.
        unsafe {
            let fd = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(Poller(OwnedFd::from_raw_fd(fd))) }
        }
    }

    /// Reports `token` whenever `fd` is readable.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token };
        self.control(libc::EPOLL_CTL_ADD, fd, &mut event)
    }

    /// Forgets `fd`.
    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        self.control(libc::EPOLL_CTL_DEL, fd, &mut event)
    }

    fn control(&self, operation: libc::c_int, fd: BorrowedFd<'_>, event: &mut libc::epoll_event) -> io::Result<()> {
        // SAFETY: both descriptors are open; the event is a valid reference.
        if unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, fd.as_raw_fd(), event) } < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    /// Sleeps until something is readable; the tokens.
    pub(crate) fn wait(&self, tokens: &mut Vec<u64>) -> io::Result<()> {
        tokens.clear();
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
        // SAFETY: the kernel writes at most as many events as the array has.
        let count = retry(|| unsafe {
            libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), events.len() as i32, -1) as isize
        })?;
        tokens.extend(events[..count].iter().map(|event| event.u64));
        Ok(())
    }
}
