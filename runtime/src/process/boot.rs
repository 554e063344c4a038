//! What a parent tells a child that is to be: the message that travels through the child's pipe, or to the fork server.

use std::os::fd::RawFd;

use crate::sys::proc::{Cpus, LIMITS, Limit, Scheduling};

/// What the child is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs one task and ends.
    Task,
    /// Runs `pool::worker::main`.
    Worker,
    /// The fork server, which is not a member of the family: it makes children and touches nothing shared.
    ForkServer,
}

/// What is to become of one of the descriptors 0, 1 and 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamSource {
    /// As it is.
    Keep,
    /// A copy of this descriptor.
    Fd(RawFd),
    /// Closed in the parent: opened on /dev/null, as std does, so that no file takes its number.
    Closed,
}

/// The descriptors that come along, by number in the receiving process. `-1`: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BootFds {
    pub(crate) memory: RawFd,
    pub(crate) locks: RawFd,
    /// Read end of the pipe whose other end only the parent holds.
    pub(crate) lifeline: RawFd,
    /// The fork server's socket.
    pub(crate) socket: RawFd,
    pub(crate) directory: RawFd,
    pub(crate) streams: [StreamSource; 3],
}

/// The message. Everything that a thread or a stale fork server does not hand on by itself is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Boot {
    pub(crate) role: Role,
    pub(crate) build: u64,
    pub(crate) parent_pid: u32,
    /// Does the parent's thread that makes the child live as long as the parent?
    pub(crate) thread_is_permanent: bool,
    pub(crate) owner: u32,
    pub(crate) parent_owner: u32,
    pub(crate) block: u64,
    pub(crate) daemon: bool,
    /// Does the family's first process decide what Ctrl-C ends?
    pub(crate) root_decides: bool,
    pub(crate) mask: u64,
    pub(crate) umask: Option<u32>,
    /// `None`: as it is.
    pub(crate) scheduling: Option<Scheduling>,
    pub(crate) cpus: Option<Cpus>,
    pub(crate) limits: Vec<(usize, Limit)>,
    pub(crate) name: String,
    pub(crate) parent_name: String,
    pub(crate) parent_is_daemon: bool,
    /// `KEY=value` strings, each ended by a zero. `None`: the environment is as it should be.
    pub(crate) env: Option<Vec<u8>>,
    pub(crate) fds: BootFds,
}

/// Differs from what any other program would write; changes with the format.
const MAGIC: u64 = u64::from_le_bytes(*b"offspr02");

/// The longest message that goes through a pipe: a pipe may have one page only when its user has many.
pub(crate) const MAX_IN_PIPE: usize = 4096;
/// The longest name of a process, in bytes.
pub(crate) const MAX_NAME: usize = 256;
/// The longest message that goes to the fork server; a longer one means a start by re-exec.
pub(crate) const MAX_IN_SOCKET: usize = 96 * 1024;

impl Boot {
    /// The message's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(1024));
        out.u64(MAGIC);
        out.u64(match self.role {
            Role::Task => 0,
            Role::Worker => 1,
            Role::ForkServer => 2,
        });
        out.u64(self.build);
        out.u64(self.parent_pid.into());
        out.u64(self.thread_is_permanent.into());
        out.u64(self.owner.into());
        out.u64(self.parent_owner.into());
        out.u64(self.block);
        out.u64(self.daemon.into());
        out.u64(self.root_decides.into());
        out.u64(self.mask);
        out.option(self.umask, |out, value| out.u64(value.into()));
        out.option(self.scheduling, |out, scheduling| {
            [scheduling.policy, scheduling.priority, scheduling.nice].into_iter().for_each(|value| out.i32(value));
        });
        out.option(self.cpus, |out, cpus| cpus.iter().for_each(|&word| out.u64(word)));
        out.u64(self.limits.len() as u64);
        for &(number, (soft, hard)) in &self.limits {
            out.u64(number as u64);
            out.u64(soft);
            out.u64(hard);
        }
        out.bytes(self.name.as_bytes());
        out.bytes(self.parent_name.as_bytes());
        out.u64(self.parent_is_daemon.into());
        out.option(self.env.as_deref(), |out, env| out.bytes(env));
        let BootFds { memory, locks, lifeline, socket, directory, streams } = self.fds;
        [memory, locks, lifeline, socket, directory].into_iter().for_each(|fd| out.i32(fd));
        for stream in streams {
            out.i32(match stream {
                StreamSource::Keep => -1,
                StreamSource::Closed => -2,
                StreamSource::Fd(fd) => fd,
            });
        }
        out.0
    }

    /// Reads a message back; `None` when it is none, or not one of this version.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Boot> {
        let mut input = Reader(bytes);
        if input.u64()? != MAGIC {
            return None;
        }
        Some(Boot {
            role: match input.u64()? {
                0 => Role::Task,
                1 => Role::Worker,
                2 => Role::ForkServer,
                _ => return None,
            },
            build: input.u64()?,
            parent_pid: input.u32()?,
            thread_is_permanent: input.u64()? != 0,
            owner: input.u32()?,
            parent_owner: input.u32()?,
            block: input.u64()?,
            daemon: input.u64()? != 0,
            root_decides: input.u64()? != 0,
            mask: input.u64()?,
            umask: input.option(Reader::u32)?,
            scheduling: input.option(|input| {
                Some(Scheduling { policy: input.i32()?, priority: input.i32()?, nice: input.i32()? })
            })?,
            cpus: input.option(|input| {
                let mut cpus = [0; 16];
                for word in &mut cpus {
                    *word = input.u64()?;
                }
                Some(cpus)
            })?,
            limits: {
                let count = input.u64()?;
                if count > LIMITS as u64 {
                    return None;
                }
                (0..count)
                    .map(|_| Some((input.u64()? as usize, (input.u64()?, input.u64()?))))
                    .collect::<Option<Vec<_>>>()?
            },
            name: input.string()?,
            parent_name: input.string()?,
            parent_is_daemon: input.u64()? != 0,
            env: input.option(|input| input.bytes().map(<[u8]>::to_vec))?,
            fds: BootFds {
                memory: input.i32()?,
                locks: input.i32()?,
                lifeline: input.i32()?,
                socket: input.i32()?,
                directory: input.i32()?,
                streams: [input.stream()?, input.stream()?, input.stream()?],
            },
        })
    }
}

impl BootFds {
    /// Every number in it, in a fixed order.
    pub(crate) fn numbers(&mut self) -> impl Iterator<Item = &mut RawFd> {
        let BootFds { memory, locks, lifeline, socket, directory, streams } = self;
        let streams = streams.iter_mut().filter_map(|stream| match stream {
            StreamSource::Fd(fd) => Some(fd),
            StreamSource::Keep | StreamSource::Closed => None,
        });
        [memory, locks, lifeline, socket, directory].into_iter().filter(|fd| **fd >= 0).chain(streams)
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn u64(&mut self, value: u64) {
        self.0.extend(value.to_le_bytes());
    }

    fn i32(&mut self, value: i32) {
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.u64(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.u64(value.is_some().into());
        if let Some(value) = value {
            write(self, value);
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        self.u64()?.try_into().ok()
    }

    fn i32(&mut self) -> Option<i32> {
        Some(i32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.u64()?).ok()?;
        self.take(len)
    }

    fn string(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    fn stream(&mut self) -> Option<StreamSource> {
        match self.i32()? {
            -1 => Some(StreamSource::Keep),
            -2 => Some(StreamSource::Closed),
            fd @ 0.. => Some(StreamSource::Fd(fd)),
            _ => None,
        }
    }

    /// `Some(None)`: there is no value. `None`: the input ends too early.
    fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.u64()? == 0 { Some(None) } else { read(self).map(Some) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot() -> Boot {
        Boot {
            role: Role::Worker,
            build: 0x1234_5678_9abc_def0,
            parent_pid: 77,
            thread_is_permanent: true,
            owner: 5,
            parent_owner: 6,
            block: u64::MAX - 1,
            daemon: true,
            root_decides: true,
            mask: 1 << 63,
            umask: Some(0o22),
            scheduling: Some(Scheduling { policy: 0, priority: 0, nice: -3 }),
            cpus: Some([9; 16]),
            limits: (0..LIMITS).map(|number| (number, (number as u64, u64::MAX))).collect(),
            name: "näme".into(),
            parent_name: String::new(),
            parent_is_daemon: true,
            env: Some(b"A=b\0".to_vec()),
            fds: BootFds {
                memory: 3,
                locks: 4,
                lifeline: 6,
                socket: -1,
                directory: 8,
                streams: [StreamSource::Keep, StreamSource::Fd(9), StreamSource::Closed],
            },
        }
    }

    #[test]
    fn a_message_comes_back_as_it_was() {
        assert_eq!(Boot::decode(&boot().encode()), Some(boot()));
        let plain = Boot { env: None, umask: None, cpus: None, scheduling: None, limits: vec![], ..boot() };
        assert_eq!(Boot::decode(&plain.encode()), Some(plain));
    }

    #[test]
    fn a_message_cut_short_is_none() {
        let bytes = boot().encode();
        for len in 0..bytes.len() {
            assert_eq!(Boot::decode(&bytes[..len]), None, "{len}");
        }
    }

    #[test]
    fn a_message_with_the_longest_name_fits_into_the_smallest_pipe() {
        let largest = Boot { name: "n".repeat(MAX_NAME), parent_name: "n".repeat(MAX_NAME), env: None, ..boot() };
        assert!(largest.encode().len() <= MAX_IN_PIPE);
    }
}
